"""A stream's state as a file: stop here, go on elsewhere, same bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geofold.backbone.protocol import StreamingBackbone, StreamState
from geofold.files import write_whole

COMPLEX = ":complex"


def leaves(state: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a nest of tuples, by their places."""
    if isinstance(state, Tensor):
        yield name, state
    else:
        for number, part in enumerate(state):
            yield from leaves(part, f"{name}.{number}")


def state_bytes(state: Any) -> int:
    """Bytes that a state holds."""
    return sum(part.numel() * part.element_size() for _, part in leaves(state))


def save_state(state: StreamState, path: str | Path) -> None:
    """Write a state (safetensors); the file appears whole or not at all."""
    real = {}
    for name, part in leaves(state):
        name, part = (name + COMPLEX, torch.view_as_real(part.resolve_conj())) if part.is_complex() else (name, part)
        real[name] = part.detach().cpu().contiguous().clone()
    write_whole(Path(path), lambda name: save_file(real, name))


def load_state(path: str | Path, backbone: StreamingBackbone) -> StreamState:
    """Read a state for a backbone of the same build.

    Raises
    ------
    ValueError
        If the file holds no state, or one of another backbone.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} holds no state ({error}); expected a file that save_state wrote") from None
    like = backbone.init_state(1)
    wanted = {name + COMPLEX if part.is_complex() else name: part for name, part in leaves(like)}
    if set(found) != set(wanted):
        raise ValueError(f"{path} holds the state of another backbone than {backbone.name}; build the same one")
    return _nested(like, found, "state")


def _nested(like: Any, found: dict[str, Tensor], name: str) -> Any:
    if isinstance(like, Tensor):
        part = torch.view_as_complex(found[name + COMPLEX]) if like.is_complex() else found[name]
        return part.to(like.device)
    parts = [_nested(part, found, f"{name}.{number}") for number, part in enumerate(like)]
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)

"""Stream states as files, from which a stream resumes bit for bit, and atomic writing of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geofold.backbone.protocol import StreamingBackbone, StreamState
from geofold.files import write_atomically

COMPLEX_SUFFIX = ":complex"
"""Suffix of the names of complex tensors, which are stored as pairs of real numbers."""


def named_tensors(state: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a nest of tuples with names made of their positions."""
    if isinstance(state, Tensor):
        yield name, state
    else:
        for number, part in enumerate(state):
            yield from named_tensors(part, f"{name}.{number}")


def state_bytes(state: Any) -> int:
    """Size of a state in bytes."""
    return sum(part.numel() * part.element_size() for _, part in named_tensors(state))


def save_state(state: StreamState, path: str | Path) -> None:
    """Write a state as a safetensors file, atomically."""
    real = {}
    for name, part in named_tensors(state):
        name, part = (
            (name + COMPLEX_SUFFIX, torch.view_as_real(part.resolve_conj())) if part.is_complex() else (name, part)
        )
        real[name] = part.detach().cpu().contiguous().clone()
    write_atomically(Path(path), lambda name: save_file(real, name))


def load_state(path: str | Path, backbone: StreamingBackbone) -> StreamState:
    """Read a state for a backbone with the same architecture.

    Raises
    ------
    ValueError
        If the file holds no state, or the state of another backbone.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} holds no state ({error}); expected a file that save_state wrote") from None
    like = backbone.init_state(1)
    expected = {name + COMPLEX_SUFFIX if part.is_complex() else name: part for name, part in named_tensors(like)}
    if set(tensors) != set(expected):
        raise ValueError(f"{path} holds the state of another backbone than {backbone.name}; build the same one")
    return _restore(like, tensors, "state")


def _restore(like: Any, tensors: dict[str, Tensor], name: str) -> Any:
    if isinstance(like, Tensor):
        part = torch.view_as_complex(tensors[name + COMPLEX_SUFFIX]) if like.is_complex() else tensors[name]
        return part.to(like.device)
    parts = [_restore(part, tensors, f"{name}.{number}") for number, part in enumerate(like)]
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)

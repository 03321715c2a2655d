"""A stream's state as a file: stop here, go on elsewhere, same bits."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from geofold.backbone.protocol import StreamingBackbone, StreamState

COMPLEX_SUFFIX = ":complex"


def named_tensors(state: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a nest of tuples, by their places."""
    if isinstance(state, Tensor):
        yield name, state
    else:
        for number, part in enumerate(state):
            yield from named_tensors(part, f"{name}.{number}")


def state_bytes(state: Any) -> int:
    """Bytes that a state holds."""
    return sum(part.numel() * part.element_size() for _, part in named_tensors(state))


def save_state(state: StreamState, path: str | Path) -> None:
    """Write a state (safetensors); the file appears whole or not at all."""
    real = {}
    for name, part in named_tensors(state):
        name, part = (
            (name + COMPLEX_SUFFIX, torch.view_as_real(part.resolve_conj())) if part.is_complex() else (name, part)
        )
        real[name] = part.detach().cpu().contiguous().clone()
    write_atomically(Path(path), lambda name: save_file(real, name))


def write_atomically(path: Path, write: Callable[[str], Any]) -> None:
    """A file that appears whole or not at all: `write` is given a name beside it."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        write(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Compressed arrays in a file that appears whole or not at all."""

    def save(name: str) -> None:
        with open(name, "wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomically(path, save)


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
    wanted = {name + COMPLEX_SUFFIX if part.is_complex() else name: part for name, part in named_tensors(like)}
    if set(found) != set(wanted):
        raise ValueError(f"{path} holds the state of another backbone than {backbone.name}; build the same one")
    return _restore(like, found, "state")


def _restore(like: Any, found: dict[str, Tensor], name: str) -> Any:
    if isinstance(like, Tensor):
        part = torch.view_as_complex(found[name + COMPLEX_SUFFIX]) if like.is_complex() else found[name]
        return part.to(like.device)
    parts = [_restore(part, found, f"{name}.{number}") for number, part in enumerate(like)]
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)

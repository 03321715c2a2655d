"""Arrays of an .npz file, checked before anything computes with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from geofold.errors import InputFileError

LARGEST = 4 << 30
"""Bytes that the arrays of one file may hold once they are unpacked."""
INTEGERS, FLOATS, TEXT = "iu", "f", "U"
"""Kinds of numpy data types."""

Field = tuple[str, tuple[int | str, ...]]
"""Kinds of an array's data type, and its shape; sizes that are named alike in two arrays have to be equal."""


def read_arrays(
    path: str | Path,
    fields: Mapping[str, Field],
    *,
    optional: tuple[str, ...] = (),
    content: str,
    expected: str,
    remedy: str,
) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file by their names.

    Parameters
    ----------
    path : str or Path
        The file.
    fields : mapping of str to Field
        Kinds and shape of each array.
    optional : tuple of str
        Names of `fields` that the file may leave out.
    content, expected, remedy : str
        Parts of the message: content of the file, the expected file, and the remedy.

    Raises
    ------
    InputFileError
        If the file is missing or no .npz, is cut off or too large, or lacks one of the arrays in this form.
    """
    try:
        return _checked(_unpacked(Path(path), fields, optional), fields)
    except Exception as error:  # a damaged archive raises whatever zipfile, zlib, ast or numpy stumble over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputFileError(f"{path} holds no {content} ({reason})", expected, remedy) from None


def _unpacked(path: Path, fields: Mapping[str, Field], optional: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    if not path.exists():
        raise ValueError("there is no such file")
    if not path.is_file() or not is_zipfile(path):
        raise ValueError("it is no .npz file, or it is cut off")
    with ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST:
            raise ValueError(f"{size} bytes unpacked, more than {LARGEST}")
    with np.load(path, allow_pickle=False) as file:
        missing = [name for name in fields if name not in file.files and name not in optional]
        if missing:
            raise ValueError(f"it has no array {', '.join(missing)}")
        return {name: file[name] for name in fields if name in file.files}


def _checked(arrays: dict[str, NDArray[Any]], fields: Mapping[str, Field]) -> dict[str, NDArray[Any]]:
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        kinds, shape = fields[name]
        wanted = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in shape)
        fits = array.ndim == len(wanted) and all(
            isinstance(size, str) or size == has for size, has in zip(wanted, array.shape, strict=True)
        )
        if array.dtype.kind not in kinds or not fits:
            text = f"({', '.join(map(str, wanted))})"
            raise ValueError(f"{name} has shape {array.shape} and type {array.dtype}, not {text} of kind {kinds}")
        sizes |= {size: has for size, has in zip(shape, array.shape, strict=True) if isinstance(size, str)}
    return arrays

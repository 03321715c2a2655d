"""The content of a file as text: gzipped or not, in one of three encodings, up to a size."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

from geofold.errors import InputFileError

MOST_BYTES = 512 * 2**20
"""Of a file, and of what a gzip file unpacks to: more than six million atoms."""
CHUNK = 2**20
EXPECTED = "text in PDB or mmCIF format"


def load(path: Path, label: str) -> bytes:
    """Bytes of a file, at most one more than `MOST_BYTES`.

    Raises
    ------
    InputFileError
    """
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        reason = "does not exist"
    except IsADirectoryError:
        reason = "is a folder"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise InputFileError(f"{label} {reason}", "a file in PDB or mmCIF format", "check the path")


def decode(data: bytes, label: str) -> tuple[str, str]:
    """Text, and the encoding that gives the same bytes back.

    Raises
    ------
    InputFileError
        If it is too large, empty, binary or a damaged gzip file.
    """
    if data.startswith(b"\x1f\x8b"):
        try:
            data = _unpack(data, label)
        except (OSError, EOFError, zlib.error) as error:
            raise InputFileError(f"{label} is a damaged gzip file ({error})", EXPECTED, "fetch it again") from error
    _require_size(len(data), label)
    if not data.strip():
        raise InputFileError(f"{label} is empty", EXPECTED, "check how the file was made")
    if b"\0" in data:
        raise InputFileError(f"{label} is binary", EXPECTED, "convert it to PDB or mmCIF")
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def _unpack(data: bytes, label: str) -> bytes:
    """What a gzip file holds; unpacking ends where it becomes too much."""
    chunks, size = list[bytes](), 0
    with gzip.open(io.BytesIO(data)) as file:
        while chunk := file.read(CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            _require_size(size, label)
    return b"".join(chunks)


def _require_size(size: int, label: str) -> None:
    if size > MOST_BYTES:
        raise InputFileError(f"{label} holds more than {MOST_BYTES // 2**20} MB", "a smaller file",
                             "give a file with one model, or a part of it")  # fmt: skip

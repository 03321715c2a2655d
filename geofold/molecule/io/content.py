"""Content of an input file as bytes and as text: plain or gzipped, in one of three encodings, up to a size."""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from pathlib import Path
from typing import IO

from geofold.errors import InputFileError
from geofold.paths import STANDARD

MAX_BYTES = 512 * 2**20
"""Size limit of a file and of what a gzip file unpacks to: room for more than six million atoms."""
CHUNK = 2**20
ENTRY = re.compile(r"[1-9][A-Za-z0-9]{3}|pdb_[A-Za-z0-9]{8}")
"""Code of a PDB entry."""
STRUCTURE = "a file in PDB, mmCIF or BinaryCIF format"


def read_bytes(path: str | Path, label: str, expected: str = STRUCTURE) -> bytes:
    """Bytes of an input file.

    Parameters
    ----------
    path : str or Path
    label : str
        Name of the file in messages.
    expected : str
        What the message says was expected.

    Raises
    ------
    InputFileError
        If the file does not exist, is a folder, is too large, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return read_limited(file, label)
    except FileNotFoundError:
        reason = "does not exist"
    except IsADirectoryError:
        reason = "is a folder"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if reason == "does not exist" and ENTRY.fullmatch(str(path)):
        code = str(path).lower()
        advice = f"download https://files.rcsb.org/download/{code}.cif, and give that file"
        raise InputFileError(f"{label} does not exist, and looks like the code of a PDB entry", expected, advice)
    raise InputFileError(f"{label} {reason}", expected, "check the path")


def content_of(source: str, expected: str = STRUCTURE) -> bytes:
    """Bytes of an input file, or of standard input for ``-``.

    It is read once: a pipe, such as /dev/stdin or a shell's ``<(...)``, is empty the second time.

    Parameters
    ----------
    source : str
        Path, or ``-``.
    expected : str
        What the message says was expected.

    Raises
    ------
    InputFileError
        If it cannot be read or is too large.
    """
    if source != STANDARD:
        return read_bytes(source, source, expected)
    try:
        if sys.stdin is None:
            raise OSError("it is closed")
        return read_limited(sys.stdin.buffer, "standard input")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputFileError(
            f"standard input cannot be read ({reason})", expected, "check where it comes from"
        ) from error


def read_limited(file: IO[bytes], label: str) -> bytes:
    """Bytes of an open file.

    Raises
    ------
    InputFileError
        If there are more than `MAX_BYTES`.
    """
    data = file.read(MAX_BYTES + 1)
    _require_size(len(data), label)
    return data


def unpack(data: bytes, label: str) -> bytes:
    """Content of a file, without the compression of a gzip file.

    Raises
    ------
    InputFileError
        If the file is too large, empty or a damaged gzip file.
    """
    if data.startswith(b"\x1f\x8b"):
        try:
            data = _unpack(data, label)
        except (OSError, EOFError, zlib.error) as error:
            raise InputFileError(f"{label} is a damaged gzip file ({error})", STRUCTURE, "fetch it again") from error
    _require_size(len(data), label)
    if not data.strip():
        raise InputFileError(f"{label} is empty", STRUCTURE, "check how the file was made")
    return data


def decode(content: bytes, label: str) -> tuple[str, str]:
    """Text of an unpacked file, and the encoding that gives the same bytes back.

    Raises
    ------
    InputFileError
        If the file is binary.
    """
    if b"\0" in content:
        raise InputFileError(f"{label} is binary", STRUCTURE, "convert it to PDB or mmCIF")
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _unpack(data: bytes, label: str) -> bytes:
    """Content of a gzip file; unpacking stops at the size limit."""
    chunks, size = list[bytes](), 0
    with gzip.open(io.BytesIO(data)) as file:
        while chunk := file.read(CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            _require_size(size, label)
    return b"".join(chunks)


def _require_size(size: int, label: str) -> None:
    if size > MAX_BYTES:
        raise InputFileError(
            f"{label} holds more than {MAX_BYTES // 2**20} MB",
            "a smaller file",
            "give a file with one model, or a part of it",
        )

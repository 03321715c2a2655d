"""Inputs as bytes, read once: a pipe, such as /dev/stdin or a shell's ``<(...)``, has nothing left the second time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from geofold.app.paths import STANDARD
from geofold.errors import InputFileError

MOST_BYTES = 512 * 2**20
"""Of an input: more than six million atoms."""
STRUCTURE = "a file in PDB or mmCIF format"


def content_of(source: str, expected: str = STRUCTURE) -> bytes:
    """What an input holds, ``-`` being standard input.

    Raises
    ------
    InputFileError
    """
    if source != STANDARD:
        return read_bytes(source, source, expected)
    try:
        if sys.stdin is None:
            raise OSError("it is closed")
        return _limited(sys.stdin.buffer, "standard input")
    except (OSError, ValueError) as error:
        given = f"standard input cannot be read ({_reason(error)})"
        raise InputFileError(given, expected, "check where it comes from") from error


def name_of(source: str | None) -> str | None:
    """What messages and reports call an input; None for standard input."""
    return None if source == STANDARD else source


def read_bytes(path: str | Path, label: str, expected: str = STRUCTURE) -> bytes:
    """Content of an input file, which messages call by its label.

    Raises
    ------
    InputFileError
        If it is not there, is a folder, is too large, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return _limited(file, label)
    except FileNotFoundError:
        reason = "does not exist"
    except IsADirectoryError:
        reason = "is a folder"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({_reason(error)})"
    raise InputFileError(f"{label} {reason}", expected, "check the path")


def _limited(file: IO[bytes], label: str) -> bytes:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputFileError(f"{label} holds more than {MOST_BYTES // 2**20} MB", "a smaller file",
                             "give a file with one model, or a part of it")  # fmt: skip
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

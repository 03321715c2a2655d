"""Inputs as bytes, read once: a pipe, such as /dev/stdin or a shell's ``<(...)``, is empty the second time."""

from __future__ import annotations

import sys

from geofold.errors import InputFileError
from geofold.paths import STANDARD

STRUCTURE = "a file in PDB or mmCIF format"


def content_of(source: str, expected: str = STRUCTURE) -> bytes:
    """Bytes of an input file, or of standard input for ``-``.

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
    from geofold.molecule.io.content import read_bytes, read_limited

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


def name_of(source: str | None) -> str | None:
    """Name of an input in messages and reports; None for standard input."""
    return None if source == STANDARD else source

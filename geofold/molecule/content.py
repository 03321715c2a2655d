"""What an input file holds, as bytes."""

from __future__ import annotations

from pathlib import Path

from geofold.errors import InputFileError


def read_bytes(path: str | Path, label: str, expected: str = "a file in PDB or mmCIF format") -> bytes:
    """Content of an input file, which messages call by its label.

    Raises
    ------
    InputFileError
        If it is not there, is a folder, or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        reason = "does not exist"
    except IsADirectoryError:
        reason = "is a folder"
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    raise InputFileError(f"{label} {reason}", expected, "check the path")

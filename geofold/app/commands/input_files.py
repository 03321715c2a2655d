"""The files of a command: inputs read once, outputs refused before the run. Heavy libraries are imported inside."""

from __future__ import annotations

from collections.abc import Sequence

from geofold.app.paths import STANDARD, require_apart, require_writable
from geofold.app.streams import received


def require_outputs(outputs: Sequence[str], inputs: dict[str, str]) -> None:
    """Refuse outputs that cannot be written, or that are an input.

    Parameters
    ----------
    inputs : dict of str to str
        Paths that are read, by what they are.

    Raises
    ------
    OutputError
    """
    for path in outputs:
        require_writable(path)
    require_apart(outputs, inputs)


def content_of(source: str) -> bytes:
    """What an input holds. It is read once: a pipe, such as /dev/stdin or a shell's <(...), has nothing left then.

    Raises
    ------
    InputFileError
    """
    if source == STANDARD:
        return received()
    from geofold.molecule.io.content import read_bytes

    return read_bytes(source, source)


def name_of(source: str | None) -> str | None:
    """What messages and reports call an input; None for standard input."""
    return None if source == STANDARD else source

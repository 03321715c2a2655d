"""Where names become paths: whether an output can be written there, and whether two names are one file.

Names are compared by what they resolve to, links followed: device and inode of a file that exists, those of its folder
and its name for one that does not. A run looks at all its names before it begins.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geofold.errors import OutputError

STANDARD = "-"
"""Standard input as an input, standard output as an output."""
LONGEST_NAME = 240
"""Bytes of an output's name: file systems take 255, and the temporary name beside it is 15 longer."""
LONGEST_PATH = 4000
"""Bytes of an output's path; Linux takes 4096."""


def require_writable(path: str) -> None:
    """Refuse an output that cannot be written, before a long run.

    Raises
    ------
    OutputError
    """
    if path == STANDARD:
        return
    if not path or "\0" in path:
        raise OutputError(f"output {path!r}", "a file name", "give another name")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"output {path} cannot be written ({reason})", "a place you may write to",
                          "choose another place") from error  # fmt: skip
    real = Path(os.path.realpath(path))
    if mode is not None and stat.S_ISDIR(mode):
        example = Path(path) / "out.pdb"
        raise OutputError(f"output {path} is a folder", "a file name", f"write to {example}, for example")
    if len(os.fsencode(real.name)) > LONGEST_NAME or len(os.fsencode(real)) > LONGEST_PATH:
        given = f"output {path}: a name of {len(os.fsencode(real.name))} bytes, a path of {len(os.fsencode(real))}"
        raise OutputError(given, f"at most {LONGEST_NAME} and {LONGEST_PATH}", "choose a shorter name")
    if not real.parent.is_dir():
        link = f", where it links to {real}" if os.path.islink(path) else ""
        raise OutputError(f"output {path}{link}: there is no folder {real.parent}", "an existing folder",
                          "make it first")  # fmt: skip
    regular = mode is None or stat.S_ISREG(mode)
    if (mode is not None and (stat.S_ISSOCK(mode) or not os.access(path, os.W_OK))) or (
        regular and not os.access(real.parent, os.W_OK | os.X_OK)
    ):
        raise OutputError(f"output {path} cannot be written", "a place you may write to", "choose another place")


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


def require_apart(outputs: Iterable[str], inputs: Mapping[str, str] | None = None) -> None:
    """Refuse two outputs that are one file, and an output that is an input.

    Parameters
    ----------
    outputs : iterable of str
        Paths that are written, ``-`` for standard output.
    inputs : mapping of str to str
        Paths that are read, by what they are ("input", "report"); ``-`` for standard input.

    Raises
    ------
    OutputError
    """
    read: dict[Hashable, tuple[str, str]] = {}
    for what, path in (inputs or {}).items():
        if _is_regular(path):
            read[identity(path, sys.stdin)] = (what, path)
    written: dict[Hashable, str] = {}
    for path in outputs:
        key = identity(path, sys.stdout)
        if key is None:
            continue
        if key in read:
            what, other = read[key]
            given = f"output {path} is the {what}" + (f" {other} under another name" if other != path else "")
            raise OutputError(given, "a file of its own for each output", "choose another name for the output")
        if key in written:
            given = f"the same output twice ({written[key]}, {path})"
            raise OutputError(given, "a file of its own for each", "rename one")
        written[key] = path


def _is_regular(path: str) -> bool:
    """Whether an input is a file that an output could replace, and no pipe or terminal."""
    try:
        return stat.S_ISREG((os.fstat(sys.stdin.fileno()) if path == STANDARD else os.stat(path)).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def identity(path: str, standard: Any = None) -> Hashable | None:
    """What a path stands for, equal for all names of one file; None for a device such as /dev/null, which many share.

    Parameters
    ----------
    standard
        The stream that ``-`` stands for.
    """
    try:
        status = os.fstat(standard.fileno()) if path == STANDARD else os.stat(path)
        shared = stat.S_ISCHR(status.st_mode)
        return (status.st_dev, status.st_ino) if not shared else STANDARD if path == STANDARD else None
    except (OSError, ValueError, AttributeError):  # it is not there yet, is no name, or is a stream without a file
        if path == STANDARD:
            return STANDARD
    folder, name = os.path.split(os.path.realpath(path.replace("\0", "")))
    try:
        status = os.stat(folder)
    except OSError:
        return os.path.join(folder, name)
    return status.st_dev, status.st_ino, name

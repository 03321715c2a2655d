"""Checks of paths: whether an output can be written, and whether two names are the same file; names of further models.

Names are compared by what they resolve to, links followed: device and inode of an existing file; device and inode of
the folder, and the name, of a new one. A run checks all its paths before it starts.
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
"""Path of standard input (as an input) or of standard output (as an output)."""
LONGEST_NAME = 240
"""Maximum bytes of an output's file name: file systems allow 255, and the temporary name is 15 longer."""
LONGEST_PATH = 4000
"""Maximum bytes of an output's path; Linux allows 4096."""


def require_writable(path: str) -> None:
    """Refuse an output that cannot be written, before a long run.

    Raises
    ------
    OutputError
        If the path is empty, a folder, too long, in a missing folder or not writable.
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
        raise OutputError(
            f"output {path} cannot be written ({reason})", "a place you may write to", "choose another place"
        ) from error
    real = Path(os.path.realpath(path))
    if mode is not None and stat.S_ISDIR(mode):
        example = Path(path) / "out.pdb"
        raise OutputError(f"output {path} is a folder", "a file name", f"write to {example}, for example")
    if len(os.fsencode(real.name)) > LONGEST_NAME or len(os.fsencode(real)) > LONGEST_PATH:
        given = f"output {path}: a name of {len(os.fsencode(real.name))} bytes, a path of {len(os.fsencode(real))}"
        raise OutputError(given, f"at most {LONGEST_NAME} and {LONGEST_PATH}", "choose a shorter name")
    if not real.parent.is_dir():
        link = f", where it links to {real}" if os.path.islink(path) else ""
        raise OutputError(
            f"output {path}{link}: there is no folder {real.parent}", "an existing folder", "make it first"
        )
    regular = mode is None or stat.S_ISREG(mode)
    if (mode is not None and (stat.S_ISSOCK(mode) or not os.access(path, os.W_OK))) or (
        regular and not os.access(real.parent, os.W_OK | os.X_OK)
    ):
        raise OutputError(f"output {path} cannot be written", "a place you may write to", "choose another place")


def require_outputs(outputs: Sequence[str], inputs: dict[str, str]) -> None:
    """Refuse outputs that cannot be written or that would replace an input.

    Parameters
    ----------
    outputs : sequence of str
        Paths to write, ``-`` for standard output.
    inputs : dict of str to str
        Paths to read, by their role ("input", "report").

    Raises
    ------
    OutputError
        If an output cannot be written, is named twice or is an input.
    """
    for path in outputs:
        require_writable(path)
    require_apart(outputs, inputs)


def require_apart(outputs: Iterable[str], inputs: Mapping[str, str] | None = None) -> None:
    """Refuse two outputs that are the same file, and an output that is an input.

    Parameters
    ----------
    outputs : iterable of str
        Paths to write, ``-`` for standard output.
    inputs : mapping of str to str, optional
        Paths to read, by their role ("input", "report"); ``-`` for standard input.

    Raises
    ------
    OutputError
        If two paths resolve to one file.
    """
    read: dict[Hashable, tuple[str, str]] = {}
    for role, path in (inputs or {}).items():
        if _is_regular(path):
            read[identity(path, sys.stdin)] = (role, path)
    written: dict[Hashable, str] = {}
    for path in outputs:
        key = identity(path, sys.stdout)
        if key is None:
            continue
        if key in read:
            role, source = read[key]
            given = f"output {path} is the {role}" + (f" {source} under another name" if source != path else "")
            raise OutputError(given, "a file of its own for each output", "choose another name for the output")
        if key in written:
            given = f"the same output twice ({written[key]}, {path})"
            raise OutputError(given, "a file of its own for each", "rename one")
        written[key] = path


def _is_regular(path: str) -> bool:
    """Whether an input is a regular file, which an output could replace, rather than a pipe or a terminal."""
    try:
        return stat.S_ISREG((os.fstat(sys.stdin.fileno()) if path == STANDARD else os.stat(path)).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def identity(path: str, standard: Any = None) -> Hashable | None:
    """Key of the file that a path resolves to, equal for all names of one file.

    Parameters
    ----------
    path : str
        Path, existing or not; ``-`` for the stream `standard`.
    standard : file object, optional
        `sys.stdin` or `sys.stdout`.

    Returns
    -------
    hashable or None
        None for a device such as /dev/null, which several outputs may share.
    """
    try:
        status = os.fstat(standard.fileno()) if path == STANDARD else os.stat(path)
        shared = stat.S_ISCHR(status.st_mode)
        return (status.st_dev, status.st_ino) if not shared else STANDARD if path == STANDARD else None
    except (OSError, ValueError, AttributeError):  # a new file, an invalid name, or a stream without a file
        if path == STANDARD:
            return STANDARD
    folder, name = os.path.split(os.path.realpath(path.replace("\0", "")))
    try:
        status = os.stat(folder)
    except OSError:
        return os.path.join(folder, name)
    return status.st_dev, status.st_ino, name


def name_of(source: str | None) -> str | None:
    """Return the name of an input for messages and reports; None for standard input."""
    return None if source == STANDARD else source


def numbered(path: str, rank: int) -> str:
    """Insert a model's rank into a name: ``fixed.pdb`` becomes ``fixed.2.pdb``, ``a.cif.gz`` ``a.2.cif.gz``."""
    packed = ".gz" if path.lower().endswith(".gz") else ""
    stem, ending = os.path.splitext(path[: len(path) - len(packed)])
    return f"{stem}.{rank}{ending}{path[len(path) - len(packed) :]}"

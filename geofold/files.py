"""Atomic writing of output files.

A set of outputs is written under temporary names in the target folders and renamed at the end; an error before that
(disk full, Ctrl-C) leaves no new and no changed file. A killed run leaves its temporary files, and the next run that
writes the same output removes them; those of a running process are locked.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from geofold.errors import OutputError
from geofold.paths import STANDARD
from geofold.streams import deliver


def write_all(outputs: Mapping[str, bytes]) -> None:
    """Write every output or none.

    Devices, pipes and standard output, which cannot be undone, are written once all files are on disk under their
    temporary names and before the first of them is renamed.

    Parameters
    ----------
    outputs : mapping of str to bytes
        Content by path. ``-`` is standard output; the content of a path that ends in .gz is compressed.

    Raises
    ------
    OutputError
        If any of them cannot be written.
    """
    ready: list[tuple[str, str]] = []
    with ExitStack() as written:
        try:
            direct = [path for path in outputs if path != STANDARD and _is_device(path)]
            for path, content in outputs.items():
                if path != STANDARD and path not in direct:
                    ready.append((written.enter_context(_temporary_copy(path, content)), path))
            for path in direct:
                with open(path, "wb") as device:
                    device.write(outputs[path])
            if STANDARD in outputs:
                deliver(outputs[STANDARD])
            for temporary, path in ready:
                os.replace(temporary, os.path.realpath(path))  # a link stays a link
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"output {error.filename or ', '.join(outputs)} cannot be written ({reason})",
                "room and permission to write",
                "free space or choose another place",
            ) from error


def write_atomically(path: Path, write: Callable[[str], Any]) -> None:
    """Write one file by a function that takes a file name; the file appears complete or not at all.

    Parameters
    ----------
    path : Path
        Target; an existing file is replaced.
    write : callable
        Called with the name of a temporary file in the same folder.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    try:
        write(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write compressed arrays (.npz); the file appears complete or not at all."""

    def save(name: str) -> None:
        with open(name, "wb") as file:
            np.savez_compressed(file, **arrays)

    write_atomically(path, save)


def remove_leftovers(path: str) -> None:
    """Remove the temporary files of killed runs for a target; those of running processes stay."""
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        with suppress(OSError), open(temporary, "rb") as file:  # a file that we may not remove stays
            if _lock(file):
                temporary.unlink(missing_ok=True)


def encoded(text: str) -> bytes:
    """Encode text as UTF-8; a lone surrogate, as in a file name that is not UTF-8, is escaped as in JSON."""
    return text.encode("utf-8", "backslashreplace")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a temporary folder that is removed on leaving the context.

    Raises
    ------
    OutputError
        If no folder for temporary files is writable.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="geofold-")
    except OSError as error:
        raise OutputError(
            f"no folder for temporary files ({error.strerror or error})",
            "one that can be written to",
            "set TMPDIR to one",
        ) from error
    with folder as name:
        yield Path(name)


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON Lines file; incomplete lines, as a killed run leaves them, are skipped."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _is_device(path: str) -> bool:
    """Whether a path is a pipe or device, which is written to rather than replaced by a file."""
    return Path(path).exists() and not Path(path).is_file()


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed; False if it cannot be locked or another process holds the lock."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # this system has no such locks, or another run holds it
        return False
    return True


@contextmanager
def _temporary_copy(path: str, content: bytes) -> Iterator[str]:
    """Write a locked temporary file in the target's folder and yield its name; it is removed unless it was renamed."""
    target = Path(path)
    if target.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    real = Path(os.path.realpath(path))
    remove_leftovers(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", suffix=".part", dir=real.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _lock(file)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            mode = target.stat().st_mode if target.exists() else 0o666 & ~_umask()
            os.chmod(temporary, mode & 0o777)
            yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

"""Files that are written atomically: complete or not at all.

Contents go to temporary files in the folder of their target, which are renamed at the end. An error before that (disk
full, Ctrl-C) leaves no new file and changes no existing one.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geofold.errors import OutputError

STANDARD = "-"


def require_writable(path: str) -> None:
    """Raise early, before a long run, if an output cannot be written.

    Raises
    ------
    OutputError
        If the path is a folder, or its folder is missing or write-protected.
    """
    if path == STANDARD or (Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()):
        return
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise OutputError(f"output {path} is a folder", "a file name", f"write to {target / 'out.pdb'}, for example")
    if not folder.is_dir():
        raise OutputError(f"output {path}: there is no folder {folder}", "an existing folder", "make it first")
    if not os.access(folder, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise OutputError(f"output {path} cannot be written", "a place you may write to", "choose another place")


def write_all(outputs: Mapping[str, bytes]) -> None:
    """Write every output or none.

    Contents of names that end in .gz are compressed; ``-`` is standard output and is written last.

    Raises
    ------
    OutputError
        If any of them cannot be written.
    """
    ready: list[tuple[str, str]] = []
    try:
        direct = [path for path in outputs if path != STANDARD and _is_device(path)]
        for path, content in outputs.items():
            if path != STANDARD and path not in direct:
                ready.append((_written_beside(path, content), path))
        for path in direct:
            with open(path, "wb", buffering=0) as device:
                device.write(outputs[path])
        while ready:
            temporary, path = ready[0]
            os.replace(temporary, os.path.realpath(path))  # a link stays a link
            ready.pop(0)
        if STANDARD in outputs:
            sys.stdout.buffer.write(outputs[STANDARD])
            sys.stdout.buffer.flush()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"output {error.filename or ', '.join(outputs)} cannot be written ({reason})",
            "room and permission to write",
            "free space or choose another place",
        ) from error
    finally:
        for temporary, _ in ready:
            Path(temporary).unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[str], Any]) -> None:
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

    write_whole(path, save)


def remove_leftovers(path: str) -> None:
    """Delete the temporary files that an interrupted run left in the folder of a target."""
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        temporary.unlink(missing_ok=True)


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object per line; incomplete lines of an interrupted run are skipped."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _is_device(path: str) -> bool:
    """A pipe or device must be written to, not replaced by a file."""
    return Path(path).exists() and not Path(path).is_file()


def _written_beside(path: str, content: bytes) -> str:
    target = Path(path)
    if target.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    real = Path(os.path.realpath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", suffix=".part", dir=real.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = target.stat().st_mode if target.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode & 0o777)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return temporary


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

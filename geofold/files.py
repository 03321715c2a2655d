"""Files that appear whole or not at all.

A set of outputs is written beside its targets under temporary names and renamed at the end; whatever goes
wrong before that (disk full, Ctrl-C) leaves nothing behind and nothing changed.
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geofold.errors import OutputError

STANDARD = "-"


def require_writable(path: str) -> None:
    """Complain early about an output that cannot be written, before a long run.

    Raises
    ------
    OutputError
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
    """Write every output or none; a name ending in .gz is compressed; ``-`` is standard output, written last.

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


def remove_leftovers(path: str) -> None:
    """What a killed run left beside a target: its temporary files, of which nobody will ask again."""
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        temporary.unlink(missing_ok=True)


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Objects of a file that holds one a line; what a kill cut short is left out."""
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

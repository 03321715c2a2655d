"""Compiling the kernels once per machine, loading them, and the choice between them and the plain functions.

The C sources are in ``source/``. The first use compiles them (about two seconds) into the user's cache, under a name
that depends on the sources, the options and the processor; later uses load that file. Without a compiler, or without
a place to write, the plain functions run: slower, with the same results except for rounding. ``GEOFOLD_KERNELS=plain``
forces this.

There is one thread and no relaxed arithmetic: on one machine the same input gives the same bits, and a row of a batch
those of the row alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geofold.kernels.structures import KINDS, Structure, pointer

SOURCE = Path(__file__).resolve().parent / "source"
VARIABLE = "GEOFOLD_KERNELS"
"""Environment variable that forces the plain functions if it is `PLAIN`."""
PLAIN = "plain"
OPTIONS = ("-O3", "-fPIC")
VECTORISED = {name: ("-fno-math-errno", "-fno-trapping-math") for name in ("born.c", "judge.c", "score.c", "window.c")}
"""Options of single sources. They relax no arithmetic, but allow vector instructions for roots and choices."""
NATIVE = "-march=native"
"""Option for the instructions of this processor; left out if the compiler refuses it."""
NO_MEMORY = 1
"""Status of a kernel without memory for its work space."""
TIMEOUT = 60
"""Time (s) after which a compiler is given up."""
SIGNATURES = {
    "decode": "ppiiddppppppppp",
    "tangent": "ppipppp",
    "expand": "p",
    "push": "pipp",
    "pull": "pipp",
    "bend": "ppp",
    "gram": "ppip",
    "clashes": "pipiipipppiippppipppip",
    "displaced": "ipiippd",
    "ramachandran": "piippidppipi",
    "contacts": "pipidpppi",
    "peptide_features": "piipppppdp",
    "dense_average": "iiidpppp",
    "dense_factor": "iiddpppp",
    "dense_solve": "iippp",
    "weigh": "iiipippp",
    "squared_length": "iiiipippppp",
    "learned_gate": "iiippppppppp",
    "stream_step": "pippppp",
    "stiff_contacts": "pipidiip",
    "born_single": "pippp",
    "born_double": "pippp",
    "score_single": "pipp",
    "score_double": "pipp",
    "judge_single": "pipp",
    "judge_double": "pipp",
    "window_single": "piidpppppppp",
    "window_double": "piidpppppppp",
}
"""Arguments of the kernels, see `geofold.kernels.structures.KINDS`."""


class _Choice:
    """Whether the plain functions are forced for a while, see `plain`."""

    plain = os.environ.get(VARIABLE, "").strip().lower() == PLAIN


@cache
def library() -> ctypes.CDLL | None:
    """Compiled kernels, or None if they cannot be compiled or loaded here."""
    sources = sorted(SOURCE.glob("*.[ch]"))
    for folder in _folders():
        target = folder / f"kernels-{_key(sources)}.so"
        loaded = _load(target) or (_load(target) if _compile(sources, target) else None)
        if loaded is not None:
            return loaded
    return None


def usable(*tensors: Tensor, dtype: torch.dtype = torch.float64) -> bool:
    """Whether a kernel may replace a plain function: no gradient is recorded, and all is of a type and on the CPU."""
    if torch.is_grad_enabled():
        return False
    return all(t.dtype is dtype and t.device.type == "cpu" for t in tensors) and available()


def available() -> bool:
    """Whether there are kernels, and the plain functions are not forced."""
    return not _Choice.plain and library() is not None


@contextmanager
def plain() -> Iterator[None]:
    """Run the plain functions inside a ``with`` block."""
    before, _Choice.plain = _Choice.plain, True
    try:
        yield
    finally:
        _Choice.plain = before


def call(name: str, *arguments: Tensor | Structure | ctypes.Array[Any] | float | None) -> int:
    """Call a kernel.

    Parameters
    ----------
    name : str
        One of `SIGNATURES`.
    *arguments : Tensor, Structure, array, float or None
        Numbers, and tensors, structures or arrays whose addresses are passed. Tensors have to be contiguous.

    Returns
    -------
    int
        Status of the kernel, whose meaning is its own unless it is `NO_MEMORY`.

    Raises
    ------
    MemoryError
        If the kernel found no memory for its work space.
    """
    plain_arguments = [a if isinstance(a, int | float) else pointer(a) for a in arguments]
    status: int = getattr(library(), name)(*plain_arguments)
    if status == NO_MEMORY:
        raise MemoryError(f"the kernel {name} found no memory for its work space")
    return status


def _load(path: Path) -> ctypes.CDLL | None:
    """Load a library; None if it is not there, or damaged."""
    try:
        loaded = ctypes.CDLL(str(path)) if path.exists() else None
    except OSError:
        return None
    for name, signature in SIGNATURES.items() if loaded is not None else ():
        function = getattr(loaded, name)
        function.argtypes, function.restype = [KINDS[kind] for kind in signature], ctypes.c_int
    return loaded


def _key(sources: list[Path]) -> str:
    """Name of the library: it changes with the sources, the options, and the instructions of the processor."""
    text = [path.read_bytes() for path in sources]
    text += [" ".join((*OPTIONS, repr(VECTORISED), platform.machine(), platform.system(), _instructions())).encode()]
    return hashlib.sha256(b"\0".join(text)).hexdigest()[:16]


def _instructions() -> str:
    """Instruction sets of the processor where the system gives them, otherwise its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), platform.processor())


def _folders() -> Iterator[Path]:
    """Folders for the library: the user's cache, else one of the user's own among temporary files."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    for folder in (
        Path(base) if os.path.isabs(base) else Path.home() / ".cache",
        Path(tempfile.gettempdir()) / f"geofold-{getattr(os, 'getuid', lambda: 0)()}",
    ):
        try:
            place = folder / "geofold"
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(place, os.W_OK) and _is_private(place):
                yield place
        except (OSError, RuntimeError):
            continue


def _is_private(folder: Path) -> bool:
    """Whether no one else can put a file into a folder from which a library is loaded."""
    if os.name != "posix":
        return True
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compile(sources: list[Path], target: Path) -> bool:
    """Compile the library, whole or not at all; whether it worked."""
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return False
    files = [path for path in sources if path.suffix == ".c"]
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder, ThreadPoolExecutor() as pool:
            whole, parts = Path(folder) / "kernels.so", [Path(folder) / f"{path.stem}.o" for path in files]

            def translate(source: Path, part: Path) -> bool:
                options = (*OPTIONS, *VECTORISED.get(source.name, ()), "-c", str(source), "-o", str(part))
                return _run(compiler, *options, NATIVE) or _run(compiler, *options)

            done = all(pool.map(translate, files, parts))
            if done and _run(compiler, "-shared", *map(str, parts), "-o", str(whole), "-lm"):
                os.replace(whole, target)
                return True
    except (OSError, subprocess.SubprocessError):
        return False
    return False


def _run(*command: str) -> bool:
    """Run a command in silence; whether it succeeded."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    return done.returncode == 0

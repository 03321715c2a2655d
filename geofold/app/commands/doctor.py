"""The command `doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from importlib import metadata

import typer

from geofold import __version__
from geofold.app.commands.console import user_errors
from geofold.streams import say

REQUIRED = ("torch", "openmm", "pdbfixer", "mdtraj", "biopython", "numpy", "scipy", "py3Dmol", "typer", "rich")
EXTRAS = {
    "bcif": (("biotite",), "BinaryCIF files"),
    "notebook": (("ipywidgets",), "the steering panel in notebooks"),
    "density": (("gemmi",), "density maps"),
    "toolkits": (("MDAnalysis", "biotite", "gemmi", "pymol"), "objects of other programs, PyMOL commands"),
    "maze": (("gymnasium", "matplotlib", "PIL"), "the maze and its pictures"),
    "cluster": (("dask", "distributed", "dask_jobqueue", "filelock"), "batches on a cluster"),
    "bench": (("matplotlib", "e3nn", "sklearn"), "benchmarks and rivals"),
}
"""Modules of each extra of the package, and what they are for."""


def doctor() -> None:
    """List versions, threads and optional parts; exit 1 if a required package is missing."""
    with user_errors():
        missing = [name for name in REQUIRED if _version(name) is None]
        say("\n".join([*_machine(), "", *_packages(), "", *_extras()]))
        if missing:
            say(f"geofold: {', '.join(missing)} missing; run pip install --force-reinstall geofold", err=True)
            raise typer.Exit(1)


def _machine() -> list[str]:
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    return [
        f"geofold {__version__}",
        f"  {'Python':<12}{platform.python_version()} ({sys.executable})",
        f"  {'system':<12}{platform.system()} {platform.release()}, {platform.machine()}",
        f"  {'cores':<12}{os.cpu_count()} (OMP_NUM_THREADS {threads}; one thread is used for each run)",
        f"  {'GPU':<12}{_gpu()}",
        f"  {'OpenMM':<12}platforms: {_openmm_platforms()}",
    ]


def _packages() -> list[str]:
    return ["Packages", *(f"  {name:<12}{_version(name) or 'MISSING'}" for name in REQUIRED)]


def _extras() -> list[str]:
    lines = ["Optional parts"]
    for extra, (modules, purpose) in EXTRAS.items():
        lacking = [module for module in modules if importlib.util.find_spec(module) is None]
        state = "installed" if not lacking else f"pip install 'geofold[{extra}]'  ({', '.join(lacking)} missing)"
        lines.append(f"  {extra:<12}{purpose}: {state}")
    node = "found" if shutil.which("npm") else "not found"
    return [*lines, f"  {'npm':<12}for pages that need no network (--offline): {node}"]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _gpu() -> str:
    if _version("torch") is None:
        return "unknown without torch"
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none that PyTorch can use (none is needed)"


def _openmm_platforms() -> str:
    if _version("openmm") is None:
        return "unknown without openmm"
    import openmm

    return ", ".join(openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms()))

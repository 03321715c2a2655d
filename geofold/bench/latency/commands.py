"""CPU time of whole commands, each in a process of its own: start, work and output included."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from geofold import resources

COMMANDS = {
    "repair_cpu_seconds": ("repair", "1ubi_bent.pdb", "--loop", "A:45-56", "-o", "repaired.pdb"),
    "check_seconds": ("check", "1pwc.pdb"),
}
"""Commands by the names of their metrics; the second word is a shipped structure, and output goes to a new folder."""


def measure_commands() -> dict[str, float]:
    """Measure the CPU time (s) of each of `COMMANDS`, on one thread."""
    return {name: measure_command(arguments) for name, arguments in COMMANDS.items()}


def measure_command(arguments: Sequence[str]) -> float:
    """Measure the CPU time (s), of user and system, of one command of geofold.

    Parameters
    ----------
    arguments : sequence of str
        Command, shipped structure, and further arguments.

    Raises
    ------
    subprocess.CalledProcessError
        If the command fails.
    """
    command, structure, *others = arguments
    path = Path(structure) if Path(structure).is_absolute() else resources.find("structures", structure)
    program = [sys.executable, "-m", "geofold", command, str(path), *others]
    with tempfile.TemporaryDirectory() as folder:
        before = os.times()
        search_path = os.pathsep.join([str(resources.PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search_path}
        subprocess.run(program, cwd=folder, env=environment, check=True, capture_output=True)
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system

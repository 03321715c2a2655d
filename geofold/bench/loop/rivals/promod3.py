"""ProMod3's Monte Carlo loop modelling (Debian packages promod3 and promod3-data, 3.2.1) as a rival.

It needs the system's Python and runs in a process of its own. Its fragments and structure database are not used,
because they contain benchmark proteins. Each step of a trajectory draws phi and psi of one residue from ProMod3's coil
statistics, closes the loop, and is accepted or not by ProMod3's fast scores during cooling. Among the candidates, one
per trajectory, its backbone scores choose; its side-chain reconstruction completes the best, all other side chains
fixed.

Two things differ from its FillLoopsByMonteCarlo, which extends the loop until a closure is found: the anchors stay
fixed, and so does the oxygen of the residue before the loop, whose psi is fixed for that purpose. Waters, ligands and
ions are not part of its scores and are left out.

Surroundings of the native: backbone RMSD (A) of the median candidate, of the best, and of the choice by backbone scores
or by backbone and all-atom scores; CPU seconds:

    loop                 trajectories x steps    median    best    backbone    all-atom    CPU s
    1pwc A:80-91 (12)          24 x 3000           5.6      2.8       4.6         4.6        18
                               72 x 1000           6.4      2.6       8.5         8.5        15
    2cvi A:30-40 (11)          24 x 3000           9.3      5.9       7.6         9.9        16
    1orc, 8 residues           24 x 3000           4.1      2.1       4.1         3.4        14

The scores correlate weakly with RMSD (0.1 to 0.5), all-atom scores no better. Trajectories are as long as ProMod3's
default. The defaults took 25 CPU seconds for 1ubi A:45-52 (2.3 A).
"""

from __future__ import annotations

import functools
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofold.bench.loop.rivals.modelled_loop import ModelledLoop, Stopwatch, insert_loop
from geofold.errors import BuildError, OptionError
from geofold.geometry import dihedral_of_points
from geofold.molecule.loop.build_plan import STANDARD, BuildPlan
from geofold.molecule.residues import one_letter_code
from geofold.molecule.structure import Mask, Structure

SCRIPT = Path(__file__).with_name("promod3_script.py")
PYTHONS = ("/usr/bin/python3", "python3")
TRAJECTORY_COUNT, TRAJECTORY_STEPS = 30, 5000
TERMINAL_PHI, TERMINAL_PSI = math.radians(-60.0), math.radians(-45.0)
"""Torsions (radian) that ProMod3 assumes at the end of a chain."""


def build_missing(
    structure: Structure,
    build: BuildPlan,
    *,
    altloc: str | None = None,
    seed: int = 0,
    trajectories: int = TRAJECTORY_COUNT,
    steps: int = TRAJECTORY_STEPS,
) -> ModelledLoop:
    """Build a loop by Monte Carlo.

    Parameters
    ----------
    structure : Structure
        Lacks the loop, or has residues `build.removed`, which are replaced.
    build : BuildPlan
        Anchors, numbers and names of the loop's residues.
    altloc : str or None
        Conformer; see `Structure.conformer`.
    seed : int
        Seed of the trajectories.
    trajectories, steps : int
        Number of trajectories, and steps of each.

    Raises
    ------
    OptionError
        If ProMod3 is not installed.
    BuildError
        If no trajectory can be closed, or ProMod3 fails.
    AltlocError
        As `Structure.conformer` does.
    """
    stopwatch = Stopwatch()
    task = make_task(structure, build, structure.conformer(altloc))
    task |= {"seed": seed, "trajectories": trajectories, "steps": steps}
    run = subprocess.run(
        [find_python(PYTHONS), "-I", str(SCRIPT)], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if run.returncode:
        reason = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]
        raise BuildError(
            f"ProMod3 cannot build {build.label} of {structure.source} ({reason})",
            "a loop that it can close",
            "try another seed, or leave this rival out",
        )
    residues = [
        [(name, element.upper(), np.array(place) / 10) for name, element, place in atoms]
        for atoms in json.loads(run.stdout.splitlines()[-1])["residues"]
    ]
    return insert_loop(structure, build, residues, stopwatch, "ProMod3")


@functools.cache
def find_python(pythons: tuple[str, ...]) -> str:
    """Return the first Python that can import promod3.

    Raises
    ------
    OptionError
        If none can.
    """
    for python in pythons:
        path = shutil.which(python)
        if path and not subprocess.run([path, "-I", "-c", "import promod3"], capture_output=True).returncode:
            return path
    raise OptionError(
        "the rival promod3 on a machine without ProMod3",
        f"a Python with promod3 ({', '.join(pythons)})",
        "apt-get install --no-install-recommends promod3 promod3-data, or leave this rival out",
    )


def make_task(structure: Structure, build: BuildPlan, conformer: Mask) -> dict[str, Any]:
    """Make the input of the script, with coordinates in A and torsions in radian.

    `stretches` are the unbroken segments of amino acids, with residues numbered from 1. `stretch`, `before` and
    `sequence` locate the loop (index of its segment, number of the anchor before it, letters with both anchors),
    `letters` are the residues next to the anchors, `phi`, `psi` and `after_psi` the torsions of the anchors.
    """
    segments: list[dict[str, Any]] = []
    loop_at, last = (0, 0), -1
    for k, residue in enumerate(structure.residues):
        name = STANDARD.get(residue.resname, residue.resname)
        if k in build.removed or not structure.is_amino_acid(k) or one_letter_code(name) == "-":
            continue
        spans_loop = (last, k) == (build.before, build.after)
        if not spans_loop and not (last == k - 1 >= 0 and structure.bonded(last, k)):
            segments.append({"residues": [], "sequence": ""})
        segment = segments[-1]
        segment["sequence"] += (build.sequence if spans_loop else "") + one_letter_code(name)
        segment["residues"].append([len(segment["sequence"]), name, _heavy_atoms(structure, k, conformer)])
        loop_at = (len(segments) - 1, len(segment["sequence"])) if k == build.before else loop_at
        last = k
    index, number = loop_at
    letters = segments[index]["sequence"]
    end = number + len(build.names)  # index of the anchor after the loop
    before = [_position(structure, build.before, name, conformer) for name in ("N", "CA", "C", "O")]
    after = [_position(structure, build.after, name, conformer) for name in ("N", "CA", "C")]
    outer = [_position(structure, k, n, conformer) for k, n in ((build.before - 1, "C"), (build.after + 1, "N"))]
    return {
        "stretches": segments,
        "stretch": index,
        "before": number,
        "sequence": letters[number - 1 : end + 1],
        "letters": [letters[number - 2] if number > 1 else "A", letters[end + 1] if end + 1 < len(letters) else "A"],
        "phi": _measure_torsion([outer[0], *before[:3]]) if number > 1 else TERMINAL_PHI,
        # math.remainder subtracts the nearest multiple of a turn at once, which rounds differently from `geometry.wrap`
        "psi": math.remainder(_measure_torsion(before) + math.pi, math.tau),  # the nitrogen is opposite to the oxygen
        "after_psi": _measure_torsion([*after, outer[1]]) if end + 1 < len(letters) else TERMINAL_PSI,
    }


def _heavy_atoms(structure: Structure, k: int, conformer: Mask) -> list[Any]:
    """Heavy atoms of a residue: name, element, coordinates (A)."""
    atoms = structure.residues[k].atoms
    return [
        [str(structure.name[a]), str(structure.element[a]).capitalize(), (10 * structure.xyz[a]).tolist()]
        for a in atoms[conformer[atoms] & ~np.isin(structure.element[atoms], ("H", "D"))]
    ]


def _position(structure: Structure, k: int, name: str, conformer: Mask) -> Any:
    """Coordinates (3,) of an atom in nm, NaN if it is missing."""
    atom = structure.atom(k, name, conformer) if 0 <= k < len(structure.residues) else None
    return np.full(3, np.nan) if atom is None else structure.xyz[atom]


def _measure_torsion(points: list[Any]) -> float:
    return float(dihedral_of_points(torch.as_tensor(np.array(points))))

"""ProMod3's Monte Carlo loop modelling, as Debian packages it (promod3 and promod3-data, 3.2.1).

It needs the system's Python and runs as a process of its own. Its fragments and its structure database are not used:
they contain benchmark proteins. In each step of `TRAJECTORIES` one residue's phi and psi are drawn anew from ProMod3's
statistics of coil, the loop is closed, and taken or not by ProMod3's fast scores while it cools. Of the candidates, one
of each, its backbone scores choose, and its side-chain reconstruction finishes the best, all other side chains fixed.

Two things differ from its FillLoopsByMonteCarlo, which takes residues on both sides along until something fits: the
anchors stay, and so does the oxygen of the residue before the loop, whose psi is pinned to it for that. Waters, ligands
and ions are not seen by its scores, and are left out.

Measured in the natives' surroundings: backbone RMSD (A) of the candidates' median, of the best, and of the choice by
backbone or by backbone and all-atom scores; CPU seconds:

    loop                 trajectories x steps    median    best    backbone    all-atom    CPU s
    1pwc A:80-91 (12)          24 x 3000           5.6      2.8       4.6         4.6        18
                               72 x 1000           6.4      2.6       8.5         8.5        15
    2cvi A:30-40 (11)          24 x 3000           9.3      5.9       7.6         9.9        16
    1orc, 8 residues           24 x 3000           4.1      2.1       4.1         3.4        14

The scores hardly tell good from bad (correlation with RMSD 0.1 to 0.5), all-atom ones no better; one comparison is for
longer trajectories, so they are as long as ProMod3's own. The default took 25 CPU seconds for 1ubi A:45-52, 2.3 A.
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

from geofold.bench.loop.rivals.modelled_loop import ModelledLoop, Stopwatch, inserted
from geofold.errors import BuildError, OptionError
from geofold.geometry import dihedral_of_points
from geofold.molecule.loop.build_plan import STANDARD, Build
from geofold.molecule.sidechains.rotamer_library import letter_of
from geofold.molecule.structure import Mask, Structure

SCRIPT = Path(__file__).with_name("promod3_script.py")
PYTHONS = ("/usr/bin/python3", "python3")
TRAJECTORIES, STEPS = 30, 5000
PHI, PSI = math.radians(-60.0), math.radians(-45.0)
"""ProMod3's own for residues at the end of a chain."""


def build_missing(
    structure: Structure, build: Build, *, altloc: str | None = None, seed: int = 0,
    trajectories: int = TRAJECTORIES, steps: int = STEPS,
) -> ModelledLoop:  # fmt: skip
    """Build a loop by Monte Carlo.

    Parameters
    ----------
    structure
        Lacks the loop; residues `build.removed` make room.
    altloc, seed
        Conformer (see `Structure.steering`), and seed of the trajectories.

    Raises
    ------
    OptionError
        Where there is no ProMod3.
    BuildError
        If no trajectory can be closed, or ProMod3 gives up.
    AltlocError
        As `Structure.steering` does.
    """
    watch = Stopwatch()
    task = task_of(structure, build, structure.steering(altloc))
    task |= {"seed": seed, "trajectories": trajectories, "steps": steps}
    run = subprocess.run(
        [interpreter(PYTHONS), "-I", str(SCRIPT)], input=json.dumps(task), capture_output=True, text=True, check=False
    )
    if run.returncode:
        reason = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]
        raise BuildError(
            f"ProMod3 cannot build {build.label} of {structure.source} ({reason})", "a loop that it can close",
            "try another seed, or leave this rival out",
        )  # fmt: skip
    residues = [
        [(name, element.upper(), np.array(place) / 10) for name, element, place in atoms]
        for atoms in json.loads(run.stdout.splitlines()[-1])["residues"]
    ]
    return inserted(structure, build, residues, watch, "ProMod3")


@functools.cache
def interpreter(pythons: tuple[str, ...]) -> str:
    """The first Python that can import promod3.

    Raises
    ------
    OptionError
        If none can.
    """
    for python in pythons:
        found = shutil.which(python)
        if found and not subprocess.run([found, "-I", "-c", "import promod3"], capture_output=True).returncode:
            return found
    raise OptionError(
        "the rival promod3 on a machine without ProMod3", f"a Python with promod3 ({', '.join(pythons)})",
        "apt-get install --no-install-recommends promod3 promod3-data, or leave this rival out",
    )  # fmt: skip


def task_of(structure: Structure, build: Build, steering: Mask) -> dict[str, Any]:
    """What the script wants to know, places in A: the unbroken stretches of amino acids, numbered from one.

    `stretch`, `before` and `sequence` tell where the loop is (number and letters with both anchors), `letters` its
    neighbours beyond them, `phi`, `psi` and `after_psi` the anchors' torsions.
    """
    stretches: list[dict[str, Any]] = []
    where, previous = (0, 0), -1
    for k, residue in enumerate(structure.residues):
        name = STANDARD.get(residue.resname, residue.resname)
        if k in build.removed or not structure.is_amino_acid(k) or letter_of(name) == "-":
            continue
        joined = (previous, k) == (build.before, build.after)
        if not joined and not (previous == k - 1 >= 0 and structure.bonded(previous, k)):
            stretches.append({"residues": [], "sequence": ""})
        own = stretches[-1]
        own["sequence"] += (build.sequence if joined else "") + letter_of(name)
        own["residues"].append([len(own["sequence"]), name, _atoms(structure, k, steering)])
        where = (len(stretches) - 1, len(own["sequence"])) if k == build.before else where
        previous = k
    index, number = where
    letters = stretches[index]["sequence"]
    end = number + len(build.names)  # place of the anchor after, from zero
    before = [_place(structure, build.before, name, steering) for name in ("N", "CA", "C", "O")]
    after = [_place(structure, build.after, name, steering) for name in ("N", "CA", "C")]
    beyond = [_place(structure, k, n, steering) for k, n in ((build.before - 1, "C"), (build.after + 1, "N"))]
    return {
        "stretches": stretches, "stretch": index, "before": number, "sequence": letters[number - 1 : end + 1],
        "letters": [letters[number - 2] if number > 1 else "A", letters[end + 1] if end + 1 < len(letters) else "A"],
        "phi": _torsion([beyond[0], *before[:3]]) if number > 1 else PHI,
        # the nearest multiple of a turn is subtracted at once, which rounds otherwise than `geometry.wrap`
        "psi": math.remainder(_torsion(before) + math.pi, math.tau),  # the nitrogen is opposite to the oxygen
        "after_psi": _torsion([*after, beyond[1]]) if end + 1 < len(letters) else PSI,
    }  # fmt: skip


def _atoms(structure: Structure, k: int, steering: Mask) -> list[Any]:
    """Heavy atoms of a residue: name, element, place in A."""
    own = structure.residues[k].atoms
    return [
        [str(structure.name[a]), str(structure.element[a]).capitalize(), (10 * structure.xyz[a]).tolist()]
        for a in own[steering[own] & ~np.isin(structure.element[own], ("H", "D"))]
    ]


def _place(structure: Structure, k: int, name: str, steering: Mask) -> Any:
    """Place (3,) of an atom, NaN where there is none."""
    atom = structure.atom(k, name, steering) if 0 <= k < len(structure.residues) else None
    return np.full(3, np.nan) if atom is None else structure.xyz[atom]


def _torsion(places: list[Any]) -> float:
    return float(dihedral_of_points(torch.as_tensor(np.array(places))))

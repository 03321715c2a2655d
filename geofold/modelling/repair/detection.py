"""Which loops of a structure are in trouble, by the loop model's own surprise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.molecule.loop.detection import Trouble, bad_stretches, trouble_of
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import stretches


def find_loops(structure: Structure, altloc: str | None = None) -> tuple[list[tuple[int, int]], Trouble]:
    """Stretches in trouble (first and last residue), and what told."""
    steering = structure.steering(altloc)
    model, card = shipped_loop_model()
    whole = [
        part for first, last in stretches(structure)
        for part in _complete(structure, first, last, steering)
    ]  # fmt: skip
    told = trouble_of(structure, whole, model)
    return bad_stretches(told, whole, float(card["trouble"])), told


def trouble(structure: Structure, altloc: str | None = None) -> dict[str, Any]:
    """What the report says of it."""
    found, told = find_loops(structure, altloc)
    residues = structure.residues
    known = np.flatnonzero(np.isfinite(told.surprise))
    return {
        "trigger": round(float(shipped_loop_model()[1]["trouble"]), 3),
        "stretches": [
            {
                "residues": named(structure, a, b),
                "surprise_nat": round(float(np.nanmean(told.surprise[a : b + 1])), 2),
                "overlap_angstrom": round(float(told.overlap[a : b + 1].mean()), 2),
            }
            for a, b in found
        ],
        "surprise_nat": {residues[k].label: round(float(told.surprise[k]), 2) for k in known.tolist()},
    }


def named(structure: Structure, first: int, last: int) -> str:
    """A range as --loop takes it."""
    end = structure.residues[last]
    return f"{structure.residues[first].label}-{end.resnum}{end.icode}"


def _complete(
    structure: Structure, first: int, last: int, steering: NDArray[np.bool_]
) -> list[tuple[int, int]]:  # fmt: skip
    """Parts of a stretch whose residues all have N, CA and C."""
    there = [
        all(structure.atom(k, name, steering) is not None for name in ("N", "CA", "C")) for k in range(first, last + 1)
    ]
    edge = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(int)))
    return [(first + int(a), first + int(b) - 1) for a, b in edge.reshape(-1, 2)]

"""Detection of loops in trouble by the loop model's own surprise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.molecule.loop.detection import AnomalyScore, find_anomalous_segments, score_anomalies
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import chain_segments


def find_loops(structure: Structure, altloc: str | None = None) -> tuple[list[tuple[int, int]], AnomalyScore]:
    """Loops in trouble (first and last residue of each), and the anomaly scores of all residues.

    Parameters
    ----------
    structure : Structure
    altloc : str, optional
        Conformer to look at where the backbone has several.
    """
    conformer = structure.conformer(altloc)
    model, card = shipped_loop_model()
    segments = [
        part for first, last in chain_segments(structure) for part in _complete_parts(structure, first, last, conformer)
    ]
    scores = score_anomalies(structure, segments, model)
    return find_anomalous_segments(scores, segments, float(card["trouble"])), scores


def report_anomalies(structure: Structure, altloc: str | None = None) -> dict[str, Any]:
    """Section of the report on loops in trouble."""
    loops, scores = find_loops(structure, altloc)
    residues = structure.residues
    known = np.flatnonzero(np.isfinite(scores.surprise))
    return {
        "trigger": round(float(shipped_loop_model()[1]["trouble"]), 3),
        "stretches": [
            {
                "residues": format_range(structure, a, b),
                "surprise_nat": round(float(np.nanmean(scores.surprise[a : b + 1])), 2),
                "overlap_angstrom": round(float(scores.overlap[a : b + 1].mean()), 2),
            }
            for a, b in loops
        ],
        "surprise_nat": {residues[k].label: round(float(scores.surprise[k]), 2) for k in known.tolist()},
    }


def detect_ranges(structure: Structure, altloc: str | None = None) -> list[str]:
    """Ranges of the loops that look wrong, as users write them; see `find_loops`."""
    return [format_range(structure, first, last) for first, last in find_loops(structure, altloc)[0]]


def detect_further_ranges(structure: Structure, given: Sequence[str], altloc: str | None = None) -> list[str]:
    """Ranges of `detect_ranges` that a residue separates from every range that is given."""
    loops = [find_range(structure, text) for text in given]
    return [
        text
        for text in detect_ranges(structure, altloc)
        for first, last in [find_range(structure, text)]
        if not any(first <= end + 1 and start <= last + 1 for start, end in loops)
    ]


def format_range(structure: Structure, first: int, last: int) -> str:
    """Return a range in the form that ``--loop`` takes."""
    end = structure.residues[last]
    return f"{structure.residues[first].label}-{end.resnum}{end.icode}"


def _complete_parts(structure: Structure, first: int, last: int, conformer: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Parts of a segment whose residues all have N, CA and C."""
    complete = [
        all(structure.atom(k, name, conformer) is not None for name in ("N", "CA", "C")) for k in range(first, last + 1)
    ]
    edge = np.flatnonzero(np.diff(np.concatenate([[False], complete, [False]]).astype(int)))
    return [(first + int(a), first + int(b) - 1) for a, b in edge.reshape(-1, 2)]

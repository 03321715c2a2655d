"""Detection of loops in trouble: by the loop model's own surprise, and by pLDDT where B-factors are pLDDT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.molecule.analysis.plddt import CAUTION, Plddt, read_plddt
from geofold.molecule.loop.build_request import LONGEST
from geofold.molecule.loop.detection import (
    MIN_SEGMENT,
    AnomalyScore,
    find_anomalous_segments,
    merge_segments,
    score_anomalies,
)
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
    plddt = read_plddt(structure)
    unsure = [] if plddt is None else [run for run in unsure_runs(segments, plddt) if not why_left(run, segments)]
    return merge_segments([*find_anomalous_segments(scores, segments, float(card["trouble"])), *unsure]), scores


def unsure_runs(segments: list[tuple[int, int]], plddt: Plddt) -> list[tuple[int, int]]:
    """List the runs of residues below `CAUTION`, widened to `MIN_SEGMENT` residues; near ones are joined."""
    runs: list[tuple[int, int]] = []
    for low, top in segments:
        unsure = np.concatenate([[False], plddt.value[low : top + 1] < CAUTION, [False]])
        for a, b in np.flatnonzero(np.diff(unsure.astype(int))).reshape(-1, 2).tolist():
            wanted = max(0, MIN_SEGMENT - (b - a))
            runs.append((max(low, low + a - wanted // 2), min(top, low + b - 1 + (wanted + 1) // 2)))
    return merge_segments(runs)


def why_left(run: tuple[int, int], segments: list[tuple[int, int]]) -> str:
    """Reason why a run of residues is not repaired as a loop; empty if it can be."""
    low, top = next(span for span in segments if span[0] <= run[0] <= span[1])
    if run[0] == low or run[1] >= top:
        return "a chain end"
    count = run[1] - run[0] + 1
    return f"{count} residues, more than {LONGEST}" if count > LONGEST else ""


def report_plddt(structure: Structure) -> dict[str, Any] | None:
    """Section of the report on pLDDT: why it is taken to be that, and runs below 70; None if there is no pLDDT."""
    plddt = read_plddt(structure)
    if plddt is None:
        return None
    segments = chain_segments(structure)
    return {
        "evidence": plddt.evidence,
        "mean": round(float(np.nanmean(plddt.value)), 1),
        "below_70": [
            {
                "residues": format_range(structure, a, b),
                "mean": round(float(np.nanmean(plddt.value[a : b + 1])), 1),
                "left_because": why_left((a, b), segments) or None,
            }
            for a, b in unsure_runs(segments, plddt)
        ],
    }


def plddt_lines(section: dict[str, Any]) -> list[str]:
    """Lines of text for a section of `report_plddt`."""
    lines = [f"B-factors are read as pLDDT ({section['evidence']}): mean {section['mean']}"]
    for run in section["below_70"]:
        left = f"; left, for it is {run['left_because']}" if run["left_because"] else ""
        lines.append(f"pLDDT below 70: {run['residues']} (mean {run['mean']}){left}")
    return lines


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
                "surprise_nat": _mean(scores.surprise[a : b + 1]),
                "overlap_angstrom": round(float(scores.overlap[a : b + 1].mean()), 2),
            }
            for a, b in loops
        ],
        "surprise_nat": {residues[k].label: round(float(scores.surprise[k]), 2) for k in known.tolist()},
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    """Mean of the values that are known."""
    return round(float(np.nanmean(values)), 2) if np.isfinite(values).any() else None


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

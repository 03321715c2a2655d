"""Table of the residues that moved: expected error and distance from the start; its rows select in the 3D view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from geofold.app.viewer.comparison import Compared, label_of
from geofold.app.viewer.frames import BACKBONE, Trajectory
from geofold.app.viewer.html import finite, number, section, sequence

ERRORS = "residue_error_angstrom"
"""Key of the expected errors in the report."""


def expected_errors(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the expected error (A) of each residue of the report, by its label."""
    errors: dict[str, float] = {}
    for loop in sequence(report.get("confidence")):
        values = {str(label): finite(value) for label, value in section(loop, ERRORS).items()}
        errors |= {label: value for label, value in values.items() if value is not None}
    return errors


def backbone_rmsd(trajectory: Trajectory, labels: Sequence[str]) -> dict[str, float]:
    """RMSD (A) of the backbone of each residue between the first and the last frame, by its label."""
    atoms: dict[str, list[int]] = {label: [] for label in labels}
    for index, atom in enumerate(trajectory.atoms):
        label = label_of(atom.residue)
        if label in atoms and atom.name.strip() in BACKBONE:
            atoms[label].append(index)
    shift = np.square(trajectory.xyz[-1] - trajectory.xyz[0]).sum(-1)
    return {label: float(np.sqrt(shift[index].mean())) for label, index in atoms.items() if index}


def residue_table(
    trajectory: Trajectory, labels: Sequence[str], report: Mapping[str, Any], compared: Sequence[Compared] = ()
) -> str:
    """Render the table, empty without residues.

    Parameters
    ----------
    trajectory : Trajectory
    labels : sequence of str
        Residues that moved.
    report : mapping
    compared : sequence of Compared
        Other structures, one column each.
    """
    errors, shift = expected_errors(report), backbone_rmsd(trajectory, labels)
    known = [label for label in labels if label in shift or label in errors]
    if not known:
        return ""
    built = "built" in report
    starts = not built and len(trajectory.xyz) > 1
    head = ["Residue", *(["Expected error (Å)"] if errors else []), *(["From the start (Å)"] if starts else [])]
    head += [f"{escape(other.name)} (Å)" for other in compared]
    largest = max(errors.values(), default=0.0)
    rows = []
    for label in known:
        cells = [_bar(errors.get(label), largest)] * bool(errors) + [number(shift.get(label))] * starts
        cells += [number(other.rmsd.get(label)) for other in compared]
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        name = f'<button type="button" class="pick">{escape(label)}</button>'
        rows.append(f'<tr data-residue="{escape(label)}"><th scope="row">{name}</th>{body}</tr>')
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    what = "Residues built" if built else "Residues modelled" if report else "Residues compared"
    content = f"<caption>{what}</caption><thead><tr>{top}</tr></thead><tbody>{''.join(rows)}</tbody>"
    total = _confidence(report) + "".join(other.sentence() for other in compared)
    return f'<div class="scroll"><table class="residues" id="residues">{content}</table></div>{total}'


def _bar(value: float | None, largest: float) -> str:
    """Render a number with a bar of its share of the largest one."""
    share = round(100 * value / largest) if value is not None and largest > 0 else 0
    return f'<span class="share" style="width:{share}%"></span><span>{number(value)}</span>'


def _confidence(report: Mapping[str, Any]) -> str:
    """Sentence with the expected RMSD of each loop."""
    lines = []
    for name, loop in zip(sequence(report.get("loops")), sequence(report.get("confidence")), strict=False):
        middle, low, high = (
            finite(loop.get(key)) if isinstance(loop, Mapping) else None
            for key in ("expected_rmsd_angstrom", "from_angstrom", "to_angstrom")
        )
        if middle is not None:
            lines.append(
                f"{number(name)}: estimated error {number(middle)} Å (backbone RMSD to the native; 68 % interval "
                f"{number(low)} to {number(high)} Å)."
            )
    return "".join(f'<p class="small">{line}</p>' for line in lines)

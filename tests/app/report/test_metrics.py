"""The table of metrics: every place that shows a metric follows from it."""

from pathlib import Path

import numpy as np
import pytest

from geofold.app.batch.results import FIELDS
from geofold.app.report import audit, check_text, metrics
from geofold.app.report.metrics import METRICS, Metric, measure
from geofold.app.result import summary
from geofold.molecule.io.read import read
from geofold.molecule.topology.torsion_tree import torsion_tree

STRUCTURES = Path(__file__).parents[3] / "structures"
DOCS = Path(__file__).parents[3] / "examples" / "docs"


@pytest.fixture(scope="module")
def bent():
    structure = read(STRUCTURES / "1ubi_bent.pdb")
    return structure, [torsion_tree(structure, 44, 55)]


def test_every_key_is_documented(bent):
    structure, trees = bent
    text = (DOCS / "report.md").read_text(encoding="utf-8")
    section = measure(structure, trees, structure.xyz, None)
    assert [key for key in section if f"| `{key}` |" not in text] == []
    assert [metric.may_not_grow for metric in METRICS if f"`{metric.may_not_grow}`" not in text] == []


def test_the_worst_overlaps_are_named(bent):
    structure, trees = bent
    section = measure(structure, trees, structure.xyz, None)
    pairs = section["overlapping_atoms"]
    assert len(pairs) == 10 < section["severe_overlaps"]
    sizes = []
    for pair in pairs:
        atoms = [
            structure.xyz[
                structure.atom([r.label for r in structure.residues].index(label), name, structure.conformer())
            ]
            for label, name in (end.split("@") for end in pair.split(" - "))
        ]
        sizes.append(float(np.linalg.norm(atoms[0] - atoms[1])))
    assert sizes[0] < 0.15 and max(sizes) < 0.25
    text = METRICS[0].describe(section)
    assert text.endswith(", ...)") and pairs[2] in text and pairs[3] not in text


def test_batches_have_two_columns_a_metric():
    assert all(f"{metric.name}_{when}" in FIELDS for metric in METRICS for when in ("before", "after"))


def test_a_new_row_is_in_report_summary_check_and_audit(bent, monkeypatch):
    structure, trees = bent
    extent = Metric(
        name="extent_angstrom",
        label="extent",
        short="extent",
        evaluate=lambda coordinates: {
            "extent_angstrom": 10 * float(coordinates.xyz[coordinates.trees[0].atoms, 0].max())
        },
        value=lambda section: section.get("extent_angstrom"),
        unit=lambda section: "A",
        may_not_grow="extent_added_angstrom",
    )
    for module in (metrics, audit, check_text):
        monkeypatch.setattr(module, "METRICS", (*METRICS, extent))
    monkeypatch.setattr("geofold.app.report.summary.METRICS", (*METRICS, extent))
    moved = structure.xyz.copy()
    moved[trees[0].atoms] += 0.1
    before, after = (measure(structure, trees, xyz, None) for xyz in (structure.xyz, moved))
    assert after["extent_angstrom"] == pytest.approx(before["extent_angstrom"] + 1)
    checks = {check.name: check for check in audit.audit(structure, trees, structure.xyz, moved, (before, after))}
    assert checks["extent_added_angstrom"].value == pytest.approx(1, abs=0.01)
    assert not checks["extent_added_angstrom"].passed
    report = {
        "command": "repair", "input": {"name": "a.pdb", "amino_acids": 76}, "loops": ["A:45-56"], "residues": [],
        "options": {},
        "before": before, "after": after, "audit": {"checks": []}, "chain_breaks": [], "chain_ends": [],
        "prior": None, "notes": [],
        "trouble": {"stretches": []}, "moved": {"atoms": 1, "residues": [], "max_displacement_angstrom": 1.0},
    }  # fmt: skip
    row = next(line for line in summary(report).splitlines() if line.startswith("  extent "))
    assert row.endswith(" A") and "->" in row
    assert any(line.startswith("  extent ") for line in check_text.check_text(report).splitlines())

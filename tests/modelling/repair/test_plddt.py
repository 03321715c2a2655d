"""B-factors that are pLDDT: when they are taken to be, which loops they give, and that the summary says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.app.report.check_text import check_text
from geofold.app.report.summary import summary
from geofold.modelling.repair.detection import detect_ranges, plddt_lines, report_plddt
from geofold.molecule.analysis.plddt import read_plddt
from geofold.molecule.io.edit import with_expected_errors
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render

TITLE = "TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR UBIQUITIN"
UNSURE = {**dict.fromkeys(range(45, 53), 55.0), **dict.fromkeys(range(70, 77), 40.0)}


def predicted(*head: str, values: dict[int, float] = UNSURE, jitter: bool = False) -> bytes:
    """Ubiquitin as a predictor writes it: a head, and 90 or another value as the B-factor of each residue."""
    lines = list(head)
    for line in (STRUCTURES / "1ubi.pdb").read_text().splitlines():
        if line.startswith("ATOM"):
            value = values.get(int(line[22:26]), 90.0) + (len(lines) % 3 if jitter else 0)
            lines.append(f"{line[:60]}{value:6.2f}{line[66:]}")
    return "\n".join([*lines, "END", ""]).encode()


def cif(metric: str, method: str = "") -> bytes:
    head = f"data_x\n_ma_qa_metric.id 1\n_ma_qa_metric.name {metric}\n" + (
        f"_exptl.method '{method}'\n" if method else ""
    )
    text = (STRUCTURES / "1yjp.cif").read_text()
    return (head + text[text.index("loop_\n_atom_site.") :]).encode()


@pytest.mark.parametrize(
    "content, evidence",
    [
        (predicted(TITLE), "TITLE names ALPHAFOLD"),
        (predicted(TITLE, jitter=True), "TITLE names ALPHAFOLD"),  # AlphaFold 3 has one for each atom
        (predicted("REMARK   1 B-FACTORS ARE pLDDT"), "REMARK names pLDDT"),
        (predicted("EXPDTA    THEORETICAL MODEL", TITLE), "TITLE names ALPHAFOLD"),
        (predicted(), "no record names an experiment"),
        (cif("pLDDT"), "ma_qa_metric is pLDDT"),
    ],
)
def test_files_whose_b_factors_are_plddt(content: bytes, evidence: str) -> None:
    plddt = read_plddt(read(content))
    assert plddt is not None and plddt.evidence.startswith(evidence)


@pytest.mark.parametrize(
    "content",
    [
        (STRUCTURES / "1ubi.pdb").read_bytes(),
        predicted("EXPDTA    X-RAY DIFFRACTION", "REMARK 200 STARTING MODEL: ALPHAFOLD"),
        predicted("CRYST1   50.840   42.770   28.950  90.00  90.00  90.00 P 21 21 21    4"),
        predicted(jitter=True),
        predicted(values=dict.fromkeys(range(1, 77), 90.0)),  # all the same
        predicted(values=dict.fromkeys(range(1, 40), 30.0) | dict.fromkeys(range(40, 77), 20.0)),
        predicted(TITLE, values={5: 130.0}),
        cif("QMEAN"),
    ],
)
def test_files_whose_b_factors_are_something_else(content: bytes) -> None:
    assert read_plddt(read(content)) is None


def test_every_shipped_structure_of_an_experiment_is_left_alone() -> None:
    for path in sorted([*STRUCTURES.glob("*.pdb"), *STRUCTURES.glob("*.cif")]):
        assert read_plddt(read(path)) is None, path.name


def test_values_between_0_and_1_are_scaled() -> None:
    content = predicted(TITLE, values={k: 0.01 * UNSURE.get(k, 90.0) for k in range(1, 77)})
    plddt = read_plddt(read(content))
    assert plddt is not None and plddt.value[44] == pytest.approx(55.0, abs=1.0)


def test_a_loop_below_70_is_in_trouble_and_the_end_of_the_chain_is_left() -> None:
    structure = read(predicted(TITLE))
    section = report_plddt(structure)
    assert section is not None
    assert [(run["residues"], run["left_because"]) for run in section["below_70"]] == [
        ("A:45-52", None),
        ("A:70-76", "a chain end"),
    ]
    assert detect_ranges(structure) == ["A:45-52"] and not detect_ranges(read(STRUCTURES / "1ubi.pdb"))
    assert "left, for it is a chain end" in " ".join(plddt_lines(section))


def test_a_single_residue_becomes_a_loop_of_four_and_near_runs_are_one() -> None:
    one = report_plddt(read(predicted(TITLE, values={30: 50.0})))
    two = report_plddt(read(predicted(TITLE, values=dict.fromkeys([30, 31, 32, 33, 35, 36, 37, 38], 50.0))))
    assert one is not None and [run["residues"] for run in one["below_70"]] == ["A:29-32"]
    assert two is not None and [run["residues"] for run in two["below_70"]] == ["A:30-33", "A:35-38"]


def test_residues_that_geofold_modelled_have_no_plddt() -> None:
    structure = with_expected_errors(read(predicted(TITLE)), dict.fromkeys(range(44, 52), 2.5))
    again = read(render(structure, structure.xyz, np.zeros(len(structure), dtype=bool)))
    plddt = read_plddt(again)
    assert plddt is not None and np.isnan(plddt.value[44:52]).all() and plddt.value[43] == 90.0
    assert "A:45-52" not in str(report_plddt(again))


def test_summary_and_check_say_that_b_factors_are_plddt(tmp_path: Path) -> None:
    source = tmp_path / "model.pdb"
    source.write_bytes(predicted(values={76: 40.0}))  # nothing to repair: quick
    result = gf.repair(source, auto=True, energy=False)
    for text in (summary(result.report), check_text(gf.check(source, energy=False))):
        assert "B-factors are read as pLDDT (no record names an experiment" in text and "A:7" in text
    assert result.content == source.read_bytes()

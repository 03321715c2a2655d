"""The option `confidence_in_b`: what it writes, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from app_cases import LOOP, STRUCTURES
from build_cases import QUICK, without

import geofold as gf
from geofold.app.finalise import finish
from geofold.app.result import Result
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.modelling.repair.refinement import loop_domain
from geofold.modelling.trajectory import no_motion
from geofold.molecule.io.modelled_records import is_modelled_remark
from geofold.molecule.io.read import read
from geofold.molecule.selection import find_range

ERRORS = tuple(0.5 + 0.1 * k for k in range(12))
LABELS = [f"A:{number}" for number in range(45, 57)]


@cache
def finished(confidence_in_b: bool, status: str = "done", known: bool = True) -> Result:
    """Result of a run that ended where it began, with an estimate of the error of each residue if it is `known`."""
    structure = read(STRUCTURES / "1ubi.pdb")
    options = RunOptions(energy=False, confidence_in_b=confidence_in_b)
    outcome = no_motion(loop_domain(structure, *find_range(structure, LOOP), options), structure.xyz, status)
    model = LoopModel(outcome, {})
    model = replace(model, confidence=(1.2, 0.6, 2.4), residue_errors=ERRORS) if known else model
    return finish("repair", structure, structure, [], [outcome], options, 0.0, loops=[LOOP], models=[model])


def test_the_file_differs_in_b_factors_and_remarks_only() -> None:
    plain, told = (finished(option).content.decode().splitlines() for option in (False, True))
    kept = [line for line in told if not is_modelled_remark(line)]
    assert [line[:60] + line[66:] for line in kept] == [line[:60] + line[66:] for line in plain]
    changed = {line[21:26] for line, old in zip(kept, plain, strict=True) if line != old}
    assert changed == {f"A{number:4d}" for number in range(45, 57)}
    assert finished(False).content == (STRUCTURES / "1ubi.pdb").read_bytes()


def test_b_factors_remarks_and_report_agree() -> None:
    result = finished(True)
    errors, structure = result.report["confidence"][0]["residue_error_angstrom"], read(result.content)
    assert errors == pytest.approx(dict(zip(LABELS, ERRORS, strict=True)), abs=0.005)
    assert structure.document is not None
    by_label = {residue.label: residue for residue in structure.residues}
    for label, error in errors.items():
        assert set(structure.bfactor[by_label[label].atoms].tolist()) == {error}
    assert [entry.error for entry in structure.document.modelled_residues().values()] == list(errors.values())
    assert np.array_equal(result.structure.bfactor, structure.bfactor)


def test_the_summary_names_the_least_certain_residue() -> None:
    assert "A:45-56: largest expected error of a residue 1.6 A, at A:56" in finished(False).summary()


def test_without_an_estimate_the_b_factors_stay() -> None:
    result = finished(True, known=False)
    document = read(result.content).document
    assert document is not None and [entry.error for entry in document.modelled_residues().values()] == [None] * 12
    assert np.array_equal(result.structure.bfactor, read(STRUCTURES / "1ubi.pdb").bfactor)


@pytest.mark.parametrize("status", ["kept", "rigid"])
def test_a_loop_that_stays_was_not_modelled(status: str) -> None:
    assert finished(True, status, known=False).content == (STRUCTURES / "1ubi.pdb").read_bytes()


@pytest.mark.slow
def test_the_middle_of_a_built_loop_is_less_certain_than_its_ends() -> None:
    result = gf.repair(without("1ubi.pdb", (45, 56)), build="A:45-56", confidence_in_b=True, **QUICK)
    confidence = result.report["confidence"][0]
    errors = np.array(list(confidence["residue_error_angstrom"].values()))
    assert errors[[0, -1]].max() < errors[3:-3].mean()
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(confidence["expected_rmsd_angstrom"], abs=0.02)
    assert set(read(result.content).bfactor[result.structure.residues[44].atoms].tolist()) == {errors[0]}

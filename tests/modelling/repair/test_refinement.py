"""Refinement of the input's loop: side chains first, and a backbone that moves only if it has to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import rank_models
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.outcome import LoopModel, StreamOutcome
from geofold.modelling.repair import loop as loop_repair
from geofold.modelling.repair.refinement import loop_domain, refine_input
from geofold.modelling.scoring import Scores
from geofold.molecule.io.read import read
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.chi_minimisation import SideChains
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import bond_graph

LOOP, BURIED = "A:13-19", "A:15-15"
OPTIONS = RunOptions(energy=False)


def with_turned_side_chain() -> Structure:
    """Ubiquitin whose Leu 15 is turned into its surroundings."""
    native = read(STRUCTURES / "1ubi.pdb")
    residue = find_range(native, BURIED)[0]
    conformer = native.conformer_mask
    chains = SideChains.of(native, [residue], conformer, bond_graph(native, conformer))
    return replace(native, xyz=chains.rotate(native.xyz, np.full(len(chains.residue), 2.0)))


def test_side_chains_are_repacked_before_a_backbone_moves() -> None:
    turned = with_turned_side_chain()
    domain = loop_domain(turned, *find_range(turned, LOOP), OPTIONS)
    assert not domain.clean(domain.start(turned.xyz))[0]
    outcome = refine_input(turned, domain, OPTIONS, None)
    end = outcome.apply(turned.xyz)
    moved = np.abs(end - turned.xyz).max(1) > 0
    assert outcome.status == "done" and domain.clean(domain.start(end))[0]
    assert moved.any() and not np.isin(turned.name[moved], ["N", "CA", "C", "O", "CB"]).any()


def test_repair_keeps_the_backbone_of_a_loop_with_one_wrong_side_chain() -> None:
    turned = with_turned_side_chain()
    result = gf.repair(turned, LOOP, streams=2, rounds=1, energy=False)
    backbone = np.isin(turned.name, ["N", "CA", "C", "O"])
    assert result.report["before"]["severe_overlaps"] > 0 == result.report["after"]["severe_overlaps"]
    assert np.array_equal(result.xyz[backbone], result.structure.xyz[backbone])
    assert result.passed


def test_a_nearly_clean_input_gives_way_to_clean_models_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def rank(
        structure: Structure, outcomes: list[StreamOutcome], scores: Scores, energies: EnergySource | None
    ) -> list[LoopModel]:
        first, *others = rank_models(structure, outcomes[:1], scores.take([0]), energies)
        for outcome in outcomes[1:]:
            others.append(LoopModel(replace(outcome, status="stuck"), {"potential": first.cost - 100.0}))
        return [*others, first]

    monkeypatch.setattr(loop_repair, "rank_models", rank)
    native = (STRUCTURES / "1ubi.pdb").read_bytes()
    result = gf.repair(native, "A:8-11", streams=2, rounds=1, energy=False)
    assert result.content == native and result.report["stream"]["status"] == ["kept"]


@pytest.mark.parametrize("margin", [-np.inf, np.inf])
def test_the_plain_result_says_what_repacked_neighbours_would_give(
    monkeypatch: pytest.MonkeyPatch, margin: float
) -> None:
    monkeypatch.setattr(loop_repair, "SHELL_MARGIN", margin)
    native = read(STRUCTURES / "1ubi.pdb")
    result = gf.repair(native, "A:8-11", streams=2, rounds=1, energy=False)
    notes = [note for note in result.report["notes"] if "--repack-shell auto" in note]
    assert bool(notes) == (margin < 0)
    rest = ~native.atoms_within(*find_range(native, "A:8-11"))
    assert np.array_equal(result.xyz[rest], native.xyz[rest])
    assert ("with_neighbours_repacked" in result.report) == bool(notes)
    for other in result.report.get("with_neighbours_repacked", []):
        assert other["neighbours"] > 0 and 0 <= other["backbone_rmsd_angstrom"] < 20
        assert other["expected_rmsd_angstrom"] > 0 < other["expected_rmsd_angstrom_now"]
    for note in notes:
        assert note.startswith("A:8 to A:11 ") and note.endswith(" neighbours")


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_loop_that_is_sure_is_not_compared(monkeypatch: pytest.MonkeyPatch, predictor: str) -> None:
    """Neither the clean result of a clashing input, nor any without trained models."""
    turned = with_turned_side_chain()
    monkeypatch.setattr(loop_repair.LoopRepair, "_models_in_shell", lambda *_: pytest.fail("compared"))
    result = gf.repair(turned, LOOP, streams=2, rounds=1, energy=False, predictor=predictor)
    assert result.report["after"]["severe_overlaps"] == 0

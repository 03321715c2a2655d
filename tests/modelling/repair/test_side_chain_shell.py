"""Side chains repacked around a loop, several models of one loop, and time limits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from app_cases import BENT, LOOP, STRUCTURES
from build_cases import QUICK, checked, without

import geofold as gf
from geofold.app import api
from geofold.app.result import Result
from geofold.cli import main
from geofold.core.state import StepInfo
from geofold.errors import OptionError
from geofold.modelling import controllers
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import LOOP_SEARCH, LoopModel, StreamOutcome
from geofold.modelling.progress import Progress
from geofold.modelling.repair import candidate_models as candidates
from geofold.modelling.repair import loop as loop_module
from geofold.modelling.repair.loop import LoopRepair, ShellModels, repair_loop
from geofold.modelling.repair.side_chain_shell import EVER_REACHED, OFTEN_REACHED, reachable_residues
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.diversity import MIN_RMSD_MODELS
from geofold.modelling.search.effort import Effort
from geofold.modelling.search.evolutionary import search_loop
from geofold.modelling.time_budget import TimeBudget
from geofold.modelling.trajectory import NO_PREDICTOR
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.loop.state import LoopState
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import BACKBONE_AND_CB, find_incomplete
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.paths import numbered

SHELL = 6.0
SPAN, SEQUENCE = "A:48-52", "KQLED"


@cache
def repaired() -> Result:
    return gf.repair(BENT, LOOP, repack_shell=SHELL, models=3, **QUICK)


def test_only_the_loop_and_the_listed_side_chains_move() -> None:
    result = repaired()
    before, after = read(BENT), read(result.content)
    first, last = find_range(before, LOOP)
    told = result.report["repacked"]
    assert f"repacked side chains around: {told['residues'][0]}, " in result.summary()
    moved = np.flatnonzero((before.xyz != after.xyz).any(1))
    outside = [a for a in moved if not first <= before.residue_of[a] <= last]
    assert {before.residues[before.residue_of[a]].label for a in outside} <= set(told["residues"])
    assert not {str(before.name[a]) for a in outside} & BACKBONE_AND_CB
    assert told["shell_angstrom"] == SHELL and outside
    own = np.isin(before.residue_of, range(first, last + 1))
    residue = {r.label: k for k, r in enumerate(before.residues)}
    for label in told["residues"]:  # it was packed beside the loop, which may have gone on from there
        beta = before.xyz[before.atom(residue[label], "CB", before.conformer_mask)]
        assert min(10 * np.linalg.norm(frame[own] - beta, axis=1).min() for frame in result.frames) <= SHELL
    checks = {check["name"]: check for check in result.report["audit"]["checks"]}
    for name in ("other_atoms_moved_angstrom", "chiralities_changed", "bond_change_angstrom", "angle_change_degrees"):
        assert checks[name]["passed"], checks[name]
    assert "neighbour_overlaps_added" in checks


def test_models_are_ranked_and_distinct() -> None:
    result = repaired()
    told = result.report["models"]
    assert 1 < len(told) == len(result.models) <= 3
    assert [row["rank"] for row in told] == list(range(1, len(told) + 1))
    assert [row["score"] for row in told] == sorted(row["score"] for row in told)
    for row in told:
        (terms,) = row["score_terms"]
        assert sum(terms.values()) == pytest.approx(row["score"], abs=0.01)
    assert told[0]["backbone_rmsd_to_first_angstrom"] == 0.0
    assert all(row["backbone_rmsd_to_first_angstrom"] > 10 * MIN_RMSD_MODELS - 0.01 for row in told[1:])
    assert len({model.content for model in result.models}) == len(told)
    assert "models" not in result.others[0].report


def test_several_models_go_to_files_of_their_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, report = tmp_path / "out.pdb", tmp_path / "report.json"
    options = ["--models", "3", "--repack-shell", str(SHELL)]
    asked: list[dict[str, object]] = []
    result = repaired()
    monkeypatch.setattr(api, "repair", lambda *_, **given: asked.append(given) or result)
    status = main(["repair", str(BENT), "--loop", LOOP, "-o", str(out), "--report", str(report), *options])
    told = json.loads(report.read_text())["models"]
    assert status == (0 if result.passed else 1) and (asked[0]["models"], asked[0]["repack_shell"]) == (3, SHELL)
    names = [f"out.{rank}.pdb" if rank > 1 else "out.pdb" for rank in range(1, len(told) + 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, "report.json"])
    assert [(tmp_path / name).read_bytes() for name in names] == [model.content for model in result.models]
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", "-", *options]) == 2
    assert "3 models on standard output" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b.pdb", "a/b.2.pdb"), ("b.v1.cif", "b.v1.2.cif"), ("b.pdb.gz", "b.2.pdb.gz"), ("plain", "plain.2")],
)
def test_names_of_further_models(path: str, expected: str) -> None:
    assert numbered(path, 2) == expected


def test_models_of_several_loops_are_refused() -> None:
    with pytest.raises(OptionError, match="2 models of 2 loops"):
        gf.repair(BENT, ["A:20-25", "A:45-50"], models=2)
    with pytest.raises(OptionError, match="repack-shell"):
        gf.repair(BENT, LOOP, repack_shell=50.0)


def test_a_loop_is_built_among_neighbours_that_lack_their_side_chains() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(native, SPAN)
    own = native.xyz[np.isin(native.residue_of, range(first, last + 1))]
    near = {
        int(native.residue_of[a]) for a, xyz in enumerate(native.xyz)
        if np.linalg.norm(own - xyz, axis=1).min() < 0.7 and not native.hetatm[a]
    } - set(range(first, last + 1))  # fmt: skip
    lines = without("1ubi.pdb", (48, 52)).decode().splitlines(keepends=True)
    cut = {native.residues[k].resnum for k in near}
    bare = "".join(
        line for line in lines
        if not (line.startswith("ATOM") and int(line[22:26]) in cut and line[12:16].strip() not in BACKBONE_AND_CB)
    )  # fmt: skip
    result = gf.repair(bare.encode(), build=f"{SPAN}={SEQUENCE}", repack_shell=SHELL, **QUICK)
    structure = checked(result, SPAN, SEQUENCE)
    added = result.report["added_atoms"]
    assert added and not any("@CB" in name for name in added)
    for line in bare.splitlines():  # what was there is there, side chains of the shell apart
        if line.startswith("ATOM") and line[12:16].strip() in ("N", "CA", "C", "O", "CB"):
            assert line.encode() in result.content
    whole = {(r.label, str(structure.name[a])) for r in structure.residues for a in r.atoms}
    assert {tuple(name.split("@")) for name in added} <= whole
    assert result.report["repacked"]["residues"]
    # all are complete again, those that lie outside of the shell too: an energy would have built them blindly
    here = enumerate(structure.residues)
    numbers = [k for k, residue in here if residue.resnum in cut and structure.is_amino_acid(k)]
    assert len(numbers) == len(cut) and not find_incomplete(structure, numbers, structure.conformer_mask)


def test_more_residues_are_reached_at_least_once_than_often() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(native, SPAN)
    build, options = rebuild_plan(native, first, last), RunOptions()
    often, ever = (
        set(reachable_residues(native, build, 0.8, options, share)) for share in (OFTEN_REACHED, EVER_REACHED)
    )
    further = set(reachable_residues(native, build, 1.6, options, EVER_REACHED))
    assert often < ever < further and not further & set(range(first, last + 1))


def test_an_input_that_is_still_best_is_refined_in_place_without_a_second_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native, stages = read(STRUCTURES / "1ubi.pdb"), list[str]()
    first, last = find_range(native, LOOP)

    def record(stage: str, done: int, total: int, loss: float) -> None:
        if not stages or stages[-1] != stage:
            stages.append(stage)

    monkeypatch.setattr(LoopRepair, "_input_still_best", lambda *_: True)
    options = RunOptions(repack_shell=SHELL, models=3, rounds=1, streams=2)
    models = repair_loop(native, first, last, options, EnergySource(native, options), Progress(record))
    assert stages.count("search") == 1 and stages.count("refine input") == 2
    best = models[0]
    assert best.energy is not None and not len(best.outcome.repacked.atoms)
    assert best.energy < EnergySource(native, options).energy(native.xyz)
    assert backbone_rmsd(native, first, last, best.outcome.apply(native.xyz), native.xyz) < 0.7
    assert any(len(model.outcome.repacked.atoms) for model in models[1:])


@pytest.mark.parametrize(("shell", "streams"), [(0.0, 2), (SHELL, 1)])
def test_models_of_a_search_are_guided_again_only_around_side_chains_that_stay(
    monkeypatch: pytest.MonkeyPatch, shell: float, streams: int
) -> None:
    native, rows = read(STRUCTURES / "1ubi.pdb"), list[int]()
    first, last = find_range(native, SPAN)

    def run_guided(domain: LoopDomain, state: LoopState, *, seed: int = 0) -> Iterator[tuple[LoopState, StepInfo, int]]:
        rows.append(len(state.conformation.xyz))
        return controllers.run_guided(domain, state, seed=seed)

    monkeypatch.setattr(candidates, "run_guided", run_guided)
    options = RunOptions(repack_shell=shell, energy=False, rounds=1, streams=2)
    domain = LoopDomain.of(native, first, last, cap=TORSION_CAP)
    outcomes = candidates.candidate_models(native, domain, options, None, TimeBudget()).outcomes
    assert len(rows) == streams and {outcome.predictor for outcome in outcomes} >= {NO_PREDICTOR, LOOP_SEARCH}


@pytest.mark.parametrize(("margin", "moves_neighbours"), [(np.inf, False), (-np.inf, True)])
def test_auto_repacks_neighbours_where_that_is_surely_better_and_else_gives_the_plain_result(
    margin: float, moves_neighbours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "SHELL_MARGIN", margin)
    options = RunOptions(repack_shell="auto", energy=False, streams=2, rounds=2)
    structure, ranges = read(BENT), find_range(read(BENT), "A:48-52")
    (model,) = repair_loop(structure, *ranges, options, None)
    assert bool(len(model.outcome.repacked.atoms)) == moves_neighbours
    if not moves_neighbours:
        (plain,) = repair_loop(structure, *ranges, replace(options, repack_shell=0.0), None)
        assert np.array_equal(model.outcome.apply(structure.xyz), plain.outcome.apply(structure.xyz))


@pytest.mark.parametrize("shell", [SHELL, "auto"])
@pytest.mark.parametrize("ends", ["A:1-4", "A:72-76"])
def test_a_chain_end_is_refined_where_it_is(ends: str, shell: float | str) -> None:
    result = gf.repair(STRUCTURES / "1ubi.pdb", ends, repack_shell=shell, **QUICK)
    assert result.report["repacked"]["residues"] == []


def test_the_input_is_still_best_if_repacking_did_not_lower_its_energy() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    options, atoms = RunOptions(), np.arange(3)
    before = EnergySource(native, options).energy(native.xyz)
    repair = LoopRepair(native, 44, 50, options, EnergySource(native, options), TimeBudget(), Progress())

    def input_still_best(predictor: str, energy: float | None) -> bool:
        outcome = StreamOutcome(torsion_tree(native, 44, 50), atoms, native.xyz[None, atoms], "done", predictor)
        return repair._input_still_best(ShellModels([LoopModel(outcome, {}, energy)], None, repair.energies))

    assert input_still_best(NO_PREDICTOR, before + 1) and not input_still_best(NO_PREDICTOR, before - 1)
    assert not input_still_best(LOOP_SEARCH, before + 1) and not input_still_best(NO_PREDICTOR, None)


class CountedBudget(TimeBudget):
    """A budget that is exhausted after it was asked a number of times."""

    def __init__(self, checks: int) -> None:
        super().__init__(1.0)
        object.__setattr__(self, "checks", checks)

    def exhausted(self, share: float = 1.0) -> bool:
        object.__setattr__(self, "checks", self.checks - 1)
        return self.checks < 0


def test_with_a_time_limit_the_budget_ends_a_search_and_not_the_effort() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(native, SPAN)
    loop = LoopCandidates.of(native, rebuild_plan(native, first, last), predicts=False)
    restarts: list[int] = []
    progress = Progress(lambda stage, done, total, loss: restarts.append(done))
    effort = Effort(draws=64, crosses=32, guided=4, restarts=1, parents=4)
    long = search_loop(loop, effort, progress=progress, budget=CountedBudget(2))
    assert restarts == [0, 1, 2, 3]
    short = search_loop(loop, effort, progress=progress)
    assert restarts == [0, 1, 2, 3, 0, 1]
    assert long.cost[0] <= short.cost[0]


def test_a_budget_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [107.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    limited, unlimited = TimeBudget(10.0, began=100.0), TimeBudget(began=100.0)
    assert limited.exhausted(0.6) and not limited.exhausted() and not unlimited.exhausted(0.0)
    assert limited.remaining == 3.0 and unlimited.remaining is None
    now[0] = 500.0
    assert limited.remaining == -390.0 and limited.exhausted()

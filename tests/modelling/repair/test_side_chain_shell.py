"""Neighbours packed anew with a loop, several models of one loop, and a budget of seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from app_cases import BENT, LOOP, STRUCTURES
from build_cases import QUICK, checked, without

import geofold as gf
from geofold.app import api
from geofold.app.result import Result, numbered
from geofold.cli import main
from geofold.core.state import StepInfo
from geofold.errors import OptionError
from geofold.modelling import controllers as loop_parts
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import MODELLED, Model, Move
from geofold.modelling.repair import loop as loop_repair
from geofold.modelling.repair.refinement import STILL, energy_of
from geofold.modelling.repair.side_chain_shell import EVER, OFTEN, touched
from geofold.modelling.search.candidates import LoopCandidates, rebuilt
from geofold.modelling.search.evolutionary import NICHE, Effort, searched
from geofold.modelling.time_budget import Clock
from geofold.molecule.loop.domain import LoopDomain, LoopState
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import KEPT, lacking
from geofold.molecule.structure import read
from geofold.molecule.topology.torsion_tree import torsion_tree

SHELL = 6.0
SPAN, SEQUENCE = "A:48-52", "KQLED"


@cache
def mended() -> Result:
    return gf.repair(BENT, LOOP, repack_shell=SHELL, models=3, **QUICK)


def test_only_the_loop_and_the_listed_side_chains_move() -> None:
    result = mended()
    before, after = read(BENT), read(result.content)
    first, last = find_range(before, LOOP)
    told = result.report["repacked"]
    moved = np.flatnonzero((before.xyz != after.xyz).any(1))
    outside = [a for a in moved if not first <= before.residue_of[a] <= last]
    assert {before.residues[before.residue_of[a]].label for a in outside} <= set(told["residues"])
    assert not {str(before.name[a]) for a in outside} & KEPT
    assert told["shell_angstrom"] == SHELL and outside
    own = np.isin(before.residue_of, range(first, last + 1))
    residue = {r.label: k for k, r in enumerate(before.residues)}
    for label in told["residues"]:  # it was packed beside the loop, which may have gone on from there
        beta = before.xyz[before.atom(residue[label], "CB", before.steering_mask)]
        assert min(10 * np.linalg.norm(frame[own] - beta, axis=1).min() for frame in result.frames) <= SHELL
    checks = {check["name"]: check for check in result.report["audit"]["checks"]}
    for name in ("other_atoms_moved_angstrom", "chiralities_changed", "bond_change_angstrom", "angle_change_degrees"):
        assert checks[name]["passed"], checks[name]
    assert "neighbour_overlaps_added" in checks


def test_models_are_ranked_and_unlike_one_another() -> None:
    result = mended()
    told = result.report["models"]
    assert 1 < len(told) == len(result.models) <= 3
    assert [row["rank"] for row in told] == list(range(1, len(told) + 1))
    assert [row["score"] for row in told] == sorted(row["score"] for row in told)
    assert told[0]["backbone_rmsd_to_first_angstrom"] == 0.0
    assert all(row["backbone_rmsd_to_first_angstrom"] > 10 * NICHE - 0.01 for row in told[1:])
    assert len({model.content for model in result.models}) == len(told)
    assert "models" not in result.others[0].report


def test_several_models_go_to_files_of_their_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, report = tmp_path / "out.pdb", tmp_path / "report.json"
    options = ["--models", "3", "--repack-shell", str(SHELL)]
    asked: list[dict[str, object]] = []
    result = mended()
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
        if not (line.startswith("ATOM") and int(line[22:26]) in cut and line[12:16].strip() not in KEPT)
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
    assert len(numbers) == len(cut) and not lacking(structure, numbers, structure.steering_mask)


def test_what_a_loop_comes_near_once_is_among_what_it_can_come_near() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(native, SPAN)
    build, options = rebuilt(native, first, last), RunOptions()
    often, ever = (set(touched(native, build, 0.8, options, share)) for share in (OFTEN, EVER))
    beyond = set(touched(native, build, 1.6, options, EVER))
    assert often < ever < beyond and not beyond & set(range(first, last + 1))


def test_where_packing_would_spoil_a_loop_it_is_mended_in_place_and_not_searched_for_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    native, stages = read(STRUCTURES / "1ubi.pdb"), list[str]()
    first, last = find_range(native, LOOP)

    def told(stage: str) -> None:
        stages.append(stage)

    monkeypatch.setattr(loop_repair, "_spoiling", lambda *_: True)
    options = RunOptions(repack_shell=SHELL, models=3, rounds=1, streams=2)
    models = loop_repair.repair_loop(native, first, last, options, told)
    assert stages.count("search") == 1 and stages.count("mend") == 2
    best = models[0]
    assert best.energy is not None and not len(best.move.beside.atoms)
    assert best.energy < energy_of(native, native.xyz, options)
    assert backbone_rmsd(native, first, last, best.move.apply(native.xyz), native.xyz) < 0.7
    assert any(len(model.move.beside.atoms) for model in models[1:])


@pytest.mark.parametrize(("shell", "streams"), [(0.0, 2), (SHELL, 1)])
def test_what_a_search_found_is_led_once_more_only_around_side_chains_that_stay(
    monkeypatch: pytest.MonkeyPatch, shell: float, streams: int
) -> None:
    native, led = read(STRUCTURES / "1ubi.pdb"), list[int]()
    first, last = find_range(native, SPAN)

    def guided(domain: LoopDomain, state: LoopState, *, seed: int = 0) -> Iterator[tuple[LoopState, StepInfo, int]]:
        led.append(len(state.fold.xyz))
        return loop_parts.guided(domain, state, seed=seed)

    monkeypatch.setattr(loop_repair, "guided", guided)
    options = RunOptions(repack_shell=shell, energy=False, rounds=1, streams=2)
    domain = LoopDomain.of(native, first, last, cap=TORSION_CAP)
    moves, _, _ = loop_repair.contenders(native, domain, options, Clock())
    assert len(led) == streams and {move.predictor for move in moves} >= {STILL, MODELLED}


def test_what_the_input_leads_to_spoils_where_its_energy_is_no_lower() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    options, atoms = RunOptions(), np.arange(3)
    before = energy_of(native, native.xyz, options)

    def spoiling(predictor: str, energy: float | None) -> bool:
        move = Move(torsion_tree(native, 44, 50), atoms, native.xyz[None, atoms], "done", predictor)
        return loop_repair._spoiling(native, loop_repair.Ends([Model(move, 0.0, energy)]), options)

    assert spoiling(STILL, before + 1) and not spoiling(STILL, before - 1)
    assert not spoiling(MODELLED, before + 1) and not spoiling(STILL, None)


class Ticking(Clock):
    """A budget that is spent after so many looks at the clock."""

    left = 2

    def spent(self, share: float = 1.0) -> bool:
        type(self).left -= 1
        return self.left < 0


def test_a_budget_and_not_the_effort_says_when_a_search_ends() -> None:
    native = read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(native, SPAN)
    loop = LoopCandidates.of(native, rebuilt(native, first, last), sighted=False)
    rounds: list[int] = []
    effort = Effort(draws=64, crosses=32, led=4, generations=1, parents=4)
    long = searched(loop, effort, told=lambda done, most, best: rounds.append(done), clock=Ticking(1.0))
    assert rounds == [0, 1, 2, 3]
    short = searched(loop, effort, told=lambda done, most, best: rounds.append(done))
    assert rounds == [0, 1, 2, 3, 0, 1]
    assert long.value[0] <= short.value[0]


def test_the_clock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [107.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock, free = Clock(10.0, began=100.0), Clock(began=100.0)
    assert clock.spent(0.6) and not clock.spent() and not free.spent(0.0)
    assert clock.left == 3.0 and free.left is None
    now[0] = 500.0
    assert clock.left == -390.0 and clock.spent()

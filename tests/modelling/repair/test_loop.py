"""Repair end to end: what a user relies on, on a real bent loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_cases import BENT, LOOP, STRUCTURES

import geofold as gf
from geofold.app.result import Result
from geofold.errors import AltlocError, CovalentLinkError, OverlappingLoopsError
from geofold.modelling.options import RunOptions
from geofold.modelling.progress import Progress
from geofold.modelling.repair import loop as loop_repair
from geofold.modelling.repair.refinement import loop_domain
from geofold.modelling.time_budget import TimeBudget
from geofold.modelling.trajectory import no_motion
from geofold.molecule.io.read import read
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure


@pytest.fixture(scope="module")
def result() -> Result:
    return gf.repair(BENT, LOOP, rounds=2, streams=4)


def test_the_loop_is_clean_and_the_audit_passes(result: Result) -> None:
    before, after = result.report["before"], result.report["after"]
    assert before["severe_overlaps"] >= 5
    assert after["severe_overlaps"] <= 1
    assert after["ramachandran"]["outliers"] == 0
    assert after["energy_kj_mol"] < before["energy_kj_mol"]
    assert result.passed


def test_only_coordinate_columns_of_loop_atoms_differ(result: Result) -> None:
    before, after = BENT.read_bytes().splitlines(keepends=True), result.content.splitlines(keepends=True)
    assert len(before) == len(after)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert changed
    for one, other in changed:
        assert one[:30] == other[:30] and one[54:] == other[54:]
        assert 45 <= int(one[22:26]) <= 56


def test_same_seed_same_bytes(result: Result) -> None:
    again = gf.repair(BENT, LOOP, rounds=2, streams=4)
    assert again.content == result.content
    assert _timeless(again.report) == _timeless(result.report)


def _timeless(report: dict) -> str:
    kept = json.loads(json.dumps(report))
    kept.pop("seconds")
    for name in ("seconds", "seconds_to_goal", "latency_ms"):
        kept["stream"].pop(name)
    return json.dumps(kept)


def test_another_seed_is_another_answer_with_the_same_promises(result: Result) -> None:
    other = gf.repair(BENT, LOOP, rounds=2, streams=4, seed=1, energy=False)
    assert other.content != result.content
    checks = {c["name"]: c["passed"] for c in other.report["audit"]["checks"]}
    assert checks["closure_error_angstrom"] and checks["bond_change_angstrom"] and checks["angle_change_degrees"]


def test_path_starts_at_the_input_and_ends_at_the_output(result: Result) -> None:
    assert np.array_equal(result.frames[0], result.structure.xyz)
    assert np.abs(result.frames[-1] - result.xyz).max() < 1e-4
    steps = np.abs(np.diff(result.frames, axis=0)).max()
    assert np.isfinite(result.frames).all() and 0 < steps < 2.0
    assert result.trajectory.n_frames == len(result.frames)


def test_every_frame_keeps_the_loop_closed(result: Result) -> None:
    structure = result.structure
    first, last = find_range(structure, LOOP)
    carbon = structure.atom(last, "C", structure.conformer_mask)
    nitrogen = structure.atom(last + 1, "N", structure.conformer_mask)
    length = np.linalg.norm(result.frames[:, carbon] - result.frames[:, nitrogen], axis=-1)
    assert np.abs(length - length[0]).max() < 1e-6
    assert first < last


def test_mmcif_differs_in_values_of_moved_atoms_only() -> None:
    path = STRUCTURES / "5pti.cif"
    result = gf.repair(path, "A:37-42", rounds=1, streams=1, energy=False)
    before, after = path.read_text().splitlines(), result.content.decode().splitlines()
    assert len(before) == len(after)
    moved = set(np.flatnonzero(np.abs(result.xyz - result.structure.xyz).max(1) > 0).tolist())
    rows = [k for k, line in enumerate(before) if line.startswith(("ATOM", "HETATM"))]
    assert {rows.index(k) for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b} <= moved


def test_missing_side_chain_atoms_are_built_and_reported() -> None:
    lines = [
        x
        for x in BENT.read_bytes().splitlines(keepends=True)
        if not (
            x.startswith(b"ATOM") and x[22:26].strip() == b"48" and x[12:16].strip() in (b"CG", b"CD", b"CE", b"NZ")
        )
    ]
    result = gf.repair(b"".join(lines), LOOP, rounds=1, streams=1, energy=False)
    assert result.report["added_atoms"] == ["A:48@CG", "A:48@CD", "A:48@CE", "A:48@NZ"]
    new = [x for x in result.content.splitlines() if x.startswith(b"ATOM") and x[22:26].strip() == b"48"]
    assert {x[12:16].strip() for x in new} >= {b"CG", b"CD", b"CE", b"NZ"}
    highest = max(int(x[6:11]) for x in lines if x.startswith((b"ATOM", b"HETATM")))
    assert [int(x[6:11]) for x in new[-4:]] == [highest + k for k in (1, 2, 3, 4)]


def test_two_loops_in_one_call() -> None:
    result = gf.repair(BENT, [LOOP, "A:7-12"], rounds=1, streams=2, energy=False)
    assert set(result.report["stream"]["inner_steps_per_residue"]) >= {"A:45", "A:7"}
    with pytest.raises(OverlappingLoopsError, match="meet at A:50"):
        gf.repair(BENT, ["A:45-50", "A:50-56"])


def test_backbone_altlocs_need_a_choice() -> None:
    with pytest.raises(AltlocError, match="--altloc A"):
        gf.repair(STRUCTURES / "1ejg.pdb", "A:20-26")


def test_disulfides_stay_closed() -> None:
    structure = read(STRUCTURES / "1bx8.pdb")
    result = gf.repair(structure, "A:18-27", rounds=1, streams=2, energy=False)
    checks = {c["name"]: c["value"] for c in result.report["audit"]["checks"]}
    assert checks["bond_change_angstrom"] <= 0.01 and checks["angle_change_degrees"] <= 1.0


def test_a_link_that_pins_the_loop_is_named() -> None:
    structure = read(STRUCTURES / "1ubi.pdb")
    from geofold.molecule.structure import Link

    def atom(resnum: int, name: str) -> int:
        return int(np.flatnonzero((structure.resnum == resnum) & (structure.name == name) & ~structure.hetatm)[0])

    pinned = replace(structure, links=(Link(atom(47, "CA"), atom(60, "ND2"), "LINK"),))
    with pytest.raises(CovalentLinkError, match="A:47@CA - A:60@ND2"):
        gf.repair(pinned, "A:46-48")


def test_rigid_is_a_status_and_fails_the_audit() -> None:
    result = gf.repair(BENT, "A:30-32", energy=False)
    assert result.report["stream"]["status"] == ["rigid"]
    assert not result.passed
    assert result.content == BENT.read_bytes()


def test_terminal_stretch_needs_no_closure() -> None:
    result = gf.repair(STRUCTURES / "1ubi.pdb", "A:70-76", rounds=1, streams=2, energy=False)
    assert result.report["stream"]["status"] == ["done"]


def test_toolkit_sources_are_accepted(tmp_path: Path) -> None:
    mdtraj = pytest.importorskip("mdtraj")
    result = gf.repair(mdtraj.load(str(BENT)), LOOP, rounds=1, streams=1, energy=False)
    assert result.report["after"]["severe_overlaps"] < result.report["before"]["severe_overlaps"]
    result.save(tmp_path / "out.pdb.gz")
    assert (tmp_path / "out.pdb.gz").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize("margin", [np.inf, -np.inf])
def test_an_intact_loop_stays_unless_a_model_is_clearly_better(monkeypatch: pytest.MonkeyPatch, margin: float) -> None:
    monkeypatch.setattr(loop_repair, "CLEAN_MARGIN", margin)
    native = (STRUCTURES / "1ubi.pdb").read_bytes()
    result = gf.repair(native, "A:8-11", streams=2, rounds=1, seed=0)
    if margin > 0:
        assert result.content == native and result.report["stream"]["status"] == ["kept"]
        assert any("stays as it is" in note for note in result.report["notes"])
    else:
        assert result.content != native and result.report["stream"]["status"] != ["kept"]
    assert result.passed


def test_a_refinement_improves_only_by_what_it_removes(result: Result) -> None:
    """The bent loop, where it is and where its repair ended; and the native loop, which is clean."""
    options = RunOptions(energy=False)
    bent, native = read(BENT), read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(bent, LOOP)

    def improves(start: Structure, end: Structure) -> bool:
        repair = loop_repair.LoopRepair(start, first, last, options, None, TimeBudget(), Progress())
        domain = loop_domain(start, first, last, options)
        outcome = no_motion(domain, start.xyz)
        moved = replace(outcome, frames=np.concatenate([outcome.frames, end.xyz[None, outcome.atoms]]))
        return repair._improves(domain, loop_repair.LoopModel(moved, {}))

    end = replace(bent, xyz=result.xyz)
    assert improves(bent, end) and not improves(bent, bent)
    assert not improves(end, bent) and not improves(native, native)

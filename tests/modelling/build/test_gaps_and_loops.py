"""Gaps and loops in one run: what touches is modelled together, and whatever was not asked for stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from app_cases import STRUCTURES
from build_cases import QUICK as SHORT
from build_cases import checked, renumbered, without

import geofold as gf
from geofold.app.report.check_text import check_text
from geofold.app.result import Result
from geofold.errors import BuildError, OverlappingLoopsError
from geofold.modelling.build import gaps_and_loops, several_loops
from geofold.modelling.build.gaps_and_loops import Embedding, _places
from geofold.modelling.build.several_loops import spans_of
from geofold.molecule.io.edit import without_atoms
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.build_request import join_loops, plan_builds
from geofold.molecule.loop.perturbation import backbone_rmsd, perturb_loop
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure

NATIVE = read(STRUCTURES / "1ubi.pdb")
QUICK = SHORT | {"predictor": "hold-still"}


def bent(name: str, loop: str, target: float = 1.5) -> bytes:
    """A shipped file with a loop that is turned away; every other byte stays."""
    structure = read(STRUCTURES / name)
    xyz = perturb_loop(structure, *find_range(structure, loop), seed=4, target=target)
    return render(structure, xyz, (xyz != structure.xyz).any(1))


def require_rest_unchanged(before: bytes, result: Result, *moved: str) -> None:
    """The atoms of the input outside some ranges have their coordinates, names and numbers, and keep their order."""
    given, end = read(before), read(result.content)
    inside = {k for text in moved for k in range(find_range(end, text)[0], find_range(end, text)[1] + 1)}
    kept = [end.residues[k] for k in range(len(end.residues)) if k not in inside]
    labels = [residue.label for residue in kept]
    assert labels == [residue.label for residue in given.residues if residue.label in set(labels)]
    for residue, old in zip(kept, (r for r in given.residues if r.label in set(labels)), strict=True):
        assert np.array_equal(end.xyz[residue.atoms], given.xyz[old.atoms])
        assert end.name[residue.atoms].tolist() == given.name[old.atoms].tolist()


def names_of(result: Result) -> dict[str, bool]:
    return {check["name"]: check["passed"] for check in result.report["audit"]["checks"]}


def test_a_wrong_loop_is_left_out_while_the_gap_that_it_touches_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    content = without("1ubi_bent.pdb", (58, 61))
    seen = []
    build_loops = gaps_and_loops.build_loops

    def watched(structure: Structure, *others: object) -> object:
        seen.append([residue.resnum for residue in structure.residues])
        return build_loops(structure, *others)

    monkeypatch.setattr(gaps_and_loops, "build_loops", watched)
    result = gf.repair(content, "A:45-56", build="all", **QUICK)
    assert not set(range(45, 57)) & set(seen[0]) and {44, 57} <= set(seen[0])
    checked(result, "A:58-61", "DYNI")
    require_rest_unchanged(content, result, "A:58-61", "A:45-56")
    report = result.report
    assert report["loops"] == ["A:58-61", "A:45-56"] and len(report["stream"]["status"]) == 2
    assert report["before"]["missing_residues"] == 4 and report["before"]["severe_overlaps"] > 50
    assert report["after"]["severe_overlaps"] < 10 and report["after"]["missing_residues"] == 0
    assert names_of(result)["chiralities_changed"] and report["moved"]["residues"][0] == "A:45"
    assert len(report["confidence"]) == 2 and report["confidence"][0]["expected_rmsd_angstrom"] > 0
    assert np.allclose(result.frames[-1], result.xyz, atol=1e-4)
    assert np.allclose(result.frames[0], result.structure.xyz)


def test_a_loop_that_is_surer_than_the_gap_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    content = without(bent("1ubi.pdb", "A:58-62", 0.8), (45, 56))
    order = []
    for name in ("repair_loops", "build_loops"):
        function = getattr(gaps_and_loops, name)
        monkeypatch.setattr(gaps_and_loops, name, lambda *given, f=function, n=name: order.append(n) or f(*given))
    result = gf.repair(content, "A:58-62", build="A:45-56", **QUICK)
    assert order == ["repair_loops", "build_loops"]
    checked(result, "A:45-56", "FAGKQLEDGRTL")
    require_rest_unchanged(content, result, "A:45-56", "A:58-62")
    assert np.allclose(result.frames[-1], result.xyz, atol=1e-4)


def test_a_gap_and_a_far_loop_of_an_mmcif_file_with_ligands_and_alternate_locations() -> None:
    content = without("5pti.cif", (24, 28))
    result = gf.repair(content, "A:37-41", build="all", **QUICK)
    checked(result, "A:24-28", "NAKAG")
    require_rest_unchanged(content, result, "A:24-28", "A:37-41")
    assert b"data_" in result.content[:10] and result.report["loops"] == ["A:24-28", "A:37-41"]


def test_insertion_codes_stay_where_gap_and_loop_are_in_one_run() -> None:
    content = renumbered(without("1ubi.pdb", (58, 61)), above=57, shift=-4)
    result = gf.repair(content, "A:44-48", build="all", **QUICK)
    labels = [residue.label for residue in read(result.content).residues[56:62]]
    assert labels == ["A:57", "A:57A", "A:57B", "A:57C", "A:57D", "A:58"]
    require_rest_unchanged(content, result, "A:57A-57D", "A:44-48")


def test_loops_of_two_chains_are_found_and_the_gap_of_one_is_built() -> None:
    one = without("1ubi_bent.pdb", (20, 24)).replace(b"END", b"REM")
    lines = [line for line in (STRUCTURES / "1ubi.pdb").read_bytes().splitlines(keepends=True) if line[:4] == b"ATOM"]
    moved = [line[:21] + b"B" + line[22:30] + b"%8.3f" % (float(line[30:38]) + 60) + line[38:] for line in lines]
    content = one + b"TER\n" + b"".join(moved)
    result = gf.repair(content, build="all", auto=True, **QUICK)
    built, *repaired = result.report["loops"]
    assert built == "A:20-24" and repaired and all(text.startswith("A:4") for text in repaired)
    require_rest_unchanged(content, result, built, *repaired)


def test_a_loop_that_meets_a_gap_is_built_together_with_it() -> None:
    content = without("1ubi.pdb", (58, 61))
    result = gf.repair(content, "A:55-57", build="A:58-61", **QUICK)
    checked(result, "A:55-61", "TLSDYNI")
    assert result.report["loops"] == ["A:55-61"] and result.report["built"][0]["residues_replaced"] == 3
    assert any("A:55-57 meets a gap" in note for note in result.report["notes"])
    require_rest_unchanged(content, result, "A:55-61")


def test_joined_plans_have_every_residue_once() -> None:
    structure = read(without("1ubi.pdb", (8, 10), (15, 18), (40, 44)))
    builds, left = join_loops(structure, ["A:8-10", "A:15-18", "A:40-44"], ["A:11-14", "A:60-64"])
    assert left == ["A:60-64"] and [build.label for build in builds] == ["A:8-18", "A:40-44"]
    assert builds[0].sequence == "LTGKTITLEVE" and len(builds[0].removed) == 4
    assert [number for number, _ in builds[0].numbers] == list(range(8, 19))
    with pytest.raises(BuildError, match="A:1-7 ends at a chain end"):
        join_loops(structure, ["A:8-10"], ["A:1-7"])
    builds, left = join_loops(structure, ["A:8-10"], [], ["A:1-7"])
    assert [build.label for build in builds] == ["A:8-10"] and left == []
    assert any("A:1-7 looks wrong and stays as it is" in note for note in builds[0].notes)
    with pytest.raises(BuildError, match="3 to 40 residues"):
        join_loops(read(without("1ubi.pdb", (15, 18))), ["A:15-18"], ["A:19-60"])


def test_loops_that_meet_each_other_are_refused() -> None:
    with pytest.raises(OverlappingLoopsError, match="meet at"):
        gf.repair(without("1ubi.pdb", (58, 61)), ["A:30-34", "A:35-39"], build="all", **QUICK)


def test_the_loop_with_the_least_room_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    content = without("1ubi.pdb", (8, 10), (32, 38), (58, 61))
    structure, stages = read(content), []
    builds = plan_builds(structure, ["A:8-10", "A:32-38", "A:58-61"])
    room = [several_loops.room_to_vary(structure, build) for build in builds]
    assert room[1] == max(room) and all(0 <= r <= len(b.names) + 1 for r, b in zip(room, builds, strict=True))
    result = gf.repair(content, build="all", progress=lambda stage, *_: stages.append(stage), **QUICK)
    first = builds[int(np.argmin(room))].label
    assert stages[0].startswith(f"gap 1 of 3 {first}") and any(s.startswith("gap 3 of 3 A:32-38") for s in stages)
    for text, sequence in (("A:8-10", "LTG"), ("A:32-38", "DKEGIPP"), ("A:58-61", "DYNI")):
        checked(result, text, sequence)
    assert [built["residues"] for built in result.report["built"]] == ["A:8-10", "A:32-38", "A:58-61"]


def test_a_taut_chain_has_no_room_and_a_longer_one_has_more() -> None:
    (gap,) = plan_builds(read(without("1ubi.pdb", (58, 61))), ["A:58-61"])
    structure = read(without("1ubi.pdb", (58, 61)))
    far = structure.xyz.copy()
    far[structure.residue_of >= gap.after] += 10.0
    assert several_loops.room_to_vary(replace(structure, xyz=far), gap) == 0.0
    longer = replace(gap, names=(*gap.names, "GLY"))
    assert several_loops.room_to_vary(structure, longer) > several_loops.room_to_vary(structure, gap)


def test_gaps_that_touch_are_refined_among_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    content = without("1ubi.pdb", (6, 11), (69, 73))
    refined = []
    function = several_loops.refine_among_others
    monkeypatch.setattr(
        several_loops, "refine_among_others", lambda *given: refined.append(given[1]) or function(*given)
    )
    result = gf.repair(content, build="all", repack_shell=0.0, **QUICK)
    assert len(refined) == 1  # the last one was refined among all others anyway
    checked(result, "A:6-11", "KTLTGK")
    checked(result, "A:69-73", "LVLRL")
    require_rest_unchanged(content, result, "A:6-11", "A:69-73")
    assert np.allclose(result.frames[-1], result.xyz, atol=1e-4)


def test_repacked_neighbours_are_the_same_in_every_order() -> None:
    content = without(bent("1ubi.pdb", "A:52-56", 0.6), (58, 61))
    result = gf.repair(content, "A:52-56", build="all", repack_shell=5.0, **QUICK)
    moved = {*result.report["repacked"]["residues"], *(f"A:{k}" for k in range(52, 62))}
    given, end = read(content), read(result.content)
    for residue in given.residues:
        same = next(r for r in end.residues if r.label == residue.label)
        count = len(residue.atoms)
        if residue.label not in moved:
            assert np.array_equal(given.xyz[residue.atoms], end.xyz[same.atoms[:count]]), residue.label
    assert names_of(result)["other_atoms_moved_angstrom"]
    assert np.allclose(result.frames[-1], result.xyz, atol=1e-4)


def test_a_part_keeps_its_atoms_in_the_whole() -> None:
    structure = read(without("1ubi.pdb", (58, 61)))
    (build,) = plan_builds(structure, ["A:58-61"])
    place = _places(len(structure.residues), [build])
    assert spans_of([build]) == [(57, 60)] and (place[:57] == np.arange(57)).all()
    embedded = Embedding(structure, NATIVE, place)
    assert np.array_equal(embedded.target.xyz[embedded.atoms], structure.xyz)
    part = without_atoms(structure, np.isin(structure.residue_of, [3, 4]))
    kept = np.array([k for k in range(len(structure.residues)) if k not in (3, 4)])
    assert np.array_equal(Embedding(part, structure, kept).embed(part.xyz), structure.xyz)
    assert backbone_rmsd(NATIVE, 3, 4, NATIVE.xyz, NATIVE.xyz) == 0.0


def test_check_prints_one_command_for_gaps_and_loops() -> None:
    report = gf.check(without("1ubi_bent.pdb", (20, 24)), energy=False, name="in.pdb")
    assert report["trouble"]["stretches"]
    assert "geofold repair in.pdb --build all --auto -o OUT" in check_text(report)
    report = gf.check(without("1ubi.pdb", (20, 24)), energy=False, name="in.pdb")
    assert "--auto" not in check_text(report)

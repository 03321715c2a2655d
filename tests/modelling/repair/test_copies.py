"""Copies of a loop in a homomer: found whatever their numbers, placed, refined, and alike."""

from __future__ import annotations

import numpy as np
import pytest
from app_cases import STRUCTURES
from build_cases import checked, without

import geofold as gf
from geofold.app.result import Result
from geofold.geometry import dihedral
from geofold.modelling.options import RunOptions
from geofold.modelling.repair.copies import LOOP_COPY, compare_copies, model_copies
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.build_request import plan_builds
from geofold.molecule.loop.copies import CopyPair, add_copies, copies_of_build, copies_of_loop
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure

QUICK = {"streams": 2, "rounds": 1, "energy": False, "predictor": "hold-still"}
APART = 60.0
"""Distance (A) of the chains along x; the second is turned by half a turn about z, too."""


def dimer(content: bytes, *, shift: int = 100, icode: bytes = b" ") -> bytes:
    """Chain A of a PDB file, and a copy of it as chain B by a symmetry operation, with other residue numbers."""
    atoms = [line for line in content.splitlines(keepends=True) if line.startswith((b"ATOM", b"ANISOU"))]
    chains = [*atoms, b"TER\n"]
    for line in atoms:
        number = b"%4d" % (int(line[22:26]) + shift)
        head = line[:21] + b"B" + number + icode + line[27:30]
        if line.startswith(b"ATOM"):
            x, y, z = (float(line[a : a + 8]) for a in (30, 38, 46))
            line = head + b"%8.3f%8.3f%8.3f" % (APART + 60.0 - x, 60.0 - y, z) + line[54:]
            chains.append(line)
    return b"".join([*chains, b"TER\nEND\n"])


def bent(content: bytes, loop: str, target: float = 1.0) -> bytes:
    structure = read(content)
    xyz = perturb_loop(structure, *find_range(structure, loop), seed=4, target=target)
    return render(structure, xyz, (xyz != structure.xyz).any(1))


def passed(result: Result, *names: str) -> bool:
    values = {check["name"]: check["passed"] for check in result.report["audit"]["checks"]}
    return all(values[name] for name in names)


def outside(structure: Structure, *texts: str) -> dict[tuple[str, str], np.ndarray]:
    """Coordinates of the atoms outside some ranges."""
    inside = {k for text in texts for k in range(find_range(structure, text)[0], find_range(structure, text)[1] + 1)}
    return {
        (residue.label, str(structure.name[a])): structure.xyz[a]
        for k, residue in enumerate(structure.residues)
        if k not in inside
        for a in residue.atoms.tolist()
    }


def require_same(one: dict[tuple[str, str], np.ndarray], other: dict[tuple[str, str], np.ndarray]) -> None:
    assert one.keys() == other.keys() and all(np.array_equal(xyz, other[key]) for key, xyz in one.items())


@pytest.fixture(scope="module")
def built() -> tuple[bytes, Result]:
    content = dimer(without("1ubi.pdb", (58, 61)))
    return content, gf.repair(content, build="A:58-61=DYNI", copies=True, **QUICK)


def test_a_missing_loop_is_built_in_both_chains_and_is_the_same(built: tuple[bytes, Result]) -> None:
    content, result = built
    assert result.report["loops"] == ["A:58-61", "B:158-161"]
    for text in result.report["loops"]:
        checked(result, text, "DYNI")
    require_same(outside(read(result.content), *result.report["loops"]), outside(read(content)))
    (pair,) = result.report["copies"]["compared"]
    assert (pair["of"], pair["residues"]) == ("A:58-61", "B:158-161") and pair["torsions_differ_at"] == []
    assert pair["backbone_rmsd_angstrom"] < 0.1 and pair["largest_distance_angstrom"] < 0.3
    assert LOOP_COPY in result.report["predictor"] and result.report["options"]["copies"] is True
    assert "B:158-161 copies A:58-61: " in result.summary()
    confidence = result.report["confidence"]
    errors = [list(entry.pop("residue_error_angstrom").values()) for entry in confidence]
    assert confidence[0] == confidence[1] and errors[0] == errors[1] and len(errors[0]) == len("DYNI")
    assert np.allclose(result.frames[-1], result.xyz, atol=1e-4)


def test_the_comparison_is_of_the_coordinates_in_the_file(built: tuple[bytes, Result]) -> None:
    """Turned by the symmetry operation, the second loop is where the first one is."""
    _, result = built
    structure = read(result.content)
    one, other = (
        np.array([structure.xyz[structure.atom(k, name, structure.conformer_mask)] for k in range(first, last + 1)
                  for name in ("N", "CA", "C", "O")])
        for first, last in (find_range(structure, text) for text in ("A:58-61", "B:158-161"))
    )  # fmt: skip
    turned = np.array([APART / 10 + 6.0, 6.0, 0.0]) + other * [-1, -1, 1]
    direct = 10 * np.sqrt(np.square(turned - one).sum(-1).mean())
    assert result.report["copies"]["compared"][0]["backbone_rmsd_angstrom"] == pytest.approx(direct, abs=0.02)


def test_present_loops_of_both_chains_become_alike() -> None:
    content = bent(dimer((STRUCTURES / "1ubi.pdb").read_bytes()), "B:145-149", 0.8)
    before = compare_copies(read(content), read(content).xyz, [pair_of(read(content))], None)[0]
    result = gf.repair(content, "A:45-49", copies=True, **QUICK)
    assert result.report["loops"] == ["A:45-49", "B:145-149"]
    pair = result.report["copies"]["compared"][0]
    assert before["backbone_rmsd_angstrom"] > 0.5 and before["torsions_differ_at"]
    assert pair["backbone_rmsd_angstrom"] < 0.3 and pair["torsions_differ_at"] == []
    require_same(
        outside(read(result.content), *result.report["loops"]), outside(read(content), *result.report["loops"])
    )
    assert passed(result, "other_atoms_moved_angstrom", "closure_error_angstrom", "bond_change_angstrom",
                  "angle_change_degrees", "chiralities_changed")  # fmt: skip
    structure = read(result.content)
    (first, last), (start, _) = (find_range(structure, text) for text in result.report["loops"])
    for k in range(last - first + 1):  # side chains follow, too
        chi = [side_chain_direction(structure, place + k) for place in (first, start)]
        if chi[0] is not None and chi[1] is not None:
            turn = np.abs(np.angle(np.exp(1j * (chi[0] - chi[1]))))
            assert turn < np.radians(60)


def pair_of(structure: Structure) -> CopyPair:
    return CopyPair(find_range(structure, "A:45-49"), find_range(structure, "B:145-149"))


def side_chain_direction(structure: Structure, k: int) -> float | None:
    """Chi1 of a residue; None without one."""
    present = structure.name[structure.residues[k].atoms].tolist()
    gamma = next((name for name in ("CG", "CG1", "OG", "OG1", "SG") if name in present), "")
    atoms = [structure.atom(k, name, structure.conformer_mask) for name in ("N", "CA", "CB", gamma)]
    return None if None in atoms else float(dihedral(*(structure.xyz[a] for a in atoms)))


def test_a_copy_that_does_not_fit_stays_as_it_is() -> None:
    content = dimer((STRUCTURES / "1ubi_bent.pdb").read_bytes())
    native = read(dimer((STRUCTURES / "1ubi.pdb").read_bytes()))
    # the first chain is bent and clashes, the second one is the native one; nothing may get worse
    mixed = b"".join(
        line for line in content.splitlines(keepends=True) if not line.startswith(b"ATOM") or line[21:22] == b"A"
    )
    other = [x for x in dimer((STRUCTURES / "1ubi.pdb").read_bytes()).splitlines(keepends=True) if x[21:22] == b"B"]
    mixed = mixed.replace(b"TER\nTER\nEND\n", b"TER\n" + b"".join(other) + b"TER\nEND\n")
    structure = read(mixed)
    pair = CopyPair(find_range(structure, "A:45-56"), find_range(structure, "B:145-156"))
    options = RunOptions(**QUICK)
    (model,) = model_copies(structure, [pair], options, None)
    assert model.outcome.status == "kept"
    assert np.array_equal(model.outcome.apply(structure.xyz), structure.xyz) and len(native) == len(structure)


def test_copies_are_found_by_their_residues() -> None:
    structure = read(dimer((STRUCTURES / "1ubi.pdb").read_bytes(), shift=1000, icode=b"C"))
    first, last = find_range(structure, "A:45-56")
    assert copies_of_loop(structure, first, last) == [find_range(structure, "B:1045C-1056C")]
    assert copies_of_loop(read(STRUCTURES / "1ubi.pdb"), 44, 55) == []
    both = add_copies(structure, [], [(first, last), find_range(structure, "B:1045C-1056C")])
    assert both.repaired == [CopyPair((first, last), both.ranges[1])] and len(both.ranges) == 2
    overlapping = add_copies(structure, [], [(first, last), find_range(structure, "B:1044C-1050C")])
    assert overlapping.repaired == [] and len(overlapping.ranges) == 2
    gap = read(dimer(without("1ubi.pdb", (58, 61)), shift=0))
    (build,) = plan_builds(gap, ["A:58-61=DYNI"])
    (plan,), left = copies_of_build(gap, build)
    assert (plan.label, plan.names) == ("B:58-61", build.names) and left == []
    twice = add_copies(gap, plan_builds(gap, ["A:58-61=DYNI", "B:58-61=DYNI"]), [])
    assert [plan.label for plan in twice.builds] == ["A:58-61", "B:58-61"] and twice.built == {1: 0}
    different = add_copies(gap, plan_builds(gap, ["A:58-61=DYNI", "B:58-61=GGGG"]), [])
    assert len(different.builds) == 2 and different.built == {}
    whole = read(dimer((STRUCTURES / "1ubi.pdb").read_bytes()))
    lines = dimer((STRUCTURES / "1ubi.pdb").read_bytes()).splitlines(keepends=True)
    half = b"".join(x for x in lines if not (x[:4] == b"ATOM" and x[21:22] == b"A" and 58 <= int(x[22:26]) <= 61))
    (build,) = plan_builds(read(half), ["A:58-61=DYNI"])
    assert copies_of_build(read(half), build) == ([], [])  # the other chain has residues between the anchors
    assert len(whole.residues) == len(read(half).residues) + 4


def test_chains_without_the_gap_are_named_or_left_alone() -> None:
    result = gf.repair(without("1fas.cif", (8, 11)), build="A:8-11", copies=True, **QUICK)
    assert result.report["copies"] == {"compared": [], "left": []}
    assert "no other chain has the residues around these loops" in result.summary()
    checked(result, "A:8-11", "TTSR")

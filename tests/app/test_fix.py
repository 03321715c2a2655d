"""`fix`: each step does what its name says, what is fine stays byte for byte, and the end is what OpenMM accepts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from openmm.app import ForceField, Modeller, PDBFile

import geofold as gf
from geofold.app.fix import GAPS, HYDROGENS, LOOPS, SIDE_CHAINS
from geofold.cli import main
from geofold.molecule.io.read import read
from geofold.molecule.structure import Structure
from geofold.resources import find

FEW = {"rounds": 1, "streams": 1, "energy": False}


def cut(name: str, gone: range, atoms: dict[int, set[str]], *, sequence: bool = True) -> bytes:
    """A shipped file without residues, atoms and, if asked, its sequence."""
    lines = []
    for line in find("structures", name).read_text().splitlines():
        if line[:4] in ("ATOM", "ANIS"):
            number = int(line[22:26])
            if number in gone or line[12:16].strip() in atoms.get(number, ()):
                continue
        if sequence or not line.startswith("SEQRES"):
            lines.append(line)
    return ("\n".join(lines) + "\n").encode()


def atoms_of(structure: Structure, number: int) -> set[str]:
    return {str(structure.name[a]) for residue in structure.residues if residue.resnum == number for a in residue.atoms}


@pytest.mark.parametrize("name", ["1ubi.pdb", "5pti.cif"])
def test_a_structure_that_lacks_nothing_stays_byte_for_byte(name):
    content = find("structures", name).read_bytes()
    result = gf.fix(content, **FEW)
    assert result.content == content and result.passed
    assert [step["step"] for step in result.report["steps"]] == [SIDE_CHAINS, GAPS, LOOPS]
    assert not any(step["done"] for step in result.report["steps"])


def test_side_chains_and_gaps_come_back_and_the_rest_stays():
    broken = read(cut("1ubi.pdb", range(60, 64), {27: {"CE", "NZ"}, 33: {"CG", "CD", "CE", "NZ"}}))
    result = gf.fix(broken, **FEW)
    steps = {step["step"]: step for step in result.report["steps"]}
    assert steps[SIDE_CHAINS]["done"] == ["A:27", "A:33"]
    assert steps[GAPS]["done"] == ["A:60-63"] and steps[GAPS]["left"] == []
    native, end = read(find("structures", "1ubi.pdb")), read(result.content)
    for number in (27, 33, *range(60, 64)):
        assert atoms_of(end, number) == atoms_of(native, number)
    assert result.report["after"]["severe_overlaps"] >= 0 and any(
        "gaps built" in c["name"] for c in result.report["audit"]["checks"]
    )
    before = {(r.label, str(broken.name[a])): broken.xyz[a] for r in broken.residues for a in r.atoms}
    loops = {k for k, r in enumerate(end.residues) if r.resnum in range(59, 65)}
    for k, residue in enumerate(end.residues):
        for a in residue.atoms:
            old = before.get((residue.label, str(end.name[a])))
            assert old is None or k in loops or np.array_equal(old, end.xyz[a])


def test_what_cannot_be_done_is_named_with_its_reason():
    content = cut("1ubi.pdb", range(60, 64), {76: {"C", "O"}}, sequence=False)
    steps = {step["step"]: step for step in gf.fix(content, **FEW).report["steps"]}
    assert any("A:76" in text and "incomplete" in text for text in steps[SIDE_CHAINS]["left"])
    assert any(text.startswith("A:59 to A:64: ") for text in steps[GAPS]["left"]) and not steps[GAPS]["done"]


def test_hydrogens_are_those_that_openmm_accepts(tmp_path, capsys):
    path, out = tmp_path / "in.pdb", tmp_path / "out.pdb"
    path.write_bytes(cut("1ubi.pdb", range(0), {33: {"CE", "NZ"}}))
    assert main(["fix", str(path), "-o", str(out), "--hydrogens", "--no-energy"]) == 0
    shown = capsys.readouterr().err
    assert "side chains completed: A:33" in shown and "hydrogens added: " in shown
    file = PDBFile(io.StringIO(out.read_text()))
    modeller = Modeller(file.topology, file.positions)
    modeller.deleteWater()
    system = ForceField("amber14-all.xml").createSystem(modeller.topology)
    assert system.getNumParticles() == 1231
    heavy = [line for line in out.read_text().splitlines() if line[:4] == "ATOM" and line[76:78].strip() != "H"]
    given = [line for line in path.read_text().splitlines() if line[:4] == "ATOM"]
    assert {line[30:54] for line in given} <= {line[30:54] for line in heavy}
    again = tmp_path / "again.pdb"
    assert main(["fix", str(out), "-o", str(again), "--hydrogens", "--no-energy"]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_steps_are_in_the_report_of_the_command(tmp_path):
    report = tmp_path / "report.json"
    source = str(find("structures", "1ubi.pdb"))
    assert main(["fix", source, "-o", str(tmp_path / "out.pdb"), "--report", str(report), "--no-energy", "-q"]) == 0
    assert '"command": "fix"' in Path(report).read_text() and HYDROGENS not in Path(report).read_text()


@pytest.mark.parametrize("shell", [0.0, 7.0])
def test_neighbours_that_move_are_listed(shell):
    broken = read(cut("1ubi.pdb", range(60, 64), {}))
    result = gf.fix(broken, **FEW, repack_shell=shell)
    end = read(result.content)
    before = {(r.label, str(broken.name[a])): broken.xyz[a] for r in broken.residues for a in r.atoms}
    after = {(r.label, str(end.name[a])): end.xyz[a] for r in end.residues for a in r.atoms}
    moved = {label for (label, name), xyz in before.items() if not np.array_equal(xyz, after[label, name])}
    listed = result.report.get("repacked", {}).get("residues", [])
    assert moved <= set(listed) and len(set(listed)) == len(listed)
    assert bool(moved) == (shell > 0) == ("repacked side chains around" in result.summary())

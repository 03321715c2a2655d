"""Caps: ideal geometry, numbers that nothing else has, lines that stay, and files that OpenMM accepts."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from app_cases import STRUCTURES
from build_cases import checked, renumbered, without
from openmm.app import ForceField, Modeller, PDBFile, PDBxFile

import geofold as gf
from geofold.app.fix import CAPS
from geofold.cli import main
from geofold.errors import BuildError, OptionError
from geofold.geometry import dihedral
from geofold.molecule.analysis.clashes import count_severe_overlaps
from geofold.molecule.caps.capping import CappedStructure, cap_chains
from geofold.molecule.caps.sites import ACE, NME
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.structure import Structure

QUICK = {"streams": 1, "rounds": 1, "energy": False, "predictor": "hold-still"}
FILES = ("1ubi.pdb", "1bhl.pdb", "1ejg.pdb", "1pwc.pdb", "2erl.pdb", "1fas.cif", "5pti.cif", "1yjp.cif")


def text_of(structure: Structure) -> bytes:
    return render(structure, structure.xyz, np.zeros(len(structure), dtype=bool))


def place(structure: Structure, label: str, name: str) -> np.ndarray:
    k = next(k for k, residue in enumerate(structure.residues) if residue.label == label)
    atom = structure.atom(k, name, structure.conformer_mask)
    assert atom is not None
    return structure.xyz[atom]


def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    left, right = a - b, c - b
    return float(np.degrees(np.arccos(left @ right / np.linalg.norm(left) / np.linalg.norm(right))))


def require_ideal(capped: CappedStructure) -> None:
    """Bond lengths, angles and a planar trans peptide bond of every cap."""
    structure = capped.structure
    for cap, (label, owner) in zip(capped.caps, capped.labels, strict=True):
        if cap.site.name == ACE:
            methyl, c, o = (place(structure, label, name) for name in ("CH3", "C", "O"))
            n, ca = (place(structure, owner, name) for name in ("N", "CA"))
            inner = angle(c, n, ca)
        else:
            methyl, c, o = (place(structure, owner, name) for name in ("CA", "C", "O"))
            n, ca = (place(structure, label, name) for name in ("N", "C"))
            inner = angle(c, n, ca)
            methyl, ca = ca, methyl
        carbon, nitrogen_side = (methyl, ca) if cap.site.name == ACE else (ca, methyl)
        assert np.linalg.norm(c - n) == pytest.approx(0.1329, abs=2e-4)
        assert inner == pytest.approx(121.4, abs=0.3)
        assert angle(carbon, c, n) == pytest.approx(116.6, abs=0.3)
        assert abs(float(dihedral(carbon, c, n, nitrogen_side))) > np.radians(179)
        assert abs(float(dihedral(o, c, n, nitrogen_side))) < np.radians(4)


@pytest.mark.parametrize("name", FILES)
def test_caps_are_ideal_and_every_other_line_stays(name: str) -> None:
    content = (STRUCTURES / name).read_bytes()
    capped = cap_chains(read(content), "all")
    require_ideal(capped)
    text = text_of(capped.structure)
    old, new = content.splitlines(), text.splitlines()
    gone = set(old) - set(new)
    kept = [line for line in old if line not in gone]
    added = set(new) - set(old)
    assert [line for line in new if line not in added] == kept
    ends = {line for line in gone if line.startswith(b"TER")}
    assert len(gone) - len(ends) <= 2 * len(capped.removed)  # alternate locations and ANISOU records
    assert all(b"ACE" in line or b"NME" in line or b" H " in line for line in added)
    back = read(text)
    assert [r.label for r in back.residues] == [r.label for r in capped.structure.residues]
    assert np.array_equal(back.xyz, capped.structure.xyz) and back.name.tolist() == capped.structure.name.tolist()
    numbers = [(r.chain, r.resnum, r.icode) for r in back.residues]
    assert len(set(numbers)) == len(numbers)


def test_the_file_is_what_openmm_completes_by_itself() -> None:
    force_field = ForceField("amber14-all.xml")
    for content, reader in (
        (without("1ubi.pdb", (45, 49), (20, 21)), PDBFile),
        (without("1fas.cif", (30, 33)), PDBxFile),
    ):
        capped = cap_chains(read(content), "all")
        file = reader(io.StringIO(text_of(capped.structure).decode()))
        modeller = Modeller(file.topology, file.positions)
        modeller.deleteWater()
        modeller.addHydrogens(force_field)
        system = force_field.createSystem(modeller.topology)
        names = [residue.name for residue in modeller.topology.residues()]
        assert names.count("ACE") == names.count("NME") == len(capped.caps) // 2 >= 2
        assert system.getNumParticles() == modeller.topology.getNumAtoms()


def test_a_protonated_file_is_accepted_as_it_is() -> None:
    hydrogenated = gf.fix((STRUCTURES / "1yjp.cif").read_bytes(), hydrogens=True, energy=False).content
    capped = cap_chains(read(hydrogenated), "ends")
    assert {label.split("@")[1] for label in capped.removed} == {"H", "H2", "H3", "OXT"} or "A:7@OXT" in capped.removed
    file = PDBxFile(io.StringIO(text_of(capped.structure).decode()))
    modeller = Modeller(file.topology, file.positions)
    modeller.deleteWater()
    ForceField("amber14-all.xml").createSystem(modeller.topology)
    n, h, c = (place(capped.structure, "A:1", name) for name in ("N", "H", "CA"))
    carbon = place(capped.structure, "A:0", "C")
    assert np.linalg.norm(h - n) == pytest.approx(0.101, abs=1e-3)
    assert angle(h, n, c) + angle(h, n, carbon) + angle(carbon, n, c) == pytest.approx(360.0, abs=1.0)


def test_gaps_and_ends_are_different_places() -> None:
    structure = read(without("1ubi.pdb", (45, 49)))
    at_gap, at_ends, at_all = (cap_chains(structure, where).labels for where in ("gaps", "ends", "all"))
    assert [owner for _, owner in at_gap] == ["A:44", "A:50"]
    assert [owner for _, owner in at_ends] == ["A:1", "A:76"]
    assert {*at_gap, *at_ends} == set(at_all) and len(at_all) == 4
    assert [label for label, _ in at_gap] == ["A:45", "A:49"]


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (without("1ubi.pdb", (58, 58)), ["A:58", "A:58A"]),
        (renumbered(without("1ubi.pdb", (58, 61)), above=57, shift=-4), ["A:57A", "A:57B"]),
        (without("1ubi.pdb", (58, 59)), ["A:58", "A:59"]),
    ],
)
def test_numbers_come_from_the_gap_and_then_from_insertion_codes(content: bytes, labels: list[str]) -> None:
    capped = cap_chains(read(content), "gaps")
    assert [label for label, _ in capped.labels] == labels
    order = [residue.label for residue in read(text_of(capped.structure)).residues]
    assert order.index(labels[0]) + 1 == order.index(labels[1])


def test_a_number_that_a_water_or_a_ligand_has_is_not_used() -> None:
    capped = cap_chains(read(STRUCTURES / "1ubi.pdb"), "ends")
    assert [label for label, _ in capped.labels] == ["A:0", "A:76A"]  # a water of the chain has number 77
    content = (STRUCTURES / "1ubi.pdb").read_bytes().replace(b"HOH A  77 ", b"HOH A   0 ")
    assert [label for label, _ in cap_chains(read(content), "ends").labels] == ["A:-1", "A:77"]


def test_two_chains_and_the_ter_record() -> None:
    lines = (STRUCTURES / "1ubi.pdb").read_bytes().splitlines(keepends=True)
    one = [line for line in lines if line[:4] == b"ATOM"]
    two = [line[:21] + b"B" + line[22:30] + b"%8.3f" % (float(line[30:38]) + 60) + line[38:] for line in one]
    ter = b"TER     603      GLY A  76\n"
    content = b"".join([*one, ter, *two, ter.replace(b" A ", b" B "), b"END\n"])
    capped = cap_chains(read(content), "all")
    assert [label for label, _ in capped.labels] == ["A:0", "A:77", "B:0", "B:77"]
    text = text_of(capped.structure).splitlines()
    ends = [k for k, line in enumerate(text) if line.startswith(b"TER")]
    assert [text[k][17:26] for k in ends] == [b"NME A  77", b"NME B  77"]
    assert all(text[k - 1][17:20] == b"NME" for k in ends)


def test_the_free_torsion_turns_out_of_the_way() -> None:
    gap = read(without("1ubi.pdb", (1, 20)))
    first = cap_chains(gap, "ends")
    cap = first.caps[0]
    assert cap.site.name == ACE
    # an atom of a ligand where the methyl was, on the side away from the chain
    xyz, names = gap.xyz.copy(), gap.resname.copy()
    row = next(k for k in range(len(gap)) if gap.resname[k] == "HOH")
    xyz[row], names[row] = cap.xyz[2] + 1.5 * (cap.xyz[2] - cap.xyz[0]), "LIG"
    blocked = cap_chains(replace(gap, xyz=xyz, resname=names), "ends").caps[0]
    assert cap.overlap < 0.04 and blocked.overlap < 0.05
    assert np.linalg.norm(blocked.xyz[2] - xyz[row]) > np.linalg.norm(cap.xyz[2] - xyz[row]) + 0.03
    assert count_severe_overlaps(first.structure) == count_severe_overlaps(gap)


def test_ends_that_are_bonded_or_torn_stay_and_say_why() -> None:
    structure = cap_chains(read(STRUCTURES / "1yjp.cif"), "all").structure
    again = cap_chains(structure, "all")
    assert not again.caps and again.structure is structure
    assert list(again.left) == ["A:1: bonded to A:0 ACE", "A:7: bonded to A:7A NME"]
    lines = (STRUCTURES / "1ubi.pdb").read_bytes().splitlines(keepends=True)
    torn = b"".join(x for x in lines if not (x[:4] == b"ATOM" and x[22:26] == b"  76" and x[12:16] == b" O  "))
    assert cap_chains(read(torn), "ends").left == ("A:76: its backbone lacks O",)


def test_several_models_are_refused_in_one_line() -> None:
    with pytest.raises(BuildError, match="21 models"):
        gf.repair(STRUCTURES / "1a1p.pdb", cap="all", energy=False)
    with pytest.raises(OptionError, match="cap all_ends; expected gaps, ends or all"):
        gf.repair(STRUCTURES / "1ubi.pdb", cap="all_ends", energy=False)


def test_caps_alone_are_a_run_of_their_own() -> None:
    result = gf.repair(STRUCTURES / "1bhl.pdb", cap="gaps", energy=False)
    assert result.report["loops" if "loops" in result.report else "caps"]["added"][0] == {
        "residue": "A:138", "name": NME, "bonded_to": "A:137", "overlap_angstrom": 0.0,
    }  # fmt: skip
    assert result.report["options"]["cap"] == "gaps" and result.passed
    assert "NME A:138 caps A:137" in result.summary() and "caps only" in result.summary()
    amino = result.report["input"]["amino_acids"]
    assert amino == sum(read(result.content).is_amino_acid(k) for k in range(len(read(result.content).residues)))
    with pytest.raises(OptionError, match="residues that were added"):
        result.like(read(STRUCTURES / "1bhl.pdb"))


def test_a_gap_is_built_and_the_others_are_capped_in_one_run() -> None:
    content = without("1ubi.pdb", (20, 24), (58, 61))
    result = gf.repair(content, "A:44-48", build="A:58-61", cap="all", **QUICK)
    assert result.report["loops"] == ["A:58-61", "A:44-48"]
    added = [cap["residue"] for cap in result.report["caps"]["added"]]
    assert added == ["A:0", "A:20", "A:24", "A:76A"]
    checks = {check["name"]: check for check in result.report["audit"]["checks"]}
    assert "caps_with_severe_overlaps" in checks and checks["other_atoms_moved_angstrom"]["passed"]
    labels = [residue.label for residue in read(result.content).residues]
    assert labels.index("A:24") == labels.index("A:20") + 1 and labels.index("A:61") == labels.index("A:58") + 3


def test_an_end_that_moves_with_a_loop_is_left() -> None:
    result = gf.repair(STRUCTURES / "1ubi.pdb", "A:72-76", cap="ends", **QUICK)
    assert [cap["residue"] for cap in result.report["caps"]["added"]] == ["A:0"]
    assert any(text.startswith("A:76: part of a loop that moves") for text in result.report["caps"]["left"])


def test_fix_caps_and_protonates_what_openmm_accepts_at_once(tmp_path, capsys) -> None:
    path, out = tmp_path / "in.pdb", tmp_path / "out.pdb"
    lines = without("1ubi.pdb", (45, 49)).splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b"SEQRES")))
    assert main(["fix", str(path), "-o", str(out), "--cap", "all", "--hydrogens", "--no-energy"]) in (0, 1)
    shown = capsys.readouterr().err
    assert f"{CAPS}: A:0 ACE, A:45 NME, A:49 ACE, A:76A NME" in shown and "protonated as chain ends" not in shown
    file = PDBFile(str(out))
    modeller = Modeller(file.topology, file.positions)
    modeller.deleteWater()
    ForceField("amber14-all.xml").createSystem(modeller.topology)
    again = tmp_path / "again.pdb"
    assert main(["fix", str(out), "-o", str(again), "--cap", "all", "--hydrogens", "--no-energy", "-q"]) in (0, 1)
    assert again.read_bytes() == out.read_bytes()


def test_caps_make_way_for_a_loop_that_is_built() -> None:
    capped = gf.repair(without("1ubi.pdb", (58, 61)), cap="gaps", energy=False)
    assert capped.report["caps"]["added"]
    (gap,) = gf.check(capped.content, energy=False)["chain_breaks"]
    assert (gap["build"], gap["sequence"]) == ("A:58-61", "DYNI")
    result = gf.repair(capped.content, build="all", **QUICK)
    structure = checked(result, "A:58-61", "DYNI")
    assert not {ACE, NME} & {residue.resname for residue in structure.residues}
    assert result.report["built"][0]["residues_replaced"] == 0 and result.report["before"]["missing_residues"] == 4
    assert without(result.content, (58, 61)) == without("1ubi.pdb", (58, 61))

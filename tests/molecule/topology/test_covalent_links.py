"""Covalent links beside disulfides: found with and without a record, named, and kept out of the energy."""

from __future__ import annotations

import numpy as np
import pytest

import geofold as gf
from geofold.molecule.energy.all_atom import complete
from geofold.molecule.energy.missing_atoms import missing_atoms
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import bond_list
from geofold.molecule.topology.covalent_links import covalent_links, link_notes
from geofold.resources import find

UBIQUITIN = [
    line for line in find("structures", "1ubi.pdb").read_text().splitlines(keepends=True) if line[:4] == "ATOM"
]
SUGAR = "HETATM 9001  {name:<3s} NAG A 200    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           {element}\n"
RECORD = "LINK        {:>3s}  {:3s} A{:4d}                {:>3s}  {:3s} A{:4d}     1555   1555  1.40\n"


def place(number: int, name: str) -> np.ndarray:
    """Where an atom of ubiquitin is, in Angstrom."""
    (line,) = [line for line in UBIQUITIN if int(line[22:26]) == number and line[12:16].strip() == name]
    return np.array([float(line[c : c + 8]) for c in (30, 38, 46)])


def changed(gone: tuple[tuple[int, str], ...], moved: dict[tuple[int, str], np.ndarray]) -> list[str]:
    """Ubiquitin without some atoms, and others elsewhere."""
    lines = []
    for line in UBIQUITIN:
        key = int(line[22:26]), line[12:16].strip()
        if key not in gone:
            x = moved.get(key)
            lines.append(line if x is None else line[:30] + "".join(f"{v:8.3f}" for v in x) + line[54:])
    return lines


def lactam() -> Structure:
    """The amine of lysine 27 where aspartic acid 52 has lost an oxygen."""
    return read("".join(changed(((52, "OD2"),), {(27, "NZ"): place(52, "OD2")})).encode())


def ring() -> Structure:
    """The last carbon of the chain at its first nitrogen."""
    start = place(1, "N") + np.array([1.33, 0.0, 0.0])
    return read(
        "".join(changed(((76, "OXT"),), {(76, "C"): start, (76, "O"): start + np.array([0.6, 1.0, 0.0])})).encode()
    )


def glycan(number: int, name: str, record: bool) -> Structure:
    """A sugar's first carbons bound to a side chain, with a record or without."""
    towards = place(number, name) - place(number, "CB")
    first = place(number, name) + 1.43 * towards / np.linalg.norm(towards)
    xyz = first + np.array([[0.0, 0.0, 0.0], [0.9, 0.9, 0.8]])
    sugar = [SUGAR.format(name=f"C{k}", x=x, y=y, z=z, element="C") for k, (x, y, z) in enumerate(xyz, 1)]
    resname = next(line[17:20] for line in UBIQUITIN if int(line[22:26]) == number)
    head = [RECORD.format(name, resname, number, "C1", "NAG", 200)] if record else []
    return read("".join([*head, *UBIQUITIN, *sugar]).encode())


def labels(structure: Structure) -> list[str]:
    return link_notes(structure, structure.conformer_mask)


@pytest.mark.parametrize(
    ("made", "ends", "said"),
    [
        (lactam, (27, 52), "covalent links: A:27 LYS@NZ - A:52 ASP@CG"),
        (ring, (1, 76), "covalent links: A:1 MET@N - A:76 GLY@C"),
    ],
)
def test_an_amide_between_amino_acids_takes_no_part_in_completion(made, ends, said) -> None:
    structure = made()
    assert labels(structure) == [said]
    conformer = structure.conformer()
    (link,) = covalent_links(structure, conformer)
    assert link in bond_list(structure, conformer)
    full = complete(structure, conformer, hydrogens=True)
    tied = [next(k for k, r in enumerate(structure.residues) if r.resnum == number) for number in ends]
    assert not set(tied) & set(full.residue.tolist())
    assert {f"A:{number}" for number in ends} <= set(full.left_out)
    assert missing_atoms(structure, 0, len(structure.residues) - 1) == []
    assert np.isfinite(EnergyModel.of(structure, conformer).energy(structure.xyz))
    notes = gf.check(structure, energy=True)["notes"]
    assert said in notes and any(f"leaves out A:{ends[0]}, A:{ends[1]}" in note for note in notes)


@pytest.mark.parametrize(("number", "name", "resname"), [(60, "ND2", "ASN"), (57, "OG", "SER"), (55, "OG1", "THR")])
@pytest.mark.parametrize("record", [True, False])
def test_a_glycan_is_named_and_its_amino_acid_stays_in_the_energy(number, name, resname, record) -> None:
    structure = glycan(number, name, record)
    assert labels(structure) == [f"covalent links: A:{number} {resname}@{name} - A:200 NAG@C1"]
    full = complete(structure, structure.conformer(), hydrogens=True)
    assert number - 1 in full.residue and "NAG" in full.left_out
    assert set(covalent_links(structure, structure.conformer())) <= set(bond_list(structure, structure.conformer()))


def test_a_record_is_believed_if_nothing_contradicts_it() -> None:
    """A thioether: the sulphur of methionine 1 and the end of lysine 63, at a bond's length by their record."""
    lines = changed((), {(63, "CE"): place(1, "SD") + np.array([1.8, 0.0, 0.0])})
    assert labels(read("".join(lines).encode())) == []
    structure = read("".join([RECORD.format("SD", "MET", 1, "CE", "LYS", 63), *lines]).encode())
    assert labels(structure) == ["covalent links: A:1 MET@SD - A:63 LYS@CE"]


def test_records_of_metals_and_of_peptide_bonds_are_no_such_links() -> None:
    x, y, z = place(68, "NE2") + np.array([2.0, 0.0, 0.0])
    zinc = f"HETATM 9001 ZN    ZN A 200    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00          ZN\n"
    head = [RECORD.format("NE2", "HIS", 68, "ZN", " ZN", 200), RECORD.format("C", "LYS", 6, "N", "THR", 7)]
    structure = read("".join([*head, *UBIQUITIN, zinc]).encode())
    assert len(structure.links) == 2 and labels(structure) == []


@pytest.mark.parametrize("name", ["1ubi.pdb", "5pti.cif", "2erl.pdb", "1a1p.pdb", "1lpbA.pdb"])
def test_disulfides_and_caps_are_no_such_links(name: str) -> None:
    assert labels(read(find("structures", name))) == []


def test_an_acyl_enzyme_names_its_ligand() -> None:
    structure = read(find("structures", "1pwc.pdb"))
    assert labels(structure) == ["covalent links: A:62 SER@OG - A:400 PNM@C7"]
    assert (
        "covalent links: A:62 SER@OG - A:400 PNM@C7" in gf.check(find("structures", "1pwc.pdb"), energy=False)["notes"]
    )

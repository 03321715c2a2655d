"""Edited columns are those that a reader finds in the edited file, for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.errors import NoProteinError
from geofold.molecule.io.edit import with_atoms, with_residues, without_atoms
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import recognise
from geofold.molecule.io.write import render
from geofold.molecule.records import NewResidue
from geofold.molecule.structure import COLUMNS, AddedAtom, Structure

EDITS = settings(max_examples=120, deadline=None, derandomize=True)
ITEMS = [
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_comp_id",
    "auth_asym_id",
    "auth_atom_id",
    "pdbx_PDB_model_num",
]


@dataclass
class Atom:
    """An atom of a file that a test makes."""

    name: str
    resname: str
    chain: str
    resnum: int
    icode: str
    altloc: str
    hetero: bool
    xyz: tuple[float, float, float]
    bfactor: float


@st.composite
def models(draw: Callable[[Any], Any]) -> list[Atom]:
    """Atoms of one to three chains with insertion codes, alternate locations and hetero residues."""
    atoms, chains = [], draw(st.permutations("ABx"))[: draw(st.integers(1, 3))]
    coordinate = st.integers(-999_999, 9_999_999).map(lambda value: value / 1000)
    for chain in chains:
        number, icode = draw(st.integers(-20, 9990)), ""
        for _ in range(draw(st.integers(2, 5))):
            insert = draw(st.booleans()) and icode in ("", "A")
            number, icode = (number, "B" if icode else "A") if insert else (number + draw(st.integers(1, 3)), "")
            resname, hetero = draw(st.sampled_from([("ALA", False), ("CYS", False), ("MSE", True), ("PTR", True)]))
            for name in ("N", "CA", "C", "O", "CB")[: draw(st.integers(1, 5))]:
                for altloc in draw(st.sampled_from(["", "", "AB", "BA"])) or [""]:
                    xyz, bfactor = draw(st.tuples(coordinate, coordinate, coordinate)), draw(st.integers(0, 9999)) / 100
                    atoms.append(Atom(name, resname, chain, number, icode, altloc, hetero, xyz, bfactor))
    return atoms


def pdb_text(atoms: list[Atom], anisotropic: bool, elements: bool, final_newline: bool, end: str) -> str:
    chains = list(dict.fromkeys(atom.chain for atom in atoms))
    lines = [f"SEQRES   1 {chains[0]}    2  ALA CYS"]
    half_cystines = [atom for atom in atoms if atom.resname == "CYS"]
    for one, two in zip(half_cystines, half_cystines[::-1], strict=True):
        places = (f"CYS {atom.chain} {atom.resnum:4d}{atom.icode:1s}" for atom in (one, two))
        lines.append("SSBOND   1 {}   {}".format(*places).ljust(80))
    lines.append(f"LINK         OXT PTR {chains[0]}   1                 SG  CYS {chains[-1]}   2")
    for serial, atom in enumerate(atoms, 1):
        record = "HETATM" if atom.hetero else "ATOM  "
        place = f"{atom.altloc:1s}{atom.resname:>3s} {atom.chain}{atom.resnum:4d}{atom.icode:1s}   "
        line = f"{record}{serial:5d}  {atom.name:<3s}{place}" + "".join(f"{value:8.3f}" for value in atom.xyz)
        line += f"{0.5 if atom.altloc else 1.0:6.2f}{atom.bfactor:6.2f}"
        lines.append(line + (f"{atom.name[0]:>12s}" if elements else ""))
        if anisotropic and serial % 2:
            lines.append(f"ANISOU{serial:5d}  {atom.name:<3s}{place}")
        if serial == len(atoms) or atoms[serial].chain != atom.chain:
            lines.append("TER")
    lines += ["CONECT    1    2", "CONECT    2    3"] if final_newline else []
    return end.join(lines) + (end if final_newline else "")


def cif_text(atoms: list[Atom], aligned: bool, final_newline: bool, order: list[str]) -> str:
    half_cystines = [atom for atom in atoms if atom.resname == "CYS"]
    connections = [f"disulf {a.chain} {a.resnum} {a.icode or '?'} SG {b.chain} {b.resnum} {b.icode or '?'} SG"
                   for a, b in zip(half_cystines, half_cystines[::-1], strict=True)]  # fmt: skip
    items = [f"ptnr{k}_{item}" for k in (1, 2) for item in ("auth_asym_id", "auth_seq_id", "icode", "label_atom_id")]
    names = [f"_struct_conn.{item}" for item in ("conn_type_id", *items)]
    names = [f"_struct_conn.pdbx_{name[13:18]}_PDB_ins_code" if name.endswith("icode") else name for name in names]
    head = ["data_TEST", "#", *(["loop_", *names, *connections, "#"] if connections else []), "loop_"]
    rows = []
    for serial, atom in enumerate(atoms, 1):
        values = {
            "group_PDB": "HETATM" if atom.hetero else "ATOM", "id": str(serial), "type_symbol": atom.name[0],
            "label_alt_id": atom.altloc or ".", "label_entity_id": "1", "pdbx_PDB_ins_code": atom.icode or "?",
            "occupancy": "0.50" if atom.altloc else "1.00", "B_iso_or_equiv": f"{atom.bfactor:.2f}",
            "pdbx_PDB_model_num": "1", "label_seq_id": str(serial), "auth_seq_id": str(atom.resnum),
            **{f"{side}_atom_id": atom.name for side in ("label", "auth")},
            **{f"{side}_comp_id": atom.resname for side in ("label", "auth")},
            **{f"{side}_asym_id": atom.chain for side in ("label", "auth")},
            **{f"Cartn_{axis}": f"{value:.3f}" for axis, value in zip("xyz", atom.xyz, strict=True)},
        }  # fmt: skip
        rows.append([values[item] for item in order])
    width = [max(map(len, column)) if aligned else 0 for column in zip(*rows, strict=True)]
    body = [" ".join(map(str.ljust, row, width)) for row in rows]
    return "\n".join([*head, *(f"_atom_site.{item}" for item in order), *body]) + ("\n#\n" if final_newline else "")


FILES = st.one_of(
    st.builds(pdb_text, models(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["\n", "\r\n"])),
    st.builds(cif_text, models(), st.booleans(), st.booleans(), st.permutations(ITEMS)),
)


def parse(content: bytes) -> Structure:
    return recognise(content, "the file").parse(content, "the file")


def require_read_back(structure: Structure, serials: bool = True) -> Structure:
    """Compare a structure with what a reader finds in its file, and return that."""
    back = parse(render(structure, structure.xyz, np.zeros(len(structure), dtype=bool)))
    for column in COLUMNS:
        if column not in ("xyz", "serial") or (column == "serial" and serials):
            assert getattr(structure, column).tolist() == getattr(back, column).tolist(), column
    assert np.abs(structure.xyz - back.xyz).max() < 0.5001e-4
    assert structure.residue_of.tolist() == back.residue_of.tolist()
    for residue, again in zip(structure.residues, back.residues, strict=True):
        assert (residue.label, residue.resname) == (again.label, again.resname)
        assert residue.atoms.tolist() == again.atoms.tolist()
    document: Any = structure.document
    for field in fields(document):
        if field.name != "last_serial":  # deleted atoms keep their numbers
            one, two = (getattr(own, field.name) for own in (document, back.document))
            assert np.array_equal(one, two) if isinstance(one, np.ndarray) else one == two, field.name
    assert document.last_serial >= max(back.serial)
    return back


@EDITS
@given(file=FILES, data=st.data())
def test_added_atoms(file: str, data: st.DataObject) -> None:
    structure = parse(file.encode())
    residue = st.integers(0, len(structure.residues) - 1)
    atom = st.builds(
        AddedAtom, residue, st.sampled_from(["SG", "CG", "OD1", "CD2", "OXT"]), st.just("C"),
        st.tuples(*[st.floats(-90, 900)] * 3).map(np.array),
    )  # fmt: skip
    added = data.draw(st.lists(atom, max_size=6, unique_by=lambda one: (one.residue, one.name)))
    added = [AddedAtom(one.residue, one.name, one.name[0], one.xyz) for one in added]
    made = with_atoms(structure, added)
    back = require_read_back(made)
    assert np.array_equal(made.xyz, back.xyz)
    assert made.links == back.links
    assert len(made) == len(structure) + len(added)


@EDITS
@given(file=FILES, data=st.data())
def test_inserted_and_deleted_residues(file: str, data: st.DataObject) -> None:
    structure = parse(file.encode())
    before = data.draw(st.integers(0, len(structure.residues) - 2))
    removed = range(before + 1, data.draw(st.integers(before + 1, len(structure.residues) - 1)))
    names = data.draw(st.lists(st.sampled_from(["ALA", "GLY"]), min_size=1, max_size=3))
    atoms = ("N", "CA", "C", "O")
    xyz = data.draw(st.floats(-80, 800)) + np.arange(12).reshape(4, 3) / 7
    number = structure.residues[before].resnum
    new = [
        NewResidue(name, (number, code), atoms, tuple("NCCO"), xyz) for name, code in zip(names, "XYZ", strict=False)
    ]
    made = with_residues(structure, before, removed, new)
    back = require_read_back(made)
    inserted = (made.residue_of > before) & (made.residue_of <= before + len(new))
    assert np.array_equal(made.xyz[~inserted], back.xyz[~inserted])
    assert np.array_equal(made.xyz[inserted], np.tile(xyz, (len(new), 1)))
    assert made.links == tuple(link for link in back.links if not inserted[[link.i, link.j]].any())


@EDITS
@given(file=FILES, data=st.data())
def test_deleted_atoms(file: str, data: st.DataObject) -> None:
    structure = parse(file.encode())
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(structure), max_size=len(structure))))
    if gone.all():
        with pytest.raises(NoProteinError):
            without_atoms(structure, gone)
        return
    made = without_atoms(structure, gone)
    back = require_read_back(made)
    assert np.array_equal(made.xyz, back.xyz)
    assert made.links == back.links


def test_ideal_peptide_is_what_its_file_holds() -> None:
    chain = peptide("ACDEFGHIKLMNPQRSTVWY")
    assert np.array_equal(require_read_back(chain).xyz, chain.xyz)


@pytest.mark.parametrize("form", ["pdb", "cif"])
def test_a_recorded_disulfide_appears_with_the_atoms_that_it_lacked(form: str) -> None:
    backbone = [(name, (k / 2, float(k % 2), 0.0)) for k, name in enumerate(("N", "CA", "C", "O", "CB"))]
    atoms = [
        Atom(name, "CYS", chain, 5, "", "", False, (x + shift, y, z), 20.0)
        for chain, shift in (("A", 0.0), ("B", 9.0))
        for name, (x, y, z) in backbone
    ]
    text = pdb_text(atoms, False, True, True, "\n") if form == "pdb" else cif_text(atoms, True, True, ITEMS)
    structure = parse(text.encode())
    made = with_atoms(structure, [AddedAtom(k, "SG", "S", np.array([k, 1.0, 2.0])) for k in (0, 1)])
    assert [link for link in structure.links if link.source != "CONECT"] == []
    (link,) = (link for link in made.links if link.source != "CONECT")
    assert {made.name[link.i], made.name[link.j]} == {"SG"}
    require_read_back(made)

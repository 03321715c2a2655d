"""New residues in a file: their lines come in where they belong, and no other line changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from app_cases import STRUCTURES
from build_cases import without

from geofold.molecule.io.edit import with_residues
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.records import NewResidue
from geofold.molecule.structure import Structure


def new_ones(names: str = "GLY GLY ALA", first: int = 45) -> list[NewResidue]:
    """Residues somewhere off the protein."""
    made = []
    for k, name in enumerate(names.split()):
        atoms = ("N", "CA", "C", "O") if name == "GLY" else ("N", "CA", "C", "O", "CB")
        xyz = 20.0 + k + 0.15 * np.arange(3 * len(atoms)).reshape(-1, 3)
        made.append(NewResidue(name, (first + k, ""), atoms, tuple(atom[0] for atom in atoms), xyz))
    return made


def text_of(structure: Structure) -> bytes:
    return render(structure, structure.xyz, np.zeros(len(structure), dtype=bool))


def place_of(structure: Structure, resnum: int) -> int:
    return next(k for k, residue in enumerate(structure.residues) if residue.resnum == resnum)


def test_pdb_lines_follow_the_anchor_with_new_serials() -> None:
    content = without("1ubi.pdb", (45, 47))
    structure = read(content)
    before = place_of(structure, 44)
    made = with_residues(structure, before, (), new_ones())
    lines, old = text_of(made).splitlines(keepends=True), content.splitlines(keepends=True)
    start = next(k for k, (a, b) in enumerate(zip(lines, old, strict=False)) if a != b)
    added = lines[start : start + 13]
    assert lines[:start] + lines[start + 13 :] == old
    assert lines[start - 1][22:26] == b"  44" and lines[start + 13][22:26] == b"  48"
    top = max(int(line[6:11]) for line in old if line.startswith((b"ATOM", b"HETATM", b"TER")))
    assert [int(line[6:11]) for line in added] == [top + k for k in range(1, 14)]
    assert {line[54:60] for line in added} == {b"  1.00"} and {len(line) for line in added} == {len(old[start])}
    ends = [structure.bfactor[structure.residues[k].atoms].mean() for k in (before, before + 1)]
    assert {float(line[60:66]) for line in added} == {round(float(np.mean(ends)), 2)}
    assert [line[12:16] for line in added[:4]] == [b" N  ", b" CA ", b" C  ", b" O  "]
    assert [line[76:78] for line in added[:2]] == [b" N", b" C"]


def test_residues_that_make_room_leave_with_their_anisotropic_lines() -> None:
    structure = read(STRUCTURES / "1pwc.pdb")
    before = place_of(structure, 44)
    removed = tuple(range(before + 1, before + 4))
    lines = text_of(with_residues(structure, before, removed, new_ones())).splitlines()
    old = (STRUCTURES / "1pwc.pdb").read_bytes().splitlines()
    gone = [x for x in old if x.startswith((b"ATOM", b"ANISOU")) and x[21:22] == b"A" and 45 <= int(x[22:26]) <= 47]
    assert len(lines) == len(old) - len(gone) + 13
    assert [line for line in old if line not in set(gone)] == [line for line in lines if line in set(old)]


def test_a_ter_record_in_the_gap_goes() -> None:
    content = without("1ubi.pdb", (45, 47))
    lines = content.splitlines(keepends=True)
    last = max(k for k, line in enumerate(lines) if line.startswith(b"ATOM") and line[22:26] == b"  44")
    lines.insert(last + 1, b"TER     900      ILE A  44\n")
    structure = read(b"".join(lines))
    made = text_of(with_residues(structure, place_of(structure, 44), (), new_ones())).splitlines()
    first = next(k for k, line in enumerate(made) if line[22:26] == b"  45")
    assert made[first - 1][22:26] == b"  44" and made[first + 13][22:26] == b"  48"
    assert int(made[first][6:11]) > 900
    assert sum(line.startswith(b"TER") for line in made) == sum(line.startswith(b"TER") for line in lines) - 1


def test_conect_and_links_of_what_stays_are_kept_and_none_are_made() -> None:
    structure = read(STRUCTURES / "1bx8.pdb")
    before = place_of(structure, 20)
    made = with_residues(structure, before, (before + 1,), new_ones("ALA", 21))

    def named(whole: Structure) -> set[tuple[str, str]]:
        ends = [(link.i, link.j) for link in whole.links]
        return {tuple(f"{whole.residues[whole.residue_of[a]].label}@{whole.name[a]}" for a in end) for end in ends}  # type: ignore[misc]

    assert named(made) <= named(structure)
    assert {pair for pair in named(structure) if not any("A:21@" in end for end in pair)} == named(made)


def test_mmcif_rows_fill_the_columns_of_the_file() -> None:
    content = without("1fas.cif", (8, 10))
    structure = read(content)
    made = with_residues(structure, place_of(structure, 7), (), new_ones(first=8))
    lines, old = text_of(made).decode().splitlines(), content.decode().splitlines()
    start = next(k for k, (a, b) in enumerate(zip(lines, old, strict=False)) if a != b)
    added = [line.split() for line in lines[start : start + 13]]
    assert lines[:start] + lines[start + 13 :] == old
    assert added[0][:10] == ["ATOM", added[0][1], "N", "N", ".", "GLY", "A", "1", "8", "?"]
    assert added[0][13] == "1.00" and added[0][15:] == ["?", "8", "GLY", "A", "N", "1"]
    ids = [int(line.split()[1]) for line in old if line.startswith(("ATOM ", "HETATM"))]
    assert [int(row[1]) for row in added] == [max(ids) + k for k in range(1, 14)]
    assert {len(row) for row in added} == {len(old[start].split())}


def test_what_stays_keeps_its_coordinates_to_the_last_bit() -> None:
    structure = read(STRUCTURES / "1ubi.pdb")
    free = replace(structure, xyz=structure.xyz + 1e-7, document=None)
    before = place_of(structure, 44)
    made = with_residues(free, before, (before + 1,), new_ones("ALA", 45))
    inside = made.residue_of == before + 1
    assert np.array_equal(made.xyz[~inside], free.xyz[free.residue_of != before + 1])
    assert np.array_equal(made.xyz[inside], new_ones("ALA", 45)[0].xyz)


def test_insertion_codes_are_written_and_read() -> None:
    structure = read(STRUCTURES / "1ubi.pdb")
    before = place_of(structure, 44)
    new = [NewResidue("ALA", (44, code), one.atoms, one.elements, one.xyz + 2 * k)
           for k, (code, one) in enumerate(zip("AB", new_ones("ALA ALA"), strict=True))]  # fmt: skip
    made = with_residues(structure, before, (), new)
    assert [residue.label for residue in made.residues[before : before + 4]] == ["A:44", "A:44A", "A:44B", "A:45"]

"""Recorded bonds of a file: LINK, SSBOND and CONECT of PDB files, ``struct_conn`` of mmCIF files.

Bonds to symmetry mates are left out, since the partner is not in the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from geofold.molecule.io.cif_tokens import Columns
from geofold.molecule.io.hybrid36 import decode36
from geofold.molecule.io.pdb_fields import serial_field
from geofold.molecule.numbers import parse_int
from geofold.molecule.selection import AtomSite, atoms_by_site, links_between, unique_links
from geofold.molecule.structure import Link, Structure

CONNECTIONS = "_struct_conn"
COVALENT = ("covale", "disulf", "metalc")
"""Beginnings of the connection types that are bonds."""


def pdb_links(structure: Structure, lines: Sequence[str], atom_lines: Sequence[int]) -> tuple[Link, ...]:
    """Bonds of LINK, SSBOND and CONECT records; `atom_lines` (n_atoms) are the lines of the atoms."""
    return unique_links(_pdb_links(structure, lines, atom_lines))


def _pdb_links(structure: Structure, lines: Sequence[str], atom_lines: Sequence[int]) -> Iterator[Link]:
    keys = [serial_field(lines[k]) for k in atom_lines]
    count = Counter(keys)
    atom_of = {key: i for i, key in enumerate(keys) if count[key] == 1}  # a wrapped serial names two atoms: neither
    by_place = atoms_by_site(structure) if any(line.startswith(("LINK", "SSBOND")) for line in lines) else {}
    for line in (line.rstrip("\r\n").ljust(80) for line in lines):
        if line.startswith("CONECT"):
            ends = [atom_of.get(line[c : c + 5].strip()) for c in range(6, 31, 5)]
            yield from (Link(ends[0], j, "CONECT") for j in ends[1:] if ends[0] is not None and j is not None)
        elif line.startswith(("LINK", "SSBOND")):
            if any(line[c : c + 6].strip() not in ("", "1555") for c in (59, 66)):
                continue
            disulfide = line.startswith("SSBOND")
            sites = []
            for name, chain, number in ((0, 15, 17), (0, 29, 31)) if disulfide else ((12, 21, 22), (42, 51, 52)):
                resnum = decode36(line[number : number + 4], 4)
                label, altloc = ("SG", "") if disulfide else (line[name : name + 4].strip(), line[name + 4].strip())
                icode = line[number + 4 : number + 5].strip()
                if resnum is not None:
                    sites.append(((line[chain].strip(), resnum, icode, label.upper()), altloc))
            if len(sites) == 2:
                yield from links_between(structure, by_place, sites, "SSBOND" if disulfide else "LINK")


def cif_links(structure: Structure, table: Columns) -> tuple[Link, ...]:
    """Covalent and metal bonds of a ``struct_conn`` category."""
    return unique_links(_cif_links(structure, table)) if any(table.values()) else ()


def _cif_links(structure: Structure, table: Columns) -> Iterator[Link]:
    blank = [""] * len(next(iter(table.values())))

    def column(*items: str) -> list[str]:
        """Values of the first of these items that a row gives."""
        columns = (table.get(item, blank) for item in items)
        return [next(filter(None, values), "") for values in zip(*columns, strict=True)]

    sides: list[list[tuple[AtomSite, str]]] = []
    for k in (1, 2):
        chain, resnum = (column(f"ptnr{k}_auth_{x}", f"ptnr{k}_label_{x}") for x in ("asym_id", "seq_id"))
        name, icode = column(f"ptnr{k}_label_atom_id"), column(f"pdbx_ptnr{k}_pdb_ins_code")
        numbers = [parse_int(value) or 0 for value in resnum]
        places = zip(chain, numbers, icode, [value.upper() for value in name], strict=True)
        sides.append(list(zip(places, column(f"pdbx_ptnr{k}_label_alt_id"), strict=True)))
    by_place = atoms_by_site(structure)
    symmetry = zip(column("ptnr1_symmetry"), column("ptnr2_symmetry"), strict=True)
    for first, second, kind, operators in zip(*sides, column("conn_type_id"), symmetry, strict=True):
        if kind.lower().startswith(COVALENT) and all(operator in ("", "1_555") for operator in operators):
            yield from links_between(structure, by_place, [first, second], "struct_conn")

"""Recorded sequences of the chains of a file, including residues without coordinates.

PDB files say it in SEQRES records, mmCIF files in ``pdbx_poly_seq_scheme`` (with the numbers of missing residues) or
at least in ``entity_poly_seq``.
"""

from __future__ import annotations

from dataclasses import dataclass

from geofold.molecule.io.mmcif_reader import SCHEME, SEQUENCE
from geofold.molecule.io.mmcif_writer import CifDocument, Columns
from geofold.molecule.io.pdb import PdbDocument
from geofold.molecule.numbers import parse_int
from geofold.molecule.selection import Number
from geofold.molecule.structure import Structure


@dataclass(frozen=True)
class Recorded:
    """Sequence of one chain.

    Attributes
    ----------
    names : tuple of str
        Residue names (n), upper case.
    numbers : tuple of (int, str) or None
        Number and insertion code of each residue (n); None where the record does not tell.
    source : str
        Name of the record.
    """

    names: tuple[str, ...]
    numbers: tuple[Number | None, ...]
    source: str


def recorded_sequences(structure: Structure) -> dict[str, Recorded]:
    """Sequence of each chain id that the structure's file has one for."""
    document = structure.document
    if isinstance(document, PdbDocument):
        return _seqres(document)
    if isinstance(document, CifDocument):
        return _scheme(document.sequences[SCHEME]) or _entities(document)
    return {}


def _seqres(document: PdbDocument) -> dict[str, Recorded]:
    names: dict[str, list[str]] = {}
    for line in document.lines:
        if line.startswith("SEQRES"):
            names.setdefault(line[11:12].strip(), []).extend(line[19:70].upper().split())
    return {chain: Recorded(tuple(own), (None,) * len(own), "SEQRES") for chain, own in names.items()}


def _scheme(table: Columns) -> dict[str, Recorded]:
    if not {"pdb_strand_id", "seq_id", "mon_id"} <= set(table):
        return {}
    blank = [""] * len(table["seq_id"])
    rows = zip(
        table["pdb_strand_id"],
        table["seq_id"],
        table["mon_id"],
        table.get("pdb_seq_num", blank),
        table.get("pdb_ins_code", blank),
        strict=True,
    )
    found: dict[str, dict[str, tuple[str, Number | None]]] = {}
    for chain, place, name, number, icode in rows:
        # where a crystal holds two residue types in one place, the first stands for it
        known = parse_int(number)
        found.setdefault(chain, {}).setdefault(place, (name.upper(), None if known is None else (known, icode)))
    return {
        chain: Recorded(tuple(n for n, _ in own.values()), tuple(k for _, k in own.values()), "pdbx_poly_seq_scheme")
        for chain, own in found.items()
    }


def _entities(document: CifDocument) -> dict[str, Recorded]:
    table = document.sequences[SEQUENCE]
    names: dict[str, dict[str, str]] = {}
    if not {"entity_id", "num", "mon_id"} <= set(table):
        return {}
    for entity, place, name in zip(table["entity_id"], table["num"], table["mon_id"], strict=True):
        names.setdefault(entity, {}).setdefault(place, name.upper())
    found = {}
    for chain, entity in document.entity_of_chain().items():
        if entity in names:
            own = tuple(names[entity].values())
            found[chain] = Recorded(own, (None,) * len(own), "entity_poly_seq")
    return found

"""Recorded sequences of the chains of a file, including residues without coordinates.

PDB files have them in SEQRES records, mmCIF files in ``pdbx_poly_seq_scheme`` (with the numbers of missing residues) or
at least in ``entity_poly_seq``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from geofold.molecule.io.cif_tokens import Columns
from geofold.molecule.numbers import parse_int
from geofold.molecule.records import RecordedSequence
from geofold.molecule.structure import Structure

SCHEME, ENTITIES = "_pdbx_poly_seq_scheme", "_entity_poly_seq"
Number = tuple[int, str]


def recorded_sequences(structure: Structure) -> dict[str, RecordedSequence]:
    """Sequence of each chain id, as far as the user gave it or the structure's file records it."""
    recorded = structure.document.sequences() if structure.document is not None else {}
    return {**recorded, **structure.given}


def seqres(lines: Sequence[str]) -> dict[str, RecordedSequence]:
    """Sequences of the SEQRES records among the lines of a PDB file."""
    names: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("SEQRES"):
            names.setdefault(line[11:12].strip(), []).extend(line[19:70].upper().split())
    return {
        chain: RecordedSequence(tuple(residues), (None,) * len(residues), "SEQRES") for chain, residues in names.items()
    }


def cif_sequences(
    tables: Mapping[str, Columns], entity_of_chain: Callable[[], Mapping[str, str]]
) -> dict[str, RecordedSequence]:
    """Sequences of an mmCIF file.

    Parameters
    ----------
    tables : mapping of str to Columns
        Categories by name.
    entity_of_chain : callable
        Gives the entity of each chain id; called only if `pdbx_poly_seq_scheme` is absent.
    """
    return _scheme(tables.get(SCHEME, {})) or _entities(tables.get(ENTITIES, {}), entity_of_chain)


def _scheme(table: Columns) -> dict[str, RecordedSequence]:
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
    chains: dict[str, dict[str, tuple[str, Number | None]]] = {}
    for chain, position, name, text, icode in rows:
        # if a crystal holds two residue types in one position, the first represents it
        number = parse_int(text)
        residue = name.upper(), None if number is None else (number, icode)
        chains.setdefault(chain, {}).setdefault(position, residue)
    return {
        chain: RecordedSequence(
            tuple(name for name, _ in residues.values()),
            tuple(number for _, number in residues.values()),
            "pdbx_poly_seq_scheme",
        )
        for chain, residues in chains.items()
    }


def _entities(table: Columns, entity_of_chain: Callable[[], Mapping[str, str]]) -> dict[str, RecordedSequence]:
    if not {"entity_id", "num", "mon_id"} <= set(table):
        return {}
    names: dict[str, dict[str, str]] = {}
    for entity, position, name in zip(table["entity_id"], table["num"], table["mon_id"], strict=True):
        names.setdefault(entity, {}).setdefault(position, name.upper())
    sequences = {}
    for chain, entity in entity_of_chain().items():
        if entity in names:
            residues = tuple(names[entity].values())
            sequences[chain] = RecordedSequence(residues, (None,) * len(residues), "entity_poly_seq")
    return sequences

"""Conversion from and to OpenMM topologies with positions; numbers without a unit are in nm, as in OpenMM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geofold.errors import CoordinateError
from geofold.molecule.io.read import require_protein
from geofold.molecule.numbers import parse_int
from geofold.molecule.selection import unique_links
from geofold.molecule.structure import Floats, Link, RecordedSequence, Row, Structure

if TYPE_CHECKING:
    from openmm import unit
    from openmm.app import Topology

SOURCE = "the OpenMM topology"
POLYMER = frozenset({
    "ALA", "ARG", "ASN", "ASP", "ASH", "CYS", "CYX", "CYM", "GLN", "GLU", "GLH", "GLY", "HIS", "HID", "HIE", "HIP",
    "HSD", "HSE", "HSP",
    "ILE", "LEU", "LYS", "LYN", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
    "A", "C", "G", "U", "I", "DA", "DC", "DG", "DT", "DI", "N", "DN", "UNK",
})  # fmt: skip
"""Names of residues that belong to a protein or nucleic acid; atoms of all other residues are hetero atoms."""


def structure_from_openmm(topology: Topology, positions: unit.Quantity | Floats | list[Any]) -> Structure:
    """Structure of a topology, with its order of atoms.

    Parameters
    ----------
    positions : Quantity of a length, or (n, 3) numbers or Vec3 in nm.

    Raises
    ------
    CoordinateError
        If the positions are not finite, all equal, or do not match the number of atoms.
    NoProteinError
    """
    from openmm import unit

    xyz = np.array([list(_strip_unit(point, unit)) for point in _strip_unit(positions, unit)], dtype=np.float64)
    count = topology.getNumAtoms()
    if xyz.shape != (count, 3):
        raise CoordinateError(
            f"positions of shape {xyz.shape} for {SOURCE}",
            f"({count}, 3), one row per atom",
            "pass the positions that belong to this topology",
        )
    keys = [atom.residue.index for atom in topology.atoms()]
    structure = Structure.from_rows(_rows(topology, xyz), SOURCE, keys)
    links = unique_links(
        Link(bond.atom1.index, bond.atom2.index, "CONECT")
        for bond in topology.bonds()
        if bond.atom1.residue.index != bond.atom2.residue.index and {bond.atom1.name, bond.atom2.name} != {"C", "N"}
    )
    return require_protein(replace(structure, links=links))


def _strip_unit(value: Any, unit: Any) -> Any:
    """Value of a Quantity in nm, or the value itself; each row of a list may be a separate Quantity."""
    return value.value_in_unit(unit.nanometer) if unit.is_quantity(value) else value


def _rows(topology: Topology, xyz: Floats) -> Iterator[Row]:
    for atom, (x, y, z) in zip(topology.atoms(), xyz.tolist(), strict=True):
        residue = atom.residue
        number, serial = parse_int(str(residue.id)), parse_int(str(atom.id))
        element = atom.element.symbol.upper() if atom.element is not None else ""
        yield (
            atom.name.upper(),
            residue.name.upper(),
            str(residue.chain.id).strip(),
            residue.insertionCode.strip(),
            "",
            element,
            residue.index + 1 if number is None else number,
            atom.index + 1 if serial is None else serial,
            residue.name.upper() not in POLYMER,
            1.0,
            0.0,
            x,
            y,
            z,
        )


def openmm_positions(structure: Structure, xyz: Floats) -> unit.Quantity:
    """Positions for OpenMM, a Quantity of ``Vec3`` in nm, from coordinates (n, 3) in nm."""
    from openmm import Vec3, unit

    if np.shape(xyz) != (len(structure), 3):
        raise ValueError(f"coordinates {np.shape(xyz)} do not fit a structure of {len(structure)} atoms")
    return unit.Quantity([Vec3(x, y, z) for x, y, z in np.asarray(xyz, dtype=np.float64).tolist()], unit.nanometer)


def sequences_of_fixer(source: Any) -> dict[str, RecordedSequence]:
    """Sequences of the chains of a PDBFixer object with its `missingResidues`; none for another object.

    An entry that was deleted from `missingResidues` is not missing.
    """
    missing = getattr(source, "missingResidues", None) or {}
    sequences: dict[str, RecordedSequence] = {}
    for chain in source.topology.chains() if missing else ():
        residues = list(chain.residues())
        if any(index == chain.index for index, _ in missing):
            names = [
                name
                for k in range(len(residues) + 1)
                for name in (*missing.get((chain.index, k), ()), *(residue.name for residue in residues[k : k + 1]))
            ]
            sequences[chain.id.strip()] = RecordedSequence(tuple(names), (None,) * len(names), "PDBFixer")
    return sequences

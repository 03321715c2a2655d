"""OpenMM topologies with positions in and out; bare numbers are taken as nm, as OpenMM does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geofold.errors import CoordinateError
from geofold.molecule.numbers import parse_int
from geofold.molecule.selection import unique_links
from geofold.molecule.structure import Floats, Link, Row, Structure, require_protein

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


def structure_from_openmm(topology: Topology, positions: unit.Quantity | Floats | list[Any]) -> Structure:
    """Structure of a topology, atoms in its order.

    Parameters
    ----------
    positions : Quantity of a length, or (n, 3) numbers or Vec3 in nm.

    Raises
    ------
    CoordinateError
        If the positions are not finite, all equal, or not as many as the atoms.
    NoProteinError
    """
    from openmm import unit

    xyz = np.array([list(_plain(point, unit)) for point in _plain(positions, unit)], dtype=np.float64)
    count = topology.getNumAtoms()
    if xyz.shape != (count, 3):
        raise CoordinateError(f"positions of shape {xyz.shape} for {SOURCE}", f"({count}, 3), one row per atom",
                              "pass the positions that belong to this topology")  # fmt: skip
    keys = [atom.residue.index for atom in topology.atoms()]
    structure = Structure.from_rows(_rows(topology, xyz), SOURCE, keys)
    links = unique_links(
        Link(bond.atom1.index, bond.atom2.index, "CONECT")
        for bond in topology.bonds()
        if bond.atom1.residue.index != bond.atom2.residue.index and {bond.atom1.name, bond.atom2.name} != {"C", "N"}
    )
    return require_protein(replace(structure, links=links))


def _plain(value: Any, unit: Any) -> Any:
    """Number of nm in a Quantity, or the bare value; each row of a list may be a Quantity of its own."""
    return value.value_in_unit(unit.nanometer) if unit.is_quantity(value) else value


def _rows(topology: Topology, xyz: Floats) -> Iterator[Row]:
    for atom, (x, y, z) in zip(topology.atoms(), xyz.tolist(), strict=True):
        residue = atom.residue
        number, serial = parse_int(str(residue.id)), parse_int(str(atom.id))
        element = atom.element.symbol.upper() if atom.element is not None else ""
        yield (
            atom.name.upper(), residue.name.upper(), str(residue.chain.id).strip(), residue.insertionCode.strip(), "",
            element, residue.index + 1 if number is None else number, atom.index + 1 if serial is None else serial,
            residue.name.upper() not in POLYMER, 1.0, 0.0, x, y, z,
        )  # fmt: skip


def openmm_positions(structure: Structure, xyz: Floats) -> unit.Quantity:
    """Positions as OpenMM takes them: a Quantity of ``Vec3`` in nm for coordinates (n, 3) in nm."""
    from openmm import Vec3, unit

    if np.shape(xyz) != (len(structure), 3):
        raise ValueError(f"coordinates {np.shape(xyz)} do not fit a structure of {len(structure)} atoms")
    return unit.Quantity([Vec3(x, y, z) for x, y, z in np.asarray(xyz, dtype=np.float64).tolist()], unit.nanometer)

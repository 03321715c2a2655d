"""Conversion from and to ParmEd structures, whose coordinates are in Angstrom."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from geofold.errors import NoProteinError
from geofold.molecule.io.read import require_protein
from geofold.molecule.selection import guess_element
from geofold.molecule.structure import Floats, Row, Structure
from geofold.plugins.openmm import POLYMER

SOURCE = "the ParmEd structure"


def structure_from_parmed(source: Any) -> Structure:
    """Structure of a `parmed.Structure`, with its order of atoms; of alternate locations, the first.

    Raises
    ------
    NoProteinError, CoordinateError
    """
    if not source.atoms or source.coordinates is None:
        raise NoProteinError(f"{SOURCE} has no atoms with coordinates", "a protein", "load the coordinates first")
    keys = [atom.residue.idx for atom in source.atoms]
    return require_protein(Structure.from_rows(_rows(source), SOURCE, keys))


def parmed_with_coordinates(original: Any, xyz: Floats) -> Any:
    """Copy of a ParmEd structure with the coordinates (n, 3) in nm."""
    moved, present = copy.copy(original), np.asarray(original.coordinates)
    # a tenth times ten may round: what did not move keeps its value
    moved.coordinates = np.where(xyz == present / 10.0, present, 10.0 * np.asarray(xyz))
    return moved


def _rows(source: Any) -> Iterator[Row]:
    for atom, (x, y, z) in zip(source.atoms, (source.coordinates / 10.0).tolist(), strict=True):
        residue = atom.residue
        name = residue.name.strip().upper()
        yield (
            atom.name.strip().upper(),
            name,
            residue.chain.strip(),
            residue.insertion_code.strip(),
            "",
            atom.element_name.upper() if atom.atomic_number > 0 else guess_element(f" {atom.name}", name),
            residue.number,
            atom.number,
            name not in POLYMER,
            float(atom.occupancy),
            float(atom.bfactor),
            x,
            y,
            z,
        )

"""Conversion from MDAnalysis atoms and to MDAnalysis positions, which are in Angstrom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geofold.errors import NoProteinError
from geofold.molecule.io.read import require_protein
from geofold.molecule.selection import guess_element
from geofold.molecule.structure import Floats, Structure
from geofold.plugins.openmm import POLYMER

if TYPE_CHECKING:
    from MDAnalysis import AtomGroup, Universe

SOURCE = "the MDAnalysis atoms"


def structure_from_mdanalysis(source: Universe | AtomGroup) -> Structure:
    """Structure of a Universe or AtomGroup at its current frame, with its order of atoms.

    The chain id is that of the topology, or otherwise that of the segment. Bonds between residues are detected as in a
    file without bond records.

    Raises
    ------
    NoProteinError, CoordinateError
    """
    atoms = source.atoms
    if not len(atoms):
        raise NoProteinError(f"{SOURCE} are an empty group", "a group with a protein", "select other atoms")
    size = len(atoms)

    def column(attribute: str, default: Any) -> list[Any]:
        return list(getattr(atoms, attribute)) if hasattr(atoms, attribute) else [default] * size

    chains = column("chainIDs", "")
    chains = chains if any(chains) else column("segids", "")
    names, resnames = ([str(text).strip().upper() for text in column(which, "")] for which in ("names", "resnames"))
    elements = [
        str(element).strip().upper() or guess_element(f" {name}", resname)
        for element, name, resname in zip(column("elements", ""), names, resnames, strict=True)
    ]
    records = column("record_types", None)
    hetero = [r == "HETATM" if r else n not in POLYMER for r, n in zip(records, resnames, strict=True)]
    text = [[str(t).strip() for t in part] for part in (chains, column("icodes", ""), column("altLocs", ""))]
    numbers = [[int(v) for v in part] for part in (column("resids", 0), column("ids", 0))]
    values = [[float(v) for v in part] for part in (column("occupancies", 1.0), column("tempfactors", 0.0))]
    place = (np.asarray(atoms.positions, dtype=np.float64) / 10.0).T.tolist()
    rows = zip(names, resnames, *text, elements, *numbers, hetero, *values, *place, strict=True)
    return require_protein(Structure.from_rows(rows, SOURCE, atoms.resindices.tolist()))


def mdanalysis_positions(xyz: Floats) -> NDArray[np.float32]:
    """Positions (n, 3) in Angstrom, as ``atoms.positions`` takes them, of coordinates in nm."""
    return (10.0 * np.asarray(xyz, dtype=np.float64)).astype(np.float32)

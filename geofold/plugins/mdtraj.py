"""Conversion from and to mdtraj trajectories, whose coordinates are in nm as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from geofold.errors import OptionError
from geofold.molecule.io.read import require_protein
from geofold.molecule.selection import unique_links
from geofold.molecule.structure import Floats, Link, Row, Structure

if TYPE_CHECKING:
    import mdtraj

SOURCE = "the mdtraj trajectory"
CHAIN_IDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def structure_from_trajectory(trajectory: mdtraj.Trajectory, frame: int = 0) -> Structure:
    """Structure of one frame, with the atoms in the order of the topology.

    Chains without an id get A, B, C, ... in the order of the topology, as in files that mdtraj writes.

    Raises
    ------
    OptionError
        If the frame does not exist.
    NoProteinError, CoordinateError
    """
    if not -trajectory.n_frames <= frame < trajectory.n_frames:
        raise OptionError(f"frame {frame} of {SOURCE}", f"a frame below {trajectory.n_frames}", "choose another frame")
    xyz = np.asarray(trajectory.xyz[frame], dtype=np.float64)
    keys = [atom.residue.index for atom in trajectory.topology.atoms]
    structure = Structure.from_rows(_rows(trajectory.topology, xyz), SOURCE, keys)
    links = unique_links(
        Link(first.index, second.index, "CONECT")
        for first, second in trajectory.topology.bonds
        if first.residue.index != second.residue.index and {first.name, second.name} != {"C", "N"}
    )
    return require_protein(replace(structure, links=links))


def _rows(topology: mdtraj.Topology, xyz: Floats) -> Iterator[Row]:
    for atom, position in zip(topology.atoms, xyz.tolist(), strict=True):
        residue, chain = atom.residue, atom.residue.chain
        chain_id = chain.chain_id if chain.chain_id is not None else CHAIN_IDS[chain.index % len(CHAIN_IDS)]
        element = atom.element.symbol.upper() if atom.element is not None else ""
        hetero = not (residue.is_protein or residue.is_nucleic)
        yield (
            atom.name.upper(),
            residue.name.upper(),
            chain_id.strip(),
            "",
            "",
            element,
            int(residue.resSeq),
            int(atom.serial or atom.index + 1),
            hetero,
            1.0,
            0.0,
            position[0],
            position[1],
            position[2],
        )


def trajectory_from(structure: Structure, frames: Floats, altloc: str | None = None) -> mdtraj.Trajectory:
    """Trajectory of one conformer of a structure.

    Parameters
    ----------
    frames : (T, n, 3) over all atoms or (T, m, 3) over those of ``structure.conformer(altloc)``, nm.
    """
    import mdtraj
    from mdtraj.core.element import get_by_symbol, virtual

    atoms = np.flatnonzero(structure.conformer(altloc))
    frames = np.asarray(frames, dtype=np.float64)
    chosen = frames[:, atoms] if frames.shape[1] == len(structure) else frames
    topology = mdtraj.Topology()
    chain = residue = None
    previous = -1
    for index in atoms.tolist():
        owner = structure.residues[structure.residue_of[index]]
        if chain is None or structure.chain[index] != structure.chain[previous]:
            chain = topology.add_chain(owner.chain or None)
        if residue is None or structure.residue_of[index] != structure.residue_of[previous]:
            residue = topology.add_residue(owner.resname, chain, owner.resnum)
        try:
            element = get_by_symbol(str(structure.element[index]).capitalize())
        except KeyError:
            element = virtual
        topology.add_atom(str(structure.name[index]), element, residue, int(structure.serial[index]))
        previous = index
    topology.create_standard_bonds()
    bonded = {frozenset((first.index, second.index)) for first, second in topology.bonds}
    position = {index: k for k, index in enumerate(atoms.tolist())}
    for link in structure.links:
        i, j = position.get(link.i), position.get(link.j)
        if i is not None and j is not None and frozenset((i, j)) not in bonded:
            topology.add_bond(topology.atom(i), topology.atom(j))
    return mdtraj.Trajectory(chosen.astype(np.float32), topology)


def trajectory_with_coordinates(original: mdtraj.Trajectory, xyz: Floats) -> mdtraj.Trajectory:
    """Copy of the first frame of ``original``, topology and box included, with coordinates ``xyz`` (n, 3) in nm."""
    copy = original[0]
    if np.shape(xyz) != (copy.n_atoms, 3):
        raise ValueError(f"coordinates {np.shape(xyz)} do not fit a topology of {copy.n_atoms} atoms")
    copy.xyz = np.asarray(xyz, dtype=np.float32)[None]
    return copy

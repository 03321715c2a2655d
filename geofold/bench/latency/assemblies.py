"""Large structures by symmetry, as mmCIF text: PDB columns have no room for their chains and atom numbers."""

from __future__ import annotations

import numpy as np

from geofold.molecule.structure import Floats, Structure

GOLDEN = (1 + 5**0.5) / 2
DIRECTIONS, SEED = 2000, 0
"""Number of directions, and their seed, among which the place of a subunit is chosen."""
GAP = 0.3
"""Distance (nm) between the spheres around two subunits."""
ITEMS = (
    "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num",
)  # fmt: skip


def icosahedral_rotations() -> Floats:
    """Rotations (60, 3, 3) of an icosahedron with twofold axes along x, y and z; the first is the identity."""
    threefold = np.roll(np.eye(3), 1, axis=0)
    axis = np.array([0.0, 1.0, GOLDEN]) / np.hypot(1.0, GOLDEN)
    cross = np.cross(np.eye(3), axis)
    cosine, sine = np.cos(2 * np.pi / 5), np.sin(2 * np.pi / 5)
    fivefold = cosine * np.eye(3) - sine * cross + (1 - cosine) * np.outer(axis, axis)
    found = [np.eye(3)]
    for known in found:  # grows while it is passed through
        for step in (threefold, fivefold):
            product = step @ known
            if not any(np.allclose(product, other) for other in found):
                found.append(product)
    return np.array(found)


def make_capsid(structure: Structure) -> Structure:
    """Assemble sixty copies of a structure with the symmetry of an icosahedron; the first is the original, moved.

    A copy lies in the direction, of `DIRECTIONS` random ones, that leaves most room between it and its images.

    Parameters
    ----------
    structure : Structure
        One subunit. Chain ids of copy k have k appended.
    """
    rotations = icosahedral_rotations()
    directions = np.random.default_rng(SEED).normal(size=(DIRECTIONS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    images = np.einsum("kij,dj->dki", rotations[1:], directions)
    room = np.linalg.norm(images - directions[:, None], axis=-1).min(1)
    best = int(room.argmax())
    centre = (structure.xyz.min(0) + structure.xyz.max(0)) / 2
    diameter = 2 * np.linalg.norm(structure.xyz - centre, axis=1).max()
    subunit = structure.xyz - centre + (diameter + GAP) / room[best] * directions[best]
    return join_copies(structure, np.einsum("kij,nj->kni", rotations, subunit))


def join_copies(structure: Structure, xyz: Floats) -> Structure:
    """Join copies of a structure at coordinates (copies, n_atoms, 3) in nm; copy k has k appended to its chain ids."""
    copies, columns = len(xyz), ("name", "resname", "icode", "altloc", "element", "resnum", "hetatm")
    table = {column: np.tile(getattr(structure, column), copies) for column in (*columns, "occupancy", "bfactor")}
    chain = [f"{own}{k}" for k in range(copies) for own in structure.chain.tolist()]
    residue = structure.residue_of + len(structure.residues) * np.arange(copies)[:, None]
    table |= {"chain": np.array(chain), "serial": np.arange(1, len(chain) + 1), "xyz": xyz.reshape(-1, 3)}
    return Structure.from_columns(table, residue.ravel(), f"{structure.source} x {copies}")


def mmcif_text(structure: Structure) -> str:
    """Write the atoms of a structure as the atom_site category of an mmCIF file."""
    lines = ["data_assembly", "#", "loop_", *(f"_atom_site.{item}" for item in ITEMS)]
    for a in range(len(structure)):
        x, y, z = (10 * structure.xyz[a]).tolist()
        name, chain, number = structure.name[a], structure.chain[a], structure.resnum[a]
        label = "." if structure.hetatm[a] else number
        lines.append(
            f"{'HETATM' if structure.hetatm[a] else 'ATOM'} {a + 1} {structure.element[a]} {_quoted(name)} "
            f"{structure.altloc[a] or '.'} {structure.resname[a]} {chain} 1 {label} {structure.icode[a] or '?'} "
            f"{x:.3f} {y:.3f} {z:.3f} {structure.occupancy[a]:.2f} {structure.bfactor[a]:.2f} {number} {chain} 1"
        )
    return "\n".join([*lines, "#", ""])


def _quoted(name: str) -> str:
    return f'"{name}"' if "'" in name else name

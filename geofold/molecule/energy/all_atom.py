"""All-atom models: side-chain atoms that are missing, and the hydrogens that a force field needs.

Side chains of the twenty amino acids are completed by packing. PDBFixer adds other missing heavy atoms, and relaxes
them for it by dynamics of the whole protein.

Only amino acids and terminal caps are included. Waters, ions, ligands, and amino acids in lactams and other covalent
links have no parameters in the force field and are excluded from the energy; the report lists them. Chains are split at
breaks, so that no force acts across them.

Random numbers inside PDBFixer derive from the seed, none from a generator shared between threads. OpenMM runs on one
thread, because its CPU platform is bitwise reproducible only then.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.errors import ForceFieldError
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.hydrogen_placement import HydrogenPlacement
from geofold.molecule.energy.hydrogens import PH, protonate
from geofold.molecule.energy.particle_sources import source_atom
from geofold.molecule.energy.pdbfixer_input import pdb_text, pieces
from geofold.molecule.residues import AMINO_NAMES
from geofold.molecule.sidechains.repacking import missing_side_chain_atoms
from geofold.molecule.structure import Mask, Structure
from geofold.molecule.topology.bonds import is_complete
from geofold.molecule.topology.covalent_links import covalent_links

CAPS = {
    "ACE": {"C", "O", "CH3"}, "NME": {"N", "C", "CH3"}, "NMA": {"N", "C", "CH3"}, "NH2": {"N"}, "NHE": {"N"},
}  # fmt: skip
"""Terminal caps (acetyl, methylamide, amide) with the names of their heavy atoms in OpenMM."""
VARIANTS = {
    "HID": "HID", "HSD": "HID", "HIE": "HIE", "HSE": "HIE", "HIP": "HIP", "HSP": "HIP", "ASH": "ASH", "GLH": "GLH",
    "LYN": "LYN",
}  # fmt: skip
"""OpenMM's variant for each residue name of a protonation state; disulfides are detected from the sulphurs instead."""
FLANK = 2
"""Residues that a region includes on either side, because short segments lack templates for chain ends."""


@dataclass(frozen=True)
class Completed:
    """An all-atom model of the amino acids.

    Attributes
    ----------
    topology : openmm.app.Topology
        Topology of the p particles.
    xyz : (p, 3) float
        Coordinates, nm.
    source : (p,) int
        Atom of the structure that corresponds to each particle; -1 for added atoms.
    residue : (p,) int
        Residue index of each particle in the structure.
    left_out : tuple of str
        Names of excluded residues (waters, ligands, ions), isolated amino acids, and amino acids whose covalent links
        have no template.
    replaced : tuple of str
        Residues replaced by their standard parent (e.g. MSE by MET).
    placement : HydrogenPlacement or None
        Places the added hydrogens; None if none were to be added.
    """

    topology: Any
    xyz: NDArray[np.float64]
    source: NDArray[np.int64]
    residue: NDArray[np.int64]
    left_out: tuple[str, ...]
    replaced: tuple[str, ...]
    placement: HydrogenPlacement | None = None


def platform() -> Any:
    """OpenMM's CPU platform on one thread, which is bitwise reproducible; Reference if it is not available."""
    import openmm

    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    chosen = openmm.Platform.getPlatformByName("CPU" if "CPU" in names else "Reference")
    if chosen.getName() == "CPU":
        chosen.setPropertyDefaultValue("Threads", "1")
    return chosen


def complete(
    structure: Structure,
    conformer: Mask,
    *,
    hydrogens: bool,
    seed: int = 0,
    only: Collection[int] | None = None,
    force_field: ForceField = AMBER14,
    ph: float = PH,
) -> Completed:
    """Build the all-atom model of the amino acids of one conformer.

    Parameters
    ----------
    structure : Structure
        Input structure.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    hydrogens : bool
        Add hydrogens and keep those of the input; if False, only missing heavy atoms are added.
    seed : int
        Seed of packing and of the relaxation of other missing heavy atoms.
    only : collection of int or None
        Residues to include, see `region`; None for all.
    force_field : ForceField
        Named in messages.
    ph : float
        By which hydrogens are added.

    Returns
    -------
    Completed
        Model with its relation to the input atoms.

    Raises
    ------
    ForceFieldError
        If PDBFixer or OpenMM cannot process a residue, or no two amino acids are bonded.
    """
    import pdbfixer

    known = AMINO_NAMES | set(pdbfixer.pdbfixer.substitutions)
    included = [
        k
        for k, r in enumerate(structure.residues)
        if (structure.is_amino_acid(k) and r.resname in known) or _is_cap(structure, k, conformer)
    ]
    left_out = sorted(
        {structure.residues[k].resname for k in range(len(structure.residues))}
        - {structure.residues[k].resname for k in included}
    )
    # Amber force fields have no parameters for a link, and atoms that left on linking would be added in the place of
    # the partner
    linked = _tied(structure, conformer, included)
    left_out += [structure.residues[k].label for k in linked]
    included = [k for k in included if k not in linked and (only is None or k in only)]
    # Amber force fields have templates for either end of a chain, but not for a residue that is both ends
    isolated = [piece[0] for piece in pieces(structure, included) if len(piece) == 1] if hydrogens else []
    left_out += [structure.residues[k].label for k in isolated]
    included = [k for k in included if k not in isolated]
    if not included:
        what = "no two standard amino acids are bonded to each other"
        expected = f"a protein that {force_field.name} supports"
        raise ForceFieldError(what, expected, "give one, or run with --no-energy")
    packed = missing_side_chain_atoms(structure, included, conformer, seed=seed)
    text = pdb_text(structure, conformer, included, added=packed)
    try:
        fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(text))
        fixer.platform = platform()
        fixer.missingResidues = {}
        fixer.findNonstandardResidues()
        replaced = tuple(structure.residues[included[r.index]].label for r, _ in fixer.nonstandardResidues)
        fixer.replaceNonstandardResidues()
        fixer.findMissingAtoms()
        incomplete = frozenset(residue.index for residue in fixer.missingAtoms)
        _bare(fixer, incomplete)
        completed = {atom.residue for atom in packed}
        incomplete |= {number for number, k in enumerate(included) if k in completed}
        fixer.addMissingAtoms(seed=seed + 1)
    except ForceFieldError:
        raise
    except Exception as error:
        what, advice = f"PDBFixer cannot complete the protein ({error})", "remove or rename the residue it names"
        raise ForceFieldError(
            what, "amino acids that PDBFixer supports", f"{advice}, or run with --no-energy"
        ) from error
    topology, xyz = fixer.topology, _coordinates(fixer.positions)
    heavy = _mapped(structure, conformer, included, topology, xyz, tuple(left_out), replaced, incomplete)
    if not hydrogens:
        return heavy
    variants = [VARIANTS.get(structure.residues[k].resname) for k in included]
    return _protonated(heavy, variants, ph)


def _is_cap(structure: Structure, k: int, conformer: Mask) -> bool:
    """Whether a residue is a terminal cap with the atom names of OpenMM."""
    residue = structure.residues[k]
    atoms = residue.atoms[conformer[residue.atoms]]
    heavy = {str(structure.name[a]) for a in atoms if structure.element[a] not in ("H", "D")}
    return residue.resname in CAPS and heavy <= CAPS[residue.resname]


def _tied(structure: Structure, conformer: Mask, included: list[int]) -> list[int]:
    """Amino acids without a matching template because of a covalent link.

    These are linked to another amino acid, or lack a heavy atom where a ligand is bound. A glycosylated residue is not
    among them: its heavy atoms are complete, and a hydrogen is added in the place of the sugar.
    """
    linked = set()
    for link in covalent_links(structure, conformer):
        ends = [int(structure.residue_of[atom]) for atom in link]
        between_amino_acids = all(structure.is_amino_acid(k) for k in ends)
        linked |= {
            k for k in ends if k in included and (between_amino_acids or not is_complete(structure, k, conformer))
        }
    return sorted(linked)


def _bare(fixer: Any, residues: Collection[int]) -> None:
    """Remove the hydrogens of residues that lack heavy atoms, since they may occupy the positions of these atoms."""
    import openmm.app

    hydrogens = [
        atom
        for residue in fixer.topology.residues()
        if residue.index in residues
        for atom in residue.atoms()
        if atom.element.symbol == "H"
    ]
    if hydrogens:
        modeller = openmm.app.Modeller(fixer.topology, fixer.positions)
        modeller.delete(hydrogens)
        fixer.topology, fixer.positions = modeller.topology, modeller.positions
        fixer.findMissingAtoms()


def region(structure: Structure, places: NDArray[np.float64], reach: float) -> frozenset[int]:
    """Residues with an atom within `reach` (nm) of points `places` (p, 3), and `FLANK` more on either side of each.

    The flanks ensure that no segment is too short for the force field's templates of chain ends.
    """
    near = np.isfinite(cKDTree(places).query(structure.xyz, distance_upper_bound=reach)[0])
    residues = set(structure.residue_of[near].tolist())
    last = len(structure.residues) - 1
    for _ in range(FLANK):
        bonded = {n for k in residues for n in (k - 1, k + 1) if 0 <= n <= last and structure.bonded(*sorted((k, n)))}
        residues |= bonded
    return frozenset(residues)


def _protonated(heavy: Completed, variants: list[str | None], ph: float) -> Completed:
    """Model with its hydrogens where geometry puts them."""
    topology, origin = protonate(heavy.topology, heavy.xyz, variants, ph)
    added = origin < 0
    source, residue = np.where(added, -1, heavy.source[origin]), heavy.residue[origin]
    residue[added] = residue[np.maximum.accumulate(np.where(added, 0, np.arange(len(added))))[added]]
    placement = HydrogenPlacement.of(topology, added)
    xyz = placement.place(np.where(added[:, None], 0.0, heavy.xyz[origin]))
    return Completed(topology, xyz, source, residue, heavy.left_out, heavy.replaced, placement)


def _coordinates(positions: Any) -> NDArray[np.float64]:
    """Coordinates (p, 3) in nm of OpenMM's positions."""
    import openmm.unit

    return np.array(positions.value_in_unit(openmm.unit.nanometer), dtype=float).reshape(-1, 3)


def _mapped(
    structure: Structure,
    conformer: Mask,
    included: list[int],
    topology: Any,
    xyz: NDArray[np.float64],
    left_out: tuple[str, ...],
    replaced: tuple[str, ...],
    lacking: Collection[int],
) -> Completed:
    source, residue = [], []
    for model_residue in topology.residues():
        k = included[model_residue.index]
        for atom in model_residue.atoms():
            added = model_residue.index in lacking and atom.element.symbol == "H"
            original = None if added else source_atom(structure, conformer, k, atom, xyz[atom.index])
            source.append(-1 if original is None else original)
            residue.append(k)
    index = np.array(source, dtype=np.int64)
    xyz[index >= 0] = structure.xyz[index[index >= 0]]
    return Completed(topology, xyz, index, np.array(residue, dtype=np.int64), left_out, replaced)

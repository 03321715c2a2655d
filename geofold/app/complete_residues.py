"""Completion of residues: backbone oxygens, and side chains by packing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geofold.app.report.audit import Check
from geofold.app.report.audit_added import audit_added
from geofold.molecule.carbonyl import missing_oxygens
from geofold.molecule.io.edit import require_single_model, with_atoms, without_atoms
from geofold.molecule.residues import AMINO_NAMES, BACKBONE
from geofold.molecule.sidechains.repacking import (
    BACKBONE_AND_CB,
    complete_side_chains,
    find_incomplete,
    why_not_completed,
)
from geofold.molecule.structure import Structure
from geofold.molecule.topology.covalent_links import covalent_links
from geofold.molecule.topology.gaps import find_gaps


class CompletedResidues(NamedTuple):
    """A structure with completed residues.

    Attributes
    ----------
    structure : Structure
    done, left : list of str
        Residues that were completed, and others with the reason.
    checks : list of Check
        Checks of the added atoms.
    """

    structure: Structure
    done: list[str]
    left: list[str]
    checks: list[Check]


def complete_residues(structure: Structure, seed: int) -> CompletedResidues:
    """Add backbone oxygens and side-chain atoms to amino acids that have the rest.

    The hydrogens of a side chain are removed when heavy atoms are added to it, since they may be in their places.

    Parameters
    ----------
    structure : Structure
    seed : int
        Seed of packing.

    Raises
    ------
    BuildError
        If atoms are missing in a structure with several models.
    """
    added, done = missing_oxygens(structure), list[str]()
    if added:
        require_single_model(structure)
        done = [f"{structure.residues[atom.residue].label} (O)" for atom in added]
        structure = with_atoms(structure, added)
    chosen, left = _incomplete_residues(structure)
    if chosen:
        require_single_model(structure)
        stale = np.isin(structure.residue_of, chosen) & (structure.element == "H")
        stale &= ~np.isin(structure.name, list(BACKBONE_AND_CB))
        stripped = set(structure.residue_of[stale].tolist())
        done += [f"{structure.residues[k].label}{' (hydrogens removed)' * (k in stripped)}" for k in chosen]
        structure, packed = complete_side_chains(without_atoms(structure, stale), chosen, seed=seed)
        added += packed
    return CompletedResidues(structure, done, left, audit_added(structure, structure.xyz, added, structure))


def _incomplete_residues(structure: Structure) -> tuple[list[int], list[str]]:
    """Residues whose side chains can be completed, and the others that lack atoms, with the reason."""
    conformer = structure.conformer_mask
    amino = [k for k, residue in enumerate(structure.residues) if residue.resname in AMINO_NAMES]
    torn = {k for k in amino if any(structure.atom(k, name, conformer) is None for name in BACKBONE)}
    linked = {int(structure.residue_of[atom]) for link in covalent_links(structure, conformer) for atom in link}
    reasons = {k: "its backbone is incomplete" for k in torn - _in_gaps(structure)}
    chosen = []
    for k in find_incomplete(structure, [k for k in amino if k not in torn], conformer):
        reason = "it is linked to another residue" if k in linked else why_not_completed(structure, k, conformer)
        if reason is None:
            chosen.append(k)
        else:
            reasons[k] = f"its side chain lacks atoms, and {reason}"
    return chosen, [f"{structure.residues[k].label}: {reasons[k]}" for k in sorted(reasons)]


def _in_gaps(structure: Structure) -> set[int]:
    """Residues inside a gap of their own chain, which is built as a whole, or left with a reason of its own."""
    return {
        k
        for gap in find_gaps(structure)
        for k in range(gap.before + 1, gap.after)
        if structure.residues[k].chain == structure.residues[gap.before].chain
    }

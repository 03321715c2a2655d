"""Copies of a loop in the other chains of a homomer: placed, refined where they are, and compared.

A modelled loop is superposed with the residues on both of its sides, its torsions are transferred to the copy's own
bonds and angles, and the result is refined among the copy's surroundings. Nothing is searched for, so that copies
differ only by what their surroundings require.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from geofold.geometry import rmsd, superpose, wrap
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import evaluate_model
from geofold.modelling.force_field_stage import whole_coordinates
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.modelling.repair.refinement import loop_domain, refine
from geofold.modelling.trajectory import TrajectoryRecorder, no_motion
from geofold.molecule.kinematics.forward import positions
from geofold.molecule.loop.batch_states import torsion_increments, transfer_torsions
from geofold.molecule.loop.copies import FLANK, CopyPair, Range
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopState
from geofold.molecule.residues import BACKBONE
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Floats, Mask, Structure

LOOP_COPY = "loop-copy"
"""Predictor of a loop that is a copy of another one."""
MAX_ADDED_COST = 0.5
"""By how much a copy may raise the geometric cost of a loop that it replaces: half of a severe overlap or outlier."""
DIFFERENT = np.radians(30.0)
"""Difference of a torsion (radian) from which two copies of a residue count as different."""


def model_copies(
    structure: Structure,
    pairs: Sequence[CopyPair],
    options: RunOptions,
    energies: EnergySource | None,
    *,
    may_keep: bool = True,
) -> list[LoopModel]:
    """Model the copies of loops.

    Parameters
    ----------
    structure : Structure
        With the loops that are copied as they end.
    pairs : sequence of CopyPair
    options : RunOptions
    energies : EnergySource or None
        Of the structure.
    may_keep : bool
        Whether a copy that does not fit is refused, so that the loop stays as it is.

    Returns
    -------
    list of LoopModel
        One for each pair; 'kept' where the loop stays.
    """
    present = structure
    for pair in pairs:  # all of them before any is refined, since copies may touch one another
        domain = loop_domain(present, *pair.copy, options)
        state = _place(present, domain, pair, options)
        if state is not None:
            local = state.conformation.xyz[0].cpu().numpy()
            present = replace(present, xyz=whole_coordinates(present, domain, local))
    models = []
    for pair in pairs:
        domain, own = (loop_domain(one, *pair.copy, options) for one in (present, structure))
        recorder = TrajectoryRecorder(LOOP_COPY)
        recorder.add(own.start(structure.xyz).conformation.xyz[0], None, 0, 0)
        outcome = refine(present, domain, domain.start(present.xyz), options, energies, recorder)
        end = outcome.apply(present.xyz)
        added = float(domain.cost(domain.start(end))[0]) - float(own.cost(own.start(structure.xyz))[0])
        if may_keep and added > MAX_ADDED_COST:
            outcome, end = no_motion(own, structure.xyz, "kept"), present.xyz.copy()
            atoms = structure.atoms_within(*pair.copy)
            end[atoms] = structure.xyz[atoms]
        present = replace(present, xyz=end)
        models.append(evaluate_model(present, domain, outcome, energies))
    return models


def compare_copies(
    structure: Structure, xyz: Floats, pairs: Sequence[CopyPair], altloc: str | None
) -> list[dict[str, Any]]:
    """Compare loops with their copies, superposed by the residues on both sides.

    Parameters
    ----------
    structure : Structure
    xyz : (n_atoms, 3)
        Coordinates (nm).
    pairs : sequence of CopyPair
    altloc : str or None
        Conformer of the loops.

    Returns
    -------
    list of dict
        Entries of the report.
    """
    end, rows = replace(structure, xyz=xyz), []
    torsions, conformer = backbone_torsions(end), structure.conformer(altloc)
    for pair in pairs:
        placed = superposed_backbone(end, pair, conformer)
        distance = 10 * np.linalg.norm(placed - _backbone(end, pair.copy, conformer), axis=-1).max(1)
        first, last = ([structure.residues[k] for k in span] for span in (pair.reference, pair.copy))
        turned = np.abs(wrap(_span_of(torsions, pair.reference) - _span_of(torsions, pair.copy))) > DIFFERENT
        rows.append(
            {
                "of": f"{first[0].label}-{first[1].resnum}{first[1].icode}",
                "residues": f"{last[0].label}-{last[1].resnum}{last[1].icode}",
                "backbone_rmsd_angstrom": round(
                    10 * float(rmsd(placed, _backbone(end, pair.copy, conformer), (0, 1))), 3
                ),
                "largest_distance_angstrom": round(float(distance.max()), 3),
                "at": structure.residues[pair.copy[0] + int(distance.argmax())].label,
                "torsions_differ_at": [
                    structure.residues[pair.copy[0] + k].label for k in np.flatnonzero(turned.any(1)).tolist()
                ],
            }
        )
    return rows


def _place(structure: Structure, domain: LoopDomain, pair: CopyPair, options: RunOptions) -> LoopState | None:
    """State of a copy with the torsions of its reference; None if it does not close."""
    backbone = superposed_backbone(structure, pair, structure.conformer(options.altloc))
    start, torsions = domain.start(structure.xyz), torsions_of(structure, pair.reference)
    state, closed = transfer_torsions(domain, structure, start, torsions[None], backbone[None])
    if not closed.any():
        return None
    xyz, known = _atoms_by_name(structure, pair)
    increments = torsion_increments(domain, structure, xyz[None])[0]
    tree = domain.tree
    chi = np.array([kind not in ("phi", "psi") and known[k - pair.copy[0]]
                    for kind, k in zip(tree.kind, tree.residue.tolist(), strict=True)])  # fmt: skip
    angle = state.conformation.angle
    theta = wrap(torch.as_tensor(np.where(chi, increments, 0.0)).to(angle) - angle * torch.as_tensor(chi).to(angle))
    theta = theta * torch.as_tensor(chi).to(angle)
    moved = positions(domain.decoder.kinematics, state.conformation.xyz, theta)
    conformation = domain.decoder.at(moved, angle + theta, domain.mobility(0))
    return LoopState(conformation, domain.sterics.pairs(moved), 0)


def superposed_backbone(structure: Structure, pair: CopyPair, conformer: Mask) -> Floats:
    """Backbone (L, 4, 3) of a reference, superposed with the residues next to it on those next to its copy."""
    mobile, target = list[Floats](), list[Floats]()
    for side, ends in ((-1, (pair.reference[0], pair.copy[0])), (1, (pair.reference[1], pair.copy[1]))):
        for step in range(1, FLANK + 1):
            residues = [end + side * step for end in ends]
            beyond = step > 1 and not all(_follows(structure, k, side) for k in residues)
            atoms = [] if beyond else [structure.atom(k, name, conformer) for k in residues for name in BACKBONE[:3]]
            if not atoms or None in atoms:
                break
            points = structure.xyz[np.array(atoms, dtype=np.int64)]
            mobile.append(points[:3])
            target.append(points[3:])
    return superpose(_backbone(structure, pair.reference, conformer), np.concatenate(mobile), np.concatenate(target))


def _follows(structure: Structure, k: int, side: int) -> bool:
    """Whether residue k is there and bonded to the one before it on a side, -1 or 1."""
    return 0 <= k < len(structure.residues) and structure.bonded(*sorted((k, k - side)))


def _backbone(structure: Structure, span: Range, conformer: Mask) -> Floats:
    atoms = np.array(backbone_atoms(structure, *span, conformer), dtype=np.int64)
    return np.asarray(structure.xyz[atoms].reshape(-1, 4, 3))


def torsions_of(structure: Structure, span: Range) -> Floats:
    """Phi and psi (L + 1, 2) of a loop and of the residue after it."""
    return np.asarray(backbone_torsions(structure)[span[0] : span[1] + 2, :2])


def _span_of(torsions: Floats, span: Range) -> Floats:
    return np.asarray(torsions[span[0] : span[1] + 1, :2])


def _atoms_by_name(structure: Structure, pair: CopyPair) -> tuple[Floats, np.ndarray]:
    """Coordinates (m, 3) of a copy's atoms from its reference, and the residues (L,) that are complete in both."""
    mask, rows, known = structure.conformer_mask, list[Floats](), list[bool]()
    for step in range(pair.copy[1] - pair.copy[0] + 1):
        atoms = structure.residues[pair.copy[0] + step].atoms
        same = [structure.atom(pair.reference[0] + step, str(structure.name[a]), mask) for a in atoms.tolist()]
        heavy = [
            s is not None for s, a in zip(same, atoms.tolist(), strict=True) if structure.element[a] not in ("H", "D")
        ]
        known.append(all(heavy))
        rows += [structure.xyz[a if s is None else s] for s, a in zip(same, atoms.tolist(), strict=True)]
    return np.array(rows), np.array(known)

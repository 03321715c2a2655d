"""Features of a peptide for the policy.

Glossary: ``B`` rows, ``L`` residues, ``n`` torsions, ``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from geofold.kernels.library import call, usable
from geofold.kernels.structures import Peptide
from geofold.learn.peptide_policy.features import (
    CONTACTS,
    FEATURE_COUNT,
    POSE_SIZE,
    SCALE,
    ContactTargets,
    featurise,
)
from geofold.learn.torsion_prior.model import ALPHABET_SIZE
from geofold.molecule.encoding import encode_residues
from geofold.molecule.energy.compiled_terms import add_clashes
from geofold.molecule.energy.ramachandran_term import RamachandranTerm
from geofold.molecule.energy.sterics import Sterics
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.peptide.contact_tensors import ContactBounds
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.sidechains.rotamer_library import chi_angles
from geofold.molecule.structure import Structure

NAMES = ("N", "CA", "C")
TORSION_KINDS = ("phi", "psi", "chi1", "chi2")
BACKBONE = ("N", "CA", "C", "O", "OXT")
FORCE_SCALE = 20.0
"""Typical gradient (per nm) of a severe overlap, by which overlap gradients are divided."""


class ObservedPeptide(Protocol):
    """Parts of a peptide domain that its features need; see `geofold.molecule.peptide.domain`."""

    @property
    def sterics(self) -> Sterics:
        """Heavy-atom pairs."""

    @property
    def angles(self) -> RamachandranTerm:
        """Phi and psi."""

    def contact_bounds(self, contacts: tuple[Contact, ...]) -> ContactBounds:
        """Contacts as tensors."""

    def contact_errors(self, xyz: Tensor, contacts: tuple[Contact, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms (B, c, 2, 3), violations (B, c) and signs (c,) of contacts."""


@dataclass(frozen=True)
class PeptideFeatures:
    """Feature extraction of a peptide for the policy.

    Attributes
    ----------
    letters : (L,) int
        Amino acids.
    local : (L, 3) int
        Rows of N, CA, C in the local atoms followed by the fixed ones.
    fixed_xyz : (s, 3)
        Coordinates (nm) of the fixed atoms.
    torsion_index : (L, 4) int
        Torsions that are phi, psi, chi1 and chi2 of each residue; -1 for fixed ones.
    chi : (L, 2)
        Initial chi1 and chi2 (radian); NaN if absent.
    part : (m,) int
        Twice the residue of each local atom, plus one for side-chain atoms.
    residue : (n_atoms,) int
        Residue of each atom of the structure, counted from the first that moves.
    """

    letters: Tensor
    local: Tensor
    fixed_xyz: Tensor
    torsion_index: Tensor
    chi: Tensor
    part: Tensor
    residue: np.ndarray
    _structures: list[Peptide] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(cls, structure: Structure, decoder: TorsionDecoder) -> PeptideFeatures | None:
        """Features of the segment that a decoder moves; None if a residue lacks N, CA or C."""
        tree, device = decoder.tree, decoder.weight.device
        place = {int(a): k for k, a in enumerate(decoder.kinematics.atoms.cpu().tolist())}
        residues = range(tree.first, tree.last + 1)
        atoms = [[structure.atom(k, name, tree.conformer) for name in NAMES] for k in residues]
        if any(None in row for row in atoms):
            return None
        # atoms that do not move (of a rigid proline in the middle) follow those that do
        fixed_xyz = sorted({atom for row in atoms for atom in row if atom is not None and atom not in place})
        place |= {atom: len(place) + k for k, atom in enumerate(fixed_xyz)}
        local = [[place[atom] for atom in row if atom is not None] for row in atoms]
        torsion = {(int(k), kind): j for j, (k, kind) in enumerate(zip(tree.residue, tree.kind, strict=True))}
        torsion_index = [[torsion.get((k, kind), -1) for kind in TORSION_KINDS] for k in residues]
        letters = [int(encode_residues(structure, k, k)) for k in residues]
        chi = np.full((len(residues), 2), np.nan)
        for row, k in enumerate(residues):
            angles = chi_angles(structure, k, tree.conformer)[:2]
            chi[row, : len(angles)] = angles
        atoms_of = decoder.kinematics.atoms.cpu().numpy()
        side = ~np.isin(structure.name[atoms_of].astype(str), BACKBONE)
        part = 2 * (structure.residue_of[atoms_of] - tree.first) + side

        def to_tensor(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=decoder.weight.dtype, device=device)

        return cls(
            torch.tensor(letters, device=device),
            torch.tensor(local, device=device),
            to_tensor(structure.xyz[fixed_xyz]).reshape(-1, 3),
            torch.tensor(torsion_index, device=device),
            to_tensor(chi),
            torch.as_tensor(part.clip(0, 2 * len(residues) - 1), device=device),
            structure.residue_of - tree.first,
        )

    def observe(self, domain: ObservedPeptide, state: PeptideState, goal: PeptideGoal | None) -> Tensor:
        """Input (B, L (F + 12) + 2) of the predictor: features and pose, largest violation (A), hash of the goal."""
        if usable(state.conformation.xyz, state.conformation.angle):
            return self._observe_compiled(domain, state, goal)
        all_xyz = torch.cat([state.conformation.xyz, self.fixed_xyz.expand(len(state.conformation.xyz), -1, -1)], 1)
        xyz = 10 * all_xyz[:, self.local.flatten()].unflatten(1, (-1, 3))
        targets, goal_hash = self._contact_targets(domain, state.conformation.xyz, goal)
        parts = featurise(
            self.letters,
            xyz,
            self.angles(domain.angles, state.conformation.angle),
            self._overlap_forces(domain, state),
            targets,
        )
        worst = (targets.excess * targets.present).amax(-1, keepdim=True).clamp_min(0.0)
        return torch.cat([torch.cat(parts, -1).flatten(1), worst, torch.full_like(worst, goal_hash)], -1)

    def _observe_compiled(self, domain: ObservedPeptide, state: PeptideState, goal: PeptideGoal | None) -> Tensor:
        """`observe` by kernels."""
        xyz, angle = state.conformation.xyz, state.conformation.angle
        contacts, rows = _between_residues(goal), len(xyz)
        residue = torch.tensor([[self.residue[c.i], self.residue[c.j]] for c in contacts])
        forces, cost = torch.zeros_like(xyz), xyz.new_empty(rows)
        pairs = domain.sterics.update_pairs(xyz, state.pairs)
        add_clashes(domain.sterics, xyz, pairs, torch.ones_like(cost), forces, cost)
        out = xyz.new_empty(rows, len(self.letters) * (FEATURE_COUNT + POSE_SIZE) + 2)
        call(
            "peptide_features", self._c_struct(domain.angles), rows, angle.shape[1], xyz, angle, forces,
            domain.contact_bounds(contacts).c_struct if contacts else None, residue, _hash_contacts(contacts), out,
        )  # fmt: skip
        return out

    def _c_struct(self, angles: RamachandranTerm) -> Peptide:
        """Residues and their initial angles for kernels; all domains of a peptide have the same Ramachandran term."""
        if not self._structures:
            length, none = len(self.letters), self.torsion_index.new_zeros(self.torsion_index.shape).to(self.chi)
            start = torch.cat([none[:, :2] * torch.nan, self.chi], -1)
            start[angles.residue, :2] = torch.stack([angles.phi, angles.psi], -1)
            sizes = length, len(self.part), ALPHABET_SIZE, SCALE, FORCE_SCALE
            parts = self.letters, self.local, self.torsion_index, self.fixed_xyz.contiguous(), start, self.part
            self._structures.append(Peptide.of(*sizes, *parts))
        return self._structures[0]

    def angles(self, angles: RamachandranTerm, turned: Tensor) -> Tensor:
        """Phi, psi, chi1 and chi2 (B, L, 4) after total increments (B, n); NaN if absent."""
        result = turned.new_full((len(turned), len(self.letters), len(TORSION_KINDS)), torch.nan)
        result[:, angles.residue, :2] = torch.stack(angles.at(turned), -1)
        result[..., 2:] = self.chi + self.per_residue(turned)[..., 2:]
        return result

    def per_residue(self, turned: Tensor) -> Tensor:
        """Arrange increments (B, n) by phi, psi, chi1 and chi2, (B, L, 4); zero for fixed torsions."""
        return torch.where(self.torsion_index >= 0, turned[:, self.torsion_index.clamp_min(0)], 0.0)

    def _overlap_forces(self, domain: ObservedPeptide, state: PeptideState) -> Tensor:
        """Overlap gradients (B, L, 7): sum of magnitudes per residue, vectors of its backbone and of its side chain."""
        rows, length = len(state.conformation.xyz), len(self.letters)
        clashes, _ = domain.sterics.clashes(state.conformation.xyz, state.pairs)
        force = clashes.gradient(None, domain.sterics.local_row, state.conformation.xyz.shape[1])
        sums = force.new_zeros(rows, 2 * length, 4)
        sums.index_add_(1, self.part, torch.cat([force, force.norm(dim=-1, keepdim=True)], -1))
        parts = sums.unflatten(1, (length, 2)) / FORCE_SCALE
        return torch.cat([parts[..., 3].sum(-1, keepdim=True), parts[..., :3].flatten(2)], -1)

    def _contact_targets(
        self, domain: ObservedPeptide, xyz: Tensor, goal: PeptideGoal | None
    ) -> tuple[ContactTargets, float]:
        # the policy was trained on distances between atoms, not to points in space
        contacts = _between_residues(goal)
        rows, like = len(xyz), xyz
        none = ContactTargets(
            like.new_zeros(rows, CONTACTS, 2, 3),
            torch.zeros(rows, CONTACTS, 2, dtype=torch.long, device=like.device),
            *(like.new_zeros(rows, CONTACTS) for _ in range(3)),
        )
        if not contacts:
            return none, 0.0
        place, excess, sign = domain.contact_errors(xyz, contacts)
        residue = torch.tensor([[self.residue[c.i], self.residue[c.j]] for c in contacts], device=like.device)
        # the policy expects the lower residue first
        swap = residue[:, 0] > residue[:, 1]
        residue = torch.where(swap[:, None], residue.flip(1), residue)
        place = torch.where(swap[:, None, None], place.flip(2), place)
        order = excess.argsort(-1, descending=True)[:, :CONTACTS]
        count = order.shape[1]

        def fill(target: Tensor, values: Tensor) -> Tensor:
            wide = order.reshape(*order.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
            target[:, :count] = torch.gather(values, 1, wide)
            return target

        filled = ContactTargets(
            fill(none.place, 10 * place),
            fill(none.residue, residue.expand(rows, -1, -1)),
            fill(none.excess, 10 * excess),
            fill(none.sign, sign.expand(rows, -1)),
            fill(none.present, torch.ones_like(excess)),
        )
        return filled, _hash_contacts(contacts)


def _between_residues(goal: PeptideGoal | None) -> tuple[Contact, ...]:
    """Contacts of a goal that the policy knows: those of two residues."""
    return () if goal is None else tuple(c for c in goal.contacts if c.point is None)


def _hash_contacts(contacts: tuple[Contact, ...]) -> float:
    """Return a number that changes with the contacts; zero without contacts."""
    return float(crc32(" ".join(c.text for c in contacts).encode())) if contacts else 0.0

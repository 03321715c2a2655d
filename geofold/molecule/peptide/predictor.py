"""A peptide as its policy sees it, and the policy as the predictor of the peptide domain.

Glossary: ``B`` rows, ``L`` residues, ``n`` torsions, ``F`` features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from geofold.core.backbone import map_tensors
from geofold.learn.peptide_policy.features import (
    CONTACTS,
    FEATURE_COUNT,
    MEMORY_SIZE,
    POSE_SIZE,
    ContactTargets,
    featurise,
)
from geofold.learn.peptide_policy.model import Policy
from geofold.molecule.encoding import encode_residues
from geofold.molecule.energy.ramachandran_term import BackboneAngles
from geofold.molecule.energy.sterics import Sterics
from geofold.molecule.kinematics.decoder import Fold
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.sidechains.rotamer_library import chi_angles
from geofold.molecule.structure import Structure


class ObservedPeptide(Protocol):
    """Parts of a peptide domain that its features need; see `geofold.molecule.peptide.domain`."""

    @property
    def sterics(self) -> Sterics: ...
    @property
    def angles(self) -> BackboneAngles: ...
    def wanted(self, xyz: Tensor, contacts: tuple[Contact, ...]) -> tuple[Tensor, Tensor, Tensor]: ...


NAMES = ("N", "CA", "C")
KINDS = ("phi", "psi", "chi1", "chi2")
CAP = math.radians(10.0)
"""Largest rotation of a torsion per step (radian)."""
BACKBONE = ("N", "CA", "C", "O", "OXT")
PUSHED = 20.0
"""Per nm: about what a severe overlap pushes with."""
KEEP = 0.5
"""Share of the last move that is proposed again where the policy has nothing to say: it glides."""
FADING = 16
"""Steps on which time is told to the policy."""
LEADING = 8
"""Steps for which it leads towards a goal; by then it is near, or was wrong. On 24 tuning episodes a contact took 11.8
steps so, 12.7 where it led for 16."""


@dataclass(frozen=True)
class PeptideSense:
    """Feature extraction of a peptide for the policy.

    Attributes
    ----------
    letters : (L,)
    local : (L, 3) int
        Local rows of N, CA, C, those that stay behind those that move.
    still : (s, 3)
        Where the former are, nm.
    turns : (L, 4) int
        Torsions that are phi, psi, chi1 and chi2 of each residue; -1 where it is fixed.
    chi : (L, 2)
        chi1 and chi2 before anything turned, radian; NaN where there is none.
    part : (m,) int
        Of each local atom: twice its residue, and one more if it belongs to the side chain.
    residue : (atoms,) int
        Residue of each atom of the structure, counted from the first that moves.
    """

    letters: Tensor
    local: Tensor
    still: Tensor
    turns: Tensor
    chi: Tensor
    part: Tensor
    residue: np.ndarray

    @classmethod
    def of(cls, structure: Structure, fold: Fold) -> PeptideSense | None:
        """Of the stretch that a fold moves; None where a residue lacks N, CA or C."""
        tree, device = fold.tree, fold.weight.device
        place = {int(a): k for k, a in enumerate(fold.kin.atoms.cpu().tolist())}
        span = range(tree.first, tree.last + 1)
        atoms = [[structure.atom(k, name, tree.steering) for name in NAMES] for k in span]
        if any(None in row for row in atoms):
            return None
        # what stays where it is (a rigid proline in the middle) stands behind the atoms that move
        still = sorted({atom for row in atoms for atom in row if atom is not None and atom not in place})
        place |= {atom: len(place) + k for k, atom in enumerate(still)}
        local = [[place[atom] for atom in row if atom is not None] for row in atoms]
        torsion = {(int(k), kind): j for j, (k, kind) in enumerate(zip(tree.residue, tree.kind, strict=True))}
        turns = [[torsion.get((k, kind), -1) for kind in KINDS] for k in span]
        letters = [int(encode_residues(structure, k, k)) for k in span]
        chi = np.full((len(span), 2), np.nan)
        for row, k in enumerate(span):
            found = chi_angles(structure, k, tree.steering)[:2]
            chi[row, : len(found)] = found
        atoms_of = fold.kin.atoms.cpu().numpy()
        side = ~np.isin(structure.name[atoms_of].astype(str), BACKBONE)
        part = 2 * (structure.residue_of[atoms_of] - tree.first) + side

        def made(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=fold.weight.dtype, device=device)

        return cls(
            torch.tensor(letters, device=device),
            torch.tensor(local, device=device),
            made(structure.xyz[still]).reshape(-1, 3),
            torch.tensor(turns, device=device),
            made(chi),
            torch.as_tensor(part.clip(0, 2 * len(span) - 1), device=device),
            structure.residue_of - tree.first,
        )

    def seen(self, domain: ObservedPeptide, state: PeptideState, goal: PeptideGoal | None) -> Tensor:
        """Return what the predictor is told (B, L (F + 12) + 2): features and pose, worst violation (A), which goal it is."""
        every = torch.cat([state.fold.xyz, self.still.expand(len(state.fold.xyz), -1, -1)], 1)
        xyz = 10 * every[:, self.local.flatten()].unflatten(1, (-1, 3))
        wanted, which = self._wanted(domain, state.fold.xyz, goal)
        told = featurise(
            self.letters, xyz, self.angles(domain.angles, state.fold.angle), self._pushed(domain, state), wanted
        )
        worst = (wanted.excess * wanted.present).amax(-1, keepdim=True).clamp_min(0.0)
        return torch.cat([torch.cat(told, -1).flatten(1), worst, torch.full_like(worst, which)], -1)

    def angles(self, angles: BackboneAngles, turned: Tensor) -> Tensor:
        """Phi, psi, chi1 and chi2 (B, L, 4) after total increments (B, n); NaN where there is none."""
        found = turned.new_full((len(turned), len(self.letters), len(KINDS)), torch.nan)
        found[:, angles.residue, :2] = torch.stack(angles.at(turned), -1)
        found[..., 2:] = self.chi + self.of_residues(turned)[..., 2:]
        return found

    def of_residues(self, turned: Tensor) -> Tensor:
        """Return what of increments (B, n) turns phi, psi, chi1 and chi2 (B, L, 4); zero where there is none."""
        return torch.where(self.turns >= 0, turned[:, self.turns.clamp_min(0)], 0.0)

    def _pushed(self, domain: ObservedPeptide, state: PeptideState) -> Tensor:
        """(B, L, 7): how strongly overlaps push each residue, where they push its backbone and its side chain."""
        rows, length = len(state.fold.xyz), len(self.letters)
        clashes, _ = domain.sterics.clashes(state.fold.xyz, state.pairs)
        force = clashes.gradient(None, domain.sterics.place, state.fold.xyz.shape[1])
        sums = force.new_zeros(rows, 2 * length, 4)
        sums.index_add_(1, self.part, torch.cat([force, force.norm(dim=-1, keepdim=True)], -1))
        parts = sums.unflatten(1, (length, 2)) / PUSHED
        return torch.cat([parts[..., 3].sum(-1, keepdim=True), parts[..., :3].flatten(2)], -1)

    def _wanted(self, domain: ObservedPeptide, xyz: Tensor, goal: PeptideGoal | None) -> tuple[ContactTargets, float]:
        contacts = () if goal is None else goal.contacts
        rows, like = len(xyz), xyz
        none = ContactTargets(
            like.new_zeros(rows, CONTACTS, 2, 3),
            torch.zeros(rows, CONTACTS, 2, dtype=torch.long, device=like.device),
            *(like.new_zeros(rows, CONTACTS) for _ in range(3)),
        )
        if not contacts:
            return none, 0.0
        place, excess, sign = domain.wanted(xyz, contacts)
        residue = torch.tensor([[self.residue[c.i], self.residue[c.j]] for c in contacts], device=like.device)
        # the policy takes the lower residue first
        swap = residue[:, 0] > residue[:, 1]
        residue = torch.where(swap[:, None], residue.flip(1), residue)
        place = torch.where(swap[:, None, None], place.flip(2), place)
        order = excess.argsort(-1, descending=True)[:, :CONTACTS]
        taken = order.shape[1]

        def put(target: Tensor, values: Tensor) -> Tensor:
            wide = order.reshape(*order.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
            target[:, :taken] = torch.gather(values, 1, wide)
            return target

        filled = ContactTargets(
            put(none.place, 10 * place),
            put(none.residue, residue.expand(rows, -1, -1)),
            put(none.excess, 10 * excess),
            put(none.sign, sign.expand(rows, -1)),
            put(none.present, torch.ones_like(excess)),
        )
        return filled, float(crc32(" ".join(c.text for c in contacts).encode()))


class Memory(NamedTuple):
    """Of the predictor: the policy's (B, L, ...), the last latent (B, d), steps under this goal, which goal it is."""

    stream: Any
    z: Tensor
    steps: int
    goal: float


@dataclass(frozen=True)
class PeptidePredictor:
    """The policy as a backbone of the controller: it proposes what leads to where it believes phi and psi belong.

    Where every contact is kept, or the goal is an old one, it glides.
    """

    policy: Policy
    turns: Tensor
    cap: float = CAP
    leading: int = LEADING
    keep: float = KEEP
    name: str = "peptide-policy"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Memory:
        """Nothing was seen."""
        return Memory(self._fresh(batch), like.new_zeros(batch, dim), 0, 0.0)

    def _fresh(self, batch: int) -> Any:
        """Return the policy's memory, a row for each residue, as rows (B, L, ...) that can be rearranged."""
        length = len(self.turns)
        whole = self.policy.stream.init_state(batch * length)
        return map_tensors(whole, lambda part: part.unflatten(0, (batch, length)))

    @torch.no_grad()
    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        """Proposal (B, d) for what was seen (see `PeptideSense.seen`)."""
        rows, length = len(x), len(self.turns)
        worst, goal = x[:, -2], float(x[0, -1])
        stream, steps = (state.stream, state.steps) if goal == state.goal else (self._fresh(rows), 0)
        proposal = self.keep * state.z
        if steps < self.leading:
            weight = self.policy.enter.weight
            seen = x[:, :-2].reshape(rows, length, FEATURE_COUNT + POSE_SIZE).to(weight)
            features, pose = seen.split((FEATURE_COUNT, POSE_SIZE), -1)
            features[..., -MEMORY_SIZE:-1] = torch.where(self.turns >= 0, state.z[:, self.turns.clamp_min(0)], 0.0)
            features[..., -1] = steps / FADING
            enters = self.policy.embed(features, pose).flatten(0, 1)
            z, after = self.policy.stream.step(enters, map_tensors(stream, lambda part: part.flatten(0, 1)))
            stream = map_tensors(after, lambda part: part.unflatten(0, (rows, length)))
            led = self._led(z.unflatten(0, (rows, length)), proposal)
            proposal = torch.where((worst > 0)[:, None], led, proposal)
        return proposal, Memory(stream, proposal, steps + 1, goal)

    def _led(self, z: Tensor, like: Tensor) -> Tensor:
        """Increments (B, d) of latents (B, L, d).

        A step turns nothing by more than its cap, and is else scaled down as a whole, corrections with it: so the
        backbone's part is scaled here, and side chains, which need not arrive together, are clipped.
        """
        mean = self.policy.decode(z).circular_mean()[0].to(like)
        mean = torch.where(self.turns >= 0, mean, 0.0)
        backbone, chi = mean.split(2, -1)
        backbone = backbone * (self.cap / backbone.abs().amax((1, 2)).clamp_min(self.cap))[:, None, None]
        mean = torch.cat([backbone, chi.clamp(-self.cap, self.cap)], -1)
        led = torch.zeros_like(like)
        led[:, self.turns[self.turns >= 0]] = mean[:, self.turns >= 0]
        return led

    def read(self, state: Memory) -> Tensor:
        """Return the current latent (B, d)."""
        return state.z

    def write(self, state: Memory, z: Tensor) -> Memory:
        """Return the corrected latent."""
        return state._replace(z=z)

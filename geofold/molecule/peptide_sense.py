"""A peptide as its policy sees it, and the policy as the predictor of the peptide domain.

Glossary: ``B`` rows, ``L`` residues, ``n`` torsions, ``F`` features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from geofold.learn.peptide_model import PeptidePolicy
from geofold.learn.peptide_sight import CONTACTS, FEATURES, MEMORY, Wanted, look
from geofold.molecule.dihedrals import BackboneAngles
from geofold.molecule.fold import Fold, FoldState
from geofold.molecule.prior_term import letters_of
from geofold.molecule.structure import Structure

if TYPE_CHECKING:
    from geofold.molecule.peptide import PeptideDomain, PeptideGoal

NAMES = ("N", "CA", "C")
CAP = math.radians(10.0)
"""What a step may turn a torsion by."""
KEEP = 0.5
"""Share of the last move that is proposed again where the policy has nothing to say: it glides."""
FADING = 16
"""Steps after which it has nothing more to say of a goal."""


@dataclass(frozen=True)
class PeptideSense:
    """What is needed to see a peptide.

    Attributes
    ----------
    letters : (L,)
    local : (L, 3) int
        Local rows of N, CA, C, those that stay behind those that move.
    still : (s, 3)
        Where the former are, nm.
    turns : (L, 2) int
        Torsions that are phi and psi of each residue; -1 where it is fixed.
    residue : (atoms,) int
        Residue of each atom of the structure, counted from the first that moves.
    """

    letters: Tensor
    local: Tensor
    still: Tensor
    turns: Tensor
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
        turns = [[torsion.get((k, kind), -1) for kind in ("phi", "psi")] for k in span]
        letters = [int(letters_of(structure, k, k)) for k in span]
        return cls(
            torch.tensor(letters, device=device), torch.tensor(local, device=device),
            torch.as_tensor(structure.xyz[still], dtype=fold.weight.dtype, device=device).reshape(-1, 3),
            torch.tensor(turns, device=device), structure.residue_of - tree.first,
        )  # fmt: skip

    def seen(self, domain: PeptideDomain, state: FoldState, goal: PeptideGoal | None) -> Tensor:
        """What the predictor is told (B, L F + 2): features, the largest violation (A), and which goal it is."""
        every = torch.cat([state.xyz, self.still.expand(len(state.xyz), -1, -1)], 1)
        xyz = 10 * every[:, self.local.flatten()].unflatten(1, (-1, 3))
        wanted, which = self._wanted(domain, state, goal)
        features = look(self.letters, xyz, self.angles(domain.angles, state.angle), wanted)
        worst = (wanted.excess * wanted.there).amax(-1, keepdim=True).clamp_min(0.0)
        return torch.cat([features.flatten(1), worst, torch.full_like(worst, which)], -1)

    def angles(self, angles: BackboneAngles, turned: Tensor) -> Tensor:
        """Phi and psi (B, L, 2) after total increments (B, n); NaN where the chain ends."""
        found = turned.new_full((len(turned), len(self.letters), 2), torch.nan)
        found[:, angles.residue] = torch.stack(angles.at(turned), -1)
        return found

    def _wanted(self, domain: PeptideDomain, state: FoldState, goal: PeptideGoal | None) -> tuple[Wanted, float]:
        contacts = () if goal is None else goal.contacts
        rows, like = len(state.xyz), state.xyz
        none = Wanted(
            like.new_zeros(rows, CONTACTS, 2, 3), torch.zeros(rows, CONTACTS, 2, dtype=torch.long, device=like.device),
            *(like.new_zeros(rows, CONTACTS) for _ in range(3)),
        )  # fmt: skip
        if not contacts:
            return none, 0.0
        place, excess, sign = domain.wanted(state.xyz, contacts)
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

        filled = Wanted(
            put(none.place, 10 * place), put(none.residue, residue.expand(rows, -1, -1)), put(none.excess, 10 * excess),
            put(none.sign, sign.expand(rows, -1)), put(none.there, torch.ones_like(excess)),
        )  # fmt: skip
        return filled, float(crc32(" ".join(c.text for c in contacts).encode()))


class Memory(NamedTuple):
    """Of the predictor: the policy's, the last latent (B, d), steps under the present goal, and which goal it is."""

    stream: Any
    z: Tensor
    steps: int
    goal: float


@dataclass(frozen=True)
class PeptidePredictor:
    """The policy as a backbone of the controller: it proposes what leads to where it believes phi and psi belong.

    Where every contact is kept, or the goal is an old one, it glides.
    """

    policy: PeptidePolicy
    turns: Tensor
    cap: float = CAP
    fading: int = FADING
    keep: float = KEEP
    name: str = "peptide-policy"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Memory:
        """Nothing was seen."""
        return Memory(self._fresh(batch), like.new_zeros(batch, dim), 0, 0.0)

    def _fresh(self, batch: int) -> Any:
        return self.policy.stream.init_state(batch * len(self.turns))

    @torch.no_grad()
    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        """Proposal (B, d) for what was seen (see `PeptideSense.seen`)."""
        rows, length = len(x), len(self.turns)
        worst, goal = x[:, -2], float(x[0, -1])
        stream, steps = (state.stream, state.steps) if goal == state.goal else (self._fresh(rows), 0)
        proposal = self.keep * state.z
        if steps < self.fading:
            features = x[:, :-2].reshape(rows, length, FEATURES).clone()
            features[..., -MEMORY:-1] = self._turned(state.z)
            features[..., -1] = steps / self.fading
            weight = self.policy.stream.enter.weight
            z, stream = self.policy.stream.step(features.flatten(0, 1).to(weight), stream)
            mean, _ = self.policy.decode(z).circular_mean()
            mean = mean.unflatten(0, (rows, length)).to(x)
            led = torch.zeros_like(proposal)
            led[:, self.turns[self.turns >= 0]] = mean[:, self.turns >= 0]
            # no more than a step may turn: a correction would else be scaled away with what is beyond
            led = led * (self.cap / led.abs().amax(-1, keepdim=True).clamp_min(self.cap))
            proposal = torch.where((worst > 0)[:, None], led, proposal)
        return proposal, Memory(stream, proposal, steps + 1, goal)

    def read(self, state: Memory) -> Tensor:
        """The latent as it stands."""
        return state.z

    def write(self, state: Memory, z: Tensor) -> Memory:
        """The corrected latent."""
        return state._replace(z=z)

    def _turned(self, z: Tensor) -> Tensor:
        """Last increments (B, L, 2) of phi and psi."""
        return torch.where(self.turns >= 0, z[:, self.turns.clamp_min(0)], 0.0)

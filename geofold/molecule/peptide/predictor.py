"""The policy as the predictor of the peptide domain.

Glossary: ``B`` rows, ``L`` residues, ``d`` entries of the latent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.backbone import map_tensors
from geofold.learn.peptide_policy.features import (
    FEATURE_COUNT,
    MEMORY_SIZE,
    POSE_SIZE,
)
from geofold.learn.peptide_policy.model import Policy

CAP = math.radians(10.0)
"""Largest rotation of a torsion per step (radian)."""
MOMENTUM = 0.5
"""Fraction of the last move that is proposed when the policy is not used."""
TIME_SCALE = 16
"""Number of steps by which the time since the last change of the goal is divided."""
PROPOSAL_STEPS = 8
"""Steps after a change of the goal in which the policy proposes; 16 took longer to a contact on tuning episodes."""


class Memory(NamedTuple):
    """State of the predictor.

    Attributes
    ----------
    stream
        State (B, L, ...) of the policy.
    z : (B, d)
        Last latent.
    steps : int
        Number of steps since the goal changed.
    goal : float
        Hash of the goal.
    """

    stream: Any
    z: Tensor
    steps: int
    goal: float


@dataclass(frozen=True)
class PeptidePredictor:
    """The policy as the predictor of the controller: it proposes the increments towards its estimate of the torsions.

    If all contacts are satisfied, or the last change of the goal is too long ago, it proposes the damped last move.

    Parameters
    ----------
    policy : Policy
        Trained policy.
    torsion_index : (L, 4) int
        See `PeptideFeatures`.
    cap : float
        Largest rotation of a torsion per step (radian).
    proposal_steps : int
        Steps after a change of the goal in which the policy proposes.
    momentum : float
        Fraction of the last move that is proposed otherwise.
    name : str
        Name in records.
    """

    policy: Policy
    torsion_index: Tensor
    cap: float = CAP
    proposal_steps: int = PROPOSAL_STEPS
    momentum: float = MOMENTUM
    name: str = "peptide-policy"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Memory:
        """State before the first step."""
        return Memory(self._fresh(batch), like.new_zeros(batch, dim), 0, 0.0)

    def _fresh(self, batch: int) -> Any:
        """Make the initial state (B, L, ...) of the policy, whose rows can be rearranged."""
        length = len(self.torsion_index)
        initial = self.policy.stream.init_state(batch * length)
        return map_tensors(initial, lambda part: part.unflatten(0, (batch, length)))

    @torch.no_grad()
    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        """Proposal (B, d) for an observation (see `PeptideFeatures.observe`)."""
        rows, length = len(x), len(self.torsion_index)
        worst, goal = x[:, -2], float(x[0, -1])
        stream, steps = (state.stream, state.steps) if goal == state.goal else (self._fresh(rows), 0)
        proposal = self.momentum * state.z
        if steps < self.proposal_steps:
            weight = self.policy.enter.weight
            observation = x[:, :-2].reshape(rows, length, FEATURE_COUNT + POSE_SIZE).to(weight)
            features, pose = observation.split((FEATURE_COUNT, POSE_SIZE), -1)
            features[..., -MEMORY_SIZE:-1] = torch.where(
                self.torsion_index >= 0, state.z[:, self.torsion_index.clamp_min(0)], 0.0
            )
            features[..., -1] = steps / TIME_SCALE
            inputs = self.policy.embed(features, pose).flatten(0, 1)
            z, new_stream = self.policy.stream.step(inputs, map_tensors(stream, lambda part: part.flatten(0, 1)))
            stream = map_tensors(new_stream, lambda part: part.unflatten(0, (rows, length)))
            increments = self._increments(z.unflatten(0, (rows, length)), proposal)
            proposal = torch.where((worst > 0)[:, None], increments, proposal)
        return proposal, Memory(stream, proposal, steps + 1, goal)

    def _increments(self, z: Tensor, like: Tensor) -> Tensor:
        """Increments (B, d) of latents (B, L, d).

        The decoder scales a step beyond the cap down as a whole, corrections included. Therefore the backbone is scaled
        to the cap here, and side chains, which need not arrive together, are clipped.
        """
        mean = self.policy.decode(z).circular_mean()[0].to(like)
        mean = torch.where(self.torsion_index >= 0, mean, 0.0)
        backbone, chi = mean.split(2, -1)
        backbone = backbone * (self.cap / backbone.abs().amax((1, 2)).clamp_min(self.cap))[:, None, None]
        mean = torch.cat([backbone, chi.clamp(-self.cap, self.cap)], -1)
        increments = torch.zeros_like(like)
        increments[:, self.torsion_index[self.torsion_index >= 0]] = mean[:, self.torsion_index >= 0]
        return increments

    def read(self, state: Memory) -> Tensor:
        """Return the current latent (B, d)."""
        return state.z

    def write(self, state: Memory, z: Tensor) -> Memory:
        """Store the corrected latent."""
        return state._replace(z=z)

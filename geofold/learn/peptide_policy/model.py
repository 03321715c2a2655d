"""The peptide policy: a streaming backbone at each residue that tells where its torsions have to go.

Residues look at one another, then stream side by side, each with a memory of its own: one policy serves peptides of
any length.

Glossary: ``L`` residues, ``F`` features, ``h`` channels, ``d`` of the latent.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.backbone.registry import build_backbone
from geofold.core.draws import DrawsFrom
from geofold.learn.loop_denoiser.model import LATENT, MAX_KAPPA, Increments
from geofold.learn.peptide_policy.features import FEATURE_COUNT, TORSIONS
from geofold.learn.weights import load_frozen

WEIGHTS = "peptide.safetensors"
COMPONENTS = 3
CHANNELS, ROUNDS = 64, 2


class MessagePassing(nn.Module):
    """One round in which every residue hears all others, told where they are in its own frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.here, self.there = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)
        self.between, self.out = nn.Linear(6, channels, bias=False), nn.Linear(channels, channels)

    def forward(self, h: Tensor, between: Tensor, known: Tensor) -> Tensor:
        """Channels (..., L, h) after hearing the others: pairs (..., L, L, 6), who is known (..., L)."""
        heard = nn.functional.silu(
            self.here(h)[..., :, None, :] + self.there(h)[..., None, :, :] + self.between(between)
        )
        share = known / known.sum(-1, keepdim=True).clamp_min(1.0)
        return nn.functional.silu(h + self.out((heard * share[..., None, :, None]).sum(-2)))


def pair_features(pose: Tensor) -> Tensor:
    """Of residue j in the frame of residue i (..., L, L, 6): place, distance, offset along the chain, nearness."""
    ca, axes = pose[..., :3], pose[..., 3:].unflatten(-1, (3, 3))
    arm = ca[..., None, :, :] - ca[..., :, None, :]
    place = (axes[..., :, None, :, :] @ arm[..., None])[..., 0]
    gap = (arm.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    at = torch.arange(pose.shape[-2], device=pose.device).to(pose) / 10
    offset = (at - at[:, None])[..., None].expand_as(gap)
    return torch.cat([place, gap, offset, (-2 * gap).exp()], -1)


class Decoder(nn.Sequential):
    """What a latent says of the torsions of its residue; rival policies read theirs with it too."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(LATENT, 2 * LATENT), nn.SiLU(), nn.Linear(2 * LATENT, TORSIONS * COMPONENTS * 4))

    def increments(self, z: Tensor, temperature: float) -> Increments:
        """Increments (..., 4) of phi, psi, chi1 and chi2 that a latent (..., d) tells, as mixtures."""
        weight, x, y, kappa = self(z).unflatten(-1, (TORSIONS, COMPONENTS, 4)).unbind(-1)
        concentration = MAX_KAPPA * torch.sigmoid(kappa - math.log(MAX_KAPPA / 2)) / temperature + 1e-3
        return Increments(weight.log_softmax(-1), torch.atan2(y, x + 1.0), concentration)


class Policy(Protocol):
    """What stands where the peptide policy does: it leads a peptide, and learns from the same lessons.

    enter : its first layer, which tells the floating type. stream : what remembers from step to step (`init_state`,
    `step` and `scan` of `geofold.backbone.protocol.StreamingBackbone`).
    """

    enter: nn.Linear
    stream: Any
    options: dict[str, Any]
    temperature: float

    def enters(self, features: Tensor, pose: Tensor) -> Tensor:
        """What streams (..., L, h) of features (..., L, F) and poses (..., L, 12)."""

    def decode(self, z: Tensor) -> Increments:
        """Increments (..., 4) of phi, psi, chi1 and chi2 that a latent (..., d) tells."""


class PeptidePolicy(nn.Module):
    """Backbone and decoder.

    Parameters
    ----------
    kind, width, depth
        Of the backbone (`geofold.backbone.registry.BACKBONE_NAMES`).
    temperature : float
        What concentrations are divided by, found on held-out peptides.
    """

    USUAL = "selective"

    def __init__(
        self, kind: str = USUAL, *, width: int = 96, depth: int = 2, seed: int = 0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"kind": kind, "width": width, "depth": depth}
        self.temperature = temperature
        self.stream = build_backbone(kind, CHANNELS, LATENT, width=width, depth=depth, seed=seed)
        with DrawsFrom(seed + 1):
            self.enter = nn.Linear(FEATURE_COUNT, CHANNELS)
            self.rounds = nn.ModuleList(MessagePassing(CHANNELS) for _ in range(ROUNDS))
            self.decoder = Decoder()

    def enters(self, features: Tensor, pose: Tensor) -> Tensor:
        """What streams (..., L, h) of features (..., L, F) and poses (..., L, 12); residues of zeros are not there."""
        known = pose.abs().sum(-1).gt(0).to(features)
        between = pair_features(pose)
        h = nn.functional.silu(self.enter(features))
        for round_ in self.rounds:
            h = round_(h, between, known)
        return h

    def decode(self, z: Tensor) -> Increments:
        """Increments (..., 4) of phi, psi, chi1 and chi2 that a latent (..., d) tells, as mixtures."""
        return self.decoder.increments(z, self.temperature)


@cache
def shipped_policy() -> tuple[PeptidePolicy, dict[str, Any]]:
    """The policy that ships, and its card."""
    return load_policy(resources.find(WEIGHTS))


def load_policy(path: str | Path) -> tuple[PeptidePolicy, dict[str, Any]]:
    """Policy of a weights file, and its card; see `geofold.learn.training_loop.frozen`."""
    return load_frozen(
        path, lambda card: PeptidePolicy(**card.get("options", {}), temperature=card.get("temperature", 1.0))
    )

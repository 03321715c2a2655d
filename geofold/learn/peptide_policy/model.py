"""The peptide policy: message passing between residues, and a streaming backbone at each residue.

Residues exchange messages, then stream side by side, each with its own memory. One policy serves peptides of any
length.

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
    """One round of messages from every residue to every other, with relative positions in the receiver's frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.here, self.there = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)
        self.between, self.out = nn.Linear(6, channels, bias=False), nn.Linear(channels, channels)

    def forward(self, h: Tensor, between: Tensor, present: Tensor) -> Tensor:
        """Channels (..., L, h) after the messages, for pairs (..., L, L, 6) and residues present (..., L)."""
        message = nn.functional.silu(
            self.here(h)[..., :, None, :] + self.there(h)[..., None, :, :] + self.between(between)
        )
        share = present / present.sum(-1, keepdim=True).clamp_min(1.0)
        return nn.functional.silu(h + self.out((message * share[..., None, :, None]).sum(-2)))


def pair_features(pose: Tensor) -> Tensor:
    """Residue j in the frame of residue i, (..., L, L, 6): position, distance, offset in sequence, proximity."""
    ca, axes = pose[..., :3], pose[..., 3:].unflatten(-1, (3, 3))
    arm = ca[..., None, :, :] - ca[..., :, None, :]
    place = (axes[..., :, None, :, :] @ arm[..., None])[..., 0]
    gap = (arm.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    at = torch.arange(pose.shape[-2], device=pose.device).to(pose) / 10
    offset = (at - at[:, None])[..., None].expand_as(gap)
    return torch.cat([place, gap, offset, (-2 * gap).exp()], -1)


class Decoder(nn.Sequential):
    """Read-out of the torsion increments of a residue from its latent; baseline policies use it too."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(LATENT, 2 * LATENT), nn.SiLU(), nn.Linear(2 * LATENT, TORSIONS * COMPONENTS * 4))

    def increments(self, z: Tensor, temperature: float) -> Increments:
        """Mixtures (..., 4) of the increments of phi, psi, chi1 and chi2, from latents (..., d)."""
        weight, x, y, kappa = self(z).unflatten(-1, (TORSIONS, COMPONENTS, 4)).unbind(-1)
        concentration = MAX_KAPPA * torch.sigmoid(kappa - math.log(MAX_KAPPA / 2)) / temperature + 1e-3
        return Increments(weight.log_softmax(-1), torch.atan2(y, x + 1.0), concentration)


class Policy(Protocol):
    """Interface of the peptide policy and its baselines, in training and in the predictor of the peptide domain.

    Attributes
    ----------
    enter : Linear
        First layer, whose floating type is that of the policy.
    stream
        Streaming part, with `init_state`, `step` and `scan` of `geofold.backbone.protocol.StreamingBackbone`.
    options : dict
        Arguments of the constructor, for the card.
    temperature : float
        Divisor of concentrations.
    """

    enter: nn.Linear
    stream: Any
    options: dict[str, Any]
    temperature: float

    def embed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Input (..., L, h) of the stream, from features (..., L, F) and poses (..., L, 12)."""

    def decode(self, z: Tensor) -> Increments:
        """Mixtures (..., 4) of the increments of phi, psi, chi1 and chi2, from latents (..., d)."""


class PeptidePolicy(nn.Module):
    """Message passing, backbone and decoder.

    Parameters
    ----------
    kind : str
        Name of the backbone (`geofold.backbone.registry.BACKBONE_NAMES`).
    width, depth : int
        Channels and blocks of the backbone.
    seed : int
        Seed of the initial weights.
    temperature : float
        Divisor of concentrations, fitted on held-out peptides.
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

    def embed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Input (..., L, h) of the stream, from features (..., L, F) and poses (..., L, 12), zero for padding."""
        present = pose.abs().sum(-1).gt(0).to(features)
        between = pair_features(pose)
        h = nn.functional.silu(self.enter(features))
        for round_ in self.rounds:
            h = round_(h, between, present)
        return h

    def decode(self, z: Tensor) -> Increments:
        """Mixtures (..., 4) of the increments of phi, psi, chi1 and chi2, from latents (..., d)."""
        return self.decoder.increments(z, self.temperature)


@cache
def shipped_policy() -> tuple[PeptidePolicy, dict[str, Any]]:
    """Policy that ships with the package, and its card."""
    return load_policy(resources.find(WEIGHTS))


def load_policy(path: str | Path) -> tuple[PeptidePolicy, dict[str, Any]]:
    """Read a policy and its card; see `geofold.learn.weights.load_frozen`."""

    def build_policy(card: dict[str, Any]) -> PeptidePolicy:
        return PeptidePolicy(**card.get("options", {}), temperature=card.get("temperature", 1.0))

    return load_frozen(path, build_policy)

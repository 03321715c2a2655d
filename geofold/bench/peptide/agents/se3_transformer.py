"""A rival of the peptide policy: a small SE(3)-Transformer (Fuchs, Worrall, Fischer, Welling 2020), every step anew.

Residues are nodes, all pairs of them edges. A node has channels of type 0 (scalars) and of type 1 (vectors); parity
is not told apart: peptides are chiral, so the group is SE(3), and cross products are among the paths. Attention is that
of the paper: queries are linear in the features of i, keys and values are features of j under a kernel
W_ij = sum_p phi_p(|x_ij|, offset) sum_J Q_p,J Y_J(x_ij / |x_ij|) of Clebsch-Gordan coefficients Q and harmonics Y (both
e3nn's), and the products of queries with keys are invariant. Three choices of ours: phi is shared by the few channels
of a kernel, and linear maps mix channels before and after, so that everything is a dense product of matrices; where the
paper has a norm nonlinearity, invariants (scalars and lengths) gate the vectors; and vectors begin as the axes of the
residue's frame times what is linear in its features, and end as their components along these axes.

e3nn comes with the extra `bench` and is imported where it is used.

Glossary: ``L`` residues, ``i`` hears ``j``; ``F`` features; ``c`` channels; ``m = 4`` components of a channel, type 0
and then x, y, z of type 1; ``g`` kernels, ``k = c / g`` channels of each; ``h`` heads of ``g / h`` kernels; ``p``
paths; ``y = 9`` harmonics up to J = 2; ``e`` invariants of an edge; ``d`` of the latent.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.bench.peptide.agents.agent import Agent, Choice
from geofold.bench.peptide.agents.greedy_mlp import TRIALS, led
from geofold.bench.peptide.agents.memoryless import Memoryless
from geofold.core.controller import Controller
from geofold.learn.loop_denoiser.model import LATENT, Increments
from geofold.learn.peptide_policy.features import FEATURE_COUNT
from geofold.learn.peptide_policy.model import Decoder
from geofold.learn.weights import load_frozen
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.predictor import PeptidePredictor

TYPES = (0, 1)
HARMONICS = (0, 1, 2)
KERNELS, HEADS = 8, 4
RINGS, FURTHEST = 16, 3.2
"""Bumps that tell a distance, and the last one's centre (in `geofold.learn.peptide_policy.features.SCALE`)."""
ALONG = 4
"""Offsets along the chain that are told apart, on either side."""
EDGE = RINGS + 2 * ALONG + 1
HIDDEN = 32
"""Width of the radial networks."""
NOTHING = 1e-6
WEIGHTS = "se3.safetensors"


@cache
def paths() -> Tensor:
    """Clebsch-Gordan coefficients (p, m, m, y) by which harmonics take a type of j to a type of i.

    Scaled so that whatever has components of mean square 1 becomes what has.
    """
    from e3nn import o3

    found, block = [], [slice(order**2, (order + 1) ** 2) for order in HARMONICS]
    for out in TYPES:
        for into in TYPES:
            for order in range(abs(out - into), out + into + 1):
                path = torch.zeros(4, 4, 9, dtype=torch.float64)
                # 2 out + 2 paths lead to a type
                scale = math.sqrt((2 * out + 1) / (2 * out + 2))
                path[block[out], block[into], block[order]] = scale * o3.wigner_3j(out, into, order, dtype=path.dtype)
                found.append(path)
    return torch.stack(found)


def edges(pose: Tensor) -> tuple[Tensor, Tensor]:
    """Of pairs: invariants (..., L, L, e), and what kernels are made of (..., L, L, p, m, m)."""
    from e3nn import o3

    ca, length = pose[..., :3], pose.shape[-2]
    arm = ca[..., None, :, :] - ca[..., :, None, :]
    centre = torch.linspace(0.0, FURTHEST, RINGS).to(pose)
    ring = (-((arm.norm(dim=-1, keepdim=True) - centre) / centre[1]).square()).exp()
    at = torch.arange(length, device=pose.device)
    offset = nn.functional.one_hot((at - at[:, None]).clamp(-ALONG, ALONG) + ALONG, 2 * ALONG + 1).to(pose)
    harmonics = o3.spherical_harmonics(list(HARMONICS), arm, normalize=True, normalization="component")
    basis = torch.einsum("...y,paby->...pab", harmonics, paths().to(pose))
    return torch.cat([ring, offset.expand(*ring.shape[:-1], -1)], -1), basis


def even(f: Tensor) -> Tensor:
    """Features (..., m, c) with components of mean square 1: scalars as in LayerNorm, vectors by their lengths."""
    scalar, vector = f[..., :1, :], f[..., 1:, :]
    vector = vector * (vector.square().mean((-2, -1), keepdim=True) + NOTHING).rsqrt()
    return torch.cat([nn.functional.layer_norm(scalar, scalar.shape[-1:]), vector], -2)


class Mixed(nn.Module):
    """A linear map of channels for each type; only scalars may be shifted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scalar, self.vector = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)

    def forward(self, f: Tensor) -> Tensor:
        """Features (..., m, c)."""
        return torch.cat([self.scalar(f[..., :1, :]), self.vector(f[..., 1:, :])], -2)


class Attention(nn.Module):
    """Every residue hears all others through equivariant kernels, as far as their keys answer its queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (Mixed(channels) for _ in range(4))
        self.radial = nn.Sequential(nn.Linear(EDGE, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 2 * KERNELS * len(paths())))
        self.scale = 1 / math.sqrt(4 * channels / HEADS)

    def forward(self, f: Tensor, edge: Tensor, basis: Tensor, heard: Tensor) -> Tensor:
        """What features (..., L, m, c) hear; see `edges`, and who hears whom (..., L, L)."""
        query, key, value = (part(f).unflatten(-1, (KERNELS, -1)) for part in (self.query, self.key, self.value))
        profile = self.radial(edge).unflatten(-1, (2, KERNELS, -1))
        of_key, of_value = torch.einsum("...ijsgp,...ijpab->s...giajb", profile, basis)
        answer = torch.einsum("...iagk,...jbgk->...giajb", query, key)
        score = self.scale * (answer * of_key).sum((-3, -1)).unflatten(-3, (HEADS, -1)).sum(-3)
        heard = heard[..., None, :, :]
        weight = score.masked_fill(~heard, torch.finfo(score.dtype).min).softmax(-1) * heard
        weight = weight.repeat_interleave(KERNELS // HEADS, -3)[..., :, None, :, None]
        return self.out(torch.einsum("...giajb,...jbgk->...iagk", weight * of_value, value).flatten(-2))


class Alone(nn.Module):
    """What a residue makes of its own features: invariants through an MLP, vectors mixed and gated by them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.invariant = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels), nn.SiLU(), nn.Linear(2 * channels, 2 * channels)
        )
        self.vector = nn.Linear(channels, channels, bias=False)

    def forward(self, f: Tensor) -> Tensor:
        """Features (..., m, c)."""
        scalar, vector = f[..., 0, :], f[..., 1:, :]
        length = (vector.square().sum(-2) + NOTHING).sqrt()
        scalar, gate = self.invariant(torch.cat([scalar, length], -1))[..., None, :].chunk(2, -1)
        return torch.cat([scalar, gate.sigmoid() * self.vector(vector)], -2)


class Se3Policy(nn.Module):
    """Features and poses of residues to their latents; replaces
    `geofold.learn.peptide_policy.model.PeptidePolicy`.

    Parameters
    ----------
    channels, depth
        Of each type, a multiple of `KERNELS`, and layers of attention.
    temperature : float
        What concentrations are divided by, found on held-out peptides.
    """

    def __init__(self, *, channels: int = 64, depth: int = 2, seed: int = 0, temperature: float = 1.0) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"channels": channels, "depth": depth}
        self.temperature = temperature
        self.stream = Memoryless()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.enter = nn.Linear(FEATURE_COUNT, 4 * channels)
            self.hear = nn.ModuleList(Attention(channels) for _ in range(depth))
            self.think = nn.ModuleList(Alone(channels) for _ in range(depth))
            self.leave = nn.Linear(4 * channels, LATENT)
            self.decoder = Decoder()

    def typed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Features (..., L, m, c) after all layers; the vectors turn with the peptide."""
        axes, known = pose[..., 3:].unflatten(-1, (3, 3)), pose.abs().sum(-1) > 0
        heard = known[..., :, None] & known[..., None, :]
        heard = heard & ~torch.eye(pose.shape[-2], dtype=torch.bool, device=pose.device)
        edge, basis = edges(pose)
        first = self.enter(features).unflatten(-1, (4, -1))
        f = torch.cat([first[..., :1, :], axes.mT @ first[..., 1:, :]], -2)
        for hear, think in zip(self.hear, self.think, strict=True):
            f = f + hear(even(f), edge, basis, heard)
            f = f + think(even(f))
        return f

    def embed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Latents (..., L, d) of features (..., L, F) and poses (..., L, 12); residues of zeros are not there."""
        axes, f = pose[..., 3:].unflatten(-1, (3, 3)), even(self.typed(features, pose))
        return self.leave(torch.cat([f[..., :1, :], axes @ f[..., 1:, :]], -2).flatten(-2))

    def decode(self, z: Tensor) -> Increments:
        """Increments (..., 4) of phi, psi, chi1 and chi2 that a latent (..., d) tells, as mixtures."""
        return self.decoder.increments(z, self.temperature)


@cache
def trained() -> Se3Policy:
    """With the weights of `geofold bench rivals`."""
    return load_frozen(
        resources.find("rivals", WEIGHTS), lambda card: Se3Policy(**card["options"], temperature=card["temperature"])
    )[0]


def predictor(domain: PeptideDomain, **options: Any) -> PeptidePredictor:
    """What leads a domain that it can see."""
    assert domain.sense is not None
    return PeptidePredictor(trained(), domain.sense.turns, name="se3-transformer", **options)


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """Its moves as they are."""
    return led(predictor(domain, **options), seed)


SE3 = Agent("se3", "SE(3)-Transformer, no correction", parts, TRIALS, learned=True)

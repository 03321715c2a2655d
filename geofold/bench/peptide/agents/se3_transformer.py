"""A rival of the peptide policy: a small SE(3)-Transformer (Fuchs, Worrall, Fischer, Welling 2020), without memory.

Residues are nodes and all pairs of them edges. A node has channels of type 0 (scalars) and type 1 (vectors). Parity is
ignored: peptides are chiral, so the group is SE(3), and cross products are among the couplings. Attention follows the
paper: queries are linear in the features of residue i; keys and values are features of residue j under a kernel
W_ij = sum_p phi_p(|x_ij|, offset) sum_J Q_p,J Y_J(x_ij / |x_ij|) of Clebsch-Gordan coefficients Q and harmonics Y
(both from e3nn); the products of queries and keys are invariant. Three choices differ: phi is shared by the channels of
a kernel, and linear maps mix channels before and after, so that everything is a dense matrix product; invariants
(scalars and lengths) gate the vectors instead of a norm nonlinearity; and vectors are initialised as the axes of the
residue's frame times linear functions of its features, and read out as components along these axes.

e3nn comes with the extra `bench` and is imported where it is used.

Glossary: ``L`` residues, ``i`` attends to ``j``; ``F`` features; ``c`` channels; ``m = 4`` components of a channel,
type 0 and x, y, z of type 1; ``g`` kernels, ``k = c / g`` channels of each; ``h`` heads of ``g / h`` kernels; ``p``
paths; ``y = 9`` harmonics up to J = 2; ``e`` invariants of an edge; ``d`` of the latent.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.bench.peptide.agents.agent import Agent, Options
from geofold.bench.peptide.agents.greedy_mlp import LEADING_TRIALS, make_uncorrected
from geofold.bench.peptide.agents.memoryless import Memoryless
from geofold.core.controller import Controller
from geofold.core.draws import DrawsFrom
from geofold.learn.loop_denoiser.model import LATENT, Increments
from geofold.learn.peptide_policy.features import FEATURE_COUNT
from geofold.learn.peptide_policy.model import Decoder
from geofold.learn.weights import load_frozen
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.predictor import PeptidePredictor

TYPES = (0, 1)
HARMONICS = (0, 1, 2)
KERNELS, HEADS = 8, 4
RADIAL_BASES, MAX_DISTANCE = 16, 3.2
"""Number of radial basis functions, and centre of the last (unit: `geofold.learn.peptide_policy.features.SCALE`)."""
MAX_OFFSET = 4
"""Largest offset along the chain that is distinguished, in either direction."""
EDGE_FEATURES = RADIAL_BASES + 2 * MAX_OFFSET + 1
RADIAL_WIDTH = 32
"""Width of the radial networks."""
EPSILON = 1e-6
WEIGHTS = "se3.safetensors"


@cache
def coupling_paths() -> Tensor:
    """Clebsch-Gordan coefficients (p, m, m, y) that couple a type of j and harmonics to a type of i.

    They are scaled so that components of unit mean square stay of unit mean square.
    """
    from e3nn import o3

    couplings, block = [], [slice(order**2, (order + 1) ** 2) for order in HARMONICS]
    for out in TYPES:
        for source in TYPES:
            for order in range(abs(out - source), out + source + 1):
                path = torch.zeros(4, 4, 9, dtype=torch.float64)
                # 2 out + 2 couplings contribute to a type
                scale = math.sqrt((2 * out + 1) / (2 * out + 2))
                path[block[out], block[source], block[order]] = scale * o3.wigner_3j(
                    out, source, order, dtype=path.dtype
                )
                couplings.append(path)
    return torch.stack(couplings)


def edge_features(pose: Tensor) -> tuple[Tensor, Tensor]:
    """Invariants (..., L, L, e) of pairs, and bases of their kernels (..., L, L, p, m, m)."""
    from e3nn import o3

    ca, length = pose[..., :3], pose.shape[-2]
    vectors = ca[..., None, :, :] - ca[..., :, None, :]
    centre = torch.linspace(0.0, MAX_DISTANCE, RADIAL_BASES).to(pose)
    radial = (-((vectors.norm(dim=-1, keepdim=True) - centre) / centre[1]).square()).exp()
    index = torch.arange(length, device=pose.device)
    offset = nn.functional.one_hot(
        (index - index[:, None]).clamp(-MAX_OFFSET, MAX_OFFSET) + MAX_OFFSET, 2 * MAX_OFFSET + 1
    ).to(pose)
    harmonics = o3.spherical_harmonics(list(HARMONICS), vectors, normalize=True, normalization="component")
    basis = torch.einsum("...y,paby->...pab", harmonics, coupling_paths().to(pose))
    return torch.cat([radial, offset.expand(*radial.shape[:-1], -1)], -1), basis


def normalise(f: Tensor) -> Tensor:
    """Normalise features (..., m, c): scalars as LayerNorm does, vectors by their root mean square length."""
    scalar, vector = f[..., :1, :], f[..., 1:, :]
    vector = vector * (vector.square().mean((-2, -1), keepdim=True) + EPSILON).rsqrt()
    return torch.cat([nn.functional.layer_norm(scalar, scalar.shape[-1:]), vector], -2)


class EquivariantLinear(nn.Module):
    """A linear map of channels for each type, with a bias for scalars only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scalar, self.vector = nn.Linear(channels, channels), nn.Linear(channels, channels, bias=False)

    def forward(self, f: Tensor) -> Tensor:
        """Features (..., m, c)."""
        return torch.cat([self.scalar(f[..., :1, :]), self.vector(f[..., 1:, :])], -2)


class Attention(nn.Module):
    """Attention over all other residues with equivariant kernels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (EquivariantLinear(channels) for _ in range(4))
        self.radial = nn.Sequential(
            nn.Linear(EDGE_FEATURES, RADIAL_WIDTH),
            nn.SiLU(),
            nn.Linear(RADIAL_WIDTH, 2 * KERNELS * len(coupling_paths())),
        )
        self.scale = 1 / math.sqrt(4 * channels / HEADS)

    def forward(self, f: Tensor, edge: Tensor, basis: Tensor, mask: Tensor) -> Tensor:
        """Attend to other residues.

        Parameters
        ----------
        f : (..., L, m, c) Tensor
            Features.
        edge, basis : Tensor
            See `edge_features`.
        mask : (..., L, L) Tensor of bool
            Residues j that residue i attends to.

        Returns
        -------
        (..., L, m, c) Tensor
            Update of the features.
        """
        query, key, value = (part(f).unflatten(-1, (KERNELS, -1)) for part in (self.query, self.key, self.value))
        profile = self.radial(edge).unflatten(-1, (2, KERNELS, -1))
        key_kernel, value_kernel = torch.einsum("...ijsgp,...ijpab->s...giajb", profile, basis)
        products = torch.einsum("...iagk,...jbgk->...giajb", query, key)
        score = self.scale * (products * key_kernel).sum((-3, -1)).unflatten(-3, (HEADS, -1)).sum(-3)
        mask = mask[..., None, :, :]
        weight = score.masked_fill(~mask, torch.finfo(score.dtype).min).softmax(-1) * mask
        weight = weight.repeat_interleave(KERNELS // HEADS, -3)[..., :, None, :, None]
        return self.out(torch.einsum("...giajb,...jbgk->...iagk", weight * value_kernel, value).flatten(-2))


class GatedSelfInteraction(nn.Module):
    """Update of a residue by its own features: an MLP of invariants, which gates the mixed vectors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.invariant = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels), nn.SiLU(), nn.Linear(2 * channels, 2 * channels)
        )
        self.vector = nn.Linear(channels, channels, bias=False)

    def forward(self, f: Tensor) -> Tensor:
        """Features (..., m, c)."""
        scalar, vector = f[..., 0, :], f[..., 1:, :]
        length = (vector.square().sum(-2) + EPSILON).sqrt()
        scalar, gate = self.invariant(torch.cat([scalar, length], -1))[..., None, :].chunk(2, -1)
        return torch.cat([scalar, gate.sigmoid() * self.vector(vector)], -2)


class Se3Policy(nn.Module):
    """Encoder of the features and poses of residues to latents.

    It replaces `geofold.learn.peptide_policy.model.PeptidePolicy`.

    Parameters
    ----------
    channels, depth
        Number of channels of each type (a multiple of `KERNELS`) and of attention layers.
    temperature : float
        Divisor of the concentrations, fitted on held-out peptides.
    """

    def __init__(self, *, channels: int = 64, depth: int = 2, seed: int = 0, temperature: float = 1.0) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"channels": channels, "depth": depth}
        self.temperature = temperature
        self.stream = Memoryless()
        with DrawsFrom(seed + 1):
            self.enter = nn.Linear(FEATURE_COUNT, 4 * channels)
            self.hear = nn.ModuleList(Attention(channels) for _ in range(depth))
            self.think = nn.ModuleList(GatedSelfInteraction(channels) for _ in range(depth))
            self.leave = nn.Linear(4 * channels, LATENT)
            self.decoder = Decoder()

    def equivariant_features(self, features: Tensor, pose: Tensor) -> Tensor:
        """Features (..., L, m, c) after all layers; the vectors rotate with the peptide."""
        axes, is_present = pose[..., 3:].unflatten(-1, (3, 3)), pose.abs().sum(-1) > 0
        mask = is_present[..., :, None] & is_present[..., None, :]
        mask = mask & ~torch.eye(pose.shape[-2], dtype=torch.bool, device=pose.device)
        edge, basis = edge_features(pose)
        first = self.enter(features).unflatten(-1, (4, -1))
        f = torch.cat([first[..., :1, :], axes.mT @ first[..., 1:, :]], -2)
        for attend, transform in zip(self.hear, self.think, strict=True):
            f = f + attend(normalise(f), edge, basis, mask)
            f = f + transform(normalise(f))
        return f

    def embed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Latents (..., L, d) of features (..., L, F) and poses (..., L, 12); poses of zeros are padding."""
        axes, f = pose[..., 3:].unflatten(-1, (3, 3)), normalise(self.equivariant_features(features, pose))
        return self.leave(torch.cat([f[..., :1, :], axes @ f[..., 1:, :]], -2).flatten(-2))

    def decode(self, z: Tensor) -> Increments:
        """Decode a latent (..., d) to mixtures of the increments (..., 4) of phi, psi, chi1 and chi2."""
        return self.decoder.increments(z, self.temperature)


@cache
def load_policy() -> Se3Policy:
    """Load the weights of `geofold bench rivals`."""
    return load_frozen(
        resources.find("rivals", WEIGHTS), lambda card: Se3Policy(**card["options"], temperature=card["temperature"])
    )[0]


def predictor(domain: PeptideDomain, **options: Any) -> PeptidePredictor:
    """Make a predictor for a domain with a `features`."""
    assert domain.features is not None
    return PeptidePredictor(load_policy(), domain.features.torsion_index, name="se3-transformer", **options)


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make a controller with its uncorrected moves."""
    return make_uncorrected(predictor(domain, **options), seed)


SE3 = Agent("se3", "SE(3)-Transformer, no correction", make_controller, LEADING_TRIALS, learned=True)

"""Mixtures of bivariate von Mises densities of two coupled angles.

The sine model (Singh, Hnizdo and Demchuk, Biometrika 89:719, 2002):
f(x, y) = exp(k1 cos(x - m) + k2 cos(y - n) + l sin(x - m) sin(y - n)) / Z. Over y it integrates in closed form, which
leaves Z = 2 pi int exp(k1 cos x) I0(sqrt(k2^2 + l^2 sin^2 x)) dx, a smooth periodic function that the midpoint rule
integrates to machine precision; and given x, y is von Mises about n + atan(l sin(x - m) / k2).

Glossary: ``K`` components, ``...`` any batch. Angles are in radian.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import wrap

QUADRATURE_NODES = 96
"""Nodes of the midpoint rule."""
MAX_KAPPA = 400.0
"""Largest concentration, a standard deviation of three degrees."""
SAMPLING_GRID = 720
"""Grid points, a multiple of 4, for the first angle of a sample: half a degree apart, a sixth of the smallest standard
deviation."""
SAMPLING_ROWS = 64
"""Samples drawn at once; more do not fit into the processor's cache."""
GRID = (np.arange(SAMPLING_GRID) + 0.5) * (2 * np.pi / SAMPLING_GRID) - np.pi
"""Centres (radian) of the cells of the grid."""


class Mixture(NamedTuple):
    """A mixture per element of the batch.

    weight : (..., K) logarithms of the weights; mean : (..., K, 2); kappa : (..., K, 2) concentrations; coupling :
    (..., K).
    """

    weight: Tensor
    mean: Tensor
    kappa: Tensor
    coupling: Tensor


def parameter_count(components: int) -> int:
    """Return the number of outputs that `mixture_from_outputs` needs for a mixture of some components."""
    return 8 * components


def mixture_from_outputs(outputs: Tensor) -> Mixture:
    """Make a mixture from unconstrained network outputs (..., 8 K).

    The coupling stays below sqrt(k1 k2), so that every component is unimodal.
    """
    weight, direction, spread, coupling = outputs.unflatten(-1, (-1, 8)).split([1, 4, 2, 1], -1)
    direction = direction.unflatten(-1, (2, 2))
    mean = torch.atan2(direction[..., 1], direction[..., 0] + 1e-6)
    kappa = MAX_KAPPA * torch.sigmoid(spread - math.log(MAX_KAPPA / 3)) + 1e-3
    bound = kappa.prod(-1).sqrt()
    return Mixture(weight[..., 0].log_softmax(-1), mean, kappa, 0.99 * bound * torch.tanh(coupling[..., 0]))


def log_normaliser(kappa: Tensor, coupling: Tensor) -> Tensor:
    """Return log Z (...) of concentrations (..., 2) and couplings (...)."""
    # the integrand is symmetric: half of the circle suffices
    count = QUADRATURE_NODES // 2
    nodes = (torch.arange(count, dtype=kappa.dtype, device=kappa.device) + 0.5) * (2 * math.pi / QUADRATURE_NODES)
    first, second = kappa[..., :1], kappa[..., 1:]
    argument = (second.square() + (coupling[..., None] * nodes.sin()).square()).sqrt()
    values = first * nodes.cos() + argument + torch.special.i0e(argument).log()
    return torch.logsumexp(values, -1) + math.log(8 * math.pi**2 / QUADRATURE_NODES)


def log_density(mixture: Mixture, angles: Tensor) -> Tensor:
    """Log density (...) of pairs of angles (..., 2)."""
    offset = angles[..., None, :] - mixture.mean
    cosine, sine = offset.cos(), offset.sin()
    exponent = (mixture.kappa * cosine).sum(-1) + mixture.coupling * sine.prod(-1)
    return torch.logsumexp(mixture.weight + exponent - log_normaliser(mixture.kappa, mixture.coupling), -1)


def sample(mixture: Mixture, noise: np.random.Generator) -> Tensor:
    """Draw one pair of angles (..., 2) in [-pi, pi) from each mixture."""
    weight, mean, kappa, coupling = (part.detach().double().cpu().numpy() for part in mixture)
    shape = weight.shape[:-1]
    share = np.exp(weight.reshape(-1, weight.shape[-1]))
    component = (np.cumsum(share, -1) > noise.random((len(share), 1)) * share.sum(-1, keepdims=True)).argmax(-1)
    rows = np.arange(len(share))
    m, k = (part.reshape(len(share), -1, 2)[rows, component] for part in (mean, kappa))
    l = coupling.reshape(len(share), -1)[rows, component]  # noqa: E741
    uniform = noise.random((len(share), 1))
    blocks = [slice(first, first + SAMPLING_ROWS) for first in range(0, len(share), SAMPLING_ROWS)]
    cell = np.concatenate([_first_cells(k[rows], l[rows], uniform[rows]) for rows in blocks] or [rows])
    x = GRID[cell] + (noise.random(len(share)) - 0.5) * (2 * np.pi / SAMPLING_GRID)
    pull = l * np.sin(x)
    y = np.arctan2(pull, k[:, 1]) + noise.vonmises(0.0, np.hypot(k[:, 1], pull))
    angles = np.stack([x, y], -1) + m
    return torch.as_tensor(wrap(angles).reshape(*shape, 2)).to(mixture.mean)


def _first_cells(kappa: np.ndarray, coupling: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Cells (n,) of the grid for the first angles, by their marginal density, from uniform numbers (n, 1)."""
    # sin^2 is symmetric about every quarter of the circle, and the Bessel function costs most
    argument = np.sqrt(kappa[:, 1:] ** 2 + (coupling[:, None] * np.sin(GRID[: SAMPLING_GRID // 4])) ** 2)
    quarter = argument + np.log(torch.special.i0e(torch.as_tensor(argument)).numpy())
    density = kappa[:, :1] * np.cos(GRID) + np.tile(np.concatenate([quarter, quarter[:, ::-1]], -1), 2)
    density -= density.max(-1, keepdims=True)
    cumulative = np.cumsum(np.exp(density, out=density), -1, out=density)
    return np.asarray((cumulative > uniform * cumulative[:, -1:]).argmax(-1))

"""Mixtures of bivariate von Mises densities: two angles, what they prefer and how they go together.

Glossary: ``K`` components, ``...`` any batch. Angles are in radian.

The sine model (Singh, Hnizdo and Demchuk, Biometrika 89:719, 2002):
f(x, y) = exp(k1 cos(x - m) + k2 cos(y - n) + l sin(x - m) sin(y - n)) / Z. Over y it integrates in closed form, which
leaves Z = 2 pi int exp(k1 cos x) I0(sqrt(k2^2 + l^2 sin^2 x)) dx, a smooth periodic function for which the midpoint
rule is exact to the last bits; and given x, y is von Mises about n + atan(l sin(x - m) / k2).
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
"""Largest concentration: three degrees of standard deviation."""
SAMPLING_GRID = 720
"""Places from which the first angle of a sample is drawn: half a degree apart, a sixth of the sharpest deviation."""


class Mixture(NamedTuple):
    """Logarithms of weights (..., K); means, (..., K, 2); concentrations (..., K, 2); coupling (..., K)."""

    weight: Tensor
    mean: Tensor
    kappa: Tensor
    coupling: Tensor


def parameter_count(components: int) -> int:
    """Numbers that `mixture` makes a mixture of."""
    return 8 * components


def mixture_from_outputs(outputs: Tensor) -> Mixture:
    """Mixture of unconstrained numbers (..., 8 K).

    The coupling stays below sqrt(k1 k2), so that every component has one peak.
    """
    weight, direction, spread, coupling = outputs.unflatten(-1, (-1, 8)).split([1, 4, 2, 1], -1)
    direction = direction.unflatten(-1, (2, 2))
    mean = torch.atan2(direction[..., 1], direction[..., 0] + 1e-6)
    kappa = MAX_KAPPA * torch.sigmoid(spread - math.log(MAX_KAPPA / 3)) + 1e-3
    bound = kappa.prod(-1).sqrt()
    return Mixture(weight[..., 0].log_softmax(-1), mean, kappa, 0.99 * bound * torch.tanh(coupling[..., 0]))


def log_normaliser(kappa: Tensor, coupling: Tensor) -> Tensor:
    """log Z (...) of concentrations (..., 2) and couplings (...)."""
    # the other half of the circle is this one's mirror image
    nodes = (torch.arange(QUADRATURE_NODES // 2, dtype=kappa.dtype, device=kappa.device) + 0.5) * (
        2 * math.pi / QUADRATURE_NODES
    )
    one, other = kappa[..., :1], kappa[..., 1:]
    along = (other.square() + (coupling[..., None] * nodes.sin()).square()).sqrt()
    values = one * nodes.cos() + along + torch.special.i0e(along).log()
    return torch.logsumexp(values, -1) + math.log(8 * math.pi**2 / QUADRATURE_NODES)


def log_density(given: Mixture, angles: Tensor) -> Tensor:
    """Log density (...) of pairs of angles (..., 2)."""
    apart = angles[..., None, :] - given.mean
    cosine, sine = apart.cos(), apart.sin()
    each = (given.kappa * cosine).sum(-1) + given.coupling * sine.prod(-1)
    return torch.logsumexp(given.weight + each - log_normaliser(given.kappa, given.coupling), -1)


def sample(given: Mixture, noise: np.random.Generator) -> Tensor:
    """One pair of angles (..., 2) of each mixture, in (-pi, pi]."""
    weight, mean, kappa, coupling = (part.detach().double().cpu().numpy() for part in given)
    shape = weight.shape[:-1]
    flat = weight.reshape(-1, weight.shape[-1])
    chosen = (np.cumsum(np.exp(flat), -1) > noise.random((len(flat), 1)) * np.exp(flat).sum(-1, keepdims=True)).argmax(
        -1
    )
    rows = np.arange(len(flat))
    m, k = (part.reshape(len(flat), -1, 2)[rows, chosen] for part in (mean, kappa))
    coupled = coupling.reshape(len(flat), -1)[rows, chosen]
    grid = (np.arange(SAMPLING_GRID) + 0.5) * (2 * np.pi / SAMPLING_GRID) - np.pi
    along = np.sqrt(k[:, 1:] ** 2 + (coupled[:, None] * np.sin(grid)) ** 2)
    marginal = k[:, :1] * np.cos(grid) + along + np.log(torch.special.i0e(torch.as_tensor(along)).numpy())
    share = np.cumsum(np.exp(marginal - marginal.max(-1, keepdims=True)), -1)
    place = (share > noise.random((len(flat), 1)) * share[:, -1:]).argmax(-1)
    x = grid[place] + (noise.random(len(flat)) - 0.5) * (2 * np.pi / SAMPLING_GRID)
    pull = coupled * np.sin(x)
    y = np.arctan2(pull, k[:, 1]) + noise.vonmises(0.0, np.hypot(k[:, 1], pull))
    found = np.stack([x, y], -1) + m
    return torch.as_tensor(wrap(found).reshape(*shape, 2)).to(given.mean)

"""A zoo of small analytic problems for the controller.

In all of them the state is a point of the latent space (B, d), the latent an increment on it, and the loss half a
weighted sum of squares of ``g(point) - goal``, so that J'WJ is the Gauss-Newton matrix. The increment itself is the
last part of the observations (with no weight), because `commit` sees nothing but the prediction. Goals are tuples of
floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from geofold.core.domain import Expansion, Loss, Prediction
from geofold.core.tangent import Euclid, Space, Torus

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """Least squares on a decoder g: (..., d) -> (..., k).

    Attributes
    ----------
    weight : tuple of float
        Precision of each observation.
    walls : float
        Increments with a coordinate beyond this have no admissible decoding.
    calls : list of bool
        Whether gradients were on, one entry per evaluation of the decoder.
    """

    name: str
    dim: int
    g: Map
    weight: tuple[float, ...]
    goal: tuple[float, ...]
    begin: tuple[float, ...]
    space: Space = field(default_factory=Euclid)
    walls: float = math.inf
    calls: list[bool] = field(default_factory=list, compare=False)

    @property
    def latent_dim(self) -> int:
        return self.dim

    def start(self, batch: int = 1, spread: float = 0.0, dtype: torch.dtype = torch.float64) -> Tensor:
        """`begin` in every row, row b moved by b * spread."""
        point = torch.tensor(self.begin, dtype=dtype).expand(batch, -1)
        return self.space.retract(point, (spread * torch.arange(batch, dtype=dtype))[:, None].expand_as(point))

    def observe(self, state: Tensor, goal: Any) -> Tensor:
        return state

    def decode(self, z: Tensor, state: Tensor) -> Prediction:
        self.calls.append(torch.is_grad_enabled())
        mean = torch.cat([self.g(self.space.retract(state, z)), z], dim=-1)
        precision = torch.tensor(self.weight + (0.0,) * self.dim, dtype=z.dtype)
        return Prediction(mean, precision, (z.detach().abs() <= self.walls).all(-1))

    def loss(self, prediction: Prediction, state: Tensor, goal: tuple[float, ...]) -> Loss:
        weight = torch.tensor(self.weight, dtype=prediction.mean.dtype)
        gap = prediction.mean[:, : len(goal)] - torch.tensor(goal, dtype=prediction.mean.dtype)
        part = 0.5 * weight * gap.square()
        return Loss(part.sum(-1), {"first": part[:, 0], "rest": part[:, 1:].sum(-1)})

    def select(self, state: Tensor, rows: Tensor) -> Tensor:
        return state[rows]

    def commit(self, prediction: Prediction, state: Tensor) -> Tensor:
        moved = self.space.retract(state, prediction.mean[:, -self.dim :])
        return torch.where(prediction.valid[:, None], moved, state)


@dataclass(frozen=True)
class Expanded(Problem):
    """The same problem with its derivatives in closed form (here: by dense differentiation, row by row)."""

    def expand(self, z: Tensor, state: Tensor) -> Expansion:
        def mean(latent: Tensor, point: Tensor) -> Tensor:
            return torch.cat([self.g(self.space.retract(point, latent)), latent], dim=-1)

        def jacobian() -> Tensor:
            return torch.func.vmap(torch.func.jacfwd(mean))(z, state)

        def bend(v: Tensor) -> Tensor:
            second = torch.func.vmap(torch.func.jacfwd(torch.func.jacfwd(mean)))(z, state)
            return torch.einsum("bkij,bi,bj->bk", second, v, v)

        return Expansion(
            self.decode(z, state),
            push=lambda v: torch.einsum("bkd,pbd->pbk", jacobian(), v),
            pull=lambda c: torch.einsum("bkd,pbk->pbd", jacobian(), c),
            bend=bend,
            gram=lambda w: torch.einsum("bki,bk,bkj->bij", jacobian(), w, jacobian()),
        )


def expanded(problem: Problem) -> Expanded:
    """A problem that tells its derivatives."""
    return Expanded(**{name: getattr(problem, name) for name in Problem.__dataclass_fields__})


def walled(problem: Problem, walls: float) -> Problem:
    """A problem whose longer increments are not admissible."""
    return replace(problem, walls=walls)


def rosenbrock() -> Problem:
    """The banana valley as residuals 1 - x and 10 (y - x^2)."""

    def g(p: Tensor) -> Tensor:
        x, y = p.unbind(-1)
        return torch.stack([1 - x, 10 * (y - x.square())], dim=-1)

    return Problem("rosenbrock", 2, g, (1.0, 1.0), (0.0, 0.0), (-0.8, 0.9))


def linear_gaussian(dim: int = 5, observations: int = 7, seed: int = 0) -> Problem:
    """A linear decoder: the natural step is exact, nothing bends."""
    noise = torch.Generator().manual_seed(seed)
    matrix = torch.randn(observations, dim, generator=noise, dtype=torch.float64)
    weight = (torch.rand(observations, generator=noise, dtype=torch.float64) + 0.5).tolist()
    goal = (matrix @ torch.linspace(-1, 1, dim, dtype=torch.float64)).tolist()
    return Problem("linear", dim, lambda p: p @ matrix.to(p).T, tuple(weight), tuple(goal), (0.0,) * dim)


def torus_arm(links: int = 4) -> Problem:
    """Joint angles of a planar arm, a point on a torus; the observations are all joints' positions."""

    def g(p: Tensor) -> Tensor:
        heading = p.cumsum(-1)
        return torch.cat([heading.cos().cumsum(-1), heading.sin().cumsum(-1)], dim=-1)

    bent = g(torch.linspace(0.2, 0.8, links, dtype=torch.float64)).tolist()
    begin = tuple(3.0 - 0.3 * k for k in range(links))
    return Problem("torus arm", links, g, (1.0,) * (2 * links), tuple(bent), begin, Torus())


def curved_surface() -> Problem:
    """A smooth surface in four dimensions, curved everywhere, weighted unevenly."""

    def g(p: Tensor) -> Tensor:
        x, y = p.unbind(-1)
        return torch.stack([x + 0.3 * y.square(), torch.sin(x) * torch.exp(0.3 * y), x * y, torch.cos(y + x)], dim=-1)

    goal = g(torch.tensor([-0.2, 0.5], dtype=torch.float64)).tolist()
    return Problem("surface", 2, g, (2.0, 1.0, 3.0, 0.5), tuple(goal), (0.4, -0.3))


ZOO: tuple[Callable[[], Problem], ...] = (rosenbrock, linear_gaussian, torus_arm, curved_surface)

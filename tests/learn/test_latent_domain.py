"""A domain behind a learned decoder is the domain itself, in other coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from problems import ZOO
from torch import Tensor

from geofold.core.checks import check_domain
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.linearise import differentiate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.latent_domain import Heads, LatentDomain


@dataclass(frozen=True)
class OffsetBackbone:
    """Backbone that always proposes the same latent."""

    latent: Tensor
    name: str = "offset"

    def init_state(self, batch, dim, like):
        return like.new_zeros(batch, dim)

    def step(self, x, state):
        return self.latent.repeat(len(state), 1), self.latent.repeat(len(state), 1)

    def read(self, state):
        return state

    def write(self, state, z):
        return z


@dataclass(frozen=True)
class TestDecoder:
    """Heads m = s tanh(A z / s) for all entries of the inner latent; s = inf makes them linear."""

    matrix: Tensor
    scale: float = float("inf")
    precision: float = 0.0
    __test__ = False

    @property
    def latent_dim(self) -> int:
        return self.matrix.shape[1]

    @property
    def head_count(self) -> int:
        return self.matrix.shape[0]

    def start(self, inner):
        return self.matrix.new_zeros(2, 1)

    def heads(self, z, inner):
        mean = z @ self.matrix.mT
        if self.scale < float("inf"):
            mean = self.scale * torch.tanh(mean / self.scale)
        return Heads(mean, torch.full_like(mean, self.precision).detach())

    def base(self, inner, context):
        return context * torch.ones(self.head_count, dtype=torch.float64)

    def place(self, mean, inner):
        return mean

    def gather(self, u, inner):
        return u

    def advance(self, mean, inner, context):
        return context + 0.1


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("make", ZOO)
def test_orthogonal_change_of_coordinates_changes_no_step(make):
    """Loss, metric, radius, second order and acceptance all see the same problem, so streams agree."""
    problem = make()
    turn = torch.linalg.qr(matrix(problem.latent_dim, problem.latent_dim))[0]
    domain = LatentDomain(problem, TestDecoder(turn))
    offset = 0.1 * matrix(1, problem.latent_dim, 1)
    ends = []
    for sight, latent, start in (
        (problem, offset, problem.start(2, 0.1)),
        (domain, offset @ turn, domain.start(problem.start(2, 0.1))),
    ):
        control = Controller(OffsetBackbone(latent), Pullback(), TrustRegion(), FixedGate(2), horizon=1)
        _, info = control.step(sight, control.init(sight, start), problem.goal)
        ends.append(info)
    plain, turned = ends
    assert plain.accepted.any()
    torch.testing.assert_close(turned.z @ turn.mT, plain.z, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(turned.loss_after, plain.loss_after, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(turned.radius, plain.radius)


@pytest.mark.parametrize("make", ZOO)
def test_chained_derivatives_are_those_of_automatic_differentiation(make):
    problem = make()
    domain = LatentDomain(problem, TestDecoder(matrix(problem.latent_dim, 7), scale=0.7, precision=1.0))
    state, z = domain.start(problem.start(2, 0.1)), 0.2 * matrix(2, 7, 2)
    chained, plain = domain.expand(z, state), differentiate(domain, z, state)
    v, c = matrix(6, 7, 3).view(3, 2, 7), torch.randn(3, *plain.prediction.mean.shape, dtype=torch.float64)
    torch.testing.assert_close(chained.prediction.mean, plain.prediction.mean)
    torch.testing.assert_close(chained.push(v), plain.push(v))
    torch.testing.assert_close(chained.pull(c), plain.pull(c))
    torch.testing.assert_close(chained.bend(v[0]), plain.bend(v[0]))
    torch.testing.assert_close(chained.gram(c[0].square()), plain.gram(c[0].square()))


@pytest.mark.parametrize("make", ZOO)
def test_keeps_the_contract_of_a_domain(make):
    problem = make()
    domain = LatentDomain(problem, TestDecoder(matrix(problem.latent_dim, 7), scale=0.7, precision=2.0))
    check_domain(domain, domain.start(problem.start(2, 0.1)), problem.goal)


def test_context_follows_valid_moves_and_selection():
    problem = ZOO[0]()
    domain = LatentDomain(problem, TestDecoder(matrix(problem.latent_dim, 7)))
    state = domain.start(problem.start(2, 0.1))
    prediction = domain.decode(matrix(2, 7), state)
    after = domain.commit(type(prediction)(prediction.mean, prediction.precision, torch.tensor([False, True])), state)
    assert after.context[:, 0].tolist() == [0.0, 0.1]
    if hasattr(problem, "select"):
        assert domain.select(after, torch.tensor([1, 1])).context[:, 0].tolist() == [0.1, 0.1]

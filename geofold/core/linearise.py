"""Loss, gradient and decoder derivative at one latent, computed once and shared by all who need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import Domain, Expansion, Loss, Prediction


class LossEvaluation(NamedTuple):
    """A judged latent; what its gradient costs is only spent if the gate opens.

    loss : values only.
    slope : callable, gradient (B, k) of the loss by the observations.
    expansion : None where the decoder has to be differentiated.
    curved : see `geofold.core.domain.LossWithGradient`.
    """

    prediction: Prediction
    loss: Loss
    slope: Callable[[], Tensor]
    expansion: Expansion | None
    stiff_directions: Callable[[], Tensor | None] | None = None


@dataclass(frozen=True)
class Linearisation:
    """The problem around z.

    Attributes
    ----------
    z : (B, d)
    loss
        At z.
    observation_gradient : (B, k)
        Of the loss by the observations.
    gradient : (B, d)
        Of the loss by z.
    weight : (B, k)
        Observation weight W at the proposal, frozen for the step (METHOD 2: the closed-form Christoffel
        term holds only for constant W).
    expansion : Expansion
        Derivatives of the decoder, in closed form or by differentiation.
    curved : (c, B, k) or None
        Directions along which the loss is stiff: the observation weight is W + sum of their outer products.
    """

    z: Tensor
    loss: Loss
    observation_gradient: Tensor
    gradient: Tensor
    weight: Tensor
    expansion: Expansion
    stiff_directions: Tensor | None = None

    def apply_weight(self, y: Tensor) -> Tensor:
        """W y and what the stiff directions add, (..., B, k), of observations (..., B, k)."""
        if self.stiff_directions is None:
            return self.weight * y
        along = torch.einsum("cbk,...bk->...cb", self.stiff_directions, y)
        return self.weight * y + torch.einsum("...cb,cbk->...bk", along, self.stiff_directions)

    def push(self, v: Tensor) -> Tensor:
        """J v, (B, k), of one tangent (B, d)."""
        return self.expansion.push(v[None])[0]

    def pull(self, c: Tensor) -> Tensor:
        """J'c, (B, d), of one cotangent (B, k)."""
        return self.expansion.pull(c[None])[0]

    def length_squared(self, v: Tensor, damping: Tensor | float) -> Tensor:
        """True squared length v'Gv = |Jv|_W^2 + lambda |v|^2, (B,), whatever a sketch says."""
        own = v.square().sum(-1)
        floor = damping.to(own) if isinstance(damping, Tensor) else damping
        moved = self.push(v)
        return (self.apply_weight(moved) * moved).sum(-1) + floor * own


def evaluate_loss(domain: Domain, z: Tensor, state: Any, goal: Any) -> LossEvaluation:
    """Judge latents (B, d): no gradient is computed, but that of the loss by the observations can be asked for.

    What the domain has of `AnalyticDecoder` and `AnalyticLoss` is used (looked up by name: an `isinstance` of a
    protocol costs as much as ten tensor operations).
    """
    with torch.no_grad():
        expansion = expand(z, state) if (expand := getattr(domain, "expand", None)) else None
        prediction = domain.decode(z, state) if expansion is None else expansion.prediction
        if loss_and_gradient := getattr(domain, "sloped", None):
            loss, slope, stiff_directions = loss_and_gradient(prediction, state, goal)
            return LossEvaluation(prediction, loss, slope, expansion, stiff_directions)
    mean = prediction.mean.detach().requires_grad_(True)
    with torch.enable_grad():
        loss = domain.loss(Prediction(mean, prediction.precision, prediction.valid), state, goal)

    return LossEvaluation(
        prediction, detach_loss(loss), lambda: torch.autograd.grad(loss.total.sum(), mean)[0], expansion
    )


def loss_value(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> Loss:
    """The loss without its graph, by the same way that `evaluate_loss` takes."""
    with torch.no_grad():
        if loss_and_gradient := getattr(domain, "sloped", None):
            return loss_and_gradient(prediction, state, goal).loss
        return domain.loss(prediction, state, goal)


def linearise(
    domain: Domain,
    z: Tensor,
    state: Any,
    seen: LossEvaluation,
    weight: Tensor | None = None,
    *,
    stiff_directions: bool = True,
) -> Linearisation:
    """Gradient and decoder derivative at latents (B, d) that `evaluate_loss` has judged; `weight` is W if it is frozen.

    `curved` says whether the directions along which the loss is stiff are looked at.
    """
    expansion = seen.expansion or differentiate(domain, z, state)
    slope = seen.slope()
    precision = seen.prediction.precision.detach().expand_as(slope) if weight is None else weight
    with torch.no_grad():
        gradient = expansion.pull(slope[None])[0]
        stiff = seen.stiff_directions() if stiff_directions and seen.stiff_directions is not None else None
    return Linearisation(z, seen.loss, slope, gradient, precision, expansion, stiff)


def differentiate(domain: Domain, z: Tensor, state: Any) -> Expansion:
    """Expansion of any differentiable decoder: forward mode for J v, reverse mode for J'c, nested for the bend."""
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad():
        prediction = domain.decode(leaf, state)

    def decode(latent: Tensor) -> Tensor:
        return domain.decode(latent, state).mean

    def along(v: Tensor, at: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.func.jvp(decode, (at,), (v,))[1]

    def push(v: Tensor) -> Tensor:
        return torch.func.vmap(lambda one: along(one, z))(v)

    def pull(c: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(prediction.mean, leaf, c, retain_graph=True, is_grads_batched=True)[0]

    def bend(v: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.func.jvp(lambda at: along(v, at), (z,), (v,))[1]

    def gram(weight: Tensor) -> Tensor:
        rows, dim = z.shape
        basis = torch.eye(dim, dtype=z.dtype, device=z.device)[:, None].expand(dim, rows, dim)
        columns = push(basis)
        return torch.einsum("ibk,bk,jbk->bij", columns, weight, columns)

    values = Prediction(prediction.mean.detach(), prediction.precision.detach(), prediction.valid)
    return Expansion(values, push, pull, bend, gram)


def detach_loss(loss: Loss) -> Loss:
    """The same numbers without their graph."""
    rest = (None if part is None else part.detach() for part in (loss.difficulty, loss.violation))
    return Loss(loss.total.detach(), {name: term.detach() for name, term in loss.terms.items()}, *rest)

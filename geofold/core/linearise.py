"""Loss, gradient and decoder derivative at one latent, computed once and shared by all who need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import AnalyticDecoder, Domain, Expansion, Loss, Prediction


@dataclass(frozen=True)
class Linearisation:
    """The problem around z.

    Attributes
    ----------
    z : (B, d)
    prediction, loss
        At z.
    gradient : (B, d)
        Of the loss by z.
    observation_gradient : (B, k)
        Of the loss by the observations.
    weight : (B, k)
        Observation weight W at the proposal, frozen for the step (METHOD 2: the closed-form Christoffel
        term holds only for constant W).
    expansion : Expansion or None
        Derivatives in closed form, where the domain has them.
    decode : callable
        z -> mean, for automatic differentiation.
    pull : callable
        (p, B, k) cotangents -> (p, B, d): one batched vector-Jacobian product.
    """

    z: Tensor
    prediction: Prediction
    loss: Loss
    gradient: Tensor
    observation_gradient: Tensor
    weight: Tensor
    expansion: Expansion | None
    decode: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]

    def push(self, v: Tensor) -> Tensor:
        """J v, (B, k): by the analytic Jacobian or one forward-mode product."""
        if self.expansion is not None:
            return (self.expansion.jacobian @ v[..., None])[..., 0]
        with torch.enable_grad():
            return torch.func.jvp(self.decode, (self.z,), (v,))[1]

    def length_squared(self, v: Tensor, damping: float) -> Tensor:
        """True squared length v'Gv = |Jv|_W^2 + lambda |v|^2, (B,), whatever a sketch says."""
        return (self.weight * self.push(v).square()).sum(-1) + damping * v.square().sum(-1)

    def acceleration(self, v: Tensor) -> Tensor:
        """Second derivative of the observations along v, d2g[v, v], (B, k), by a nested JVP if need be."""
        if self.expansion is not None:
            return self.expansion.bend(v)

        def along(z: Tensor) -> Tensor:
            return torch.func.jvp(self.decode, (z,), (v,))[1]

        with torch.enable_grad():
            return torch.func.jvp(along, (self.z,), (v,))[1]


class Look(NamedTuple):
    """A loss with its graph back to the observations `mean`, a leaf: judged first, differentiated if need be."""

    mean: Tensor
    loss: Loss


def look(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> Look:
    """Evaluate the loss of a prediction so that its gradient by the observations can still be asked for."""
    mean = prediction.mean.detach().requires_grad_(True)
    with torch.enable_grad():
        return Look(mean, domain.loss(Prediction(mean, prediction.precision, prediction.valid), state, goal))


def linearise(
    domain: Domain, z: Tensor, state: Any, goal: Any, weight: Tensor | None, seen: Look | None = None
) -> Linearisation:
    """Evaluate loss, gradient and decoder derivative at z (B, d); `seen` is the judge's look at the same latent."""

    def decode(latent: Tensor) -> Tensor:
        return domain.decode(latent, state).mean

    expansion = None
    leaf = z.detach()
    if isinstance(domain, AnalyticDecoder):
        expansion = domain.expand(leaf, state)
        prediction = expansion.prediction
    else:
        leaf.requires_grad_(True)
        with torch.enable_grad():
            prediction = domain.decode(leaf, state)
    mean, loss = seen if seen is not None else look(domain, prediction, state, goal)
    with torch.enable_grad():
        (observation_gradient,) = torch.autograd.grad(loss.total.sum(), mean)

    def pull(cotangents: Tensor) -> Tensor:
        if expansion is not None:
            return torch.einsum("pbk,bkd->pbd", cotangents, expansion.jacobian)
        with torch.enable_grad():
            return torch.autograd.grad(prediction.mean, leaf, cotangents, retain_graph=True, is_grads_batched=True)[0]

    return Linearisation(
        z=z, prediction=_detached(prediction), loss=detached(loss), gradient=pull(observation_gradient[None])[0],
        observation_gradient=observation_gradient,
        weight=(prediction.precision.expand_as(mean) if weight is None else weight).detach(),
        expansion=expansion, decode=decode, pull=pull,
    )  # fmt: skip


def _detached(prediction: Prediction) -> Prediction:
    return Prediction(prediction.mean.detach(), prediction.precision.detach(), prediction.valid)


def detached(loss: Loss) -> Loss:
    """The same numbers without their graph."""
    difficulty = None if loss.difficulty is None else loss.difficulty.detach()
    return Loss(loss.total.detach(), {name: term.detach() for name, term in loss.terms.items()}, difficulty)

"""Loss, gradient and decoder derivatives at one latent, computed once and shared by metric, step and retraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import Domain, Expansion, Loss, LossWithGradient, Prediction
from geofold.kernels.library import call, usable


class LossEvaluation(NamedTuple):
    """Loss at a latent. Its gradient is computed on request, since a closed gate does not need it.

    Attributes
    ----------
    prediction : Prediction
    loss : Loss
        Values without a graph.
    gradient : callable
        Returns the gradient (B, k) of the loss with respect to the observations.
    expansion : Expansion or None
        Derivatives of the decoder; None if it has to be differentiated automatically.
    stiff_directions : callable or None
        See `geofold.core.domain.LossWithGradient`.
    """

    prediction: Prediction
    loss: Loss
    gradient: Callable[[], Tensor]
    expansion: Expansion | None
    stiff_directions: Callable[[], Tensor | None] | None = None


@dataclass(frozen=True)
class Linearisation:
    """First-order model of loss and decoder around a latent z.

    Attributes
    ----------
    z : (B, d)
    loss : Loss
        Loss at z.
    observation_gradient : (B, k)
        Gradient of the loss with respect to the observations.
    gradient : (B, d)
        Gradient of the loss with respect to z.
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
        """Product of the observation weight, stiff directions included, with observations y (..., B, k)."""
        if self.stiff_directions is None:
            return self.weight * y
        if y.dim() == 2 and usable(y, self.weight, self.stiff_directions) and self.weight.stride(1) == 1:
            count, out = len(self.stiff_directions), torch.empty_like(y)
            weight = self.weight, self.weight.stride(0)
            call("weigh", *y.shape, count, *weight, self.stiff_directions.contiguous(), y.contiguous(), out)
            return out
        along = torch.einsum("cbk,...bk->...cb", self.stiff_directions, y)
        return self.weight * y + torch.einsum("...cb,cbk->...bk", along, self.stiff_directions)

    def push(self, v: Tensor) -> Tensor:
        """Push one tangent (B, d) forward: J v, (B, k)."""
        return self.expansion.push(v[None])[0]

    def pull(self, c: Tensor) -> Tensor:
        """Pull one cotangent (B, k) back: J'c, (B, d)."""
        return self.expansion.pull(c[None])[0]

    def length_squared(self, v: Tensor, damping: Tensor | float) -> Tensor:
        """Exact squared length v'Gv = |Jv|_W^2 + lambda |v|^2, (B,), independent of any sketch of G."""
        if isinstance(damping, Tensor) and self.weight.stride(-1) == 1 and usable(v, self.weight, damping):
            return self._compiled_length_squared(v, damping)
        euclidean = v.square().sum(-1)
        floor = damping.to(euclidean) if isinstance(damping, Tensor) else damping
        moved = self.push(v)
        return (self.apply_weight(moved) * moved).sum(-1) + floor * euclidean

    def _compiled_length_squared(self, v: Tensor, damping: Tensor) -> Tensor:
        """`length_squared` by a kernel."""
        moved, out, stiff = self.push(v), torch.empty_like(v[:, 0]), self.stiff_directions
        sizes = *moved.shape, v.shape[1], 0 if stiff is None else len(stiff)
        stiff = None if stiff is None else stiff.contiguous()
        vectors = moved.contiguous(), v.contiguous(), damping.contiguous()
        call("squared_length", *sizes, self.weight, self.weight.stride(0), stiff, *vectors, out)
        return out


def evaluate_loss(domain: Domain, z: Tensor, state: Any, goal: Any) -> LossEvaluation:
    """Evaluate the loss at latents z (B, d) without computing its gradient.

    The methods of `AnalyticDecoder` and `AnalyticLoss` are used if the domain has them. They are looked up by name,
    because an `isinstance` check of a protocol costs as much as ten tensor operations.

    Parameters
    ----------
    domain : Domain
    z : (B, d)
    state, goal
        State and goal in the types of the domain.

    Returns
    -------
    LossEvaluation
    """
    with torch.no_grad():
        expansion = expand(z, state) if (expand := getattr(domain, "expand", None)) else None
        prediction = domain.decode(z, state) if expansion is None else expansion.prediction
    loss, gradient, stiff_directions = loss_with_gradient(domain, prediction, state, goal)
    return LossEvaluation(prediction, loss, gradient, expansion, stiff_directions)


def loss_with_gradient(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> LossWithGradient:
    """Loss of a prediction, without a graph, and its gradient: in closed form, or by differentiation.

    Parameters
    ----------
    domain : Domain
    prediction : Prediction
    state, goal
        State and goal in the types of the domain.
    """
    if loss_and_gradient := getattr(domain, "loss_and_gradient", None):
        with torch.no_grad():
            known: LossWithGradient = loss_and_gradient(prediction, state, goal)
            return known
    mean = prediction.mean.detach().requires_grad_(True)
    with torch.enable_grad():
        loss = domain.loss(Prediction(mean, prediction.precision, prediction.valid), state, goal)
        total = loss.total.sum()
    return LossWithGradient(detach_loss(loss), lambda: torch.autograd.grad(total, mean)[0])


def loss_value(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> Loss:
    """Loss of a prediction without a graph, computed by the same code path as in `evaluate_loss`.

    Parameters
    ----------
    domain : Domain
        Domain of the loss.
    prediction : Prediction
        Decoded latents.
    state
        State of the domain.
    goal
        Goal of the loss.
    """
    with torch.no_grad():
        if loss_and_gradient := getattr(domain, "loss_and_gradient", None):
            return loss_and_gradient(prediction, state, goal).loss
        return domain.loss(prediction, state, goal)


def linearise(
    domain: Domain,
    z: Tensor,
    state: Any,
    evaluation: LossEvaluation,
    weight: Tensor | None = None,
    *,
    stiff_directions: bool = True,
) -> Linearisation:
    """Gradient and decoder derivatives at latents z (B, d) whose loss is known.

    Parameters
    ----------
    domain : Domain
    z : (B, d)
    state
        State of the domain.
    evaluation : LossEvaluation
        Result of `evaluate_loss` at z.
    weight : (B, k) or None
        Observation weight W that is frozen for the step; None: the precision predicted at z.
    stiff_directions : bool
        Whether the directions along which the loss is stiff enter the observation weight.

    Returns
    -------
    Linearisation
    """
    expansion = evaluation.expansion or differentiate(domain, z, state)
    by_observation = evaluation.gradient()
    precision = evaluation.prediction.precision.detach().expand_as(by_observation) if weight is None else weight
    with torch.no_grad():
        gradient = expansion.pull(by_observation[None])[0]
        stiff = evaluation.stiff_directions() if stiff_directions and evaluation.stiff_directions is not None else None
    return Linearisation(z, evaluation.loss, by_observation, gradient, precision, expansion, stiff)


def differentiate(domain: Domain, z: Tensor, state: Any) -> Expansion:
    """Expansion of a decoder by automatic differentiation: forward mode for J v, reverse mode for J'c."""
    leaf = z.detach().requires_grad_(True)
    with torch.enable_grad():
        prediction = domain.decode(leaf, state)

    def decode(latent: Tensor) -> Tensor:
        return domain.decode(latent, state).mean

    def along(v: Tensor, at: Tensor) -> Tensor:
        with torch.enable_grad():
            return torch.func.jvp(decode, (at,), (v,))[1]

    def push(v: Tensor) -> Tensor:
        return torch.func.vmap(lambda tangent: along(tangent, z))(v)

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
    """Detach all tensors of a loss from their graph."""
    optional = (None if part is None else part.detach() for part in (loss.difficulty, loss.violation))
    return Loss(loss.total.detach(), {name: term.detach() for name, term in loss.terms.items()}, *optional)

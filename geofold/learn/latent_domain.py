"""A domain seen through a learned decoder: the latent is the one that a frozen model writes.

The decoder g reads from z the means of some heads with their precision (torsion increments, distances), and a fixed
linear map places the means in the latent u of another domain, which turns them into its own observations:

    z --g--> m --P--> u = b + P m --inner domain--> y

The observations are (m, y). So the loss reaches z through the decoder and through all that the inner domain does, and
the pullback metric is J'WJ with the calibrated precision of the heads and the observation weight of the inner domain.

Glossary: ``B`` rows, ``d`` latent z, ``h`` heads, ``n`` inner latent u, ``k`` observations of the inner domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from geofold.core.domain import Expansion, Loss, LossWithGradient, Prediction
from geofold.core.linearise import differentiate, loss_with_gradient
from geofold.core.tangent import Euclid, Space


class Heads(NamedTuple):
    """Decoded latent: means (B, h), and their precision (B, h), the Fisher information of the likelihood in them."""

    mean: Tensor
    precision: Tensor


class LatentDecoder(Protocol):
    """Learned decoder of a frozen model, and how its heads move the inner domain.

    Its context (B, c) is what it has concluded from the stream so far.
    """

    @property
    def latent_dim(self) -> int:
        """Dimension d of z."""

    @property
    def head_count(self) -> int:
        """Number h of heads."""

    def start(self, inner: Any) -> Tensor:
        """Context before the first step, in a state of the inner domain."""

    def heads(self, z: Tensor, inner: Any) -> Heads:
        """Heads of latents z (B, d), twice differentiable in z."""

    def base(self, inner: Any, context: Tensor) -> Tensor:
        """Inner latent b (B, n) of heads whose means are zero."""

    def place(self, mean: Tensor, inner: Any) -> Tensor:
        """Product P m, (..., B, n), of the linear map with means (..., B, h)."""

    def gather(self, u: Tensor, inner: Any) -> Tensor:
        """Product P'u, (..., B, h), of the transposed map with inner latents (..., B, n)."""

    def advance(self, mean: Tensor, inner: Any, context: Tensor) -> Tensor:
        """Context after a move with heads of means (B, h), made in a state of the inner domain."""


class LatentState(NamedTuple):
    """State of the inner domain, and context of the decoder."""

    inner: Any
    context: Tensor


@dataclass(frozen=True)
class LatentDomain:
    """Domain whose latent is that of a learned decoder.

    Attributes
    ----------
    inner : Domain
        Domain that the decoder moves.
    decoder : LatentDecoder
    """

    inner: Any
    decoder: LatentDecoder

    @property
    def latent_dim(self) -> int:
        """Dimension of z."""
        return self.decoder.latent_dim

    @property
    def space(self) -> Space:
        """Euclidean space, since the model adds no structure to z."""
        return Euclid()

    def start(self, inner: Any) -> LatentState:
        """State before the first step, from a state of the inner domain."""
        return LatentState(inner, self.decoder.start(inner))

    def observe(self, state: LatentState, goal: Any) -> Tensor:
        """Observation of the inner domain."""
        return self.inner.observe(state.inner, goal)

    def decode(self, z: Tensor, state: LatentState) -> Prediction:
        """Means of the heads, followed by the observations of the inner domain."""
        heads = self.decoder.heads(z, state.inner)
        inner = self.inner.decode(self._inner_latent(heads, state), state.inner)
        return self._join(heads, inner)

    def expand(self, z: Tensor, state: LatentState) -> Expansion:
        """Prediction with its derivatives: those of the decoder, chained with those of the inner domain."""
        leaf = z.detach().requires_grad_(True)
        with torch.enable_grad():
            heads = self.decoder.heads(leaf, state.inner)
        fixed = Heads(heads.mean.detach(), heads.precision.detach())
        u = self._inner_latent(fixed, state)
        expand = getattr(self.inner, "expand", None)
        inner = expand(u, state.inner) if expand else differentiate(self.inner, u, state.inner)
        chain = _Chain(self, state, leaf, heads.mean, inner)
        return Expansion(self._join(fixed, inner.prediction), chain.push, chain.pull, chain.bend, chain.gram)

    def loss(self, prediction: Prediction, state: LatentState, goal: Any) -> Loss:
        """Loss of the inner domain."""
        return self.inner.loss(self._inner_part(prediction), state.inner, goal)

    def loss_and_gradient(self, prediction: Prediction, state: LatentState, goal: Any) -> LossWithGradient:
        """Loss of the inner domain, and its gradient: zero in the heads."""
        part = self._inner_part(prediction)
        loss, gradient, stiff = loss_with_gradient(self.inner, part, state.inner, goal)

        def pad(values: Tensor) -> Tensor:
            return torch.nn.functional.pad(values, (self.decoder.head_count, 0))

        def stiff_directions() -> Tensor | None:
            directions = None if stiff is None else stiff()
            return None if directions is None else pad(directions)

        return LossWithGradient(loss, lambda: pad(gradient()), stiff_directions)

    def commit(self, prediction: Prediction, state: LatentState) -> LatentState:
        """Next state of the inner domain, and what the decoder concludes from the move."""
        after = self.inner.commit(self._inner_part(prediction), state.inner)
        mean = prediction.mean[:, : self.decoder.head_count]
        context = self.decoder.advance(mean, *state)
        return LatentState(after, torch.where(prediction.valid[:, None], context, state.context))

    def select(self, state: LatentState, rows: Tensor) -> LatentState:
        """State whose row k is row rows[k] of `state`."""
        return LatentState(self.inner.select(state.inner, rows), state.context[rows])

    def _inner_latent(self, heads: Heads, state: LatentState) -> Tensor:
        return self.decoder.base(*state) + self.decoder.place(heads.mean, state.inner)

    def _join(self, heads: Heads, inner: Prediction) -> Prediction:
        rows, finite = len(heads.mean), heads.mean.detach().isfinite().all(-1)
        weight = torch.cat([heads.precision.detach(), inner.precision.expand(rows, -1)], -1)
        return Prediction(torch.cat([heads.mean, inner.mean], -1), weight, inner.valid & finite)

    def _inner_part(self, prediction: Prediction) -> Prediction:
        """Prediction of the inner domain, from one of this domain."""
        count = self.decoder.head_count
        mean, precision = prediction.mean[:, count:].contiguous(), prediction.precision[..., count:]
        return Prediction(mean, precision, prediction.valid)


@dataclass(frozen=True)
class _Chain:
    """Derivatives of decoder and inner domain, chained.

    Attributes
    ----------
    domain : LatentDomain
    state : LatentState
    z : (B, d)
    mean : (B, h)
        Means of the heads, with a graph from z.
    inner : Expansion
        Derivatives of the inner domain.
    """

    domain: LatentDomain
    state: LatentState
    z: Tensor
    mean: Tensor
    inner: Expansion

    @cached_property
    def jacobian(self) -> Tensor:
        """Derivative (B, h, d) of the means by z."""
        rows, count = self.mean.shape
        basis = torch.eye(count, dtype=self.mean.dtype, device=self.mean.device)[:, None].expand(-1, rows, -1)
        with torch.enable_grad():
            grads = torch.autograd.grad(self.mean, self.z, basis, retain_graph=True, is_grads_batched=True)[0]
        return grads.transpose(0, 1)

    def push(self, v: Tensor) -> Tensor:
        moved = torch.einsum("bhd,pbd->pbh", self.jacobian, v)
        return torch.cat([moved, self.inner.push(self._place(moved))], -1)

    def pull(self, c: Tensor) -> Tensor:
        count = self.mean.shape[-1]
        by_head = c[..., :count] + self.domain.decoder.gather(
            self.inner.pull(c[..., count:].contiguous()), self.state.inner
        )
        return torch.einsum("bhd,pbh->pbd", self.jacobian, by_head)

    def bend(self, v: Tensor) -> Tensor:
        # twice reverse mode along the direction: nested forward mode costs twenty times as much on small models
        with torch.enable_grad():
            t = v.new_zeros(len(v), 1).requires_grad_(True)
            speed = _derivative(self.domain.decoder.heads(self.z.detach() + t * v, self.state.inner).mean, t)
            second = _derivative(speed, t).detach()
        speed = speed.detach()
        inner = self.inner.bend(self._place(speed)) + self.inner.push(self._place(second)[None])[0]
        return torch.cat([second, inner], -1)

    def gram(self, weight: Tensor) -> Tensor:
        count, gather = self.mean.shape[-1], self.domain.decoder.gather
        by_u = self.inner.gram(weight[..., count:].contiguous())
        # P'GP: the map is applied to the rows, then to the columns, each (n, B, n)
        rows = gather(by_u.transpose(0, 1), self.state.inner).permute(2, 1, 0)
        by_head = gather(rows, self.state.inner).transpose(0, 1)
        by_head = by_head + torch.diag_embed(weight[..., :count].expand(len(by_u), -1))
        return self.jacobian.mT @ by_head @ self.jacobian

    def _place(self, mean: Tensor) -> Tensor:
        return self.domain.decoder.place(mean, self.state.inner)


def _derivative(values: Tensor, t: Tensor) -> Tensor:
    """Differentiate values (B, h) by one parameter t (B, 1) per row: reverse mode, differentiated by its cotangent."""
    if not values.requires_grad:  # of a linear decoder, once differentiated
        return torch.zeros_like(values)
    cotangent = torch.zeros_like(values).requires_grad_(True)
    grad = partial(torch.autograd.grad, create_graph=True, allow_unused=True, materialize_grads=True)
    pulled = grad((values * cotangent).sum(), t)[0]
    return grad(pulled.sum(), cotangent)[0] if pulled.requires_grad else torch.zeros_like(values)

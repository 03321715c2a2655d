"""The contract between the controller and a problem.

Glossary: ``B`` batch rows, ``d`` latent dimension, ``k`` observations.

A domain never modifies its arguments: states and goals are values. Its loss depends on the latent only through
``Prediction.mean``, so one decoder Jacobian serves the gradient, the metric and the retraction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from geofold.core.tangent import Space


@dataclass(frozen=True)
class Prediction:
    """Decoded latent.

    Attributes
    ----------
    mean : (B, k)
        Observations, differentiable in the latent.
    precision : (B, k) or (k,)
        Diagonal of the observation weight W (inverse variance); zero for observations that enter the loss only.
    valid : (B,) bool
        False if the latent has no admissible decoding; such a trial is never accepted.
    """

    mean: Tensor
    precision: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Loss:
    """Loss of each row of the batch, and named terms that add up to it.

    Attributes
    ----------
    total : (B,)
    terms : dict of str to (B,)
    difficulty : (B,) or None
        Part of the loss that the gate compares with its tolerance, e.g. that of the current residue; None: the total.
    violation : (B,) or None
        Violation of the hard constraints, in the unit of the domain (a feature of the gate); None: no constraints.
    """

    total: Tensor
    terms: dict[str, Tensor]
    difficulty: Tensor | None = None
    violation: Tensor | None = None


@runtime_checkable
class Domain(Protocol):
    """Problem that a controller can stream. State and goal have types of the domain's own.

    Goals are compared with ``==``: a goal that differs from the last one resets the trust region. Optional members are
    `expand` (`AnalyticDecoder`), `loss_and_gradient` (`AnalyticLoss`), `select` (`Selectable`), and a true attribute
    `rests`, which declares that a zero latent decodes to the current state and has the same loss at every step.
    """

    @property
    def latent_dim(self) -> int:
        """Dimension d of the latent."""

    @property
    def space(self) -> Space:
        """Geometry of the latent: addition of a step and difference of two latents."""

    def observe(self, state: Any, goal: Any) -> Tensor:
        """Features (B, F) that the backbone reads; `goal` is None before the first step."""

    def decode(self, z: Tensor, state: Any) -> Prediction:
        """Prediction of latents z (B, d), twice differentiable, also in forward mode."""

    def loss(self, prediction: Prediction, state: Any, goal: Any) -> Loss:
        """Loss of a prediction: a function of ``prediction.mean``, state and goal only."""

    def commit(self, prediction: Prediction, state: Any) -> Any:
        """Next state, after the predicted move; rows that are not valid keep their state."""


class LossWithGradient(NamedTuple):
    """Loss with its gradient in closed form.

    Attributes
    ----------
    loss : Loss
        Values without a graph.
    gradient : callable
        Returns the gradient (B, k) of the total with respect to the observations; computed on request.
    stiff_directions : callable or None
        Returns directions (c, B, k) in observation space along which the loss is stiff, each scaled by the root of its
        curvature, so that their outer products form a Gauss-Newton matrix of these terms. A pullback metric includes
        them in the observation weight.
    """

    loss: Loss
    gradient: Callable[[], Tensor]
    stiff_directions: Callable[[], Tensor | None] | None = None


@runtime_checkable
class AnalyticLoss(Protocol):
    """Domain with the gradient of its loss in closed form, used instead of automatic differentiation."""

    def loss_and_gradient(self, prediction: Prediction, state: Any, goal: Any) -> LossWithGradient:
        """Loss as in `Domain.loss`, and its gradient; called with gradient recording off."""


@runtime_checkable
class RowGoal(Protocol):
    """Goal with a value for each row of the batch."""

    def differs(self, before: Any) -> Tensor:
        """Rows (B,) bool whose goal differs from that of the previous step."""

    def of(self, rows: Tensor) -> RowGoal:
        """Goal whose row k is row rows[k] of this goal."""


@runtime_checkable
class Selectable(Domain, Protocol):
    """Domain whose states can be reordered and repeated along the batch.

    Its loss must accept one goal for any number of rows.
    """

    def select(self, state: Any, rows: Tensor) -> Any:
        """State whose row k is row rows[k] of `state`."""


@dataclass(frozen=True)
class Expansion:
    """Decoder around a latent, as linear maps, so that the Jacobian J need not be formed.

    Each map is computed when it is called; the prediction alone costs one decoding.

    Attributes
    ----------
    prediction : Prediction
        Prediction at the latent (values only).
    push : callable
        (p, B, d) -> (p, B, k): J v for p tangents at once (forward mode).
    pull : callable
        (p, B, k) -> (p, B, d): J'c for p cotangents at once (reverse mode).
    bend : callable
        (B, d) -> (B, k): second derivative of the mean along a direction.
    gram : callable
        (B, k) -> (B, d, d): J'WJ for a diagonal weight W.
    """

    prediction: Prediction
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]
    bend: Callable[[Tensor], Tensor]
    gram: Callable[[Tensor], Tensor]


@runtime_checkable
class AnalyticDecoder(Protocol):
    """Domain with the derivatives of its decoder in closed form, used instead of automatic differentiation."""

    def expand(self, z: Tensor, state: Any) -> Expansion:
        """Prediction as in `Domain.decode`, and its derivatives; called with gradient recording off."""

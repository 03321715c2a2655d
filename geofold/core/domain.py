"""The contract between the controller and a problem.

Glossary: ``B`` batch rows, ``d`` latent dimension, ``k`` observations.

A domain never changes what it is given: states and goals are values. Its loss sees the latent only through
``Prediction.mean``, so one decoder Jacobian serves the gradient, the metric and the retraction alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from geofold.core.tangent import Space


@dataclass(frozen=True)
class Prediction:
    """What a latent stands for.

    Attributes
    ----------
    mean : (B, k)
        Observations, differentiable in the latent.
    precision : (B, k) or (k,)
        Diagonal of the observation weight W (inverse variance); zero for observations that only the loss reads.
    valid : (B,) bool
        False where the latent has no admissible decoding: such a trial is never accepted.
    """

    mean: Tensor
    precision: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Loss:
    """A loss per row of the batch and its named terms, which add up to it.

    Attributes
    ----------
    total : (B,)
    terms : dict of str to (B,)
    difficulty : (B,) or None
        The part of the loss that the gate should look at now (e.g. at the residue the stream has reached);
        None: all of it.
    violation : (B,) or None
        How far hard constraints are from being kept, in the domain's own unit (a feature of the gate);
        None: nothing to tell.
    """

    total: Tensor
    terms: dict[str, Tensor]
    difficulty: Tensor | None = None
    violation: Tensor | None = None


@runtime_checkable
class Domain(Protocol):
    """What the controller must know of a problem. State and goal are the domain's own types.

    Goals are compared with ``==``: a goal that differs from the last one resets the trust region. A domain may also
    have `expand` (`AnalyticDecoder`), `sloped` (`AnalyticLoss`), `select` (`Selectable`), and a true attribute
    `rests`: a zero latent decodes to the state as it is, and its loss is the same at every step.
    """

    @property
    def latent_dim(self) -> int:
        """Dimension d of the latent."""

    @property
    def space(self) -> Space:
        """Geometry of the latent: how a step is added and how two latents are subtracted."""

    def observe(self, state: Any, goal: Any) -> Tensor:
        """What the backbone reads, (B, features)."""

    def decode(self, z: Tensor, state: Any) -> Prediction:
        """Prediction of latents (B, d), differentiable (twice, by forward mode too)."""

    def loss(self, prediction: Prediction, state: Any, goal: Any) -> Loss:
        """Loss of a prediction; a function of ``prediction.mean`` only, given state and goal."""

    def commit(self, prediction: Prediction, state: Any) -> Any:
        """The next state: the predicted move is applied."""


class LossWithGradient(NamedTuple):
    """A loss and how to get its gradient.

    loss : values only.
    slope : callable, the gradient (B, k) of the total by the observations; nothing is computed before it is called.
    curved : callable or None, directions (c, B, k) in the observations along which the loss is stiff, each as long as
        the root of its curvature there: their outer products are a Gauss-Newton matrix of those terms. A pullback
        metric weighs a move along them too.
    """

    loss: Loss
    slope: Callable[[], Tensor]
    stiff_directions: Callable[[], Tensor | None] | None = None


@runtime_checkable
class AnalyticLoss(Protocol):
    """Domains that know their loss's gradient in closed form spare the controller automatic differentiation."""

    def loss_and_gradient(self, prediction: Prediction, state: Any, goal: Any) -> LossWithGradient:
        """The same as `loss`, with its gradient at hand; called without gradients."""


@runtime_checkable
class RowGoal(Protocol):
    """A goal that differs by row."""

    def differs(self, before: Any) -> Tensor:
        """(B,) bool: rows of which it asks something new, beside the goal of the step before."""

    def of(self, rows: Tensor) -> RowGoal:
        """Goal whose row k is row rows[k] of this one."""


@runtime_checkable
class Selectable(Domain, Protocol):
    """A domain whose states can be rearranged, and repeated, along the batch.

    Its loss has to take one goal for any number of rows.
    """

    def select(self, state: Any, rows: Tensor) -> Any:
        """State whose row k is row rows[k] of the given one."""


@dataclass(frozen=True)
class Expansion:
    """Decoder around a latent, as the linear maps that the metric needs: J itself need never be formed.

    Each map is only computed when it is called, so a look at the prediction alone costs a decoding and no more.

    Attributes
    ----------
    prediction
        At the latent (values only).
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
    """Domains that know their decoder's derivatives in closed form spare the controller the differentiation."""

    def expand(self, z: Tensor, state: Any) -> Expansion:
        """The same as `decode`, with its derivatives; called without gradients."""

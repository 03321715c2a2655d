"""Gate: how many inner corrections a step deserves (Elastic State Model).

What the loss alone can tell decides K = 0, before any gradient is spent; with kappa = g'G^-1 g at hand the gate
then chooses 1 <= K <= K_max, an integer per row of the batch. `Budget` bounds that choice by a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Features(NamedTuple):
    """What a gate may look at, (B,) each.

    loss : the loss, or the part of it that the domain calls the difficulty.
    change : its change since the last step's end (zero at the first step and after a new goal).
    violation : how far hard constraints are from being kept, in the domain's unit.
    radius : trust radius.
    kappa : g'G^-1 g; None before a gradient was spent.
    motion : length of the proposal, how far the predictor would go by itself; None: not told, as if it were zero.
    """

    loss: Tensor
    change: Tensor
    violation: Tensor
    radius: Tensor
    kappa: Tensor | None = None
    motion: Tensor | None = None


class Gate(Protocol):
    """Two questions: is anything wrong, and how wrong is it."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    @property
    def largest(self) -> int:
        """K_max."""

    def open(self, features: Features) -> Tensor:
        """(B,) bool: whether the step gets any correction, without kappa."""

    def depth(self, features: Features) -> Tensor:
        """(B,) int in 1..K_max, with kappa."""


@dataclass(frozen=True)
class ThresholdGate:
    """Closed below a loss; one inner step more for every tenfold of kappa.

    Parameters
    ----------
    tolerance : float
        Loss (or local difficulty) up to which the proposal stands.
    first : float
        kappa that earns the second inner step.
    largest : int
        K_max.
    still : float
        Closed while the predictor moves by more than this: a correction amid a move that is known spoils it.
    """

    tolerance: float
    first: float = 1.0
    largest: int = 4
    still: float = math.inf
    name: str = "threshold"

    def open(self, features: Features) -> Tensor:
        """loss > tolerance, and the predictor at rest."""
        trouble = features.loss > self.tolerance
        return trouble if features.motion is None else trouble & (features.motion <= self.still)

    def depth(self, features: Features) -> Tensor:
        """1 + the number of decades that kappa lies above `first`."""
        decades = torch.log10(require_kappa(features).clamp_min(1e-300) / self.first).floor() + 1
        return (1 + decades.nan_to_num(0.0).clamp(0, self.largest - 1)).to(torch.long)


@dataclass(frozen=True)
class FixedGate:
    """Always the same number of inner steps; FixedGate(1) is GeoSSM's Algorithm 1."""

    largest: int = 1
    name: str = "fixed"

    def open(self, features: Features) -> Tensor:
        """Always."""
        return torch.ones_like(features.loss, dtype=torch.bool)

    def depth(self, features: Features) -> Tensor:
        """`largest`."""
        return torch.full_like(features.loss, self.largest, dtype=torch.long)


@dataclass(frozen=True)
class LearnedGate:
    """Two small networks on the features: one opens the gate, one chooses the depth.

    Parameters
    ----------
    open_hidden : (h, 6)
        Loss, change, violation, radius, motion and a constant one.
    open_head : (h,)
    depth_hidden : (h, 7)
        The same and kappa.
    depth_head : (K_max, h)
    still : ()
        Closed while the predictor moves by more than this.
    """

    open_hidden: Tensor
    open_head: Tensor
    depth_hidden: Tensor
    depth_head: Tensor
    still: Tensor
    name: str = "learned"

    @classmethod
    def start(cls, largest: int = 4, *, hidden: int = 16, still: float = math.inf, seed: int = 0) -> LearnedGate:
        """Weights before training."""
        noise = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=noise, dtype=torch.float64) / math.sqrt(shape[-1])

        weights = draw(hidden, 6), draw(hidden), draw(hidden, 7), draw(largest, hidden)
        return cls(*weights, torch.tensor(still, dtype=torch.float64))

    @property
    def largest(self) -> int:
        """K_max."""
        return len(self.depth_head)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> LearnedGate:
        """Gate of `weights`; a KeyError where one is missing."""
        parts = (weights[name] for name in ("open_hidden", "open_head", "depth_hidden", "depth_head", "still"))
        return cls(*parts)  # type: ignore[arg-type]

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is trained and saved, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}

    def open_logit(self, features: Features) -> Tensor:
        """Log-odds (B,) that the step gets a correction; differentiable in weights and features."""
        return torch.tanh(_scale_features(features, None) @ self.open_hidden.mT) @ self.open_head

    def depth_logits(self, features: Features) -> Tensor:
        """Logits (B, K_max) of the depths 1..K_max."""
        return (
            torch.tanh(_scale_features(features, require_kappa(features)) @ self.depth_hidden.mT) @ self.depth_head.mT
        )

    def open(self, features: Features) -> Tensor:
        """Where the odds are for it, and the predictor is at rest."""
        wanted = self.open_logit(features) > 0
        return wanted if features.motion is None else wanted & (features.motion <= self.still)

    def depth(self, features: Features) -> Tensor:
        """The likeliest depth."""
        return 1 + self.depth_logits(features).argmax(-1)


class Pace(NamedTuple):
    """What a step has cost of late, in milliseconds: judging and committing, and one inner correction.

    None: not seen yet.
    """

    look: float | None = None
    correction: float | None = None

    def seen(self, look: float, corrections: float, count: int) -> Pace:
        """Pace after one more step: the larger of the last and a slow average, since a budget is kept at the peaks."""
        return Pace(
            _smooth(self.look, look), _smooth(self.correction, corrections / count) if count else self.correction
        )


def affordable_depth(pace: Pace, budget: float, largest: int) -> int:
    """Inner corrections that fit into `budget` milliseconds; one, to learn from, where the pace is not known."""
    if pace.look is None or pace.correction is None:
        return 1
    return max(0, min(largest, math.floor((budget - pace.look) / max(pace.correction, 1e-6))))


def require_kappa(features: Features) -> Tensor:
    """kappa, which must be there.

    Raises
    ------
    ValueError
        If it is not.
    """
    if features.kappa is None:
        raise ValueError("features without kappa; depth is asked for after the gradient")
    return features.kappa


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else max(new, 0.9 * old + 0.1 * new)


def _scale_features(features: Features, kappa: Tensor | None) -> Tensor:
    """Features (B, 6 or 7) on a scale of decades, so that a small network can tell them apart."""
    motion = torch.zeros_like(features.loss) if features.motion is None else features.motion
    columns = [
        torch.log10(features.loss.clamp_min(0) + 1e-6) / 3,
        torch.tanh(features.change),
        torch.tanh(features.violation),
        torch.log10(features.radius) / 2,
        torch.log10(motion + 1e-3) / 3,
        torch.ones_like(features.loss),
    ]
    if kappa is not None:
        columns.append(torch.log10(kappa.clamp_min(0) + 1e-6) / 3)
    return torch.stack(columns, -1).double()

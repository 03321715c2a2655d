"""Gate: the number K of inner corrections of a step (Elastic State Model).

The gate first decides from the loss, before a gradient is computed, whether K = 0. Once kappa = g'G^-1 g is known it
chooses 1 <= K <= K_max, an integer per row of the batch. `geofold.core.state` bounds that choice by a time budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from geofold.kernels.library import call, usable

FILE_NAMES = {"max_motion": "still"}
"""Names in weight files of the fields of `LearnedGate` that were renamed, so that existing files can be read."""


class Features(NamedTuple):
    """Input of a gate, (B,) each.

    Attributes
    ----------
    loss
        Difficulty of the domain if it has one, otherwise the total loss.
    change
        Change of the total loss since the end of the last step; zero at the first step and after a change of the goal.
    violation
        Violation of the hard constraints, in the unit of the domain.
    radius
        Trust radius.
    kappa
        g'G^-1 g; None before the gradient is computed.
    motion
        Length of the proposal; None is treated as zero.
    """

    loss: Tensor
    change: Tensor
    violation: Tensor
    radius: Tensor
    kappa: Tensor | None = None
    motion: Tensor | None = None


class Gate(Protocol):
    """Rule that opens or closes a step to corrections, and chooses their number."""

    @property
    def name(self) -> str:
        """Name in the report."""

    @property
    def largest(self) -> int:
        """Maximum number of corrections K_max."""

    def open(self, features: Features) -> Tensor:
        """Rows (B,) bool that get at least one correction; `features.kappa` is None."""

    def depth(self, features: Features) -> Tensor:
        """Return the number of corrections (B,) int in 1..K_max; `features.kappa` is known."""


@dataclass(frozen=True)
class ThresholdGate:
    """Gate that is closed up to a loss, and adds one correction for every factor of ten in kappa.

    Parameters
    ----------
    tolerance : float
        Loss (or difficulty) up to which the proposal is emitted without correction.
    first : float
        kappa from which a second correction is made.
    largest : int
        K_max.
    max_motion : float
        The gate is closed while the proposal is longer than this, so that corrections do not disturb predicted moves.
    """

    tolerance: float
    first: float = 1.0
    largest: int = 4
    max_motion: float = math.inf
    name: str = "threshold"

    def open(self, features: Features) -> Tensor:
        """Open rows whose loss exceeds `tolerance` and whose proposal is not longer than `max_motion`."""
        exceeds = features.loss > self.tolerance
        return exceeds if features.motion is None else exceeds & (features.motion <= self.max_motion)

    def depth(self, features: Features) -> Tensor:
        """1 + number of decades by which kappa exceeds `first`, up to `largest`."""
        decades = torch.log10(require_kappa(features).clamp_min(1e-300) / self.first).floor() + 1
        return (1 + decades.nan_to_num(0.0).clamp(0, self.largest - 1)).to(torch.long)


@dataclass(frozen=True)
class FixedGate:
    """Gate with a constant number of corrections; FixedGate(1) gives Algorithm 1 of GeoSSM."""

    largest: int = 1
    name: str = "fixed"

    def open(self, features: Features) -> Tensor:
        """Open every row."""
        return torch.ones_like(features.loss, dtype=torch.bool)

    def depth(self, features: Features) -> Tensor:
        """Choose `largest` in every row."""
        return torch.full_like(features.loss, self.largest, dtype=torch.long)


@dataclass(frozen=True)
class CappedGate:
    """Gate with fewer corrections than another one, which decides otherwise.

    Parameters
    ----------
    gate : Gate
    largest : int
        K_max.
    """

    gate: Gate
    largest: int

    @property
    def name(self) -> str:
        """Name of the other gate."""
        return self.gate.name

    def open(self, features: Features) -> Tensor:
        """Open the rows that the other gate opens."""
        return self.gate.open(features)

    def depth(self, features: Features) -> Tensor:
        """Choose the depth of the other gate, up to `largest`."""
        return self.gate.depth(features).clamp_max(self.largest)


@dataclass(frozen=True)
class LearnedGate:
    """Gate of two small networks on the features: one opens it, the other chooses the depth.

    Parameters
    ----------
    open_hidden : (h, 6)
        Weights on loss, change, violation, radius, motion and a constant one.
    open_head : (h,)
    depth_hidden : (h, 7)
        Weights on the same features and kappa.
    depth_head : (K_max, h)
    max_motion : ()
        The gate is closed while the proposal is longer than this. Weight files call it ``still``.
    """

    open_hidden: Tensor
    open_head: Tensor
    depth_hidden: Tensor
    depth_head: Tensor
    max_motion: Tensor
    name: str = "learned"

    @classmethod
    def start(cls, largest: int = 4, *, hidden: int = 16, max_motion: float = math.inf, seed: int = 0) -> LearnedGate:
        """Gate with random weights, before training.

        Parameters
        ----------
        largest : int
            K_max.
        hidden : int
            Width of both networks.
        max_motion : float
        seed : int
        """
        noise = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=noise, dtype=torch.float64) / math.sqrt(shape[-1])

        weights = draw(hidden, 6), draw(hidden), draw(hidden, 7), draw(largest, hidden)
        return cls(*weights, torch.tensor(max_motion, dtype=torch.float64))

    @property
    def largest(self) -> int:
        """Maximum number of corrections K_max."""
        return len(self.depth_head)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> LearnedGate:
        """Gate from weights by name, as `weights` returns them.

        Raises
        ------
        KeyError
            If a weight is missing.
        """
        parts = (weights[FILE_NAMES.get(f.name, f.name)] for f in fields(cls) if f.name != "name")
        return cls(*parts)  # type: ignore[arg-type]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights by their names in files."""
        return {FILE_NAMES.get(f.name, f.name): getattr(self, f.name) for f in fields(self) if f.name != "name"}

    def open_logit(self, features: Features) -> Tensor:
        """Log-odds (B,) of opening the gate, differentiable in weights and features."""
        if usable(*features[:4], self.open_hidden):
            return self._run_network(features, None, self.open_hidden, self.open_head[None])[:, 0]
        return torch.tanh(_scale_features(features, None) @ self.open_hidden.mT) @ self.open_head

    def depth_logits(self, features: Features) -> Tensor:
        """Logits (B, K_max) of the depths 1..K_max."""
        if usable(*features[:4], require_kappa(features), self.depth_hidden):
            return self._run_network(features, features.kappa, self.depth_hidden, self.depth_head)
        return (
            torch.tanh(_scale_features(features, require_kappa(features)) @ self.depth_hidden.mT) @ self.depth_head.mT
        )

    def _run_network(self, features: Features, kappa: Tensor | None, hidden: Tensor, head: Tensor) -> Tensor:
        """Run one of the networks by a kernel: outputs (B, o)."""
        out = head.new_empty(len(features.loss), len(head))
        columns = [None if c is None else c.contiguous() for c in (*features[:4], features.motion, kappa)]
        call(
            "learned_gate",
            *out.shape[:1],
            *hidden.shape[:1],
            out.shape[1],
            *columns,
            hidden.contiguous(),
            head.contiguous(),
            out,
        )
        return out

    def open(self, features: Features) -> Tensor:
        """Open rows with positive log-odds whose proposal is not longer than `max_motion`."""
        likely = self.open_logit(features) > 0
        return likely if features.motion is None else likely & (features.motion <= self.max_motion)

    def depth(self, features: Features) -> Tensor:
        """Choose the depth of the highest logit."""
        return 1 + self.depth_logits(features).argmax(-1)


def require_kappa(features: Features) -> Tensor:
    """Return kappa (B,) of the features.

    Raises
    ------
    ValueError
        If kappa has not been computed.
    """
    if features.kappa is None:
        raise ValueError("features without kappa; expected kappa; call depth after the gradient is computed")
    return features.kappa


def _scale_features(features: Features, kappa: Tensor | None) -> Tensor:
    """Features (B, 6 or 7), on logarithmic scales where they span decades."""
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

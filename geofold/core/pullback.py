"""Pullback (Fisher) metric G = lambda I + F with F = J'WJ of the decoder, averaged along the stream.

If the loss has stiff directions c in observation space (`geofold.core.domain.LossWithGradient`), W includes the sum of
their cc'. A move that a constraint resists then has a length that reflects its cost, so steps go along the constraint.

Glossary: ``B`` rows, ``d`` latent, ``k`` observations; J = dg/dz (k, d), W diagonal (k). The exact F is averaged as
M <- beta^2 M + (1 - beta^2) F; `sketches` holds the random sketches of GeoSSM for comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation
from geofold.core.metric import DenseFactor, Factor, MetricState, WoodburyFactor
from geofold.core.sketches import RANDOM_SKETCHES, Sketch
from geofold.kernels.library import call, usable

LIMITED = 2
"""Status of the kernel of a factor if the size or the condition number has to be limited."""
SKETCHES = ("exact", *RANDOM_SKETCHES)
MAX_WOODBURY_CONDITION = 1e6
"""Condition number up to which Eq. 4 keeps three digits in float64, since it loses the square of that number."""


@dataclass(frozen=True)
class Pullback:
    """Pullback metric, averaged along the stream (GeoSSM, Eq. 1 and 2, with corrected scale and bias).

    The bias of the empty initial average is divided out (1 - beta^(2t)).

    Parameters
    ----------
    sketch : 'exact', 'fisher', 'nystrom' or 'paper'
        F itself, or one of the random sketches in `geofold.core.sketches`.
    rank : int
        Number of probes r of a sketch.
    damping : float
        lambda.
    decay : float
        beta.
    informed : bool
        See `geofold.core.sketches.Sketch`. Off by default: informed probes lowered the success rate on the peptide
        tuning set.
    adapt : bool
        Whether the metric follows the stream; False: the first F of a stream is retained (agent "no adapt").
    largest : float
        Maximum condition number: lambda is raised if it would be exceeded. Sketches that are solved by Eq. 4 are
        limited to `MAX_WOODBURY_CONDITION` as well.
    cap : float
        Maximum of |U|_2, the root of the largest eigenvalue of the average.
    """

    sketch: str = "exact"
    rank: int = 8
    damping: float = 1e-3
    decay: float = 0.98
    informed: bool = False
    adapt: bool = True
    largest: float = 1e8
    cap: float = 1e6

    def __post_init__(self) -> None:
        if self.sketch not in SKETCHES:
            raise ValueError(f"sketch {self.sketch!r}; expected one of {', '.join(SKETCHES)}")
        if self.rank < 1 or not 0 <= self.decay < 1 or self.damping <= 0 or self.largest <= 1:
            raise ValueError("expected rank >= 1, 0 <= decay < 1, damping > 0 and largest > 1")

    @property
    def _averages_matrix(self) -> bool:
        """Whether the average is a matrix (d, d) instead of columns (d, r)."""
        return self.sketch in ("exact", "nystrom")

    def init(self, batch: int, dim: int, like: Tensor) -> MetricState:
        """State with empty averages."""
        width = dim if self._averages_matrix else self.rank
        empty = torch.zeros(batch, dim, width, dtype=torch.float64, device=like.device)
        return MetricState(empty, torch.zeros(batch, dtype=torch.float64, device=like.device))

    def update(self, state: MetricState, at: Linearisation, previous: Tensor, seed: int) -> MetricState:
        """Add F, or a sample of its sketch, at one more latent to the average.

        Parameters
        ----------
        state : MetricState
        at : Linearisation
        previous : (B, d)
            Last accepted step, used by informed sketches.
        seed : int
            Seed of the probes of a sketch.

        Returns
        -------
        MetricState
        """
        keep = self.decay**2
        if self.sketch == "exact" and self.adapt and usable(state.factor, at.z, at.weight):
            return MetricState(_average_exact(state.factor, at, keep), keep * state.weight + (1 - keep))
        if self.sketch == "exact":
            sample = _exact(at)
        else:
            sample = Sketch(self.sketch, self.rank, self.informed).sample(at, previous, seed)
        if self._averages_matrix:
            factor = keep * state.factor + (1 - keep) * sample
        else:
            factor = self.decay * state.factor + math.sqrt(1 - keep) * sample
        after = MetricState(factor, keep * state.weight + (1 - keep))
        if self.adapt:
            return after
        is_first = state.weight == 0
        return MetricState(
            torch.where(is_first[:, None, None], after.factor, state.factor),
            torch.where(is_first, after.weight, state.weight),
        )

    def factor(self, state: MetricState) -> Factor:
        """Factor of the bias-corrected average, with its size and condition number limited."""
        if self._averages_matrix and usable(state.factor, state.weight):
            matrix, upper = torch.empty_like(state.factor), torch.empty_like(state.factor)
            numbers = *state.factor.shape[:2], self.damping, self._unlimited_trace(self.largest)
            if call("dense_factor", *numbers, state.factor, state.weight, matrix, upper) != LIMITED:
                return DenseFactor(matrix, upper.mT, torch.full_like(state.weight, self.damping))
        weight = state.weight.clamp_min(1e-12)[:, None, None]
        if self._averages_matrix:
            average = state.factor / weight
            scale, damping = self._limits(average.diagonal(dim1=-2, dim2=-1).sum(-1), average, self.largest)
            return DenseFactor.of(average if scale is None else average * scale[:, None, None], damping)
        columns = state.factor / weight.sqrt()
        # With as many columns as dimensions, the r x r system of Eq. 4 is no smaller, and less accurate.
        dense = columns.shape[-1] >= columns.shape[-2]
        largest = self.largest if dense else min(self.largest, MAX_WOODBURY_CONDITION)
        scale, damping = self._limits(columns.square().sum((-1, -2)), columns, largest)
        if scale is not None:
            columns = columns * scale.sqrt()[:, None, None]
        if dense:
            return DenseFactor.of(columns @ columns.mT, damping)
        return WoodburyFactor.of(columns, damping[:, None].expand(columns.shape[:-1]), uniform=True)

    def _unlimited_trace(self, largest: float) -> float:
        """Trace of the average up to which neither size nor condition number exceeds its limit."""
        return min(self.cap**2, self.damping * (largest - 1))

    def _limits(self, trace: Tensor, average: Tensor, largest: float) -> tuple[Tensor | None, Tensor]:
        """Scale of the average (B,), None for one, and lambda (B,); the trace bounds the largest eigenvalue."""
        damping = torch.full_like(trace, self.damping)
        if bool((trace <= self._unlimited_trace(largest)).all()):
            return None, damping
        square = average if self._averages_matrix else average.mT @ average
        top = torch.linalg.eigvalsh(square)[:, -1].clamp_min(1e-300)
        scale = (self.cap**2 / top).clamp_max(1.0)
        return scale, torch.maximum(damping, top * scale / (largest - 1))


def _average_exact(before: Tensor, at: Linearisation, keep: float) -> Tensor:
    """Average (B, d, d) of F so far and at a latent, by a kernel."""
    after, stiff = torch.empty_like(before), at.stiff_directions
    pulled = None if stiff is None else at.expansion.pull(stiff).contiguous()
    count = 0 if pulled is None else len(pulled)
    gram = at.expansion.gram(at.weight).contiguous()
    call("dense_average", *before.shape[:2], count, keep, gram, pulled, before, after)
    return after


def _exact(at: Linearisation) -> Tensor:
    """F (B, d, d) at a latent, stiff directions included."""
    gram = at.expansion.gram(at.weight).double()
    if at.stiff_directions is None:
        return gram
    rows = at.expansion.pull(at.stiff_directions).double()
    return gram + torch.einsum("cbi,cbj->bij", rows, rows)

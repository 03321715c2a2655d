"""Pullback (Fisher) metric G = lambda I + J'WJ of the decoder, sketched and averaged along the stream.

Where the loss has stiff directions c in the observations (`geofold.core.domain.LossWithGradient`), W stands for W + sum cc': a
move that a constraint resists is as long as what it would cost, so steps go along the constraint instead of at it.

Glossary: ``B`` rows, ``d`` latent, ``r`` probes, ``k`` observations; J = dg/dz (k, d), W diagonal (k), F = J'WJ.

=========  ==================================================  ==========================================
sketch     new look                                            average
=========  ==================================================  ==========================================
paper      u = J'W J q, random q (GeoSSM, Eq. 2)               U <- beta U + sqrt(1 - beta^2) U_new
fisher     u = J'W^(1/2) e / sqrt(r), random e, E[uu'] = F     the same
nystrom    Y (Q'Y)^-1 Y' with Y = J'W J Q                      M <- beta^2 M + (1 - beta^2) M_new
exact      F itself                                            the same
=========  ==================================================  ==========================================

The letter of the paper has E[UU'] = r F^2, with no 1/r: `paper` keeps that, for comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation
from geofold.core.metric import DenseFactor, Factor, MetricState, WoodburyFactor

SKETCHES = ("exact", "fisher", "nystrom", "paper")
MAX_WOODBURY_CONDITION = 1e6
"""Condition number up to which Eq. 4, which loses its square, keeps three digits in float64."""


@dataclass(frozen=True)
class Pullback:
    """Pullback metric, averaged along the stream (GeoSSM, Eq. 1 and 2, as METHOD 2 mends them).

    Each new column gets an independent random sign, since columns that keep theirs pile up in the average, and
    the bias of the empty start is divided out (1 - beta^(2t)).

    Parameters
    ----------
    sketch : 'exact', 'fisher', 'nystrom' or 'paper'
        See the module.
    rank : int
        Number of probes r.
    damping : float
        lambda.
    decay : float
        beta.
    informed : bool
        The first probe lies along the gradient, the last along the previous accepted step (a "loss-aware"
        sketch); else all are random. Such probes are no longer isotropic, so a `fisher` sketch is too long along
        the gradient and its steps are too short there: on the peptide tuning split they cost, and are off.
    adapt : bool
        False: the first look of a stream is kept for good (agent "no adapt").
    largest : float
        Ceiling of the condition number: lambda is raised where it would be exceeded. Sketches that are solved by
        Eq. 4 stay below `MAX_WOODBURY_CONDITION` too.
    cap : float
        Ceiling of |U|_2, the square root of the sketch's largest eigenvalue.
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
    def _square(self) -> bool:
        """Whether the average is of the matrix (else of columns)."""
        return self.sketch in ("exact", "nystrom")

    def init(self, batch: int, dim: int, like: Tensor) -> MetricState:
        """Empty averages."""
        empty = torch.zeros(batch, dim, dim if self._square else self.rank, dtype=torch.float64, device=like.device)
        return MetricState(empty, torch.zeros(batch, dtype=torch.float64, device=like.device))

    def update(self, state: MetricState, at: Linearisation, previous: Tensor, seed: int) -> MetricState:
        """Look at the decoder once more."""
        keep = self.decay**2
        new = self._look(at, previous, seed)
        if self._square:
            factor = keep * state.factor + (1 - keep) * new
        else:
            factor = self.decay * state.factor + math.sqrt(1 - keep) * new
        after = MetricState(factor, keep * state.weight + (1 - keep))
        if self.adapt:
            return after
        fresh = state.weight == 0
        return MetricState(
            torch.where(fresh[:, None, None], after.factor, state.factor),
            torch.where(fresh, after.weight, state.weight),
        )

    def factor(self, state: MetricState) -> Factor:
        """Factor of the bias-corrected average, its size and condition clamped."""
        weight = state.weight.clamp_min(1e-12)[:, None, None]
        if self._square:
            average = state.factor / weight
            scale, damping = self._clamped(average.diagonal(dim1=-2, dim2=-1).sum(-1), average, self.largest)
            return DenseFactor.of(average if scale is None else average * scale[:, None, None], damping)
        columns = state.factor / weight.sqrt()
        # no smaller system to solve, and Eq. 4 would lose the square of the condition number
        dense = columns.shape[-1] >= columns.shape[-2]
        largest = self.largest if dense else min(self.largest, MAX_WOODBURY_CONDITION)
        scale, damping = self._clamped(columns.square().sum((-1, -2)), columns, largest)
        if scale is not None:
            columns = columns * scale.sqrt()[:, None, None]
        if dense:
            return DenseFactor.of(columns @ columns.mT, damping)
        return WoodburyFactor.of(columns, damping[:, None].expand(columns.shape[:-1]), uniform=True)

    def _clamped(self, trace: Tensor, part: Tensor, largest: float) -> tuple[Tensor | None, Tensor]:
        """Scale of the sketch (B,), None for one, and lambda (B,); the trace bounds the largest eigenvalue."""
        damping = torch.full_like(trace, self.damping)
        if bool((trace <= min(self.cap**2, self.damping * (largest - 1))).all()):
            return None, damping
        top = torch.linalg.eigvalsh(part if self._square else part.mT @ part)[:, -1].clamp_min(1e-300)
        scale = (self.cap**2 / top).clamp_max(1.0)
        return scale, torch.maximum(damping, top * scale / (largest - 1))

    def _look(self, at: Linearisation, previous: Tensor, seed: int) -> Tensor:
        """F (B, d, d) or its sketch, or new columns (B, d, r)."""
        if self.sketch == "exact":
            whole = at.expansion.gram(at.weight).double()
            if at.stiff_directions is None:
                return whole
            rows = at.expansion.pull(at.stiff_directions).double()
            return whole + torch.einsum("cbi,cbj->bij", rows, rows)
        noise = torch.Generator().manual_seed(seed)
        if self.sketch == "fisher":
            root = at.weight.sqrt()
            cotangents = self._signs(noise, root.shape[-1], root) * root
            if at.stiff_directions is not None:
                cotangents = cotangents + torch.einsum(
                    "rbc,cbk->rbk",
                    self._signs(noise, len(at.stiff_directions), root).expand(-1, len(root), -1),
                    at.stiff_directions,
                )
            if self.informed:
                width = math.sqrt(root.shape[-1])
                # a probe e along W^(-1/2) grad_y l, as long as the random ones, is pulled back as W^(1/2) e
                on = root > 0
                seen = at.observation_gradient * on
                white = seen / torch.where(on, root, 1.0)
                step = root * at.push(previous)
                self._inform(noise, cotangents, width, (seen, root * step), (white, step))
            return at.expansion.pull(cotangents).permute(1, 2, 0).double() / math.sqrt(self.rank)
        probes = self._signs(noise, at.gradient.shape[-1], at.gradient).repeat(1, len(at.gradient), 1)
        if self.informed:
            known = (at.gradient, previous)
            self._inform(noise, probes, math.sqrt(probes.shape[-1]), known, known)
        seen = at.expansion.pull(at.apply_weight(at.expansion.push(probes)))
        if self.sketch == "paper":
            return seen.permute(1, 2, 0).double()
        return _nystrom(probes.permute(1, 2, 0).double(), seen.permute(1, 2, 0).double())

    def _inform(
        self,
        noise: torch.Generator,
        probes: Tensor,
        width: float,
        stands: tuple[Tensor, Tensor],
        probed: tuple[Tensor, Tensor],
    ) -> None:
        """Put two informed probes in place of the first and the last random one, where they have a length.

        `probed` (B, k) are the probes, brought to length `width`, and `stands` what then stands in their rows. A random
        sign of its own for each look, or they would add up coherently; the random ones have theirs already.
        """
        ends = [0, self.rank - 1][: self.rank]
        length = torch.stack(probed).norm(dim=-1, keepdim=True)[: len(ends)]
        sign = self._signs(noise, 1, probes)[ends]
        there = torch.stack(stands)[: len(ends)] * (sign * width / torch.where(length > 0, length, 1.0))
        probes[ends] = torch.where(length > 0, there, probes[ends])

    def _signs(self, noise: torch.Generator, width: int, like: Tensor) -> Tensor:
        """Random signs (r, 1, width): the same in every row, so that a row does not depend on its neighbours."""
        drawn = torch.randint(0, 2, (self.rank, 1, width), generator=noise, dtype=torch.int8)
        return drawn.to(device=like.device, dtype=like.dtype) * 2 - 1


def _nystrom(probes: Tensor, seen: Tensor) -> Tensor:
    """Y (Q'Y)^+ Y' (B, d, d) for Q and Y = FQ (B, d, r): exact on the span of the probes, never above F."""
    core = probes.mT @ seen
    size, basis = torch.linalg.eigh((core + core.mT) / 2)
    # directions that F or the probes do not reach carry rounding only
    floor = size[:, -1:].clamp_min(1e-300) * 1e-12
    half = (seen @ basis) * torch.where(size > floor, size.clamp_min(1e-300).rsqrt(), 0.0)[:, None]
    return half @ half.mT

"""Height of the ground of a maze: plane waves and bumps, with exact slope and curvature.

Glossary: ``S`` scenes, ``m`` waves, ``b`` bumps; ``B`` rows, ``k`` points. Lengths and heights are in sides of the
world.

    h(p) = sum_j a_j cos(w_j . p + f_j) + sum_j s_j exp(-|q_j|^2 / 2),  q_j = M_j (p - c_j)

The length ds of a small move d on the surface (x, y, h) is given by ds^2 = |d|^2 + (grad h . d)^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

RELIEFS = ("waves", "ridges", "bowls")
"""Kinds of relief: rolling ground, long crests, and round hollows."""
RMS_SLOPE = 0.45
"""Root mean square of the slope, by default."""
MAX_SLOPE = 4.0
"""Largest root mean square of the slope for which steps and oracle are tested."""
N_WAVES, N_RIDGES, N_BOWLS = 10, 7, 9
"""Number of waves, ridges and bowls of a relief."""
RIDGE_WIDTH, RIDGE_LENGTH, BOWL_WIDTH = (0.05, 0.08), (0.15, 0.35), (0.07, 0.14)
"""Ranges of the standard deviations of bumps (sides)."""
SLOPE_SAMPLES = 64
"""Points along a side at which the slope of bumps is averaged."""


@dataclass(frozen=True, eq=False)
class Relief:
    """Waves and bumps of S scenes.

    Attributes
    ----------
    amplitude, phase : (S, m)
    wave : (S, m, 2)
        Angular frequencies w, in 1/side.
    size : (S, b)
        Heights s of the bumps, negative for hollows.
    centre : (S, b, 2)
    shape : (S, b, 2, 2)
        Matrices M, in 1/side.
    """

    amplitude: Tensor
    wave: Tensor
    phase: Tensor
    size: Tensor
    centre: Tensor
    shape: Tensor

    @classmethod
    def draw(cls, rng: np.random.Generator, *, slope: float = RMS_SLOPE, kind: str = "waves") -> Relief:
        """Draw the relief of one scene.

        Parameters
        ----------
        rng : numpy.random.Generator
        slope : float
            Root mean square of the slope.
        kind : str
            One of `RELIEFS`.
        """
        return _draw_waves(rng, slope) if kind == "waves" else _draw_bumps(rng, slope, kind)

    @classmethod
    def stack(cls, reliefs: list[Relief]) -> Relief:
        """Stack the reliefs of several scenes; waves and bumps of height zero fill up shorter lists."""
        counts = [max(getattr(r, part).shape[1] for r in reliefs) for part in ("amplitude", "size")]
        padded = [r._pad(*counts) for r in reliefs]
        return cls(*(torch.cat([getattr(r, part.name) for r in padded]) for part in fields(cls)))

    def _pad(self, waves: int, bumps: int) -> Relief:
        """Relief with more waves and bumps, of height zero."""
        more = [waves - self.amplitude.shape[1]] * 3 + [bumps - self.size.shape[1]] * 3
        parts = [getattr(self, part.name) for part in fields(self)]
        return Relief(
            *(
                torch.cat([part, part.new_zeros(len(part), count, *part.shape[2:])], 1)
                for part, count in zip(parts, more, strict=True)
            )
        )

    def height(self, at: Tensor, scene: Tensor) -> Tensor:
        """Heights (B, k) at points (B, k, 2) of scenes (B,)."""
        height = (self.amplitude[scene][:, None] * self._angle(at, scene).cos()).sum(-1)
        if self.size.shape[1]:
            height = height + self._bumps(at, scene)[0].sum(-1)
        return height

    def slope(self, at: Tensor, scene: Tensor) -> Tensor:
        """Slope grad h, (B, k, 2), at points (B, k, 2)."""
        return self.height_and_slope(at, scene)[1]

    def height_and_slope(self, at: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Heights (B, k) and slopes (B, k, 2), with their common part computed once."""
        angle, amplitude = self._angle(at, scene), self.amplitude[scene][:, None]
        height, slope = (amplitude * angle.cos()).sum(-1), -(amplitude * angle.sin()) @ self.wave[scene]
        if self.size.shape[1]:
            bump, q = self._bumps(at, scene)
            height = height + bump.sum(-1)
            pulled = (q[..., None] * self.shape[scene][:, None]).sum(-2)
            slope = slope - (bump[..., None] * pulled).sum(-2)
        return height, slope

    def bend(self, at: Tensor, scene: Tensor, along: Tensor) -> Tensor:
        """Second derivative (B, k) of h along moves (B, k, 2)."""
        pace = along @ self.wave[scene].mT
        bend = -(self.amplitude[scene][:, None] * self._angle(at, scene).cos() * pace.square()).sum(-1)
        if self.size.shape[1]:
            bump, q = self._bumps(at, scene)
            moved = (self.shape[scene][:, None] * along[:, :, None, None]).sum(-1)
            bend = bend + (bump * ((q * moved).sum(-1).square() - moved.square().sum(-1))).sum(-1)
        return bend

    def _angle(self, at: Tensor, scene: Tensor) -> Tensor:
        """Return w . p + f, (B, k, m)."""
        return at @ self.wave[scene].mT + self.phase[scene][:, None]

    def _bumps(self, at: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Heights (B, k, b) of the bumps, and q (B, k, b, 2)."""
        offset = at[:, :, None] - self.centre[scene][:, None]
        q = (self.shape[scene][:, None] * offset[..., None, :]).sum(-1)
        return self.size[scene][:, None] * (-q.square().sum(-1) / 2).exp(), q


def _draw_waves(rng: np.random.Generator, slope: float) -> Relief:
    """Draw waves with amplitudes that fall with the frequency."""
    cycles, direction = rng.uniform(0.6, 2.6, N_WAVES), rng.uniform(0, 2 * np.pi, N_WAVES)
    wave = 2 * np.pi * cycles[:, None] * np.stack([np.cos(direction), np.sin(direction)], -1)
    amplitude = rng.uniform(0.5, 1.0, N_WAVES) / cycles**1.5
    # The mean square slope of a wave is (a w)^2 / 2.
    amplitude *= slope / math.sqrt(float(((amplitude * 2 * np.pi * cycles) ** 2).sum()) / 2)
    phase = rng.uniform(0, 2 * np.pi, N_WAVES)
    parts = (amplitude, wave, phase, np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2, 2)))
    return Relief(*(torch.as_tensor(part)[None] for part in parts))


def _draw_bumps(rng: np.random.Generator, slope: float, kind: str) -> Relief:
    """Draw ridges or bowls, scaled to the slope that they have within the world."""
    count = N_RIDGES if kind == "ridges" else N_BOWLS
    centre, turn = rng.uniform(0.05, 0.95, (count, 2)), rng.uniform(0, np.pi, count)
    width = rng.uniform(*(RIDGE_WIDTH if kind == "ridges" else BOWL_WIDTH), count)
    length = rng.uniform(*RIDGE_LENGTH, count) if kind == "ridges" else width
    across = np.stack([np.cos(turn), np.sin(turn)], -1) / width[:, None]
    lengthwise = np.stack([-np.sin(turn), np.cos(turn)], -1) / length[:, None]
    # A broad bump is higher, so that all are about as steep.
    size = rng.uniform(0.5, 1.0, count) * width * (1 if kind == "ridges" else -1)
    parts = (np.zeros(0), np.zeros((0, 2)), np.zeros(0), size, centre, np.stack([across, lengthwise], 1))
    relief = Relief(*(torch.as_tensor(part)[None] for part in parts))
    side = (torch.arange(SLOPE_SAMPLES, dtype=torch.float64) + 0.5) / SLOPE_SAMPLES
    slopes = relief.slope(torch.cartesian_prod(side, side)[None], torch.zeros(1, dtype=torch.long))
    return replace(relief, size=relief.size * (slope / slopes.square().sum(-1).mean().sqrt()))

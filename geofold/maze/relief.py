"""The height of a maze's ground: a sum of plane waves, so that slope and curvature are exact.

Glossary: ``S`` scenes, ``m`` waves; ``B`` rows, ``k`` points. Lengths, heights too, are in sides of the maze.

    h(p) = sum_j a_j cos(w_j . p + f_j)

The length of a small move d on the surface (x, y, h) is given by ds^2 = |d|^2 + (grad h . d)^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

N_WAVES = 10
RMS_SLOPE = 0.45
"""Root mean square of the slope."""


@dataclass(frozen=True, eq=False)
class Relief:
    """Waves of S scenes.

    Attributes
    ----------
    amplitude, phase : (S, m)
    wave : (S, m, 2)
        Angular frequencies w, in 1/side.
    """

    amplitude: Tensor
    wave: Tensor
    phase: Tensor

    @classmethod
    def draw(cls, rng: np.random.Generator, *, steep: float = RMS_SLOPE) -> Relief:
        """One scene's ground: long waves are high, short ones low."""
        cycles, way = rng.uniform(0.6, 2.6, N_WAVES), rng.uniform(0, 2 * np.pi, N_WAVES)
        wave = 2 * np.pi * cycles[:, None] * np.stack([np.cos(way), np.sin(way)], -1)
        amplitude = rng.uniform(0.5, 1.0, N_WAVES) / cycles**1.5
        # the mean square of the slope of a wave is (a w)^2 / 2
        amplitude *= steep / math.sqrt(float(((amplitude * 2 * np.pi * cycles) ** 2).sum()) / 2)
        phase = rng.uniform(0, 2 * np.pi, N_WAVES)
        return cls(*(torch.as_tensor(part)[None] for part in (amplitude, wave, phase)))

    @classmethod
    def stack(cls, reliefs: list[Relief]) -> Relief:
        """Several scenes' grounds as one."""
        return cls(*(torch.cat([getattr(r, part) for r in reliefs]) for part in ("amplitude", "wave", "phase")))

    def height(self, at: Tensor, scene: Tensor) -> Tensor:
        """Heights (B, k) at points (B, k, 2) of the scenes (B,)."""
        return (self.amplitude[scene][:, None] * self._angle(at, scene).cos()).sum(-1)

    def slope(self, at: Tensor, scene: Tensor) -> Tensor:
        """grad h, (B, k, 2)."""
        return -(self.amplitude[scene][:, None] * self._angle(at, scene).sin()) @ self.wave[scene]

    def height_and_slope(self, at: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Both, at the price of little more than one."""
        angle, amplitude = self._angle(at, scene), self.amplitude[scene][:, None]
        return (amplitude * angle.cos()).sum(-1), -(amplitude * angle.sin()) @ self.wave[scene]

    def bend(self, at: Tensor, scene: Tensor, along: Tensor) -> Tensor:
        """Second derivative of h along moves (B, k, 2), (B, k)."""
        pace = along @ self.wave[scene].mT
        return -(self.amplitude[scene][:, None] * self._angle(at, scene).cos() * pace.square()).sum(-1)

    def _angle(self, at: Tensor, scene: Tensor) -> Tensor:
        """w . p + f, (B, k, m)."""
        return at @ self.wave[scene].mT + self.phase[scene][:, None]

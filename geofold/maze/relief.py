"""Height of the ground of a maze: a sum of plane waves, with exact slope and curvature.

Glossary: ``S`` scenes, ``m`` waves; ``B`` rows, ``k`` points. Lengths and heights are in sides of the world.

    h(p) = sum_j a_j cos(w_j . p + f_j)

The length ds of a small move d on the surface (x, y, h) is given by ds^2 = |d|^2 + (grad h . d)^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

N_WAVES = 10
"""Number of waves of a relief."""
RMS_SLOPE = 0.45
"""Root mean square of the slope, by default."""


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
        """Draw the relief of one scene, with amplitudes that fall with the frequency."""
        cycles, direction = rng.uniform(0.6, 2.6, N_WAVES), rng.uniform(0, 2 * np.pi, N_WAVES)
        wave = 2 * np.pi * cycles[:, None] * np.stack([np.cos(direction), np.sin(direction)], -1)
        amplitude = rng.uniform(0.5, 1.0, N_WAVES) / cycles**1.5
        # The mean square slope of a wave is (a w)^2 / 2.
        amplitude *= steep / math.sqrt(float(((amplitude * 2 * np.pi * cycles) ** 2).sum()) / 2)
        phase = rng.uniform(0, 2 * np.pi, N_WAVES)
        return cls(*(torch.as_tensor(part)[None] for part in (amplitude, wave, phase)))

    @classmethod
    def stack(cls, reliefs: list[Relief]) -> Relief:
        """Stack the reliefs of several scenes."""
        return cls(*(torch.cat([getattr(r, part) for r in reliefs]) for part in ("amplitude", "wave", "phase")))

    def height(self, at: Tensor, scene: Tensor) -> Tensor:
        """Heights (B, k) at points (B, k, 2) of scenes (B,)."""
        return (self.amplitude[scene][:, None] * self._angle(at, scene).cos()).sum(-1)

    def slope(self, at: Tensor, scene: Tensor) -> Tensor:
        """Slope grad h, (B, k, 2), at points (B, k, 2)."""
        return -(self.amplitude[scene][:, None] * self._angle(at, scene).sin()) @ self.wave[scene]

    def height_and_slope(self, at: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Heights (B, k) and slopes (B, k, 2), with their common part computed once."""
        angle, amplitude = self._angle(at, scene), self.amplitude[scene][:, None]
        return (amplitude * angle.cos()).sum(-1), -(amplitude * angle.sin()) @ self.wave[scene]

    def bend(self, at: Tensor, scene: Tensor, along: Tensor) -> Tensor:
        """Second derivative (B, k) of h along moves (B, k, 2)."""
        pace = along @ self.wave[scene].mT
        return -(self.amplitude[scene][:, None] * self._angle(at, scene).cos() * pace.square()).sum(-1)

    def _angle(self, at: Tensor, scene: Tensor) -> Tensor:
        """Return w . p + f, (B, k, m)."""
        return at @ self.wave[scene].mT + self.phase[scene][:, None]

"""Training loops: windows of native chains with their environment, drawn in batches of one length.

Glossary: see `geofold.learn.loop_denoiser.batched_backbone`; ``n`` loops of one length, ``e`` atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geofold.learn.data.chains import AMINO_ACIDS, PROLINE
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch

Floats = NDArray[np.float32]
BARE_SHARE = 0.3
"""Fraction of the loops whose environment has no side chains."""


@dataclass(frozen=True)
class LoopWindow:
    """A loop with its flanks and environment.

    Attributes
    ----------
    xyz : (S, 4, 3)
        N, CA, C, O (A).
    letters : (S,) uint8
        Amino acids, as indices into `AMINO_ACIDS`.
    environment : (e, 3)
        Heavy atoms around the loop (A).
    side_chain : (e,) bool
        Which of these atoms are beyond CB.
    """

    xyz: Floats
    letters: NDArray[np.uint8]
    environment: Floats
    side_chain: NDArray[np.bool_]

    @property
    def length(self) -> int:
        """Residues of the loop."""
        return len(self.letters) - 2 * FLANK


@dataclass(frozen=True)
class LoopDataset:
    """Windows by length of the loop."""

    windows: dict[int, list[LoopWindow]]

    @classmethod
    def of(cls, windows: list[LoopWindow]) -> LoopDataset:
        """Sort windows by length."""
        by_length: dict[int, list[LoopWindow]] = {}
        for window in windows:
            by_length.setdefault(window.length, []).append(window)
        return cls(dict(sorted(by_length.items())))

    def __len__(self) -> int:
        return sum(len(part) for part in self.windows.values())

    def batch(self, number: int, seed: int, rows: int) -> BackboneBatch:
        """Draw a batch by its number: a length with the frequency of its loops, then `rows` loops of that length."""
        noise = np.random.default_rng([seed, number])
        sizes = np.array([len(part) for part in self.windows.values()], dtype=float)
        length = int(noise.choice(list(self.windows), p=sizes / sizes.sum()))
        windows = self.windows[length]
        chosen = [windows[k] for k in noise.integers(len(windows), size=rows)]
        return stack_windows(chosen, noise.random(rows) < BARE_SHARE)


def stack_windows(windows: list[LoopWindow], bare: NDArray[np.bool_] | None = None) -> BackboneBatch:
    """Stack windows of one length; environments of rows in `bare` (n,) lose their side chains."""
    letters = torch.as_tensor(np.array([w.letters for w in windows])).long()
    size = max(len(w.environment) for w in windows)
    environment = np.zeros((len(windows), size, 3), np.float32)
    weight = np.zeros((len(windows), size), np.float32)
    for k, window in enumerate(windows):
        environment[k, : len(window.environment)] = window.environment
        weight[k, : len(window.environment)] = ~window.side_chain if bare is not None and bare[k] else 1.0
    free = torch.ones(len(windows), 2 * windows[0].length, dtype=torch.bool)
    free[:, 0::2] = letters[:, FLANK:-FLANK] != PROLINE
    xyz = torch.as_tensor(np.array([w.xyz for w in windows]))
    present = letters < len(AMINO_ACIDS)
    return BackboneBatch(xyz, letters, present, free, torch.as_tensor(environment), torch.as_tensor(weight))


class CorrectedStream(NamedTuple):
    """Record of a stream that the controller has corrected; see `geofold.learn.loop_denoiser.corrected`.

    features : (T, B, F)
    innovation : (T, B, d) written minus proposed latent of the step before.
    missing, counted, distance : see `geofold.learn.loop_denoiser.training.Rollout`.
    """

    features: Tensor
    innovation: Tensor
    missing: Tensor
    counted: Tensor
    distance: Tensor

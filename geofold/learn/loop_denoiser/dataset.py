"""Loops to train on: windows of native chains with the atoms around them, drawn in batches of one length.

Glossary: see `loop_pieces`; ``n`` loops of one length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.learn.data.chains import AMINO_ACIDS, PROLINE
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch

Floats = NDArray[np.float32]
BARE_SHARE = 0.3
"""Share of loops whose surroundings are shown without side chains."""


@dataclass(frozen=True)
class LoopWindow:
    """One loop and what is around it.

    xyz : (S, 4, 3) in A; letters : (S,); around : (e, 3); side : (e,) bool, atoms beyond CB.
    """

    xyz: Floats
    letters: NDArray[np.uint8]
    around: Floats
    side: NDArray[np.bool_]

    @property
    def length(self) -> int:
        """Residues of the loop."""
        return len(self.letters) - 2 * FLANK


@dataclass(frozen=True)
class LoopDataset:
    """Windows by length."""

    windows: dict[int, list[LoopWindow]]

    @classmethod
    def of(cls, windows: list[LoopWindow]) -> LoopDataset:
        """Sorted into lengths."""
        found: dict[int, list[LoopWindow]] = {}
        for window in windows:
            found.setdefault(window.length, []).append(window)
        return cls(dict(sorted(found.items())))

    def __len__(self) -> int:
        return sum(len(part) for part in self.windows.values())

    def batch(self, number: int, seed: int, rows: int) -> BackboneBatch:
        """A batch by its number: a length drawn by how many loops have it, then loops of that length."""
        noise = np.random.default_rng([seed, number])
        sizes = np.array([len(part) for part in self.windows.values()], dtype=float)
        length = int(noise.choice(list(self.windows), p=sizes / sizes.sum()))
        own = self.windows[length]
        chosen = [own[k] for k in noise.integers(len(own), size=rows)]
        return stack_windows(chosen, noise.random(rows) < BARE_SHARE)


def stack_windows(windows: list[LoopWindow], bare: NDArray[np.bool_] | None = None) -> BackboneBatch:
    """Windows of one length as pieces; where `bare`, the surroundings have no side chains."""
    letters = torch.as_tensor(np.array([w.letters for w in windows])).long()
    most = max(len(w.around) for w in windows)
    around, weight = np.zeros((len(windows), most, 3), np.float32), np.zeros((len(windows), most), np.float32)
    for k, window in enumerate(windows):
        around[k, : len(window.around)] = window.around
        weight[k, : len(window.around)] = ~window.side if bare is not None and bare[k] else 1.0
    free = torch.ones(len(windows), 2 * windows[0].length, dtype=torch.bool)
    free[:, 0::2] = letters[:, FLANK:-FLANK] != PROLINE
    return BackboneBatch(
        torch.as_tensor(np.array([w.xyz for w in windows])), letters, letters < len(AMINO_ACIDS), free,
        torch.as_tensor(around), torch.as_tensor(weight),
    )  # fmt: skip

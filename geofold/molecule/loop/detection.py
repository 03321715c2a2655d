"""Where a protein is in trouble, as the loop model sees it: windows all along the chain, nothing moved.

Glossary: ``N`` residues, ``w`` windows, ``L`` residues of a window.

The surprise of a residue is what the model would have to be told, in nat a torsion, to believe that its torsions are
right as they stand: minus the log density of a zero increment, averaged over the windows that hold it. A bent loop
also tends to stand in the way of others; both together find it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch
from geofold.learn.loop_denoiser.features import HALF_WINDOW, INNOVATION_SIZE, featurise
from geofold.learn.loop_denoiser.inference import stream_time
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.molecule.energy.vdw_radii import POLAR, POLAR_ALLOWANCE, radius_of
from geofold.molecule.loop.predictor import pieces_of
from geofold.molecule.structure import WATER, Structure

LENGTH, STRIDE = 12, 4
SMOOTH = 5
"""Residues that are judged together: one surprise alone is nature's."""
MARGIN = 0.5
"""nat; a stretch goes on while its residues, three together, stay within this of what triggered it."""
SHORTEST = 4
QUIET, FOUND = 0.99, 0.97
"""Share of intact chains in which nothing triggers, and of bent loops that trigger."""
NOTED = 0.002
"""nm of overlap from which it counts."""
SWEEPS = 2
"""The first sweep reads; what is said in the second counts."""


def surprise(structure: Structure, spans: list[tuple[int, int]], model: LoopModel) -> NDArray[np.float64]:
    """Surprise (N,) of each residue, NaN outside the spans and where no window fits.

    Parameters
    ----------
    spans
        First and last residue of unbroken stretches of amino acids with complete backbones.
    """
    places = [place for first, last in spans for place in windows(first, last)]
    total, count = np.zeros(len(structure.residues)), np.zeros(len(structure.residues))
    by_length: dict[int, list[int]] = {}
    for first, length in places:
        by_length.setdefault(length, []).append(first)
    for length, firsts in by_length.items():
        steering = structure.steering_mask
        pieces = joined([pieces_of(structure, first, first + length - 1, steering) for first in firsts])
        told = window_surprise(pieces, model).numpy()
        for row, first in enumerate(firsts):
            known = np.isfinite(told[row])
            total[first : first + length][known] += told[row][known]
            count[first : first + length] += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class Trouble(NamedTuple):
    """Surprise (N,) of each residue in nat, NaN where unknown; overlaps: their residues (p, 2) and depth (p,) in A."""

    surprise: NDArray[np.float64]
    pairs: NDArray[np.int64]
    depth: NDArray[np.float64]

    @property
    def overlap(self) -> NDArray[np.float64]:
        """Summed depth (N,) of the overlaps of each residue, A."""
        return np.asarray(np.bincount(
            self.pairs.ravel(), np.repeat(self.depth, 2), minlength=len(self.surprise)
        ))  # fmt: skip

    def difficulty(self, width: int) -> NDArray[np.float64]:
        """Mean surprise plus log(1 + mean overlap) over so many residues around each; -inf where it is unknown."""
        told = smoothed(self.surprise, width) + np.log1p(smoothed(self.overlap, width))
        return np.nan_to_num(told, nan=-np.inf)

    def without(self, first: int, last: int) -> Trouble:
        """What is left when a stretch is gone: it is unknown now, and who it stood in the way of is freed."""
        inside = np.arange(len(self.surprise))
        gone = (inside >= first) & (inside <= last)
        kept = ~gone[self.pairs].any(1)
        return Trouble(np.where(gone, np.nan, self.surprise), self.pairs[kept], self.depth[kept])


def trouble_of(structure: Structure, spans: list[tuple[int, int]], model: LoopModel) -> Trouble:
    """Trouble of all residues; spans as in `surprise`."""
    return Trouble(surprise(structure, spans, model), *overlaps(structure))


def overlaps(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Residues (p, 2) and depth (p,) in A of the overlaps between heavy atoms of residues that are no neighbours."""
    radius = np.array([radius_of(str(element)) for element in structure.element])
    kept = np.flatnonzero((radius > 0) & structure.steering_mask & ~np.isin(structure.resname, list(WATER)))
    radius, residue = radius[kept], structure.residue_of[kept]
    polar = np.isin(structure.element[kept], list(POLAR))
    if not len(kept):
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    i, j = cKDTree(structure.xyz[kept]).query_pairs(2 * radius.max() - NOTED, output_type="ndarray").T
    touching = radius[i] + radius[j] - POLAR_ALLOWANCE * (polar[i] & polar[j])
    depth = touching - np.linalg.norm(structure.xyz[kept[i]] - structure.xyz[kept[j]], axis=1)
    counted = (np.abs(residue[i] - residue[j]) > 1) & (depth > NOTED)
    return np.stack([residue[i[counted]], residue[j[counted]]], -1), 10 * depth[counted]


def smoothed(told: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Means over so many residues around each; NaN where most of them are unknown."""
    known, ones = np.isfinite(told), np.ones(width)
    # "same" would be as long as the longer of the two, which in a short peptide are the ones
    middle = slice((width - 1) // 2, (width - 1) // 2 + len(told))
    count = np.convolve(known, ones)[middle]
    total = np.convolve(np.where(known, told, 0.0), ones)[middle]
    return np.where(count > width / 2, total / np.maximum(count, 1), np.nan)


def bad_stretches(told: Trouble, spans: list[tuple[int, int]], trigger: float) -> list[tuple[int, int]]:
    """First and last residue of the stretches in trouble, a residue wider on both sides, ends of spans left out.

    The worst comes first and takes its overlaps with it: who it stood in the way of is not to blame.

    Parameters
    ----------
    trigger : float
        Difficulty from which a stretch counts.
    """
    inside = np.zeros(len(told.surprise), dtype=bool)
    for low, top in spans:
        inside[low : top + 1] = True
    found: list[tuple[int, int]] = []
    while True:
        high = np.where(inside, told.difficulty(SMOOTH), -np.inf)
        worst = int(high.argmax())
        if not high[worst] > trigger:
            return _merged(found)
        going = (high > trigger) | (told.difficulty(3) > trigger - MARGIN)
        low, top = next(span for span in spans if span[0] <= worst <= span[1])
        first = last = worst
        while first > low + 1 and going[first - 1]:
            first -= 1
        while last < top - 1 and going[last + 1]:
            last += 1
        first, last = max(first - 1, low + 1), min(last + 1, top - 1)
        while last - first + 1 < SHORTEST and (first > low + 1 or last < top - 1):
            first, last = max(first - 1, low + 1), min(last + 1, top - 1)
        found.append((first, last))
        told = told.without(min(first, worst), max(last, worst))


def _merged(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches in the order of the chain, those that meet as one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(found):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def trouble_level(intact: list[Trouble], bent: list[tuple[Trouble, int, int]]) -> float:
    """Trigger that stays silent in `QUIET` of intact chains, and is as high as `FOUND` of bent loops allow.

    Parameters
    ----------
    bent
        Trouble of a chain, and first and last residue of its bent loop.
    """
    quiet = [told.difficulty(SMOOTH).max() for told in intact]
    loud = [told.difficulty(SMOOTH)[first : last + 1].max() for told, first, last in bent]
    level = float(np.quantile(quiet, QUIET))
    return max(level, float(np.quantile(loud, 1 - FOUND))) if loud else level


def windows(first: int, last: int) -> list[tuple[int, int]]:
    """First residues and lengths of the windows of a stretch; both ends of a window need a residue to hang from."""
    low, high = first + 1, last - 1
    length = min(LENGTH, high - low + 1)
    if length < 2 * HALF_WINDOW + 1:
        return []
    starts = sorted({*range(low, high - length + 2, STRIDE), high - length + 1})
    return [(start, length) for start in starts]


def joined(rows: list[BackboneBatch]) -> BackboneBatch:
    """Pieces of one row each, of one length, as one batch; the atoms around are padded."""
    most = max(row.environment.shape[1] for row in rows)

    def padded(part: torch.Tensor) -> torch.Tensor:
        return torch.cat([part, part.new_zeros(1, most - part.shape[1], *part.shape[2:])], 1)

    xyz, letters, there, free = (torch.cat(parts) for parts in zip(*(row[:4] for row in rows), strict=True))
    around, weight = (torch.cat([padded(part) for part in parts]) for parts in zip(*(r[4:] for r in rows), strict=True))
    return BackboneBatch(xyz, letters, there, free, around, weight)


@torch.no_grad()
def window_surprise(pieces: BackboneBatch, model: LoopModel) -> torch.Tensor:
    """Surprise (w, L) of the residues of windows, mean over their free torsions; NaN where none is free."""
    rows, length = len(pieces.xyz), pieces.length
    state, none = model.stream.init_state(rows), torch.zeros(rows, INNOVATION_SIZE)
    zero = torch.zeros(rows, 2)
    found = []
    for step in range(SWEEPS * length):
        seen = featurise(pieces, step % length, stream_time(step // length), none)
        z, state = model.stream.step(seen.to(model.stream.enter.weight), state)
        own = model.decode(z).increments
        own = type(own)(*(part[:, HALF_WINDOW] for part in own))
        found.append(-own.log_density(zero.to(z)))
    told = torch.stack(found[-length:], 1)
    free = pieces.free.unflatten(1, (-1, 2))
    told = torch.where(free, told, 0.0).sum(-1) / free.sum(-1)
    there = pieces.present[:, FLANK:-FLANK]
    return torch.where(there & free.any(-1), told, torch.nan)

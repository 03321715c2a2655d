"""Detection of anomalous segments by the loop model, applied to windows along the unchanged chain.

Glossary: ``N`` residues, ``w`` windows, ``L`` residues of a window.

The surprise of a residue is the negative log density that the model assigns to a zero increment of its torsions (nat
per torsion), averaged over the windows that contain it. A perturbed loop also tends to overlap with other residues;
surprise and overlap together detect it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch
from geofold.learn.loop_denoiser.features import HALF_WINDOW, INNOVATION_SIZE, TIME_COLUMN, featurise
from geofold.learn.loop_denoiser.inference import stream_time
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.molecule.loop.predictor import HeavyAtoms, extract_backbone
from geofold.molecule.structure import WATER, Structure
from geofold.molecule.vdw_radii import POLAR, contact_distance, radius_of

WINDOW_LENGTH, WINDOW_STRIDE = 12, 4
WINDOW_BATCH = 256
"""Windows evaluated together, which bounds the memory that large structures take."""
SMOOTHING_WIDTH = 5
"""Residues averaged together, since single surprising residues occur in native structures."""
HYSTERESIS = 0.5
"""Hysteresis of the trigger (nat): a segment extends while the mean over three residues is above trigger - MARGIN."""
MIN_SEGMENT = 4
MIN_SPECIFICITY, MIN_SENSITIVITY = 0.99, 0.97
"""Fraction of intact chains without a detection, and fraction of perturbed loops detected."""
MIN_OVERLAP = 0.002
"""Smallest overlap that counts (nm)."""
WINDOW_SWEEPS = 2
"""Sweeps of the model over a window: the first provides context, the second is evaluated."""


def surprise(structure: Structure, spans: list[tuple[int, int]], model: LoopModel) -> NDArray[np.float64]:
    """Surprise (N,) of each residue in nat, NaN outside the spans and where no window fits.

    Parameters
    ----------
    structure : Structure
        Structure to evaluate.
    spans : list of (int, int)
        First and last residue of contiguous segments of amino acids with complete backbones.
    model : LoopModel
        Trained loop model.
    """
    positions = [place for first, last in spans for place in window_positions(first, last)]
    total, count = np.zeros(len(structure.residues)), np.zeros(len(structure.residues))
    conformer = structure.conformer_mask
    surroundings = HeavyAtoms.of(structure, conformer)
    by_length: dict[int, list[int]] = {}
    for first, length in positions:
        by_length.setdefault(length, []).append(first)
    for length, firsts in by_length.items():
        for start in range(0, len(firsts), WINDOW_BATCH):
            batch = firsts[start : start + WINDOW_BATCH]
            pieces = concatenate_windows(
                [extract_backbone(structure, first, first + length - 1, conformer, surroundings) for first in batch]
            )
            values = window_surprise(pieces, model).numpy()
            for row, first in enumerate(batch):
                known = np.isfinite(values[row])
                total[first : first + length][known] += values[row][known]
                count[first : first + length] += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


class AnomalyScore(NamedTuple):
    """Surprise (N,) in nat, NaN where unknown, and overlaps: pairs of residues (p, 2) and depths (p,) in angstrom."""

    surprise: NDArray[np.float64]
    pairs: NDArray[np.int64]
    depth: NDArray[np.float64]

    @property
    def overlap(self) -> NDArray[np.float64]:
        """Summed depth (N,) of the overlaps of each residue, angstrom."""
        return np.asarray(np.bincount(self.pairs.ravel(), np.repeat(self.depth, 2), minlength=len(self.surprise)))

    def difficulty(self, width: int) -> NDArray[np.float64]:
        """Mean surprise plus log(1 + mean overlap) over `width` residues around each; -inf where unknown."""
        values = moving_mean(self.surprise, width) + np.log1p(moving_mean(self.overlap, width))
        return np.nan_to_num(values, nan=-np.inf)

    def without(self, first: int, last: int) -> AnomalyScore:
        """Return a copy in which a segment has unknown surprise and no overlaps."""
        index = np.arange(len(self.surprise))
        removed = (index >= first) & (index <= last)
        remaining = ~removed[self.pairs].any(1)
        return AnomalyScore(np.where(removed, np.nan, self.surprise), self.pairs[remaining], self.depth[remaining])


def score_anomalies(structure: Structure, spans: list[tuple[int, int]], model: LoopModel) -> AnomalyScore:
    """Surprise and overlaps of all residues; spans as in `surprise`."""
    return AnomalyScore(surprise(structure, spans, model), *overlaps(structure))


def overlaps(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Residues (p, 2) and depths (p,) in angstrom of heavy-atom overlaps between residues not adjacent in sequence."""
    radius = np.array([radius_of(str(element)) for element in structure.element])
    atoms = np.flatnonzero((radius > 0) & structure.conformer_mask & ~np.isin(structure.resname, list(WATER)))
    radius, residue = radius[atoms], structure.residue_of[atoms]
    polar = np.isin(structure.element[atoms], list(POLAR))
    if not len(atoms):
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0)
    i, j = cKDTree(structure.xyz[atoms]).query_pairs(2 * radius.max() - MIN_OVERLAP, output_type="ndarray").T
    touching = contact_distance(radius, polar, i, j)
    depth = touching - np.linalg.norm(structure.xyz[atoms[i]] - structure.xyz[atoms[j]], axis=1)
    counted = (np.abs(residue[i] - residue[j]) > 1) & (depth > MIN_OVERLAP)
    return np.stack([residue[i[counted]], residue[j[counted]]], -1), 10 * depth[counted]


def moving_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Means over `width` residues around each; NaN if at least half of them are unknown."""
    known, ones = np.isfinite(values), np.ones(width)
    # mode "same" would return the length of the longer argument, which for a short peptide is the kernel
    middle = slice((width - 1) // 2, (width - 1) // 2 + len(values))
    count = np.convolve(known, ones)[middle]
    total = np.convolve(np.where(known, values, 0.0), ones)[middle]
    return np.where(count > width / 2, total / np.maximum(count, 1), np.nan)


def find_anomalous_segments(
    anomaly: AnomalyScore, spans: list[tuple[int, int]], trigger: float
) -> list[tuple[int, int]]:
    """First and last residue of the anomalous segments, extended by one residue on both sides.

    Segments are removed in order of decreasing difficulty together with their overlaps, so that residues that only
    overlap with an anomalous segment are not reported. The ends of the spans are excluded.

    Parameters
    ----------
    anomaly : AnomalyScore
        Surprise and overlaps of the structure.
    spans : list of (int, int)
        Contiguous segments, as in `surprise`.
    trigger : float
        Smallest difficulty that is reported.
    """
    inside = np.zeros(len(anomaly.surprise), dtype=bool)
    for low, top in spans:
        inside[low : top + 1] = True
    segments: list[tuple[int, int]] = []
    while True:
        high = np.where(inside, anomaly.difficulty(SMOOTHING_WIDTH), -np.inf)
        worst = int(high.argmax())
        if not high[worst] > trigger:
            return merge_segments(segments)
        extends = (high > trigger) | (anomaly.difficulty(3) > trigger - HYSTERESIS)
        low, top = next(span for span in spans if span[0] <= worst <= span[1])
        first = last = worst
        while first > low + 1 and extends[first - 1]:
            first -= 1
        while last < top - 1 and extends[last + 1]:
            last += 1
        first, last = max(first - 1, low + 1), min(last + 1, top - 1)
        while last - first + 1 < MIN_SEGMENT and (first > low + 1 or last < top - 1):
            first, last = max(first - 1, low + 1), min(last + 1, top - 1)
        segments.append((first, last))
        anomaly = anomaly.without(min(first, worst), max(last, worst))


def merge_segments(segments: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Segments in chain order; adjacent ones are merged."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(segments):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def anomaly_threshold(intact: list[AnomalyScore], perturbed: list[tuple[AnomalyScore, int, int]]) -> float:
    """Trigger that spares `MIN_SPECIFICITY` of the intact chains, raised while it detects `MIN_SENSITIVITY` of loops.

    Parameters
    ----------
    intact : list of AnomalyScore
        Intact chains.
    perturbed : list of (AnomalyScore, int, int)
        Chains with a perturbed loop, and the first and the last residue of the loop.

    Returns
    -------
    float
        Difficulty from which a segment is reported.
    """
    intact_maxima = [anomaly.difficulty(SMOOTHING_WIDTH).max() for anomaly in intact]
    perturbed_maxima = [
        anomaly.difficulty(SMOOTHING_WIDTH)[first : last + 1].max() for anomaly, first, last in perturbed
    ]
    level = float(np.quantile(intact_maxima, MIN_SPECIFICITY))
    return max(level, float(np.quantile(perturbed_maxima, 1 - MIN_SENSITIVITY))) if perturbed_maxima else level


def window_positions(first: int, last: int) -> list[tuple[int, int]]:
    """First residues and lengths of the windows of a segment; a window needs an anchor residue at both ends."""
    low, high = first + 1, last - 1
    length = min(WINDOW_LENGTH, high - low + 1)
    if length < 2 * HALF_WINDOW + 1:
        return []
    starts = sorted({*range(low, high - length + 2, WINDOW_STRIDE), high - length + 1})
    return [(start, length) for start in starts]


def concatenate_windows(rows: list[BackboneBatch]) -> BackboneBatch:
    """Concatenate single-row pieces of equal length to one batch; the surrounding atoms are padded."""
    max_count = max(row.environment.shape[1] for row in rows)

    def padded(part: torch.Tensor) -> torch.Tensor:
        return torch.cat([part, part.new_zeros(1, max_count - part.shape[1], *part.shape[2:])], 1)

    xyz, letters, present, free = (torch.cat(parts) for parts in zip(*(row[:4] for row in rows), strict=True))
    environment, weight = (
        torch.cat([padded(part) for part in parts]) for parts in zip(*(r[4:] for r in rows), strict=True)
    )
    return BackboneBatch(xyz, letters, present, free, environment, weight)


@torch.no_grad()
def window_surprise(pieces: BackboneBatch, model: LoopModel) -> torch.Tensor:
    """Surprise (w, L) of the residues of windows, averaged over their free torsions; NaN where none is free."""
    rows, length = len(pieces.xyz), pieces.length
    state, no_innovation = model.stream.init_state(rows), torch.zeros(rows, INNOVATION_SIZE)
    zero = torch.zeros(rows, 2)
    log_densities = []
    features = [featurise(pieces, cursor, 0.0, no_innovation) for cursor in range(length)]  # of every sweep
    for step in range(WINDOW_SWEEPS * length):
        x = features[step % length].to(model.stream.enter.weight)
        x[:, TIME_COLUMN] = stream_time(step // length)
        z, state = model.stream.step(x, state)
        increments = model.decode(z).increments
        increments = type(increments)(*(part[:, HALF_WINDOW] for part in increments))
        log_densities.append(-increments.log_density(zero.to(z)))
    values = torch.stack(log_densities[-length:], 1)
    free = pieces.free.unflatten(1, (-1, 2))
    values = torch.where(free, values, 0.0).sum(-1) / free.sum(-1)
    present = pieces.present[:, FLANK:-FLANK]
    return torch.where(present & free.any(-1), values, torch.nan)

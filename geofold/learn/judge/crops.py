"""Crops of native chains in which several segments are masked at once, concatenated without padding.

Glossary: ``R`` residues of all crops of a batch. Lengths in A.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geofold.learn.data.chains import SPLITS, Chains
from geofold.learn.judge.encoder import UNKNOWN

MAX_RESIDUES = 512
"""Largest number of residues of a crop, to which longer chains are cut."""
MIN_SEGMENT, MAX_SEGMENT = 4, 16
"""Smallest and largest number of residues of a segment."""
COVERAGE = (0.1, 0.7)
"""Range of the fraction of a crop's residues in segments, drawn for each crop."""
NOISE = (0.02, 0.1)
"""Range of the standard deviation (A) of the noise on coordinates, drawn for each crop."""
HIDDEN_FRACTION = 0.05
"""Fraction of residues, in segments or not, whose amino acid is hidden from the others."""


class Crops(NamedTuple):
    """Concatenated crops.

    Attributes
    ----------
    xyz : Tensor, shape=(R, 4, 3)
        N, CA, C and O (A).
    letters : Tensor, shape=(R,)
        Index in `AMINO_ACIDS`, which is to be predicted.
    visible : Tensor, shape=(R,)
        Letters that the other residues receive: the same, or `UNKNOWN`.
    masked : Tensor, shape=(R,)
        Whether the residue is in a segment.
    sizes : tuple of int
        Residues of each crop.
    """

    xyz: Tensor
    letters: Tensor
    visible: Tensor
    masked: Tensor
    sizes: tuple[int, ...]

    def to(self, device: str) -> Crops:
        """Copy the crops to a device."""
        xyz, letters, visible, masked, sizes = self
        return Crops(xyz.to(device), letters.to(device), visible.to(device), masked.to(device), sizes)


def epoch_batches(chains: Chains, split: str, size: int) -> int:
    """Count the batches of about `size` residues in a split."""
    lengths = chains.length[_usable_chains(chains, split)].clip(max=MAX_RESIDUES)
    return -(-int(lengths.sum()) // size)


def _usable_chains(chains: Chains, split: str) -> NDArray[np.int64]:
    """Chains of a split that are long enough for a segment."""
    return np.flatnonzero((chains.split == SPLITS.index(split)) & (chains.length >= MIN_SEGMENT + 2))


def make_batch(chains: Chains, split: str, number: int, *, size: int, seed: int) -> Crops:
    """Make a training batch by its number; each epoch visits all chains once, in an order of its own.

    Parameters
    ----------
    chains : Chains
        The data.
    split : str
        One of `SPLITS`.
    number : int
        Number of the batch, counted through all epochs.
    size : int
        Residues of a batch, on average; at least `MAX_RESIDUES`, so that no batch is empty.
    seed : int
        Seed of order, segments and noise.
    """
    epoch, place = divmod(number, epoch_batches(chains, split, size))
    rows = np.random.default_rng([seed, epoch]).permutation(_usable_chains(chains, split))
    lengths = chains.length[rows].clip(max=MAX_RESIDUES)
    rows = rows[(np.cumsum(lengths) - lengths) // size == place]
    generator = np.random.default_rng([seed, epoch, place])
    return concatenate([_crop(chains, int(row), generator) for row in rows])


def evaluation_crops(chains: Chains, split: str, *, count: int, coverage: float, seed: int = 0) -> list[Crops]:
    """Make one crop of each of some chains of a split, without noise.

    Parameters
    ----------
    chains : Chains
        The data.
    split : str
        One of `SPLITS`.
    count : int
        Largest number of chains.
    coverage : float
        Fraction of residues in segments.
    seed : int
        Seed of chains and segments.
    """
    generator = np.random.default_rng([seed, 2])
    return [
        concatenate([_crop(chains, int(row), generator, coverage=coverage)])
        for row in draw_chains(chains, split, count, seed)
    ]


def draw_chains(chains: Chains, split: str, count: int, seed: int) -> NDArray[np.int64]:
    """Draw up to `count` chains of a split without replacement.

    Parameters
    ----------
    chains : Chains
        The data.
    split : str
        One of `SPLITS`.
    count : int
        Largest number of chains.
    seed : int
        Seed of the draw.
    """
    return np.random.default_rng([seed, 1]).permutation(_usable_chains(chains, split))[:count]


Crop = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]


def _crop(chains: Chains, row: int, generator: np.random.Generator, *, coverage: float | None = None) -> Crop:
    """Cut a crop with segments out of a chain; without noise and with all letters visible if the coverage is given."""
    start, length = int(chains.start[row]), int(chains.length[row])
    size = min(length, MAX_RESIDUES)
    first = int(generator.integers(length - size + 1))
    xyz = chains.xyz(row)[first : first + size]
    letters = chains.residue[start + first : start + first + size]
    if coverage is not None:
        return xyz.astype(np.float32), letters, letters, draw_segments(size, coverage, generator)
    xyz = xyz + generator.normal(size=xyz.shape) * generator.uniform(*NOISE)
    visible = np.where(generator.random(size) < HIDDEN_FRACTION, UNKNOWN, letters).astype(np.uint8)
    return xyz.astype(np.float32), letters, visible, draw_segments(size, generator.uniform(*COVERAGE), generator)


def draw_segments(size: int, coverage: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a mask (size,) of segments with at least one residue between them and at either end."""
    target, lengths = coverage * size, list[int]()
    while not lengths or sum(lengths) < target:
        lengths.append(min(int(generator.integers(MIN_SEGMENT, MAX_SEGMENT + 1)), size - 2))
    while sum(lengths) + len(lengths) + 1 > size and len(lengths) > 1:
        lengths.pop()
    free = size - sum(lengths) - len(lengths) - 1
    cuts = np.sort(generator.integers(0, free + 1, size=len(lengths)))
    gaps = np.diff(cuts, prepend=0) + 1
    masked = np.zeros(size, dtype=bool)
    at = 0
    for gap, length in zip(gaps, lengths, strict=True):
        at += int(gap)
        masked[at : at + length] = True
        at += length
    return masked


def concatenate(crops: list[Crop]) -> Crops:
    """Concatenate crops."""
    xyz, letters, visible, masked = (torch.as_tensor(np.concatenate(part)) for part in zip(*crops, strict=True))
    return Crops(xyz, letters.long(), visible.long(), masked, tuple(len(crop[0]) for crop in crops))

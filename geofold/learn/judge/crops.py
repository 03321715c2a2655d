"""Pieces of native chains in which several segments play the loop at once, packed end to end without padding.

Glossary: ``R`` residues of all crops of a batch end to end. Lengths in A.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geofold.learn.data.chains import SPLITS, Chains
from geofold.learn.judge.encoder import UNKNOWN

LONGEST = 512
"""Residues of a crop, at most; longer chains are cut to a stretch of so many."""
SHORT, LONG = 4, 16
"""Residues of a segment, at least and at most."""
COVERAGE = (0.1, 0.7)
"""Share of a crop's residues that are in segments: drawn for each crop between these."""
NOISE = (0.02, 0.1)
"""A: standard deviation of the noise on coordinates, drawn for each crop between these."""


HIDDEN = 0.05
"""Share of residues, in segments or not, whose amino acid is not shown to others."""


class Crops(NamedTuple):
    """Crops end to end.

    Attributes
    ----------
    xyz : Tensor, shape=(R, 4, 3)
        N, CA, C and O (A).
    letters : Tensor, shape=(R,)
        Index in `AMINO_ACIDS`: what is to be predicted.
    shown : Tensor, shape=(R,)
        The letters that others see: the same ones, or `UNKNOWN`.
    masked : Tensor, shape=(R,)
        Whether the residue is in a segment.
    sizes : tuple of int
        Residues of each crop.
    """

    xyz: Tensor
    letters: Tensor
    shown: Tensor
    masked: Tensor
    sizes: tuple[int, ...]

    def to(self, device: str) -> Crops:
        """Return the same on a device."""
        xyz, letters, shown, masked, sizes = self
        return Crops(xyz.to(device), letters.to(device), shown.to(device), masked.to(device), sizes)


def epoch_batches(chains: Chains, split: str, size: int) -> int:
    """Batches of about `size` residues that go once through a split."""
    lengths = chains.length[_rows(chains, split)].clip(max=LONGEST)
    return -(-int(lengths.sum()) // size)


def _rows(chains: Chains, split: str) -> NDArray[np.int64]:
    """Chains of a split that are long enough for a segment."""
    return np.flatnonzero((chains.split == SPLITS.index(split)) & (chains.length >= SHORT + 2))


def batch_of(chains: Chains, split: str, number: int, *, size: int, seed: int) -> Crops:
    """Return a batch of the training by its number; each epoch goes once through all chains, in an order of its own.

    Parameters
    ----------
    size : int
        Residues of a batch, on average; at least `LONGEST`, so that no batch is empty.
    """
    epoch, place = divmod(number, epoch_batches(chains, split, size))
    rows = np.random.default_rng([seed, epoch]).permutation(_rows(chains, split))
    lengths = chains.length[rows].clip(max=LONGEST)
    chosen = rows[(np.cumsum(lengths) - lengths) // size == place]
    noise = np.random.default_rng([seed, epoch, place])
    return pack([_crop(chains, int(row), noise) for row in chosen])


def held_out(chains: Chains, split: str, *, count: int, coverage: float, seed: int = 0) -> list[Crops]:
    """Crops of chains of a split, one a chain, without noise; the same ones for the same arguments."""
    noise = np.random.default_rng([seed, 2])
    return [pack([_crop(chains, int(row), noise, coverage=coverage)]) for row in chosen(chains, split, count, seed)]


def chosen(chains: Chains, split: str, count: int, seed: int) -> NDArray[np.int64]:
    """Chains of a split, at most `count`, drawn without replacement."""
    return np.random.default_rng([seed, 1]).permutation(_rows(chains, split))[:count]


Crop = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]


def _crop(chains: Chains, row: int, noise: np.random.Generator, *, coverage: float | None = None) -> Crop:
    """Cut a crop with segments out of a chain; without noise and with all letters visible if the coverage is given."""
    start, length = int(chains.start[row]), int(chains.length[row])
    size = min(length, LONGEST)
    first = int(noise.integers(length - size + 1))
    xyz = chains.xyz(row)[first : first + size]
    letters = chains.residue[start + first : start + first + size]
    if coverage is not None:
        return xyz.astype(np.float32), letters, letters, segments(size, coverage, noise)
    xyz = xyz + noise.normal(size=xyz.shape) * noise.uniform(*NOISE)
    shown = np.where(noise.random(size) < HIDDEN, UNKNOWN, letters).astype(np.uint8)
    return xyz.astype(np.float32), letters, shown, segments(size, noise.uniform(*COVERAGE), noise)


def segments(size: int, coverage: float, noise: np.random.Generator) -> NDArray[np.bool_]:
    """Residues (size,) that are in segments, which have at least one residue between them and at either end."""
    target, lengths = coverage * size, list[int]()
    while not lengths or sum(lengths) < target:
        lengths.append(min(int(noise.integers(SHORT, LONG + 1)), size - 2))
    while sum(lengths) + len(lengths) + 1 > size and len(lengths) > 1:
        lengths.pop()
    free = size - sum(lengths) - len(lengths) - 1
    cuts = np.sort(noise.integers(0, free + 1, size=len(lengths)))
    gaps = np.diff(cuts, prepend=0) + 1
    masked = np.zeros(size, dtype=bool)
    at = 0
    for gap, length in zip(gaps, lengths, strict=True):
        at += int(gap)
        masked[at : at + length] = True
        at += length
    return masked


def pack(crops: list[Crop]) -> Crops:
    """Crops end to end."""
    xyz, letters, shown, masked = (torch.as_tensor(np.concatenate(part)) for part in zip(*crops, strict=True))
    return Crops(xyz, letters.long(), shown.long(), masked, tuple(len(crop[0]) for crop in crops))

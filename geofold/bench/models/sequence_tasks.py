"""Tasks for sequence models: torsions of real chains, selective copying and associative recall.

Glossary: ``T`` steps, ``B`` rows, ``F`` features, ``V`` symbols, ``K`` components of a mixture. Every task has
batches of inputs (T, B, F) and a loss of outputs (T, B, `outputs`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geofold.learn.data.chains import AMINO_ACIDS, Chains

COMPONENTS = 8


class Batch(NamedTuple):
    """Inputs (T, B, F), targets (T, B, ...), and mask (T, B) of the positions that count."""

    inputs: Tensor
    targets: Tensor
    counts: Tensor


class Task(Protocol):
    """Makes batches and evaluates outputs."""

    name: str

    @property
    def features(self) -> int:
        """Number of input features F."""

    @property
    def outputs(self) -> int:
        """Number of outputs per step."""

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Make batch `number` of a split; the same number gives the same batch."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean negative log-likelihood (nat) over the positions that count."""

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """Figure of the table: nat for densities, accuracy for symbols."""


def mixture_log_likelihood(outputs: Tensor, angles: Tensor) -> Tensor:
    """Log density (...) of pairs of angles (..., 2) under mixtures of products of von Mises densities (..., 7 K)."""
    weight, direction, spread = outputs.split([COMPONENTS, 4 * COMPONENTS, 2 * COMPONENTS], -1)
    direction = direction.unflatten(-1, (COMPONENTS, 2, 2))
    mean = torch.atan2(direction[..., 1], direction[..., 0] + 1e-6)
    kappa = torch.nn.functional.softplus(spread.unflatten(-1, (COMPONENTS, 2))) + 1e-3
    # log I0 by its scaled form: no overflow
    each = kappa * (torch.cos(angles[..., None, :] - mean) - 1) - torch.log(torch.special.i0e(kappa))
    joint = each.sum(-1) - 2 * math.log(2 * math.pi)
    return torch.logsumexp(joint + weight.log_softmax(-1), -1)


@dataclass
class Torsions:
    """Prediction of phi and psi of each residue from the sequence up to it and all torsions before it."""

    chains: Chains
    size: int = 128
    name: str = "torsions"
    features: int = len(AMINO_ACIDS) + 5
    outputs: int = 7 * COMPONENTS
    _starts: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Draw windows of a split."""
        if split not in self._starts:
            self._starts[split] = self.chains.windows(split, self.size)
        starts = self._starts[split]
        selected = starts[np.random.default_rng([7, number]).integers(len(starts), size=rows)]
        index = selected + np.arange(self.size)[:, None]
        angles = torch.as_tensor(self.chains.torsions[index][..., :2])
        letters = torch.nn.functional.one_hot(torch.as_tensor(self.chains.residue[index]).long(), len(AMINO_ACIDS))
        is_known = angles.isfinite().all(-1)
        previous = torch.cat([angles[:1] * torch.nan, angles[:-1]])
        is_given = previous.isfinite().all(-1, keepdim=True)
        circles = torch.cat([previous.sin(), previous.cos()], -1).nan_to_num(0.0)
        inputs = torch.cat([letters.float(), circles * is_given, is_given.float()], -1)
        return Batch(inputs, angles.nan_to_num(0.0), is_known)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean negative log-likelihood (nat) of a residue."""
        return -mixture_log_likelihood(outputs, batch.targets)[batch.counts].mean()

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """Mean negative log-likelihood (nat) of a residue, as a number."""
        return float(self.loss(outputs, batch))


@dataclass
class Classification:
    """Base of the tasks whose answers are one of `symbols` classes."""

    symbols: int
    name: str
    size: int

    @property
    def outputs(self) -> int:
        """Number of outputs, one for each class."""
        return self.symbols

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy (nat) over the positions that count."""
        return torch.nn.functional.cross_entropy(outputs[batch.counts], batch.targets[batch.counts])

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """Fraction of right answers."""
        return float((outputs.argmax(-1) == batch.targets)[batch.counts].float().mean())


@dataclass
class Symbols(Classification, ABC):
    """Base of the tasks that show symbols and ask for symbols."""

    @property
    def features(self) -> int:
        """Number of inputs: one for each symbol, a blank and a cue."""
        return self.symbols + 2

    @abstractmethod
    def _draw(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw symbols shown (T, B), target symbols (T, B), and the mask (T, B) of the positions that count."""

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Draw sequences; the splits have different ones."""
        noise = torch.Generator().manual_seed(1_000_003 * number + (0 if split == "train" else 1))
        shown, targets, counts = self._draw(noise, rows)
        return Batch(torch.nn.functional.one_hot(shown, self.features).float(), targets, counts)


@dataclass
class SelectiveCopying(Symbols):
    """A few symbols among blanks, to be repeated in order at the end (Gu and Dao, Mamba, section 4.1)."""

    symbols: int = 8
    name: str = "copying"
    size: int = 64
    copied: int = 8

    def _draw(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        blank, cue = self.symbols, self.symbols + 1
        symbols_shown = torch.randint(self.symbols, (self.copied, rows), generator=noise)
        positions = torch.rand(self.size, rows, generator=noise).argsort(0)[: self.copied].sort(0).values
        shown = torch.full((self.size + self.copied, rows), blank)
        shown.scatter_(0, positions, symbols_shown)
        shown[self.size :] = cue
        targets = torch.zeros_like(shown)
        targets[self.size :] = symbols_shown
        counts = torch.zeros_like(shown, dtype=torch.bool)
        counts[self.size :] = True
        return shown, targets, counts


@dataclass
class AssociativeRecall(Symbols):
    """Pairs of a key and a value, blanks, then keys whose values are to be recalled (Arora et al., Zoology, 2023)."""

    symbols: int = 32
    name: str = "recall"
    size: int = 8
    questions_asked: int = 4
    gap: int = 0

    def _draw(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        half = self.symbols // 2
        keys = torch.rand(half, rows, generator=noise).argsort(0)[: self.size]
        values = half + torch.randint(half, keys.shape, generator=noise)
        pairs = torch.stack([keys, values], 1).flatten(0, 1)
        recalled = torch.rand(self.size, rows, generator=noise).argsort(0)[: self.questions_asked]
        answers = values.gather(0, recalled)
        # each question is followed by its answer, as in the pairs; the target is the value at the step of its key
        questions = torch.stack([keys.gather(0, recalled), answers], 1).flatten(0, 1)
        shown = torch.cat([pairs, torch.full((self.gap, rows), self.symbols), questions])
        targets, counts = torch.zeros_like(shown), torch.zeros_like(shown, dtype=torch.bool)
        first = len(pairs) + self.gap
        targets[first::2], counts[first::2] = answers, True
        return shown, targets, counts


@dataclass
class RecallOverGaps(AssociativeRecall):
    """Associative recall that is trained with several gaps in turn."""

    symbols: int = 16
    size: int = 4
    gaps: tuple[int, ...] = (0,)

    def of(self, gap: int) -> AssociativeRecall:
        """Task with one gap."""
        return AssociativeRecall(symbols=self.symbols, size=self.size, gap=gap)

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Draw sequences with the gap of this batch."""
        return self.of(self.gaps[number % len(self.gaps)]).batch(split, number, rows)


TRAINING_IMAGES = 1397
"""Number of the 1,797 images that are trained on; the others are the validation split."""


@dataclass
class SequentialDigits(Classification):
    """Images of digits, 8 x 8 pixels of scikit-learn's `load_digits`, read pixel by pixel; named after the last one."""

    symbols: int = 10
    name: str = "digits"
    size: int = 64
    features: int = 1

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Draw images of a split."""
        pixels, digits = _digits()
        of_split = slice(TRAINING_IMAGES) if split == "train" else slice(TRAINING_IMAGES, None)
        pixels, digits = pixels[of_split], digits[of_split]
        chosen = torch.as_tensor(np.random.default_rng([11, number]).integers(len(digits), size=rows))
        targets = digits[chosen].expand(self.size, rows)
        counts = torch.zeros(self.size, rows, dtype=torch.bool)
        counts[-1] = True
        return Batch(pixels[chosen].T[..., None], targets, counts)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """Pixels (1797, 64) between 0 and 1, and digits (1797,), in random order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return torch.as_tensor(data.data[order] / 16, dtype=torch.float32), torch.as_tensor(data.target[order]).long()

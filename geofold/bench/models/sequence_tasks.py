"""Tasks for sequence models: torsions of real chains, selective copying and associative recall.

Glossary: ``T`` steps, ``B`` rows, ``F`` features, ``V`` symbols, ``K`` components of a mixture. Every task has
batches of inputs (T, B, F) and a loss of outputs (T, B, `outputs`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
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
class Symbols(ABC):
    """Base of the tasks whose answers are symbols."""

    symbols: int
    name: str
    size: int

    @property
    def features(self) -> int:
        """Number of inputs: one for each symbol, a blank and a cue."""
        return self.symbols + 2

    @property
    def outputs(self) -> int:
        """Number of outputs, one for each symbol."""
        return self.symbols

    @abstractmethod
    def _draw(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw symbols shown (T, B), target symbols (T, B), and the mask (T, B) of the positions that count."""

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Draw sequences; the splits have different ones."""
        noise = torch.Generator().manual_seed(1_000_003 * number + (0 if split == "train" else 1))
        shown, targets, counts = self._draw(noise, rows)
        return Batch(torch.nn.functional.one_hot(shown, self.features).float(), targets, counts)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy (nat) over the positions that count."""
        return torch.nn.functional.cross_entropy(outputs[batch.counts], batch.targets[batch.counts])

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """Fraction of right answers."""
        return float((outputs.argmax(-1) == batch.targets)[batch.counts].float().mean())


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
    """Pairs of a key and a value, then keys whose values are to be recalled (Arora et al., Zoology, 2023)."""

    symbols: int = 32
    name: str = "recall"
    size: int = 8
    questions_asked: int = 4

    def _draw(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        half = self.symbols // 2
        keys = torch.rand(half, rows, generator=noise).argsort(0)[: self.size]
        values = half + torch.randint(half, keys.shape, generator=noise)
        pairs = torch.stack([keys, values], 1).flatten(0, 1)
        recalled = torch.rand(self.size, rows, generator=noise).argsort(0)[: self.questions_asked]
        answers = values.gather(0, recalled)
        # each question is followed by its answer, as in the pairs; the target is the value at the step of its key
        questions = torch.stack([keys.gather(0, recalled), answers], 1).flatten(0, 1)
        shown = torch.cat([pairs, questions])
        targets, counts = torch.zeros_like(shown), torch.zeros_like(shown, dtype=torch.bool)
        targets[len(pairs) :: 2], counts[len(pairs) :: 2] = answers, True
        return shown, targets, counts

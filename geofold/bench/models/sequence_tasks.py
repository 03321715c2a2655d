"""What sequence models are tried on: torsions of real chains, selective copying and associative recall.

Glossary: ``T`` steps, ``B`` rows, ``F`` features, ``V`` symbols, ``K`` components of a mixture. Every task gives
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
    """Inputs (T, B, F), what is wanted (T, B, ...) and where it counts (T, B), bool."""

    inputs: Tensor
    wanted: Tensor
    counts: Tensor


class Task(Protocol):
    """A source of batches and a judge of outputs."""

    name: str

    @property
    def features(self) -> int:
        """F."""

    @property
    def outputs(self) -> int:
        """Numbers that an output has."""

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Batch `number` of a split, the same for the same number."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean negative log-likelihood in nat where it counts."""

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """The figure that is reported."""


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
    """phi and psi of each residue, given the sequence up to it and all torsions before it."""

    chains: Chains
    size: int = 128
    name: str = "torsions"
    features: int = len(AMINO_ACIDS) + 5
    outputs: int = 7 * COMPONENTS
    _starts: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Windows of one split, drawn by number."""
        if split not in self._starts:
            self._starts[split] = self.chains.windows(split, self.size)
        starts = self._starts[split]
        chosen = starts[np.random.default_rng([7, number]).integers(len(starts), size=rows)]
        place = chosen + np.arange(self.size)[:, None]
        angles = torch.as_tensor(self.chains.torsions[place][..., :2])
        letters = torch.nn.functional.one_hot(torch.as_tensor(self.chains.residue[place]).long(), len(AMINO_ACIDS))
        known = angles.isfinite().all(-1)
        past = torch.cat([angles[:1] * torch.nan, angles[:-1]])
        told = past.isfinite().all(-1, keepdim=True)
        circles = torch.cat([past.sin(), past.cos()], -1).nan_to_num(0.0)
        inputs = torch.cat([letters.float(), circles * told, told.float()], -1)
        return Batch(inputs, angles.nan_to_num(0.0), known)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Negative log-likelihood of a residue."""
        return -mixture_log_likelihood(outputs, batch.wanted)[batch.counts].mean()

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """The same."""
        return float(self.loss(outputs, batch))


@dataclass
class Symbols(ABC):
    """Tasks whose answers are symbols."""

    symbols: int
    name: str
    size: int

    @property
    def features(self) -> int:
        """One for each symbol, and a blank and a cue."""
        return self.symbols + 2

    @property
    def outputs(self) -> int:
        """One for each symbol."""
        return self.symbols

    @abstractmethod
    def _drawn(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols shown (T, B), symbols wanted (T, B), and where they count (T, B)."""

    def batch(self, split: str, number: int, rows: int) -> Batch:
        """Sequences drawn by number; splits differ."""
        noise = torch.Generator().manual_seed(1_000_003 * number + (0 if split == "train" else 1))
        shown, wanted, counts = self._drawn(noise, rows)
        return Batch(torch.nn.functional.one_hot(shown, self.features).float(), wanted, counts)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy."""
        return torch.nn.functional.cross_entropy(outputs[batch.counts], batch.wanted[batch.counts])

    def score(self, outputs: Tensor, batch: Batch) -> float:
        """Share of right answers."""
        return float((outputs.argmax(-1) == batch.wanted)[batch.counts].float().mean())


@dataclass
class SelectiveCopying(Symbols):
    """A few symbols strewn among blanks, to be repeated in order at the end (Gu and Dao, Mamba, section 4.1)."""

    symbols: int = 8
    name: str = "copying"
    size: int = 64
    kept: int = 8

    def _drawn(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        blank, cue = self.symbols, self.symbols + 1
        said = torch.randint(self.symbols, (self.kept, rows), generator=noise)
        where = torch.rand(self.size, rows, generator=noise).argsort(0)[: self.kept].sort(0).values
        shown = torch.full((self.size + self.kept, rows), blank)
        shown.scatter_(0, where, said)
        shown[self.size :] = cue
        wanted = torch.zeros_like(shown)
        wanted[self.size :] = said
        counts = torch.zeros_like(shown, dtype=torch.bool)
        counts[self.size :] = True
        return shown, wanted, counts


@dataclass
class AssociativeRecall(Symbols):
    """Pairs of a key and a value, then keys again whose values are asked for (Arora et al., Zoology, 2023)."""

    symbols: int = 32
    name: str = "recall"
    size: int = 8
    asked: int = 4

    def _drawn(self, noise: torch.Generator, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        half = self.symbols // 2
        keys = torch.rand(half, rows, generator=noise).argsort(0)[: self.size]
        values = half + torch.randint(half, keys.shape, generator=noise)
        pairs = torch.stack([keys, values], 1).flatten(0, 1)
        again = torch.rand(self.size, rows, generator=noise).argsort(0)[: self.asked]
        answers = values.gather(0, again)
        # each question is followed by its answer, as pairs were: the value is wanted when its key is seen
        questions = torch.stack([keys.gather(0, again), answers], 1).flatten(0, 1)
        shown = torch.cat([pairs, questions])
        wanted, counts = torch.zeros_like(shown), torch.zeros_like(shown, dtype=torch.bool)
        wanted[len(pairs) :: 2], counts[len(pairs) :: 2] = answers, True
        return shown, wanted, counts

"""Streams that a gate learns from: loops of packed training chains, bent or as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geofold.core.controller import Controller
from geofold.core.gate import Gate
from geofold.errors import GeofoldError
from geofold.learn.data.chains import SPLITS, Chains
from geofold.learn.gate import GateCase
from geofold.molecule.datasets.loop_windows import IRREGULAR, draw_loop
from geofold.molecule.datasets.packed_chains import PackedChains, packed_structure
from geofold.molecule.loop.domain import LoopDomain, LoopState
from geofold.molecule.loop.perturbation import bend
from geofold.molecule.loop.predictor import LoopSense
from geofold.molecule.structure import Structure

INTACT = 0.3
"""Share of loops that are not bent: there nothing should be spent."""
TARGET_RMSD = (0.5, 5.0)
TRIES = 200
FLOOR = 0.1
"""Of the loss and of the square distance, whose logarithms count: below it a loop is as good as it gets."""
MAX_RESIDUES = 600
"""Residues; longer chains are left out."""


@dataclass(frozen=True)
class BentLoop:
    """A loop of the data: number, chain, first residue, length, and how far it is bent (A; zero: not at all)."""

    number: int
    chain: int
    first: int
    length: int
    target: float

    @property
    def name(self) -> str:
        """For records."""
        return f"{self.number:03d}_{self.chain}_{self.first}_{self.length}"

    @property
    def last(self) -> int:
        """Last residue."""
        return self.first + self.length - 1


def choose_loops(
    chains: Chains, packed: PackedChains, split: str, count: int, *, seed: int = 11,
    lengths: tuple[int, ...] = (8, 12), bent: tuple[float, float] = (2.0, 5.0), intact: float = 0.0,
    most: int = MAX_RESIDUES, irregular: float = IRREGULAR,
) -> Iterator[BentLoop]:  # fmt: skip
    """Loops of the packed chains of a split, by turns, the same ones every time; none if it has no chain."""
    own = [int(c) for c in packed.chain if chains.split[c] == SPLITS.index(split) and chains.length[c] <= most]
    for number in range(count if own else 0):
        noise = np.random.default_rng([seed, number])
        chain, length = own[number % len(own)], lengths[number % len(lengths)]
        for _ in range(TRIES):
            place = draw_loop(chains, chain, noise, (length, length), irregular)
            if place is not None:
                target = float(noise.uniform(*bent))
                yield BentLoop(number, chain, place[0], length, 0.0 if intact and noise.random() < intact else target)
                break


def perturb_structure(native: Structure, episode: BentLoop) -> Structure:
    """A native with the episode's loop bent closed."""
    if episode.target == 0.0:
        return native
    xyz = bend(native, episode.first, episode.last, seed=episode.number, target=episode.target)
    return replace(native, xyz=xyz)


def perturbed_structures(
    chains: Chains, packed: PackedChains, split: str, count: int, *, seed: int = 11
) -> Iterator[tuple[Structure, BentLoop]]:
    """Whole proteins with one bent loop, of the episodes of a split; loops that cannot be bent are left out."""
    for episode in choose_loops(chains, packed, split, count, seed=seed):
        try:
            yield perturb_structure(packed_structure(chains, packed, episode.chain), episode), episode
        except GeofoldError:
            continue


def domain_with_features(structure: Structure, first: int, last: int) -> LoopDomain:
    """Domain of a loop that the loop model can see."""
    domain = LoopDomain.of(structure, first, last)
    return replace(domain, sense=LoopSense.of(structure, domain.fold))


def gate_cases(
    chains: Chains, packed: PackedChains, split: str, count: int, controller: Callable[[LoopDomain, Gate], Controller],
    gate: Gate, *, sweeps: int, seed: int,
) -> Iterator[GateCase]:  # fmt: skip
    """Streams of one row each over loops of a split; a sweep is a span, the task is to end near the native and clean.

    Parameters
    ----------
    controller
        Parts for a domain and a gate.
    """
    for episode in choose_loops(
        chains, packed, split, count, seed=seed, lengths=(6, 8, 10, 12), bent=TARGET_RMSD, intact=INTACT
    ):  # fmt: skip
        native = packed_structure(chains, packed, episode.chain)
        try:
            structure = perturb_structure(native, episode)
            domain = domain_with_features(structure, episode.first, episode.last)
        except GeofoldError:
            continue
        parts = controller(domain, gate)
        start = parts.init(domain, domain.start(structure.xyz))
        steps = sweeps * domain.length
        yield GateCase(parts, domain, start, domain.goal, steps, domain.length, task_loss_of(domain, native.xyz))


def task_loss_of(domain: LoopDomain, native: np.ndarray) -> Callable[[LoopState], Tensor]:
    """Task loss (B,) of states: log of the loss, and of the mean square distance (A^2) of the loop from its native."""
    assert domain.sense is not None
    local = domain.sense.local[domain.sense.local >= 0]
    truth = torch.as_tensor(native)[domain.fold.kin.atoms.cpu()].to(domain.fold.weight)[local]

    def judge(state: LoopState) -> Tensor:
        apart = 100 * (state.fold.xyz[:, local] - truth).square().sum(-1).mean(-1)
        return torch.log(domain.worth(state) + FLOOR) + torch.log(apart + FLOOR)

    return judge

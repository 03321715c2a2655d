"""Perturbed and native loops of packed training chains: benchmark episodes, and streams that a gate learns from."""

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
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.loop.predictor import LoopFeatures
from geofold.molecule.loop.state import LoopState
from geofold.molecule.structure import Structure

INTACT = 0.3
"""Fraction of the loops of a gate's training that are left native: there no correction should be spent."""
GATE_LENGTHS = (6, 8, 10, 12)
TARGET_RMSD = (0.5, 5.0)
"""Range of the backbone RMSD (A) of perturbed loops in a gate's training."""
TRIES = 200
FLOOR = 0.1
"""Added to the loss and to the square distance (A^2) before the logarithm, so that smaller values do not count."""
MAX_RESIDUES = 600
"""Longest chain that is used."""


@dataclass(frozen=True)
class PerturbedLoop:
    """A loop of the data and its perturbation.

    Attributes
    ----------
    number, chain, first, length : int
        Number of the loop, its chain, first residue and length.
    target : float
        Backbone RMSD (A) of the perturbation; zero leaves the loop native.
    """

    number: int
    chain: int
    first: int
    length: int
    target: float

    @property
    def name(self) -> str:
        """Name in records."""
        return f"{self.number:03d}_{self.chain}_{self.first}_{self.length}"

    @property
    def last(self) -> int:
        """Last residue."""
        return self.first + self.length - 1


def choose_loops(
    chains: Chains,
    packed: PackedChains,
    split: str,
    count: int,
    *,
    seed: int = 11,
    lengths: tuple[int, ...] = (8, 12),
    rmsd_range: tuple[float, float] = (2.0, 5.0),
    intact: float = 0.0,
    max_residues: int = MAX_RESIDUES,
    irregular: float = IRREGULAR,
) -> Iterator[PerturbedLoop]:
    """Choose loops of the packed chains of a split; the same arguments give the same loops, and none without chains.

    Parameters
    ----------
    chains, packed : Chains, PackedChains
        The data.
    split : str
        One of `SPLITS`.
    count : int
        Number of loops; loops that are not found in `TRIES` draws are left out.
    seed : int
        Seed of the choice.
    lengths : tuple of int
        Lengths, cyclically.
    rmsd_range : (float, float)
        Range of the RMSD (A) of the perturbation.
    intact : float
        Fraction of loops that are left native.
    max_residues : int
        Longest chain (residues).
    irregular : float
        Minimum fraction of residues outside helices and strands.
    """
    usable = [
        int(c) for c in packed.chain if chains.split[c] == SPLITS.index(split) and chains.length[c] <= max_residues
    ]
    for number in range(count if usable else 0):
        generator = np.random.default_rng([seed, number])
        chain, length = usable[number % len(usable)], lengths[number % len(lengths)]
        for _ in range(TRIES):
            position = draw_loop(chains, chain, generator, (length, length), irregular)
            if position is not None:
                target = float(generator.uniform(*rmsd_range))
                yield PerturbedLoop(
                    number, chain, position[0], length, 0.0 if intact and generator.random() < intact else target
                )
                break


def perturb_structure(native: Structure, loop: PerturbedLoop) -> Structure:
    """Return a native structure with its loop perturbed under closure."""
    if loop.target == 0.0:
        return native
    xyz = perturb_loop(native, loop.first, loop.last, seed=loop.number, target=loop.target)
    return replace(native, xyz=xyz)


def perturbed_structures(
    chains: Chains, packed: PackedChains, split: str, count: int, *, seed: int = 11
) -> Iterator[tuple[Structure, PerturbedLoop]]:
    """Proteins with one perturbed loop each; loops that cannot be perturbed are left out.

    Parameters
    ----------
    chains, packed, split, count, seed
        See `choose_loops`.
    """
    for loop in choose_loops(chains, packed, split, count, seed=seed):
        try:
            yield perturb_structure(packed_structure(chains, packed, loop.chain), loop), loop
        except GeofoldError:
            continue


def domain_with_features(structure: Structure, first: int, last: int) -> LoopDomain:
    """Domain of residues `first` to `last` with the features of the loop model."""
    domain = LoopDomain.of(structure, first, last)
    return replace(domain, features=LoopFeatures.of(structure, domain.decoder))


def gate_cases(
    chains: Chains,
    packed: PackedChains,
    split: str,
    count: int,
    controller: Callable[[LoopDomain, Gate], Controller],
    gate: Gate,
    *,
    sweeps: int,
    seed: int,
) -> Iterator[GateCase]:
    """Streams of one row each over loops of a split; a span is one sweep, the task is to end near the native and clean.

    Parameters
    ----------
    chains, packed, split, count, seed
        See `choose_loops`.
    controller : callable
        Makes a controller for a domain and a gate.
    gate : Gate
        The gate of the controller.
    sweeps : int
        Sweeps over each loop.
    """
    loops = choose_loops(
        chains, packed, split, count, seed=seed, lengths=GATE_LENGTHS, rmsd_range=TARGET_RMSD, intact=INTACT
    )
    for loop in loops:
        native = packed_structure(chains, packed, loop.chain)
        try:
            structure = perturb_structure(native, loop)
            domain = domain_with_features(structure, loop.first, loop.last)
        except GeofoldError:
            continue
        loop_controller = controller(domain, gate)
        start = loop_controller.init(domain, domain.start(structure.xyz))
        steps = sweeps * domain.length
        yield GateCase(
            loop_controller, domain, start, domain.goal, steps, domain.length, task_loss_of(domain, native.xyz)
        )


def task_loss_of(domain: LoopDomain, native: np.ndarray) -> Callable[[LoopState], Tensor]:
    """Task loss (B,) of states: log of the loss plus log of the loop's mean square distance (A^2) from the native."""
    assert domain.features is not None
    local = domain.features.local[domain.features.local >= 0]
    native_xyz = torch.as_tensor(native)[domain.decoder.kinematics.atoms.cpu()].to(domain.decoder.weight)[local]

    def task_loss(state: LoopState) -> Tensor:
        distance = 100 * (state.conformation.xyz[:, local] - native_xyz).square().sum(-1).mean(-1)
        return torch.log(domain.cost(state) + FLOOR) + torch.log(distance + FLOOR)

    return task_loss

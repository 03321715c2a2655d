"""An episode of the peptide benchmark played by a stepping agent, and what is measured along its path.

Glossary: ``T`` steps made, ``m`` local atoms, ``n`` torsions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.bench.peptide.agents.agent import Agent, Choice, Stepping
from geofold.bench.peptide.episodes import Episode
from geofold.core.stream import stream
from geofold.modelling.options import TORSION_CAP
from geofold.modelling.peptide.streaming import HELD, goal_of, patience
from geofold.molecule.datasets.peptide_demonstrations import state_at
from geofold.molecule.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import Contact, parse_contact
from geofold.molecule.peptide.domain import PeptideDomain, PeptideGoal, PeptideState
from geofold.molecule.peptide.predictor import PeptideSense
from geofold.molecule.structure import Structure

LIMIT = 128
SHAKEN = np.radians(10.0)
"""Standard deviation of the torsions that a stream starts from, about the extended chain's; seed 0 starts there."""
TRIES = 50


@dataclass(frozen=True)
class Stage:
    """Where an episode is played: a structure, its domain, the start and the goal of each step."""

    structure: Structure
    domain: PeptideDomain
    start: PeptideState
    goal: Callable[[int], PeptideGoal]
    change: int = 0
    """The step at which the last goal is set; streams count from there."""


@dataclass(frozen=True)
class Played:
    """A path.

    Attributes
    ----------
    frames : (T + 1, m, 3)
        nm, the start first.
    angle : (T + 1, n)
        Torsions counted from the input's.
    held : int or None
        The first of the steps for which the last goal was held, counted from where it was set; None: never.
    inner, milliseconds : (T,)
        Corrections tried and wall clock of each step.
    """

    frames: NDArray[np.float64]
    angle: NDArray[np.float64]
    held: int | None
    inner: NDArray[np.int64]
    milliseconds: NDArray[np.float64]

    @property
    def steps(self) -> int:
        """Steps to the goal, `LIMIT` for a failure."""
        return LIMIT if self.held is None else self.held


def staged(episode: Episode, seed: int) -> Stage:
    """The stage of an episode; its start depends on the seed, and is the same for every agent."""
    structure = peptide(episode.sequence)
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1, cap=TORSION_CAP)
    domain = replace(domain, sense=PeptideSense.of(structure, domain.fold))
    contacts = [parse_contact(structure, text) for text in (episode.contact, *episode.later)]
    start = state_at(domain, structure.xyz, _shaken(domain, structure, seed, contacts[0], episode.name))
    goals = [goal_of((contact,)) for contact in contacts]
    change = episode.change if len(goals) > 1 else 0
    return Stage(structure, domain, start, lambda step: goals[-1] if step >= change else goals[0], change)


def _shaken(domain: PeptideDomain, structure: Structure, seed: int, contact: Contact, name: str) -> torch.Tensor:
    """Total increments (1, n) of the start: none for seed 0, else a clean one in which the contact is not made yet."""
    if seed == 0:
        return torch.zeros(1, len(domain.tree), dtype=torch.float64)
    noise = np.random.default_rng([seed, crc32(name.encode())])
    for _ in range(TRIES):
        angle = torch.as_tensor(SHAKEN * noise.standard_normal((1, len(domain.tree))) * domain.tree.backbone)
        state = state_at(domain, structure.xyz, angle)
        apart = float(domain.distances(state.fold.xyz, (contact,))[0, 0])
        clean = int(domain.sterics.severe(state.fold.xyz, state.pairs)[0]) == 0
        if clean and domain.angles.outliers(angle)[0] == 0 and not contact.satisfied(apart):
            return angle
    return torch.zeros(1, len(domain.tree), dtype=torch.float64)


def play(agent: Agent, stage: Stage, seed: int, options: Choice | None = None) -> Played:
    """Stream until the goal has been held for five steps, or for 128 steps after it was set."""
    parts: Any = agent.parts(stage.domain, seed, agent.chosen() if options is None else options)
    return walked(parts, stage, seed, agent.thorough)


def walked(parts: Stepping, stage: Stage, seed: int, thorough: Callable[[Any], Any] | None = None) -> Played:
    """A path of given parts; rows that are stuck are kicked, the same for every agent."""
    domain, start = stage.domain, stage.start
    frames, angle = [start.fold.xyz[0].numpy()], [start.fold.angle[0].numpy()]
    inner, clock, held = [], [], 0
    later = parts if thorough is None else thorough(parts)
    steps = stream(
        parts,  # type: ignore[arg-type]
        domain,
        parts.init(domain, start),
        stage.goal,
        patience=patience(),
        thorough=later,  # type: ignore[arg-type]
        seed=seed,
    )
    for number, (state, info) in enumerate(islice(steps, stage.change + LIMIT)):
        frames.append(state.domain.fold.xyz[0].numpy())
        angle.append(state.domain.fold.angle[0].numpy())
        inner.append(int(info.inner_steps[0]))
        clock.append(info.milliseconds)
        content = number >= stage.change and domain.reached(state.domain, stage.goal(number))
        held = held + 1 if content else 0
        if held == HELD:
            break
    first = len(inner) - HELD + 1 - stage.change if held == HELD else None
    return Played(np.array(frames), np.array(angle), first, np.array(inner), np.array(clock))


def overlaps_per_step(domain: PeptideDomain, frames: NDArray[np.float64]) -> float:
    """Severe overlaps (0.4 A or more, all heavy atoms) of the emitted conformations, mean along the path."""
    xyz = torch.as_tensor(frames[1:])
    return float(domain.sterics.severe(xyz, domain.sterics.pairs(xyz)).double().mean()) if len(xyz) else 0.0


def ca_of(stage: Stage, local: NDArray[np.float64]) -> NDArray[np.float64]:
    """CA coordinates (L, 3) in nm of local ones (m, 3)."""
    xyz = whole(stage, local)
    structure = stage.structure
    atoms = [structure.atom(k, "CA", structure.steering_mask) for k in range(len(structure.residues))]
    return xyz[[a for a in atoms if a is not None]]


def whole(stage: Stage, local: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates of the structure with the local atoms elsewhere."""
    xyz = stage.structure.xyz.copy()
    xyz[stage.domain.fold.kin.atoms.numpy()] = local
    return xyz

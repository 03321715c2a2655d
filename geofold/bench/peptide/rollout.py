"""Run an episode of the peptide benchmark with a stepping agent, and measure its path.

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

from geofold.bench.peptide.agents.agent import Agent, Options, Stepping
from geofold.bench.peptide.episodes import Episode
from geofold.core.stream import stream
from geofold.modelling.options import TORSION_CAP
from geofold.modelling.peptide.streaming import HELD, goal_of, stuck_criterion
from geofold.molecule.datasets.peptide_demonstrations import state_at
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import Contact, parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.structure import Structure

MAX_STEPS = 128
PERTURBATION = np.radians(10.0)
"""Standard deviation (radian) of the starting torsions about the extended chain; seed 0 starts from that chain."""
MAX_TRIES = 50


@dataclass(frozen=True)
class Setup:
    """Structure, domain, start and goal of an episode; `goal` maps a step to its goal."""

    structure: Structure
    domain: PeptideDomain
    start: PeptideState
    goal: Callable[[int], PeptideGoal]
    change: int = 0
    """Step at which the last goal is set; the steps of a stream are counted from it."""


@dataclass(frozen=True)
class Rollout:
    """Path of an agent.

    Attributes
    ----------
    frames : (T + 1, m, 3)
        Local coordinates (nm), the start first.
    torsions : (T + 1, n)
        Torsions relative to the input (radian).
    held : int or None
        First of the steps for which the last goal was satisfied, counted from where it was set; None: never.
    inner, milliseconds : (T,)
        Corrections tried and wall time of each step.
    condition, angle : (T,)
        Condition number of the metric, and angle (radian) between natural and Euclidean direction; NaN in steps
        without corrections.
    """

    frames: NDArray[np.float64]
    torsions: NDArray[np.float64]
    held: int | None
    inner: NDArray[np.int64]
    milliseconds: NDArray[np.float64]
    condition: NDArray[np.float64]
    angle: NDArray[np.float64]

    @property
    def steps(self) -> int:
        """Steps to the goal, `MAX_STEPS` for a failure."""
        return MAX_STEPS if self.held is None else self.held


def make_setup(episode: Episode, seed: int) -> Setup:
    """Make the setup of an episode; its start depends on the seed and is the same for every agent."""
    structure = peptide(episode.sequence)
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1, cap=TORSION_CAP)
    domain = replace(domain, features=PeptideFeatures.of(structure, domain.decoder))
    contacts = [parse_contact(structure, text) for text in (episode.contact, *episode.later_contacts)]
    start = state_at(domain, structure.xyz, _perturbed_start(domain, structure, seed, contacts[0], episode.name))
    goals = [goal_of((contact,)) for contact in contacts]
    change = episode.change if len(goals) > 1 else 0
    return Setup(structure, domain, start, lambda step: goals[-1] if step >= change else goals[0], change)


def _perturbed_start(
    domain: PeptideDomain, structure: Structure, seed: int, contact: Contact, name: str
) -> torch.Tensor:
    """Increments (1, n) of the start: zero for seed 0, otherwise those of a clean start that misses the contact."""
    if seed == 0:
        return torch.zeros(1, len(domain.tree), dtype=torch.float64)
    noise = np.random.default_rng([seed, crc32(name.encode())])
    for _ in range(MAX_TRIES):
        angle = torch.as_tensor(PERTURBATION * noise.standard_normal((1, len(domain.tree))) * domain.tree.backbone)
        state = state_at(domain, structure.xyz, angle)
        distance = float(domain.distances(state.conformation.xyz, (contact,))[0, 0])
        clean = int(domain.sterics.count_severe(state.conformation.xyz, state.pairs)[0]) == 0
        if clean and domain.angles.count_outliers(angle)[0] == 0 and not contact.satisfied(distance):
            return angle
    return torch.zeros(1, len(domain.tree), dtype=torch.float64)


def run_episode(agent: Agent, setup: Setup, seed: int, options: Options | None = None) -> Rollout:
    """Run an episode until the goal has been satisfied for five steps, or for 128 steps after it was set.

    Parameters
    ----------
    agent : Agent
        Makes the controller.
    setup : Setup
        Episode to run.
    seed : int
        Seed of the controller and of the kicks.
    options : dict or None
        Options of the controller; None: the tuned ones.
    """
    parts: Any = agent.parts(setup.domain, seed, agent.tuned_options() if options is None else options)
    return run_controller(parts, setup, seed, agent.fallback_controller)


def run_controller(
    parts: Stepping, setup: Setup, seed: int, fallback_controller: Callable[[Any], Any] | None = None
) -> Rollout:
    """Run an episode with a given controller; rows that are stuck are kicked in the same way for every agent.

    Parameters
    ----------
    parts : Stepping
        The controller.
    setup : Setup
        Episode to run.
    seed : int
        Seed of the kicks.
    fallback_controller : callable or None
        Makes the controller that takes over once the stream has been stuck; None: the same one continues.
    """
    domain, start = setup.domain, setup.start
    frames, torsions = [start.conformation.xyz[0].numpy()], [start.conformation.angle[0].numpy()]
    inner, milliseconds, geometry, held = [], [], [], 0
    fallback = parts if fallback_controller is None else fallback_controller(parts)
    steps = stream(
        parts,  # type: ignore[arg-type]
        domain,
        parts.init(domain, start),
        setup.goal,
        stuck_criterion=stuck_criterion(),
        fallback_controller=fallback,  # type: ignore[arg-type]
        seed=seed,
    )
    for number, (state, info) in enumerate(islice(steps, setup.change + MAX_STEPS)):
        frames.append(state.domain.conformation.xyz[0].numpy())
        torsions.append(state.domain.conformation.angle[0].numpy())
        inner.append(int(info.inner_steps[0]))
        milliseconds.append(info.milliseconds)
        geometry.append([float("nan") if value is None else float(value[0]) for value in (info.condition, info.angle)])
        converged = number >= setup.change and domain.reached(state.domain, setup.goal(number))
        held = held + 1 if converged else 0
        if held == HELD:
            break
    first = len(inner) - HELD + 1 - setup.change if held == HELD else None
    return Rollout(
        np.array(frames),
        np.array(torsions),
        first,
        np.array(inner),
        np.array(milliseconds),
        *np.array(geometry).T,
    )


def overlaps_per_step(domain: PeptideDomain, frames: NDArray[np.float64]) -> float:
    """Mean number of severe overlaps (0.4 A or more, all heavy atoms) along a path, without its start."""
    xyz = torch.as_tensor(frames[1:])
    return float(domain.sterics.count_severe(xyz, domain.sterics.pairs(xyz)).double().mean()) if len(xyz) else 0.0


def ca_coordinates(setup: Setup, local: NDArray[np.float64]) -> NDArray[np.float64]:
    """CA coordinates (L, 3) in nm, given local coordinates (m, 3)."""
    xyz = with_local_atoms(setup, local)
    structure = setup.structure
    atoms = [structure.atom(k, "CA", structure.conformer_mask) for k in range(len(structure.residues))]
    return xyz[[a for a in atoms if a is not None]]


def with_local_atoms(setup: Setup, local: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates (n_atoms, 3) of the structure, with those of the local atoms replaced by (m, 3)."""
    xyz = setup.structure.xyz.copy()
    xyz[setup.domain.decoder.kinematics.atoms.numpy()] = local
    return xyz

"""Settling a loop, and what its end is worth.

Natural steps of backbone and side chains come first, then the force field's own; the judging potential of loops, what
is left of clashes and outliers, and a little of the energy judge the end.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch

from geofold.core.backbone import HoldStill
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.state import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.learn.loop_score.model import shipped_reranker
from geofold.modelling.force_field_stage import ENERGY_WEIGHT, relax, steered
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import Model, Move
from geofold.modelling.search.evolutionary import WORTH
from geofold.molecule.energy.loop_score_input import backbone_of, surroundings
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.domain import LoopDomain, LoopGoal, LoopState
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

TOLERANCE = 0.05
STILL = HoldStill().name
SETTLING_SWEEPS = 4
UNBEARABLE = 1e12
"""kJ/mol, of an end whose atoms coincide."""
ENERGY_SHARE = 0.001
"""Of the potential's unit, per kJ/mol."""


def controller(options: RunOptions) -> Controller:
    """The parts that settle a loop."""
    return Controller(
        backbone=HoldStill(), metric=Pullback(), trust_region=TrustRegion(largest=2.0),
        gate=ThresholdGate(TOLERANCE, largest=2), horizon=1, seed=options.seed,
    )  # fmt: skip


def settle(
    structure: Structure, domain: LoopDomain, state: LoopState, path: Path, options: RunOptions, *,
    weight: float = ENERGY_WEIGHT,
) -> Move:  # fmt: skip
    """Natural steps of backbone and side chains from one state, then the force field's at a weight per kJ/mol.

    With a weight above the usual one, the force field's alone.
    """
    parts, loose = controller(options), replace(domain, goal=LoopGoal(side_chains=True))
    settled = parts.init(loose, loose.resume(state))
    path.add(state.fold.xyz[0], None, 0, 0)
    for _ in range(SETTLING_SWEEPS * domain.length if weight <= ENERGY_WEIGHT else 0):
        cursor = settled.domain.cursor
        settled, info = parts.step(loose, settled, loose.goal)
        path.add(settled.domain.fold.xyz[0], info, 0, cursor)
    if options.energy:
        settled = _relax(structure, loose, settled, path, options, weight)
    atoms = domain.fold.kin.atoms.cpu().numpy()
    return path.move(domain, atoms, "done" if loose.clean(settled.domain)[0] else "stuck")


def _relax(
    structure: Structure, domain: LoopDomain, state: ControllerState, path: Path, options: RunOptions, weight: float
) -> ControllerState:
    """Let the force field itself steer the whole loop for a while, its hydrogens placed afresh."""
    goal = LoopGoal(side_chains=True, floor=1.0, energy=weight)
    domain = steered(structure, replace(domain, goal=goal), state.domain.fold.xyz[0].cpu().numpy(), options.seed)
    relaxed = state
    for relaxed, info in relax(controller(options), domain, domain.resume(state.domain), goal):
        path.add(relaxed.domain.fold.xyz[0], info, 0, (relaxed.domain.cursor - 1) % domain.length)
    return relaxed


def ranked(
    structure: Structure, moves: list[Move], value: np.ndarray, options: RunOptions,
    only: Collection[int] | None = None,
) -> list[Model]:  # fmt: skip
    """Ends as models, best first; where energies are evaluated (of all residues, or of some), they have a small say."""
    energies = [
        energy_of(structure, move.apply(structure.xyz), options, only) if options.energy else None for move in moves
    ]
    return in_order([
        Model(move, float(worth) + (0.0 if energy is None else ENERGY_SHARE * energy), energy)
        for move, worth, energy in zip(moves, value, _bounded(energies), strict=True)
    ])  # fmt: skip


def _bounded(energies: list[float | None]) -> list[float | None]:
    """Energies without the infinite ones, where atoms coincide: all of them say nothing, one among others is worst."""
    known = [energy for energy in energies if energy is not None and np.isfinite(energy)]
    return [energy if energy is None or np.isfinite(energy) else UNBEARABLE if known else None for energy in energies]


def in_order(models: list[Model]) -> list[Model]:
    """Best first."""
    return sorted(models, key=lambda model: model.score)


def judged(structure: Structure, domain: LoopDomain, moves: list[Move]) -> np.ndarray:
    """What the potential says of the ends of moves, (M,), and what is left of clashes and outliers."""
    ends = np.array([move.frames[-1] for move in moves])
    xyz = torch.as_tensor(ends).to(domain.fold.weight)
    overlap, _ = domain.sterics.overlaps(xyz, domain.sterics.pairs(xyz))
    clean = np.array([0.0 if move.status == "done" else 1.0 for move in moves])
    return scored(structure, domain, ends) + WORTH * (domain.sterics.cost(overlap).sum(-1).cpu().numpy() + clean)


def scored(structure: Structure, domain: LoopDomain, local: np.ndarray) -> np.ndarray:
    """The potential of loops (K,) of local coordinates (K, m, 3); zero for a loop at the end of a chain."""
    if not domain.tree.closed:
        return np.zeros(len(local))
    xyz = np.repeat(structure.xyz[None], len(local), 0)
    xyz[:, domain.fold.kin.atoms.cpu().numpy()] = local
    return _scores(structure, domain.tree, xyz)


def scored_whole(structure: Structure, tree: TorsionTree, xyz: np.ndarray) -> float:
    """The potential of a loop between two residues in coordinates (n_atoms, 3)."""
    return float(_scores(structure, tree, xyz[None])[0])


def _scores(structure: Structure, tree: TorsionTree, xyz: np.ndarray) -> np.ndarray:
    first, last, steering = tree.first, tree.last, tree.steering
    around = surroundings(structure, first, last, steering)
    rows = backbone_of(structure, first, last, steering, xyz)
    return np.asarray(shipped_reranker()[0].scores(rows, around).numpy())


def energy_of(
    structure: Structure, xyz: np.ndarray, options: RunOptions, only: Collection[int] | None = None
) -> float:  # fmt: skip
    """amber14 + OBC2 of whole coordinates, hydrogens placed for them (kJ/mol); of all residues, or of some."""
    steering = structure.steering(options.altloc)
    return EnergyModel.of(replace(structure, xyz=xyz), steering, seed=options.seed, only=only).energy(xyz)


class Path:
    """Frames and step numbers along one row's path."""

    def __init__(self, predictor: str = STILL, gate: str = "threshold") -> None:
        self.predictor, self.gate = predictor, gate
        self.frames: list[np.ndarray] = []
        self.depth: list[int] = []
        self.trace: list[int] = []
        self.milliseconds: list[float] = []
        self.spent: dict[int, int] = {}
        self.accepted = 0

    def add(self, xyz: torch.Tensor, info: StepInfo | None, row: int, cursor: int) -> None:
        points = xyz.cpu().numpy()
        if not self.frames or not np.array_equal(points, self.frames[-1]):
            self.frames.append(points)
            self.depth.append(0)
        if info is not None:
            depth = int(info.inner_steps[row])
            self.trace.append(depth)
            self.depth[-1] += depth
            self.spent[cursor] = self.spent.get(cursor, 0) + depth
            self.milliseconds.append(info.milliseconds)
            self.accepted += int(info.accepted[row])

    def move(self, domain: LoopDomain, atoms: np.ndarray, status: str) -> Move:
        spent = {domain.tree.first + k: self.spent.get(k, 0) for k in range(domain.length)}
        return Move(
            domain.tree,
            atoms,
            np.array(self.frames),
            status,
            self.predictor,
            spent,
            self.trace,
            self.milliseconds,
            self.accepted,
            sum(self.milliseconds),
            self.gate,
            depth=tuple(self.depth),
        )

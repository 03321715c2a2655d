"""Repair of one loop: a population of streams on soft sterics, then its side chains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from geofold.app.loop_candidates import LoopCandidates, rebuilt
from geofold.app.loop_parts import guided
from geofold.app.loop_search import WORTH, effort_of, searched, unlike
from geofold.app.moves import Move
from geofold.app.options import STREAMS, TORSION_CAP, RunOptions
from geofold.app.relax import ENERGY_WEIGHT, relax, steered
from geofold.core.backbone import HoldStill
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.core.population import Plan, evolve, take
from geofold.core.pullback import Pullback
from geofold.core.report import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.errors import GeofoldError
from geofold.learn.gate_training import shipped_gate
from geofold.learn.loop_score import shipped_score
from geofold.molecule.energy import EnergyModel
from geofold.molecule.loop import LoopDomain, LoopGoal, LoopState
from geofold.molecule.loop_rows import with_torsions
from geofold.molecule.loop_sense import LoopPredictor, LoopSense
from geofold.molecule.loop_windows import LENGTHS
from geofold.molecule.structure import Structure
from geofold.molecule.surroundings import backbone_of, surroundings

TOLERANCE = 0.05
STILL = HoldStill().name
LED = LoopPredictor.name
CONTENT = 0.9
"""Loss at which a loop is clean: no severe overlap and no outlier is left (each of which costs one)."""
SOFTENING = (0.002, 0.02, 0.2, 1.0)
"""Weight of the sterics after a kick: torsions find their basins before clashes wall them in."""
SWEEPS = (2, 1, 1, 1)
KICKS, KICK_SIZE = 12, 0.6
SETTLING_SWEEPS = 4
STRICT_WEIGHT = 1.0
"""Per kJ/mol, where nothing but the energy may decide."""
MODELLED = "loop-search"
FINALISTS = 3
"""Modelled loops that are settled, of the usual number of streams."""
LEAN = 0.1
"""By how much the potential has to like a modelled loop better than what the input leads to."""
MARGIN = 0.3
"""What settling may win a modelled loop over what the input leads to; those that are further behind are left out."""
ENERGY_SHARE = 0.001
"""Of the potential's unit, per kJ/mol."""
GUIDED_STREAMS = 4
"""Streams from where the loop model leads, one of them as it is, the others kicked away."""


def controller(options: RunOptions) -> Controller:
    """The parts that settle a loop."""
    return Controller(
        backbone=HoldStill(), metric=Pullback(), trust_region=TrustRegion(largest=2.0),
        gate=ThresholdGate(TOLERANCE, largest=2), horizon=1, seed=options.seed,
    )  # fmt: skip


def _softened(phase: int, fresh: tuple[bool, ...]) -> LoopGoal:
    return LoopGoal(sterics=tuple(SOFTENING[phase] if kicked else 1.0 for kicked in fresh))


def repair_loop(
    structure: Structure, first: int, last: int, options: RunOptions,
    progress: Callable[[int, int, float], None] | None = None,
) -> Move:  # fmt: skip
    """Stream residues `first` to `last` of a structure until their clashes and outliers are gone.

    Returns
    -------
    Move
        With status 'rigid' and no motion where closure leaves no freedom.
    """
    domain = LoopDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    atoms = domain.fold.kin.atoms.cpu().numpy()
    start = domain.start(structure.xyz, options.streams)
    if not len(domain.tree) or int(start.fold.space.freedom[0]) <= 0:
        return Move(domain.tree, atoms, structure.xyz[atoms][None], "rigid", STILL)
    candidates = [_search(structure, domain, start, options, progress, Path())]
    if domain.tree.closed and domain.length <= LENGTHS[1] and options.predictor != STILL:
        # the loop model may know better, and may not: what the input itself leads to stays in the race
        ahead = Path(LED, f"{shipped_gate().name}, threshold")
        led = _predicted(structure, domain, options, ahead)
        candidates.append(_search(structure, domain, led, options, progress, ahead))
    value = judged(structure, domain, candidates)
    if domain.tree.closed and options.predictor != STILL:
        modelled = _modelled(structure, domain, options, float(value.min()) + MARGIN)
        if modelled:
            candidates += modelled
            value = np.concatenate([value, judged(structure, domain, modelled) + LEAN])
    if not options.energy:
        return candidates[int(value.argmin())]
    before = energy_of(structure, domain, structure.xyz, options)
    energies = [energy_of(structure, domain, move.apply(structure.xyz), options) for move in candidates]
    value = value + ENERGY_SHARE * np.array(energies)
    found = candidates[int(value.argmin())]
    after = energies[int(value.argmin())]
    if after < before:
        return found
    # A loop that was nearly right is better mended where it stands than traded for a clean one of higher energy.
    near = settle(structure, domain, domain.start(structure.xyz), Path(), options)
    mended = energy_of(structure, domain, near.apply(structure.xyz), options)
    if mended < before:
        return near
    # Nor is an outlier worth more than the force field allows: then it alone decides.
    still = settle(structure, domain, domain.start(structure.xyz), Path(), options, weight=STRICT_WEIGHT)
    lowest = energy_of(structure, domain, still.apply(structure.xyz), options)
    return min(((lowest, still), (mended, near), (after, found)), key=lambda pair: pair[0])[1]


def _search(
    structure: Structure, domain: LoopDomain, start: LoopState, options: RunOptions,
    progress: Callable[[int, int, float], None] | None, path: Path,
) -> Move:  # fmt: skip
    """A population of streams from a state, the best of them settled; its path goes on from where `path` ends."""
    plan = Plan(
        steps=tuple(sweeps * domain.length for sweeps in SWEEPS), rounds=options.rounds, kicks=KICKS, size=KICK_SIZE,
        content=CONTENT,
    )  # fmt: skip
    parts = controller(options)
    state, lineage = evolve(
        parts, domain, parts.init(domain, start), _softened, plan, worth=domain.worth,
        snapshot=lambda s: (s.fold.xyz, s.cursor), seed=options.seed, progress=progress,
    )  # fmt: skip
    cursor = 0
    for (xyz, after), info, row in lineage.path(0):
        path.add(xyz[row], info, row, cursor)
        cursor = after
    best = take(domain, state, torch.zeros(1, dtype=torch.long))
    return settle(structure, domain, best.domain, path, options)


def _predicted(structure: Structure, domain: LoopDomain, options: RunOptions, path: Path) -> LoopState:
    """Rows where the loop model leads, corrected where its gate says so; the way there is noted in the path."""
    seeing, start = replace(domain, sense=LoopSense.of(structure, domain.fold)), domain.start(structure.xyz)
    path.add(start.fold.xyz[0], None, 0, 0)
    for state, info, cursor in guided(seeing, start, seed=options.seed):
        path.add(state.fold.xyz[0], info, 0, cursor)
    rows = torch.zeros(min(GUIDED_STREAMS, options.streams), dtype=torch.long)
    return domain.select(state._replace(cursor=0), rows)


def _modelled(structure: Structure, domain: LoopDomain, options: RunOptions, limit: float) -> list[Move]:
    """Loops as if there were none: candidates searched without side chains, the best unlike ones brought to the bonds
    and angles of the loop that is there, streamed with its side chains and, where they are worth less than a limit,
    settled."""
    first, last = domain.tree.first, domain.tree.last
    try:
        loop = LoopCandidates.of(structure, rebuilt(structure, first, last), altloc=options.altloc, seed=options.seed)
        best = searched(loop, effort_of(options, last - first + 1), seed=options.seed).best(options.streams)
    except GeofoldError:
        return []  # what cannot be built anew (an unusual residue) is mended as it stands
    start = domain.start(structure.xyz)
    turned, closed = with_torsions(domain, start, loop.torsions(best.rows))
    if not closed.any():
        return []
    seeing = replace(domain, sense=LoopSense.of(structure, domain.fold))
    paths = [Path(MODELLED, f"{shipped_gate().name}, threshold") for _ in range(len(turned.fold.xyz))]
    for row, path in enumerate(paths):
        path.add(start.fold.xyz[0], None, 0, 0)
        path.add(turned.fold.xyz[row], None, 0, 0)
    for state, info, cursor in guided(seeing, turned, seed=options.seed):
        for row, path in enumerate(paths):
            path.add(state.fold.xyz[row], info, row, cursor)
    ends = state._replace(cursor=0)
    value = scored(structure, domain, ends.fold.xyz.cpu().numpy()) + WORTH * domain.worth(ends).cpu().numpy()
    most = max(round(FINALISTS * options.streams / STREAMS), 1)
    chosen = [row for row in unlike(ends.fold.xyz.cpu().numpy(), value, most) if value[row] < limit]
    return [
        settle(structure, domain, domain.select(ends, torch.tensor([row])), paths[row], options) for row in chosen
    ]


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
    first, last, steering = domain.tree.first, domain.tree.last, domain.tree.steering
    xyz = np.repeat(structure.xyz[None], len(local), 0)
    xyz[:, domain.fold.kin.atoms.cpu().numpy()] = local
    around = surroundings(structure, first, last, steering)
    rows = backbone_of(structure, first, last, steering, xyz)
    return np.asarray(shipped_score()[0].scores(rows, around).numpy())


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


def energy_of(structure: Structure, domain: LoopDomain, xyz: np.ndarray, options: RunOptions) -> float:
    """amber14 + OBC2 of whole coordinates, hydrogens placed for them (kJ/mol)."""
    return EnergyModel.of(replace(structure, xyz=xyz), domain.tree.steering, seed=options.seed).energy(xyz)


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


class Path:
    """Frames and step numbers along one row's path."""

    def __init__(self, predictor: str = STILL, gate: str = "threshold") -> None:
        self.predictor, self.gate = predictor, gate
        self.frames: list[np.ndarray] = []
        self.trace: list[int] = []
        self.milliseconds: list[float] = []
        self.spent: dict[int, int] = {}
        self.accepted = 0

    def add(self, xyz: torch.Tensor, info: StepInfo | None, row: int, cursor: int) -> None:
        points = xyz.cpu().numpy()
        if not self.frames or not np.array_equal(points, self.frames[-1]):
            self.frames.append(points)
        if info is not None:
            depth = int(info.inner_steps[row])
            self.trace.append(depth)
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
        )

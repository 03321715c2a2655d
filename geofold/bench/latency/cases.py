"""Cases of the latency benchmark.

They are steps of a peptide under several settings, steps of a loop in proteins of several sizes, and an OpenMM
evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from geofold import resources
from geofold.bench.latency.protein_sizes import make_lattice
from geofold.core.backbone import Momentum, NoMotion
from geofold.core.controller import Controller
from geofold.core.domain import Domain
from geofold.core.gate import FixedGate
from geofold.core.metric import EuclideanMetric, Metric
from geofold.core.pullback import Pullback
from geofold.core.stream import stream
from geofold.core.trust_region import TrustRegion
from geofold.kernels.library import plain
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import loop_controller
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.peptide.streaming import controller as peptide_controller
from geofold.modelling.peptide.streaming import goal_of, with_features
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.loop.predictor import LoopFeatures
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure

SEQUENCE, CONTACT = "AEGKTWYNSVQL", "A:2-A:10<6.0"
CONTACTS = ("A:2-A:10<6.0", "A:1-A:7<6.0", "A:4-A:12<6.0", "A:1-A:12>12.0")
"""Contacts of the long stream, used in rotation."""
PROTEIN, LOOP = "2va0A.pdb", "A:90-101"
COPIES = {100: 1, 300: 3, 1000: 10, 3000: 30, 20_000: 202}
BATCH = 64
EPISODE_STEPS = 60
"""Number of steps after which a stream restarts, so that the work per step stays the same."""
GOAL_STEPS = 64
"""Number of steps after which the goal of the long stream changes."""


@dataclass
class TimedCase:
    """A function that makes one step, and its times (ms); blocks have 1 / `share` of the usual number of steps."""

    name: str
    step: Callable[[], None]
    note: str
    share: int = 1
    times: list[float] = field(default_factory=list)

    def block(self, count: int, *, keep: bool = True) -> None:
        """Time `count` steps, after two that refill the processor's caches."""
        for _ in range(2):
            self.step()
        for _ in range(count):
            began = time.perf_counter()
            self.step()
            if keep:
                self.times.append(1e3 * (time.perf_counter() - began))


def make_stepper(controller: Controller, domain: Domain, start: Any, goal: Any) -> Callable[[], None]:
    """Make a function that makes one step of a stream, which restarts every `EPISODE_STEPS` steps.

    Parameters
    ----------
    controller : Controller
        Makes the steps.
    domain : Domain
        Is streamed.
    start, goal
        State at each restart, and goal of all steps.
    """

    def endless() -> Iterator[None]:
        first = controller.init(domain, start)
        while True:
            state = first
            for _ in range(EPISODE_STEPS):
                state, _ = controller.step(domain, state, goal)
                yield

    steps = endless()
    return lambda: next(steps)


def without_kernels(step: Callable[[], None]) -> Callable[[], None]:
    """Make a function that makes the same steps by the plain functions."""

    def plain_step() -> None:
        with plain():
            step()

    return plain_step


def make_evaluation(structure: Structure, force_field: ForceField = AMBER14) -> Callable[[], None]:
    """Make a function that evaluates energy and forces of a force field at slightly new positions."""
    import openmm

    model = EnergyModel.of(structure, structure.conformer(None), force_field=force_field)
    context = openmm.Context(model.system, openmm.VerletIntegrator(0.001), platform())
    positions = model.positions(structure.xyz)
    noise = np.random.default_rng(0)
    positions_list = [positions + 1e-4 * noise.standard_normal(positions.shape) for _ in range(16)]

    def step() -> None:
        positions_list.append(positions_list.pop(0))
        context.setPositions(positions_list[0])
        state = context.getState(getEnergy=True, getForces=True)
        state.getPotentialEnergy()

    return step


def make_controller(metric: Metric | None = None) -> Controller:
    """Make a controller with one correction per step: K = 1, r = 8, H = 3, second order."""
    return Controller(
        backbone=NoMotion(),
        metric=metric or Pullback("fisher", rank=8),
        trust_region=TrustRegion(),
        gate=FixedGate(1),
        horizon=3,
        order=2,
    )


def peptide_cases() -> Iterator[TimedCase]:
    """Yield an OpenMM evaluation and steps of the twelve-residue peptide under several settings."""
    structure = peptide(SEQUENCE)
    yield TimedCase("openmm", make_evaluation(structure), "amber14 + GBSAOBCForce, energy and forces")
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1, cap=TORSION_CAP)
    goal = goal_of((parse_contact(structure, CONTACT),))

    base = make_controller()
    settings = (
        ("peptide", base, "K = 1, Fisher sketch r = 8, H = 3, order 2"),
        ("peptide_h1", replace(base, horizon=1), "the same with H = 1"),
        ("peptide_order1", replace(base, order=1), "the same with a first-order retraction"),
        ("peptide_glide", replace(base, backbone=Momentum()), "the same, its predictor moves: H = 3 is rolled out"),
        ("peptide_exact", make_controller(Pullback()), "exact metric"),
        ("peptide_euclidean", make_controller(EuclideanMetric()), "Euclidean metric: no derivative of the decoder"),
        ("peptide_k0", replace(base, gate=FixedGate(0)), "K = 0: the gate lets every proposal pass"),
    )
    for name, controller, note in settings:
        yield TimedCase(name, make_stepper(controller, domain, domain.start(structure.xyz), goal), note)
    shipped = with_features(structure, domain, RunOptions())
    parts = peptide_controller(RunOptions(), shipped), shipped, shipped.start(structure.xyz), goal
    yield TimedCase("peptide_shipped", make_stepper(*parts), "as `geofold constrain` runs it: policy, K by its gate")
    yield TimedCase("peptide_shipped_plain", without_kernels(make_stepper(*parts)), "the same without kernels")
    batch = domain.start(structure.xyz, BATCH)
    yield TimedCase(
        "peptide_batch64", make_stepper(make_controller(), domain, batch, goal), f"as `peptide`, {BATCH} rows", share=10
    )


def loop_cases() -> Iterator[TimedCase]:
    """Yield steps of a bent twelve-residue loop in proteins of increasing size."""
    single = read(resources.find("structures", PROTEIN))
    for size, copies in COPIES.items():
        protein = make_lattice(single, copies)
        first, last = find_range(protein, LOOP)
        bent = replace(protein, xyz=perturb_loop(protein, first, last, seed=0, target=2.0))
        domain = LoopDomain.of(bent, first, last, cap=TORSION_CAP)
        start = domain.start(bent.xyz)
        surroundings = f"{len(domain.sterics.fixed)} fixed heavy atoms in reach, {len(start.pairs.i)} pairs listed"
        note = f"loop of {domain.length} among {len(bent.residues)} residues; {surroundings}"
        yield TimedCase(f"loop_{size}", make_stepper(make_controller(), domain, start, domain.goal), note)
        if size == min(COPIES):
            shipped = replace(domain, features=LoopFeatures.of(bent, domain.decoder))
            parts = loop_controller(shipped, shipped_gate()), shipped, start, domain.goal
            note = "as `geofold repair` guides a loop: loop model, K by its gate"
            yield TimedCase("loop_shipped", make_stepper(*parts), note)
            yield TimedCase("loop_shipped_plain", without_kernels(make_stepper(*parts)), "the same without kernels")


def long_stream() -> TimedCase:
    """Make a stream of the peptide that never restarts; its contact changes every `GOAL_STEPS` steps."""
    structure = peptide(SEQUENCE)
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1, cap=TORSION_CAP)
    goals = [goal_of((parse_contact(structure, contact),)) for contact in CONTACTS]
    controller = make_controller()
    start = controller.init(domain, domain.start(structure.xyz))
    steps = stream(controller, domain, start, lambda number: goals[number // GOAL_STEPS % len(goals)])

    def step() -> None:
        next(steps)

    return TimedCase("stream", step, f"as `peptide`, without restart, another contact every {GOAL_STEPS} steps")

"""What the latency benchmark times: a step of the peptide under many settings, of a loop in proteins of many sizes,
and one OpenMM evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from geofold import resources
from geofold.bench.latency.protein_sizes import assembly
from geofold.core.backbone import Momentum, NoMotion
from geofold.core.controller import Controller
from geofold.core.domain import Domain
from geofold.core.gate import FixedGate
from geofold.core.metric import EuclideanMetric, Metric
from geofold.core.pullback import Pullback
from geofold.core.stream import stream
from geofold.core.trust_region import TrustRegion
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.peptide.streaming import controller as peptide_controller
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.ideal_peptide import peptide
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import bend
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure, read

SEQUENCE, CONTACT = "AEGKTWYNSVQL", "A:2-A:10<6.0"
CONTACTS = ("A:2-A:10<6.0", "A:1-A:7<6.0", "A:4-A:12<6.0", "A:1-A:12>12.0")
"""Contacts that the long stream is asked for in turn."""
PROTEIN, LOOP = "2va0A.pdb", "A:90-101"
COPIES = {100: 1, 300: 3, 1000: 10, 3000: 30}
BATCH = 64
EPISODE = 60
"""Steps after which an agent starts anew, so that its work stays the same."""
TURN = 64
"""Steps after which the long stream's goal changes."""


@dataclass
class Agent:
    """Something that makes a step at a time, and the milliseconds that each took; one of `share` blocks' length."""

    name: str
    step: Callable[[], None]
    note: str
    share: int = 1
    times: list[float] = field(default_factory=list)

    def block(self, count: int, *, keep: bool = True) -> None:
        """Time `count` steps, after two that bring back what other agents drove out of the caches."""
        for _ in range(2):
            self.step()
        for _ in range(count):
            began = time.perf_counter()
            self.step()
            if keep:
                self.times.append(1e3 * (time.perf_counter() - began))


def stepper(controller: Controller, domain: Domain, start: Any, goal: Any) -> Callable[[], None]:
    """Steps of a stream that starts anew every `EPISODE` steps, so that the work is the same all along."""

    def endless() -> Iterator[None]:
        first = controller.init(domain, start)
        while True:
            state = first
            for _ in range(EPISODE):
                state, _ = controller.step(domain, state, goal)
                yield

    steps = endless()
    return lambda: next(steps)


def evaluation(structure: Structure) -> Callable[[], None]:
    """Energy and forces of amber14 + GBSAOBCForce of slightly new positions, OpenMM's CPU at its best."""
    import openmm

    model = EnergyModel.of(structure, structure.steering(None))
    context = openmm.Context(model.system, openmm.VerletIntegrator(0.001), platform())
    positions = model.positions(structure.xyz)
    noise = np.random.default_rng(0)
    several = [positions + 1e-4 * noise.standard_normal(positions.shape) for _ in range(16)]

    def step() -> None:
        several.append(several.pop(0))
        context.setPositions(several[0])
        state = context.getState(getEnergy=True, getForces=True)
        state.getPotentialEnergy()

    return step


def corrected(metric: Metric | None = None) -> Controller:
    """The corrected step that the floors speak of: K = 1, r = 8, H = 3, second order."""
    return Controller(
        backbone=NoMotion(), metric=metric or Pullback("fisher", rank=8), trust_region=TrustRegion(),
        gate=FixedGate(1), horizon=3, order=2,
    )  # fmt: skip


def peptide_agents() -> Iterator[Agent]:
    """The twelve-residue peptide under several settings, and OpenMM on it."""
    structure = peptide(SEQUENCE)
    yield Agent("openmm", evaluation(structure), "amber14 + GBSAOBCForce, energy and forces")
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1, cap=TORSION_CAP)
    goal = goal_of((parse_contact(structure, CONTACT),))

    usual = corrected()
    settings = (
        ("peptide", usual, "K = 1, Fisher sketch r = 8, H = 3, order 2"),
        ("peptide_h1", replace(usual, horizon=1), "the same with H = 1"),
        ("peptide_order1", replace(usual, order=1), "the same with a first-order retraction"),
        ("peptide_glide", replace(usual, backbone=Momentum()), "the same, its predictor moves: H = 3 is rolled out"),
        ("peptide_exact", corrected(Pullback()), "exact metric"),
        ("peptide_euclidean", corrected(EuclideanMetric()), "Euclidean metric: no derivative of the decoder"),
        ("peptide_k0", replace(usual, gate=FixedGate(0)), "K = 0: the gate lets every proposal pass"),
        ("peptide_shipped", peptide_controller(RunOptions()), "as `geofold constrain` runs it, K by its gate"),
    )
    for name, controller, note in settings:
        yield Agent(name, stepper(controller, domain, domain.start(structure.xyz), goal), note)
    fused = stepper(usual, domain.compiled(), domain.start(structure.xyz), goal)
    yield Agent("peptide_compiled", fused, "as `peptide`, its loss compiled (`PeptideDomain.compiled`)")
    many = domain.start(structure.xyz, BATCH)
    yield Agent("peptide_batch64", stepper(corrected(), domain, many, goal), f"as `peptide`, {BATCH} rows", share=10)


def loop_agents() -> Iterator[Agent]:
    """A bent twelve-residue loop in ever larger proteins."""
    single = read(resources.find("structures", PROTEIN))
    for size, copies in COPIES.items():
        whole = assembly(single, copies)
        first, last = find_range(whole, LOOP)
        bent = replace(whole, xyz=bend(whole, first, last, seed=0, target=2.0))
        domain = LoopDomain.of(bent, first, last, cap=TORSION_CAP)
        start = domain.start(bent.xyz)
        around = f"{len(domain.sterics.fixed)} fixed heavy atoms in reach, {len(start.pairs.i)} pairs listed"
        note = f"loop of {domain.length} among {len(bent.residues)} residues; {around}"
        yield Agent(f"loop_{size}", stepper(corrected(), domain, start, domain.goal), note)


def long_stream() -> Agent:
    """A stream of the peptide that never starts anew, its contact another one every `TURN` steps."""
    structure = peptide(SEQUENCE)
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1, cap=TORSION_CAP)
    goals = [goal_of((parse_contact(structure, contact),)) for contact in CONTACTS]
    controller = corrected()
    start = controller.init(domain, domain.start(structure.xyz))
    steps = stream(controller, domain, start, lambda number: goals[number // TURN % len(goals)])

    def step() -> None:
        next(steps)

    return Agent("stream", step, f"as `peptide`, never started anew, another contact every {TURN} steps")

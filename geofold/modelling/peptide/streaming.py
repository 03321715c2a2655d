"""Streaming a peptide until its contacts hold, without clashes and outliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from geofold.core.backbone import Backbone, Glide, HoldStill
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.stream import Patience, stream
from geofold.core.trust_region import TrustRegion
from geofold.learn.peptide_policy.model import shipped_policy
from geofold.learn.pretrained import PEPTIDE_GATE_WEIGHTS, shipped_gate
from geofold.modelling.force_field_stage import ENERGY_WEIGHT, relax, steered
from geofold.modelling.options import PREDICTORS, TORSION_CAP, RunOptions
from geofold.modelling.outcome import Move
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.domain import PeptideDomain, PeptideGoal, PeptideState
from geofold.molecule.peptide.predictor import PeptidePredictor, PeptideSense
from geofold.molecule.structure import Structure

TOLERANCE = 0.05
CONTACT_WEIGHT = 20.0
DAMPING, KEEP = 30.0, 0.5
"""lambda of the metric and the share of the last move that is proposed again: chosen by `geofold bench ablation`."""
HELD = 5
"""Steps that a goal has to hold to count as reached."""


def controller(options: RunOptions, domain: PeptideDomain | None = None, gate: Gate | None = None) -> Controller:
    """The parts that constrain a peptide: the policy leads a domain that it can see, else what moved glides on."""
    backbone: Backbone = HoldStill() if options.predictor == HoldStill().name else Glide(KEEP)
    led = domain is not None and domain.sense is not None
    if domain is not None and domain.sense is not None:
        backbone = PeptidePredictor(shipped_policy()[0], domain.sense.turns)
    if gate is None:
        gate = shipped_gate(PEPTIDE_GATE_WEIGHTS) if led else plain_gate()
    return Controller(
        backbone=backbone, metric=Pullback(damping=DAMPING, decay=0.9),
        trust_region=TrustRegion(radius=1.0, largest=4.0),
        gate=gate, horizon=1, once=not led, seed=options.seed,
    )  # fmt: skip


Parts = Callable[[RunOptions, PeptideDomain], Controller]


def plain_gate() -> ThresholdGate:
    """Corrects whatever is not content, and tries again up to three times where a step was refused."""
    return ThresholdGate(TOLERANCE, first=1e-6, largest=3)


def sighted(structure: Structure, domain: PeptideDomain, options: RunOptions) -> PeptideDomain:
    """The domain with what the policy sees of it, if it is to lead and can."""
    trained = options.predictor == PREDICTORS[0]
    return replace(domain, sense=PeptideSense.of(structure, domain.fold)) if trained else domain


def thorough(parts: Controller) -> Controller:
    """The parts that take over when the stream has been stuck: two full corrections a step."""
    region = TrustRegion(radius=2.0, largest=8.0)
    return replace(parts, trust_region=region, gate=ThresholdGate(TOLERANCE, largest=2), once=False)


def patience() -> Patience:
    """When the stream of a peptide counts as stuck."""
    return Patience(window=4, kicks=3, size=0.5, tolerance=TOLERANCE)


def goal_of(contacts: tuple[Contact, ...]) -> PeptideGoal:
    """Goal with the weights that were tuned."""
    return PeptideGoal(contacts, contact=CONTACT_WEIGHT)


def constrain_peptide(
    structure: Structure, first: int, last: int, contacts: tuple[Contact, ...], options: RunOptions,
    progress: Callable[[int, int, float], None] | None = None, *, parts_for: Parts = controller,
) -> Move:  # fmt: skip
    """Stream residues `first` to `last` until the contacts have held for five steps.

    Parameters
    ----------
    parts_for : callable
        Gives the parts for these options and the domain; the domain is one that the policy sees unless the predictor
        is 'hold-still'.

    Returns
    -------
    Move
        With the path up to the end of the stream; without success, up to the best step on the way.
    """
    domain = PeptideDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    atoms = domain.fold.kin.atoms.cpu().numpy()
    domain = sighted(structure, domain, options)
    start = domain.start(structure.xyz)
    parts, goal = parts_for(options, domain), goal_of(contacts)
    predictor = parts.backbone.name
    if not len(domain.tree) or int(start.fold.space.freedom[0]) <= 0:
        return Move(domain.tree, atoms, structure.xyz[atoms][None], "rigid", predictor)
    frames, trace, clock = [start.fold.xyz[0].cpu().numpy()], [], []
    accepted, held, best = 0, 0, (float("inf"), 0)
    steps = stream(
        parts, domain, parts.init(domain, start), goal, patience=patience(), thorough=thorough(parts),
        seed=options.seed,
    )  # fmt: skip
    for number, (state, info) in zip(range(options.steps), steps, strict=False):
        frames.append(state.domain.fold.xyz[0].cpu().numpy())
        trace.append(int(info.inner_steps[0]))
        clock.append(info.milliseconds)
        accepted += int(info.accepted[0])
        with torch.no_grad():
            worth = float(_loss(domain, state.domain, goal))
        best = min(best, (worth, number + 1))
        held = held + 1 if domain.reached(state.domain, goal) else 0
        if progress is not None:
            progress(number + 1, options.steps, worth)
        if held == HELD:
            break
    end = len(frames) if held == HELD else best[1] + 1
    status = "done" if held == HELD else "stuck"
    if options.energy and held == HELD:
        goal = replace(goal, energy=ENERGY_WEIGHT)
        domain = steered(structure, domain, frames[-1], options.seed)
        for relaxed, _ in relax(parts, domain, state.domain, goal):
            # what the energy would pay with a lost contact is not taken
            if domain.reached(relaxed.domain, goal):
                frames.append(relaxed.domain.fold.xyz[0].cpu().numpy())
        end = len(frames)
    until = sum(clock[: len(clock) - HELD + 1]) if held == HELD else sum(clock)
    return Move(
        domain.tree, atoms, np.array(frames[:end]), status, predictor, {first: sum(trace)}, trace, clock, accepted,
        until, parts.gate.name, depth=(0, *trace, *[None] * len(frames))[:end],
    )  # fmt: skip


def _loss(domain: PeptideDomain, state: PeptideState, goal: PeptideGoal) -> torch.Tensor:
    still = domain.decode(state.fold.xyz.new_zeros(1, domain.latent_dim), state)
    return domain.loss(still, state, goal).total[0]

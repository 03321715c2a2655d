"""Streaming a peptide until its contacts hold, without clashes and outliers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from geofold.core.backbone import Backbone, Momentum, NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.stream import StuckCriterion, stream
from geofold.core.trust_region import TrustRegion
from geofold.learn.peptide_policy.model import shipped_policy
from geofold.learn.pretrained import PEPTIDE_GATE_WEIGHTS, shipped_gate
from geofold.modelling.force_field_stage import ENERGY_WEIGHT, run_force_field, with_force_field
from geofold.modelling.options import PREDICTORS, TORSION_CAP, RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.modelling.progress import Progress
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.predictor import PeptidePredictor
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.structure import Structure

TOLERANCE = 0.05
CONTACT_WEIGHT = 20.0
DAMPING, KEEP = 30.0, 0.5
"""Damping of the metric, and the share of the last move that is proposed again; from `geofold bench ablation`."""
HELD = 5
"""Steps for which a goal has to hold to count as reached."""


def controller(options: RunOptions, domain: PeptideDomain | None = None, gate: Gate | None = None) -> Controller:
    """Return the controller of a peptide.

    Parameters
    ----------
    options : RunOptions
    domain : PeptideDomain, optional
        If it has the policy's features, the policy predicts; otherwise the last move is proposed again.
    gate : Gate, optional
        The gate that ships with the policy, or `plain_gate`, if not given.
    """
    backbone: Backbone = NoMotion() if options.predictor == NoMotion().name else Momentum(KEEP)
    predicts = domain is not None and domain.features is not None
    if domain is not None and domain.features is not None:
        backbone = PeptidePredictor(shipped_policy()[0], domain.features.torsion_index)
    if gate is None:
        gate = shipped_gate(PEPTIDE_GATE_WEIGHTS) if predicts else plain_gate()
    return Controller(
        backbone=backbone,
        metric=Pullback(damping=DAMPING, decay=0.9),
        trust_region=TrustRegion(radius=1.0, largest=4.0),
        gate=gate,
        horizon=1,
        once=not predicts,
        budget=options.step_budget,
        seed=options.seed,
    )


Parts = Callable[[RunOptions, PeptideDomain], Controller]


def plain_gate() -> ThresholdGate:
    """Gate that corrects until the loss is met, with up to three attempts after a rejected step."""
    return ThresholdGate(TOLERANCE, first=1e-6, largest=3)


def with_features(structure: Structure, domain: PeptideDomain, options: RunOptions) -> PeptideDomain:
    """Return the domain with the policy's features, if the options ask for the trained predictor."""
    trained = options.predictor == PREDICTORS[0]
    return replace(domain, features=PeptideFeatures.of(structure, domain.decoder)) if trained else domain


def fallback_controller(parts: Controller) -> Controller:
    """Return the controller that takes over once the stream is stuck: two full corrections a step."""
    region = TrustRegion(radius=2.0, largest=8.0)
    return replace(parts, trust_region=region, gate=ThresholdGate(TOLERANCE, largest=2), once=False)


def stuck_criterion() -> StuckCriterion:
    """Criterion by which the stream of a peptide counts as stuck."""
    return StuckCriterion(window=4, kicks=3, size=0.5, tolerance=TOLERANCE)


def goal_of(contacts: tuple[Contact, ...]) -> PeptideGoal:
    """Goal with the weights that were tuned."""
    return PeptideGoal(contacts, contact=CONTACT_WEIGHT)


def constrain_peptide(
    structure: Structure,
    first: int,
    last: int,
    contacts: tuple[Contact, ...],
    options: RunOptions,
    progress: Progress | None = None,
    *,
    parts_for: Parts = controller,
) -> StreamOutcome:
    """Stream residues `first` to `last` until the contacts have held for five steps.

    Parameters
    ----------
    structure : Structure
    first, last : int
        Residues of the peptide, inclusive.
    contacts : tuple of Contact
    options : RunOptions
    progress : Progress, optional
    parts_for : callable
        Gives the controller for these options and the domain, which has the policy's features unless the predictor is
        'hold-still'.

    Returns
    -------
    StreamOutcome
        With the trajectory up to the end of the stream; without success, up to the step of lowest loss.
    """
    progress = Progress() if progress is None else progress
    domain = PeptideDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    atoms = domain.decoder.kinematics.atoms.cpu().numpy()
    domain = with_features(structure, domain, options)
    start = domain.start(structure.xyz)
    parts, goal = parts_for(options, domain), goal_of(contacts)
    predictor = parts.backbone.name
    if not domain.decoder.can_move(start.conformation):
        return StreamOutcome(domain.tree, atoms, structure.xyz[atoms][None], "rigid", predictor)
    frames, trace, milliseconds = [start.conformation.xyz[0].cpu().numpy()], [], []
    accepted, held, best = 0, 0, (float("inf"), 0)
    steps = stream(
        parts,
        domain,
        parts.init(domain, start),
        goal,
        stuck_criterion=stuck_criterion(),
        fallback_controller=fallback_controller(parts),
        seed=options.seed,
    )
    for number, (state, info) in zip(range(options.steps), steps, strict=False):
        frames.append(state.domain.conformation.xyz[0].cpu().numpy())
        trace.append(int(info.inner_steps[0]))
        milliseconds.append(info.milliseconds)
        accepted += int(info.accepted[0])
        loss = _loss(domain, state.domain, goal)
        best = min(best, (loss, number + 1))
        held = held + 1 if domain.reached(state.domain, goal) else 0
        progress.update(number + 1, options.steps, loss)
        if held == HELD:
            break
    end = len(frames) if held == HELD else best[1] + 1
    if options.energy and held == HELD:
        frames += _minimise_energy(structure, domain, parts, state.domain, replace(goal, energy=ENERGY_WEIGHT), options)
        end = len(frames)
    until_goal = sum(milliseconds[: len(milliseconds) - HELD + 1]) if held == HELD else sum(milliseconds)
    return StreamOutcome(
        domain.tree,
        atoms,
        np.array(frames[:end]),
        "done" if held == HELD else "stuck",
        predictor,
        {first: sum(trace)},
        trace,
        milliseconds,
        accepted,
        until_goal,
        parts.gate.name,
        depth=(0, *trace, *[None] * len(frames))[:end],
    )


def _minimise_energy(
    structure: Structure,
    domain: PeptideDomain,
    parts: Controller,
    state: PeptideState,
    goal: PeptideGoal,
    options: RunOptions,
) -> list[np.ndarray]:
    """Frames (m, 3) of steps down the force field; steps that would lose a contact are left out."""
    domain = with_force_field(
        structure, domain, state.conformation.xyz[0].cpu().numpy(), options.seed, options.force_field_value
    )
    return [
        run.domain.conformation.xyz[0].cpu().numpy()
        for run, _ in run_force_field(parts, domain, state, goal)
        if domain.reached(run.domain, goal)
    ]


@torch.no_grad()
def _loss(domain: PeptideDomain, state: PeptideState, goal: PeptideGoal) -> float:
    """Loss of a state without a move."""
    no_move = domain.decode(state.conformation.xyz.new_zeros(1, domain.latent_dim), state)
    return float(domain.loss(no_move, state, goal).total[0])

"""Streams over bent loops in which the loop model predicts and the controller corrects, for its own training.

The model learns the increments that lead from the states that it and the corrector reach to the native loop (imitation
along the learner's own path: Ross, Gordon and Bagnell, AISTATS 2011).

Glossary: ``T`` steps, ``B`` perturbations of one loop, ``W`` residues of the window, ``F`` features, ``d`` latent.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geofold.core.controller import Controller
from geofold.errors import GeofoldError
from geofold.geometry import wrap
from geofold.learn.data.chains import Chains
from geofold.learn.loop_denoiser.batched_backbone import loop_torsions
from geofold.learn.loop_denoiser.dataset import CorrectedStream
from geofold.learn.loop_denoiser.training import targets
from geofold.molecule.datasets.bent_loops import PerturbedLoop, domain_with_features
from geofold.molecule.datasets.packed_chains import PackedChains, packed_structure
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.latent import LoopLatentPredictor, latent_domain
from geofold.molecule.loop.perturbation import perturb_loop

PERTURBATION_RMSD = (0.3, 5.0)
"""Range of the backbone RMSD (A) of the rows of a stream."""


def record_corrected_stream(
    chains: Chains,
    packed: PackedChains,
    loop: PerturbedLoop,
    controller: Controller,
    *,
    rows: int,
    sweeps: int,
    seed: int,
) -> CorrectedStream | None:
    """Bend a loop of the data in several ways, stream over all of them at once, and record what the model may learn.

    Parameters
    ----------
    chains, packed : Chains, PackedChains
        The data.
    loop : PerturbedLoop
        The loop; its `target` is not used.
    controller : Controller
        With a `LoopLatentPredictor` for loops of this length.
    rows : int
        Number B of perturbations.
    sweeps : int
        Sweeps over the loop.
    seed : int
        Seed of the perturbations.

    Returns
    -------
    CorrectedStream or None
        None if the loop cannot be perturbed.
    """
    native = packed_structure(chains, packed, loop.chain)
    predictor = controller.backbone
    assert isinstance(predictor, LoopLatentPredictor)
    targets_of_rows = np.random.default_rng(seed).uniform(*PERTURBATION_RMSD, rows)
    atoms = native.atoms_within(loop.first, loop.last)
    try:
        inner = domain_with_features(native, loop.first, loop.last)
        bent = [
            perturb_loop(native, loop.first, loop.last, seed=1000 * seed + k, target=float(target))[atoms]
            for k, target in enumerate(targets_of_rows)
        ]
    except GeofoldError:
        return None
    assert inner.features is not None
    domain = latent_domain(inner, predictor.model)
    state = controller.init(domain, domain.start(state_of_rows(inner, native, np.stack(bent))))
    truth = inner.features.at(inner.start(native.xyz, rows).conformation.xyz)
    # the record always has the corrections, also where the model does not receive them
    informed, memory, record = replace(predictor, write_back=True), state.memory, []
    for _ in range(sweeps * loop.length):
        cursor, present = state.domain.inner.cursor, inner.features.at(state.domain.inner.conformation.xyz)
        features = informed.features(domain.observe(state.domain, inner.goal), memory)
        innovation = memory.stream.z - memory.stream.proposal
        missing = wrap(loop_torsions(truth.xyz) - loop_torsions(present.xyz))
        record.append((features, innovation, *targets(truth, present, missing, cursor)))
        state, info = controller.step(domain, state, inner.goal)
        memory = informed.write(state.memory, info.z)
    return CorrectedStream(*(torch.stack(part) for part in zip(*record, strict=True)))

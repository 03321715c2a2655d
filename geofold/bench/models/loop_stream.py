"""Run a controller over one loop, on increments of torsions or on the latent of the loop model."""

from __future__ import annotations

from typing import Any

import numpy as np

from geofold.core.controller import Controller
from geofold.modelling.controllers import GUIDED_SWEEPS
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.latent import LoopLatentPredictor, latent_domain


def run_stream(domain: LoopDomain, controller: Controller, xyz: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Run a controller over a loop, from coordinates (n_atoms, 3) in nm: those at the end, and what it took.

    A controller with a `LoopLatentPredictor` corrects the latent of its model, any other one increments of torsions.
    """
    sight: Any = domain
    start: Any = domain.start(xyz)
    if isinstance(controller.backbone, LoopLatentPredictor):
        sight = latent_domain(domain, controller.backbone.model)
        start = sight.start(start)
    state, depths, milliseconds = controller.init(sight, start), [], []
    for _ in range(GUIDED_SWEEPS * domain.length):
        state, info = controller.step(sight, state, domain.goal)
        depths.append(int(info.inner_steps[0]))
        milliseconds.append(info.milliseconds)
    end = state.domain.inner if sight is not domain else state.domain
    moved = xyz.copy()
    moved[domain.decoder.kinematics.atoms.numpy()] = end.conformation.xyz[0].numpy()
    numbers = {
        "loss": float(domain.cost(end)[0]),
        "inner": float(np.mean(depths)),
        "milliseconds": float(np.median(milliseconds)),
    }
    return moved, numbers

"""The retraction on the closed-loop manifold, against its integrated geodesic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geofold.core.linearise import evaluate_loss, linearise
from geofold.core.pullback import Pullback
from geofold.core.retraction import geodesic, second_order
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopGoal
from geofold.resources import find

DAMPING = 1e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_slope_on_the_closed_loop_manifold(seed):
    """Steps inside the cap of a closed eight-residue loop: second order at least 2.9, first order about 2."""
    structure = read(find("structures", "1ubi.pdb"))
    domain = LoopDomain.of(structure, 44, 51, goal=LoopGoal(floor=1.0), cap=10.0)
    state, goal = domain.start(structure.xyz), LoopGoal()
    z = torch.zeros(1, domain.latent_dim, dtype=torch.float64)
    at = linearise(domain, z, state, evaluate_loss(domain, z, state, goal))
    metric = Pullback("exact", damping=DAMPING)
    factor = metric.factor(metric.update(metric.init(1, domain.latent_dim, z), at, z, 0))
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    direction[:, len(domain.tree) :] = 0
    direction = domain.decoder.start(structure.xyz, domain.mobility(0)).space.project(direction[:, : len(domain.tree)])
    direction = torch.nn.functional.pad(direction, (0, domain.latent_dim - direction.shape[1]))
    direction /= factor.norm(direction)
    sizes, errors = [0.4, 0.2, 0.1, 0.05], []
    for size in sizes:
        step = size * direction
        end = geodesic(lambda p: domain.expand(p, state), domain.space, z, step, at.weight, DAMPING, pieces=12)
        errors.append([float((e - end).norm()) for e in (step, second_order(at, factor, step))])
    first, second = np.polyfit(np.log(sizes), np.log(np.array(errors)), 1)[0]
    assert second >= 2.9
    assert first == pytest.approx(2, abs=0.25)

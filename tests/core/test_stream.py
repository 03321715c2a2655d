"""Kicks of a stream: a step each, in place of what would have been proposed, in the rows that are stuck alone."""

from __future__ import annotations

from itertools import islice

import torch
from problems import linear_gaussian

from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.core.stream import StuckCriterion, stream
from geofold.core.trust_region import TrustRegion

PROBLEM = linear_gaussian()
PARTS = Controller(NoMotion(), Pullback(), TrustRegion(radius=0.1, largest=0.1), FixedGate(1), horizon=1)
WINDOW, KICKS, SIZE = 3, 2, 2.0


def path(start: torch.Tensor, tolerance: float, steps: int = 12) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    stuck_criterion = StuckCriterion(window=WINDOW, kicks=KICKS, size=SIZE, tolerance=tolerance, fraction=1.0)
    made = stream(PARTS, PROBLEM, PARTS.init(PROBLEM, start), PROBLEM.goal, stuck_criterion=stuck_criterion, seed=4)
    states, infos = zip(*islice(made, steps), strict=True)
    return [s.domain for s in states], [i.inner_steps for i in infos]


def test_a_kick_is_a_step_along_one_latent_without_a_correction() -> None:
    start = PROBLEM.start(1)
    places, depth = path(start, tolerance=-1.0)
    moves = torch.diff(torch.stack([start, *places])[:, 0], dim=0)
    kicked = [bool(d[0] == 0) for d in depth]
    assert sum(kicked) >= 2 * KICKS and not any(kicked[:WINDOW])
    first = kicked.index(True)
    assert kicked[first : first + KICKS + 1] == [True] * KICKS + [False], "so many steps, then corrections again"
    torch.testing.assert_close(moves[first], moves[first + 1])
    corrected = max(float(m.norm()) for m, k in zip(moves, kicked, strict=True) if not k)
    assert float(moves[first].norm()) > corrected


def test_rows_that_are_content_do_not_notice() -> None:
    start = PROBLEM.start(2, 3.0)
    losses = PROBLEM.loss(PROBLEM.decode(torch.zeros(2, PROBLEM.latent_dim).double(), start), start, PROBLEM.goal).total
    calm = int(losses.argmin())
    both, depth = path(start, tolerance=float(losses[calm]) + 1e-6)
    alone, _ = path(start[calm : calm + 1], tolerance=float(losses[calm]) + 1e-6)
    assert any(int(d[1 - calm]) == 0 for d in depth), "the other row is kicked"
    for one, other in zip(both, alone, strict=True):
        torch.testing.assert_close(one[calm], other[0], rtol=0, atol=1e-12)

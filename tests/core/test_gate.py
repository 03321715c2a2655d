"""Gates: integers per row, masks that equal plain loops, a budget that is kept, weights that can be trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import ZOO, curved_surface, linear_gaussian, rosenbrock

from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import Features, FixedGate, LearnedGate, ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.state import Pace, affordable_depth
from geofold.core.trust_region import TrustRegion

POSITIVE = st.floats(0, 1e9)


def features(loss, kappa=None) -> Features:
    loss = torch.as_tensor(loss, dtype=torch.float64).reshape(-1)
    still = torch.zeros_like(loss)
    return Features(loss, still, still, still + 0.5, None if kappa is None else torch.as_tensor(kappa).reshape(-1))


@dataclass(frozen=True)
class Told:
    """Gate with a prescribed depth for each row."""

    depths: tuple[int, ...]
    name: str = "prescribed"

    @property
    def largest(self) -> int:
        return max(self.depths)

    def open(self, features: Features) -> torch.Tensor:
        return torch.tensor(self.depths) > 0

    def depth(self, features: Features) -> torch.Tensor:
        return torch.tensor(self.depths)


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("metric", [Pullback("exact"), Pullback("fisher", rank=4)], ids=["exact", "fisher"])
def test_depth_by_masks_equals_a_plain_loop(make, metric):
    """Each row alone, corrected just so many times, ends where it ends in the batch."""
    problem, depths = make(), (3, 0, 1, 4, 2)
    control = Controller(NoMotion(), metric, TrustRegion(), Told(depths), horizon=2)
    state = control.init(problem, problem.start(5, 0.07))
    for _ in range(3):
        begin = state
        state, info = control.step(problem, state, problem.goal)
        assert info.inner_steps.tolist() == list(depths)
        for row, depth in enumerate(depths):
            alone = replace(control, gate=Told((depth,)))
            one = begin._replace(
                **{
                    name: part[row : row + 1]
                    for name, part in begin._asdict().items()
                    if name in ("domain", "memory", "radius", "direction", "loss")
                },
                metric=type(begin.metric)(*(part[row : row + 1] for part in begin.metric)),
            )
            after, own = alone.step(problem, one, problem.goal)
            torch.testing.assert_close(after.domain[0], state.domain[row], rtol=1e-9, atol=1e-12)
            if float(own.loss_before) > 1e-9:  # at the minimum rounding alone decides what is accepted
                torch.testing.assert_close(after.radius[0], state.radius[row])
            assert int(own.inner_steps[0]) == depth


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(POSITIVE, min_size=1, max_size=6), POSITIVE, st.integers(1, 8))
def test_depth_is_an_integer_within_bounds(loss, kappa, largest):
    for gate in (ThresholdGate(1.0, largest=largest), FixedGate(largest), LearnedGate.start(largest)):
        seen = features(loss, torch.full((len(loss),), kappa, dtype=torch.float64))
        opened, depth = gate.open(seen), gate.depth(seen)
        assert opened.dtype == torch.bool and depth.dtype == torch.long
        assert opened.shape == depth.shape == (len(loss),)
        assert ((depth >= 1) & (depth <= largest)).all()


def test_depth_needs_kappa():
    with pytest.raises(ValueError, match="without kappa"):
        ThresholdGate(1.0).depth(features(1.0))


def test_a_gate_sees_change_violation_and_radius():
    seen = []

    @dataclass(frozen=True)
    class Watch(FixedGate):
        def open(self, features: Features) -> torch.Tensor:
            seen.append(features)
            return super().open(features)

        def depth(self, features: Features) -> torch.Tensor:
            seen[-1] = features
            return super().depth(features)

    problem = curved_surface()
    control = Controller(NoMotion(), Pullback(), TrustRegion(), Watch(1), horizon=1)
    state, ends = control.init(problem, problem.start()), []
    for number in range(3):
        state, info = control.step(problem, state, problem.goal if number < 2 else tuple(-g for g in problem.goal))
        ends.append(info)
    # nothing moved between two steps but the correction itself, so the proposal is as bad as what was emitted
    assert [float(s.change) for s in seen] == [0.0, 0.0, 0.0]
    assert all(
        float(s.kappa) == float(i.kappa) and float(s.loss) == float(i.loss_before)
        for s, i in zip(seen, ends, strict=True)
    )
    assert float(seen[2].radius) == control.trust_region.radius


@dataclass
class Clock:
    """Time that passes by a fixed amount at every evaluation of the decoder, and not else."""

    calls: list[bool] = field(default_factory=list)
    per_call: float = 1e-3

    def __call__(self) -> float:
        return self.per_call * len(self.calls)


@pytest.mark.parametrize("budget", [0.5, 3.0, 8.0, 20.0, 100.0])
def test_budget_is_kept_once_the_pace_is_known(budget):
    """A judge costs one evaluation and a correction three here, at a millisecond each."""
    problem = rosenbrock()
    clock = Clock(problem.calls)
    control = Controller(
        NoMotion(), Pullback(), TrustRegion(smallest=1e-6), FixedGate(6), horizon=1, budget=budget, clock=clock
    )
    state, depths = control.init(problem, problem.start()), []
    for number in range(30):
        planned = affordable_depth(state.pace, budget, 6)
        state, info = control.step(problem, state, problem.goal)
        depths.append(int(info.inner_steps))
        assert depths[-1] == planned
        if number > 1:  # soft: a refusal is cheaper than a move, so one step may cost more than the pace foretold
            assert info.milliseconds <= max(budget, 1.0) * 1.15 + 1e-9
    assert depths[0] == 1
    assert depths[-1] == {0.5: 0, 3.0: 0, 100.0: 6}.get(budget, depths[-1])
    assert budget < 8 or depths[-1] >= 1


def test_pace_remembers_peaks():
    pace = Pace().update(1.0, 6.0, 3)
    assert pace == Pace(1.0, 2.0, 2.0)
    assert pace.update(5.0, 0.0, 0) == Pace(5.0, 2.0, 2.0)
    slow = Pace(5.0, 2.0).update(1.0, 2.0, 1)
    assert slow.evaluation == pytest.approx(4.6) and slow.correction == 2.0
    assert affordable_depth(Pace(), 100.0, 4) == 1
    assert affordable_depth(Pace(2.0, 3.0), 1.0, 4) == 0
    assert affordable_depth(Pace(2.0, 3.0), 11.0, 4) == 3
    assert affordable_depth(Pace(2.0, 3.0), 1e6, 4) == 4


def test_a_single_slow_correction_does_not_end_all_others():
    pace = Pace().update(1.0, 2.0, 1).update(1.0, 50.0, 1)
    assert affordable_depth(pace, 6.0, 4) == 0
    assert pace.update(1.0, 0.0, 0) == pace, "nothing was asked for, nothing is forgotten"
    for _ in range(30):
        pace = pace.update(1.0, 0.0, 0, refused=True)
    assert affordable_depth(pace, 6.0, 4) >= 1
    for _ in range(100):
        pace = pace.update(1.0, 0.0, 0, refused=True)
    assert pace.correction == pace.fastest == 2.0, "but never expected to be faster than any has been"


def test_a_slow_first_step_does_not_count():
    problem = rosenbrock()
    clock = Clock(problem.calls, per_call=1.0)
    control = Controller(
        NoMotion(), Pullback(), TrustRegion(smallest=1e-6), FixedGate(6), horizon=1, budget=100.0, clock=clock
    )
    state, _ = control.step(problem, control.init(problem, problem.start()), problem.goal)
    assert state.pace == Pace()
    clock.per_call = 1e-3
    clock.calls.clear()
    for _ in range(3):
        state, info = control.step(problem, state, problem.goal)
    assert int(info.inner_steps) == 6


def test_a_learned_gate_can_learn_a_threshold():
    """Both heads, by plain gradient descent on what a threshold gate says."""
    noise = torch.Generator().manual_seed(1)
    loss = 10 ** (6 * torch.rand(512, generator=noise, dtype=torch.float64) - 3)
    kappa = 10 ** (6 * torch.rand(512, generator=noise, dtype=torch.float64) - 3)
    seen, teacher = features(loss, kappa), ThresholdGate(1.0, first=0.1, largest=3)
    learner = LearnedGate.start(3, seed=3)
    weights = [w.clone().requires_grad_(True) for name, w in learner.weights.items() if name != "still"]
    optimiser = torch.optim.Adam(weights, lr=0.05)
    for _ in range(300):
        gate = LearnedGate(*weights, learner.max_motion)
        cost = torch.nn.functional.binary_cross_entropy_with_logits(gate.open_logit(seen), teacher.open(seen).double())
        cost = cost + torch.nn.functional.cross_entropy(gate.depth_logits(seen), teacher.depth(seen) - 1)
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
    gate = LearnedGate(*(w.detach() for w in weights), learner.max_motion)
    assert float((gate.open(seen) == teacher.open(seen)).double().mean()) > 0.95
    assert float((gate.depth(seen) == teacher.depth(seen)).double().mean()) > 0.9


def test_a_learned_gate_drives_the_controller():
    problem = linear_gaussian()
    control = Controller(NoMotion(), Pullback(), TrustRegion(), LearnedGate.start(4, seed=11), horizon=1)
    state = control.init(problem, problem.start(6, 0.3))
    for _ in range(5):
        state, info = control.step(problem, state, problem.goal)
        assert ((info.inner_steps >= 0) & (info.inner_steps <= 4)).all()


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_radius_in_force_depends_on_kappa(power):
    region = TrustRegion(kappa_power=power, kappa_reference=4.0, smallest=0.01, largest=50.0)
    kappa = torch.tensor([0.0, 4.0, 64.0, 1e30], dtype=torch.float64)
    effective_radius = region.effective_radius(torch.full((4,), 0.5, dtype=torch.float64), kappa)
    want = [0.01, 0.5, min(0.5 * 16**power, 50.0), 50.0] if power else [0.5] * 4
    torch.testing.assert_close(effective_radius, torch.tensor(want, dtype=torch.float64))
    problem = rosenbrock()
    control = Controller(NoMotion(), Pullback(), region, FixedGate(1), horizon=1, order=1)
    state = control.init(problem, problem.start())
    for _ in range(10):
        radius = state.radius
        state, info = control.step(problem, state, problem.goal)
        weight, at = torch.ones(2, dtype=torch.float64), state.domain - info.z
        pushed = torch.func.jvp(lambda z, p=at: problem.g(p + z), (0 * info.z,), (info.z,))[1]
        length = ((weight * pushed.square()).sum() + 1e-3 * info.z.square().sum()).sqrt()
        assert float(length) <= float(region.effective_radius(radius, info.kappa)) * (1 + 1e-9)

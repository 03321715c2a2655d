"""The loop as a whole: what it may never do, on every problem of the zoo."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch
from problems import ZOO, curved_surface, expanded, linear_gaussian, rosenbrock, torus_arm, walled

from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.domain import AnalyticDecoder
from geofold.core.gate import Features, FixedGate, ThresholdGate
from geofold.core.metric import EuclideanMetric
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion

EXACT, FISHER = Pullback("exact"), Pullback("fisher", rank=4)


def controller(metric=EXACT, gate=None, **parts) -> Controller:
    return Controller(NoMotion(), metric, TrustRegion(), gate or FixedGate(1), **{"horizon": 1, **parts})


def stream(control, problem, steps, goal=None, state=None, batch=1, spread=0.0):
    state = state or control.init(problem, problem.start(batch, spread))
    infos = []
    for _ in range(steps):
        state, info = control.step(problem, state, goal or problem.goal)
        infos.append(info)
    return state, infos


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("metric", [EXACT, FISHER, EuclideanMetric()], ids=["exact", "fisher", "euclidean"])
def test_loss_never_increases_and_is_what_was_announced(make, metric):
    problem = make()
    control = controller(metric, FixedGate(2))
    _, infos = stream(control, problem, 25)
    for before, after in pairwise(infos):
        torch.testing.assert_close(after.loss_before, before.loss_after, rtol=1e-12, atol=1e-14)
    for info in infos:
        assert (info.loss_after <= info.loss_before).all()
        assert torch.equal(info.accepted, info.loss_after < info.loss_before)
        torch.testing.assert_close(sum(info.terms.values()), info.loss_after)
    assert infos[-1].loss_after < infos[0].loss_before


@pytest.mark.parametrize("make", ZOO)
def test_exact_metric_reaches_the_minimum(make):
    _, infos = stream(controller(gate=FixedGate(3)), make(), 60)
    assert float(infos[-1].loss_after) < 1e-3 * float(infos[0].loss_before)


def test_natural_step_solves_a_linear_problem_at_once():
    """Without damping and with room to move, one step is the weighted least-squares solution."""
    problem = linear_gaussian()
    exact = Pullback("exact", damping=1e-9, largest=1e15)
    control = Controller(NoMotion(), exact, TrustRegion(radius=100.0, largest=200.0), FixedGate(1), horizon=1)
    _, infos = stream(control, problem, 1)
    assert float(infos[0].loss_after) < 1e-12
    torch.testing.assert_close(infos[0].z[0], torch.linspace(-1, 1, 5, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(infos[0].actual, infos[0].predicted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("make", ZOO)
def test_step_stays_within_the_trust_region(make):
    """First order: the true length of what is emitted is at most the radius it started with."""
    problem = make()
    control = controller(order=1)
    state = control.init(problem, problem.start())
    for _ in range(15):
        radius, at = state.radius, state.domain
        state, info = control.step(problem, state, problem.goal)
        pushed = torch.func.jvp(lambda z, p=at: problem.g(problem.space.retract(p, z)), (info.z * 0,), (info.z,))[1]
        weight = torch.tensor(problem.weight, dtype=torch.float64)
        squared = (weight * pushed.square()).sum(-1) + EXACT.damping * info.z.square().sum(-1)
        assert float(squared.sqrt()) <= float(radius) * (1 + 1e-9)


@pytest.mark.parametrize("make", ZOO)
def test_closed_gate_spends_no_gradient_and_changes_nothing(make):
    problem = make()
    control = controller(gate=ThresholdGate(tolerance=math.inf))
    begin = control.init(problem, problem.start(3, 0.1))
    problem.calls.clear()
    state, info = control.step(problem, begin, problem.goal)
    assert problem.calls and not any(problem.calls)
    assert torch.equal(state.domain, begin.domain)
    assert torch.equal(info.z, torch.zeros(3, problem.dim, dtype=torch.float64))
    assert info.kappa is None and info.condition is None and info.actual is None and info.predicted is None
    for part in (info.inner_steps, info.accepted, info.radius, info.difficulty, info.loss_after):
        assert part.shape == (3,)
    assert not info.inner_steps.any() and not info.accepted.any()


def test_gate_opens_row_by_row():
    problem = linear_gaussian()
    control = controller(gate=ThresholdGate(tolerance=1.0))
    done = torch.linspace(-1, 1, 5, dtype=torch.float64)
    start = torch.stack([done, torch.zeros(5, dtype=torch.float64)])
    begin = control.init(problem, start)
    state, info = control.step(problem, begin, problem.goal)
    assert info.inner_steps.tolist()[0] == 0 and info.inner_steps.tolist()[1] >= 1
    assert torch.equal(state.domain[0], start[0]) and not torch.equal(state.domain[1], start[1])
    assert torch.equal(state.radius[0], begin.radius[0])
    assert torch.equal(state.metric.factor[0], begin.metric.factor[0])


def test_depth_follows_kappa_and_stays_within_its_bounds():
    gate = ThresholdGate(tolerance=0.0, first=1.0, largest=4)
    kappa = torch.tensor([0.0, 1e-9, 0.99, 1.01, 9.9, 10.1, 1e3, 1e30], dtype=torch.float64)
    blank = torch.zeros_like(kappa)
    assert gate.depth(Features(blank, blank, blank, blank, kappa)).tolist() == [1, 1, 1, 2, 2, 3, 4, 4]


@pytest.mark.parametrize("sketch", [EXACT, FISHER], ids=["exact", "fisher"])
def test_rejected_step_leaves_the_latent_bit_identical(sketch):
    """Walls so close that no trial is admissible: every step is refused, nothing moves, the radius has a floor."""
    problem = walled(curved_surface(), 0.0)
    control = controller(sketch, FixedGate(2))
    begin = control.init(problem, problem.start(2, 0.2))
    state, infos = stream(control, problem, 12, state=begin)
    for info in infos:
        assert not info.accepted.any() and (info.inner_steps == 2).all()
        assert torch.equal(info.z, torch.zeros_like(info.z))
        assert torch.equal(info.loss_after, info.loss_before)
    assert torch.equal(state.domain, begin.domain)
    assert (state.radius == control.trust_region.smallest).all()


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("metric", [EXACT, FISHER, EuclideanMetric()], ids=["exact", "fisher", "euclidean"])
def test_radius_recovers_within_five_steps_of_a_change_of_goal(make, metric):
    """However small it had become, at the minimum, by refusals: the new goal is fallen towards at once."""
    problem = make()
    control = controller(metric)
    state, _ = stream(control, problem, 60)
    state = state._replace(radius=torch.full_like(state.radius, control.trust_region.smallest))
    shifted = problem.g(problem.space.retract(state.domain, torch.full_like(state.domain, 0.4)))[0]
    elsewhere = tuple(shifted.tolist())
    state, infos = stream(control, problem, 5, goal=elsewhere, state=state)
    assert max(float(i.radius) for i in infos) >= control.trust_region.radius / 2
    assert any(bool(i.accepted) for i in infos)
    assert float(infos[-1].loss_after) < float(infos[0].loss_before)


@pytest.mark.parametrize("make", ZOO)
def test_single_precision_follows_double(make):
    """Ten steps with two corrections each: coordinates agree to 1e-3, losses to 1e-3 of the first one."""
    problem, ends = make(), []
    for dtype in (torch.float64, torch.float32):
        control = controller(EXACT, FixedGate(2))
        state = control.init(problem, problem.start(dtype=dtype))
        state, infos = stream(control, problem, 10, state=state)
        assert state.domain.dtype == state.radius.dtype == infos[-1].z.dtype == dtype
        ends.append((state.domain.double(), infos[-1].loss_after.double(), float(infos[0].loss_before)))
    torch.testing.assert_close(ends[1][0], ends[0][0], rtol=0, atol=1e-3)
    torch.testing.assert_close(ends[1][1], ends[0][1], rtol=0, atol=1e-3 * ends[0][2])


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("metric", [EXACT, FISHER], ids=["exact", "fisher"])
def test_a_batch_of_one_equals_a_row_of_a_batch(make, metric):
    problem = make()
    control = controller(metric, ThresholdGate(1e-3, largest=3), horizon=2)
    whole, infos = stream(control, problem, 6, batch=3, spread=0.07)
    for row in range(3):
        alone = control.init(problem, problem.start(3, 0.07)[row : row + 1])
        single, own = stream(control, problem, 6, state=alone)
        torch.testing.assert_close(whole.domain[row : row + 1], single.domain, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(whole.radius[row : row + 1], single.radius, rtol=1e-9, atol=1e-9)
        assert [int(i.inner_steps[row]) for i in infos] == [int(i.inner_steps[0]) for i in own]


@pytest.mark.parametrize("make", ZOO)
def test_closed_form_derivatives_change_nothing(make):
    problem = make()
    assert isinstance(expanded(problem), AnalyticDecoder) and not isinstance(problem, AnalyticDecoder)
    one, _ = stream(controller(gate=FixedGate(2), horizon=2), problem, 8)
    other, _ = stream(controller(gate=FixedGate(2), horizon=2), expanded(problem), 8)
    torch.testing.assert_close(one.domain, other.domain, rtol=1e-8, atol=1e-8)


def test_same_seed_same_bits_and_another_seed_another_sketch():
    problem = curved_surface()
    ends = [stream(controller(FISHER, seed=s), problem, 5, batch=2, spread=0.1)[0] for s in (7, 7, 8)]
    assert torch.equal(ends[0].domain, ends[1].domain) and torch.equal(ends[0].metric.factor, ends[1].metric.factor)
    assert not torch.equal(ends[0].metric.factor, ends[2].metric.factor)


@pytest.mark.parametrize("make", ZOO)
def test_inputs_are_not_mutated(make):
    problem = make()
    control = controller(FISHER, FixedGate(2), horizon=3, drift=0.5)
    state = stream(control, problem, 2, batch=2, spread=0.1)[0]
    before = copy.deepcopy(state)
    control.step(problem, state, problem.goal)
    for name in ("domain", "memory", "radius", "direction"):
        assert torch.equal(getattr(state, name), getattr(before, name)), name
    assert torch.equal(state.metric.factor, before.metric.factor)
    assert torch.equal(state.metric.weight, before.metric.weight)
    assert state.goal == before.goal and state.steps == before.steps


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("horizon", [1, 3])
def test_info_is_finite_and_complete(make, horizon):
    problem = make()
    state, infos = stream(controller(FISHER, FixedGate(2), horizon=horizon), problem, 20, batch=2, spread=0.05)
    assert state.steps == 20
    for info in infos:
        values = info._asdict() | {"condition": info.condition}
        assert values.pop("factor") is not None
        for name, value in values.items():
            for part in value.values() if name == "terms" else [value]:
                assert torch.as_tensor(part).isfinite().all(), name
        assert (info.kappa >= 0).all() and (info.condition >= 1 - 1e-12).all() and info.milliseconds > 0


@pytest.mark.parametrize("make", ZOO)
def test_angle_between_natural_and_euclidean_direction(make):
    """By the dense metric; a Euclidean metric turns nothing, and without a correction nothing is known."""
    problem = make()
    for info in stream(controller(), problem, 4, batch=2, spread=0.05)[1]:
        unit = torch.eye(info.z.shape[1], dtype=torch.float64)
        for row in range(2):
            dense = torch.stack([info.factor.times(e.expand(2, -1))[row] for e in unit], 1)
            natural, gradient = torch.linalg.solve(dense, info.gradient[row]), info.gradient[row]
            cosine = float(natural @ gradient / (natural.norm() * gradient.norm()))
            assert float(info.angle[row].cos()) == pytest.approx(cosine, abs=1e-6)
            assert float(info.angle[row]) < math.pi / 2, "a natural direction descends"
    info = stream(controller(EuclideanMetric()), problem, 1)[1][0]
    assert float(info.angle) == pytest.approx(0.0, abs=1e-6)
    info = stream(controller(gate=FixedGate(0)), problem, 1)[1][0]
    assert info.angle is None and info.condition is None


def test_minimum_makes_no_trouble():
    """Zero gradient: no division, nothing accepted, the state stays as it is, bit for bit."""
    problem = rosenbrock()
    control = controller(FISHER, FixedGate(2))
    begin = control.init(problem, torch.ones(1, 2, dtype=torch.float64))
    state, infos = stream(control, problem, 5, state=begin)
    assert torch.equal(state.domain, begin.domain)
    assert all(float(i.kappa) == 0 and float(i.condition) >= 1 and math.isfinite(float(i.radius)) for i in infos)


def test_drift_ties_the_correction_to_the_proposal():
    """For a linear decoder and an open trust region K steps tend to the minimum of l + (mu/2)|z|_G^2: z*/(1 + mu)."""
    problem = linear_gaussian()
    roomy = TrustRegion(radius=100.0, largest=200.0)
    exact = Pullback("exact", damping=1e-9, largest=1e15)
    ends = []
    for drift in (0.0, 1.0, 3.0):
        parts = Controller(NoMotion(), exact, roomy, FixedGate(25), horizon=1, drift=drift, order=1)
        ends.append(parts.step(problem, parts.init(problem, problem.start()), problem.goal)[1].z[0])
    for drift, end in zip((0.0, 1.0, 3.0), ends, strict=True):
        torch.testing.assert_close(end, ends[0] / (1 + drift), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("drift", [0.0, 0.3, 1.0, 3.0])
def test_prediction_counts_the_drift(drift):
    """Loss and tie of a linear decoder are quadratic, so the model must foretell the decrease exactly."""
    problem, exact = linear_gaussian(), Pullback("exact", damping=1e-9, largest=1e15)
    control = Controller(NoMotion(), exact, TrustRegion(radius=100.0, largest=200.0), FixedGate(1), 1, drift=drift)
    _, info = control.step(problem, control.init(problem, problem.start()), problem.goal)
    torch.testing.assert_close(info.predicted, info.actual, rtol=1e-6, atol=0)
    assert bool(info.accepted)


def test_latents_and_states_of_a_torus_stay_wrapped():
    """Proposals at the seam: the correction crosses it, the emitted latent does not leave the interval."""

    class AtTheSeam(NoMotion):
        def step(self, x, state):
            return torch.full_like(state, math.pi - 1e-3), state

    problem = torus_arm()
    control = Controller(AtTheSeam(), EXACT, TrustRegion(), FixedGate(3), horizon=1)
    state, infos = stream(control, problem, 12, batch=3, spread=1.0)
    for info in infos:
        assert (info.z >= -math.pi).all() and (info.z < math.pi).all()
    assert any((info.z < 0).any() for info in infos)
    assert (state.domain >= -math.pi).all() and (state.domain < math.pi).all()

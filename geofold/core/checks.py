"""The contracts as a program: does a domain, a backbone or a metric keep what the controller relies on?

Run these on a domain of your own before you stream it (`examples/04_your_own_domain.py`). The first promise that is
broken raises a `ContractError`, which says what was found, what the contract says and what to do; the most basic
promises come first. Nothing given is changed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import Backbone, take_rows
from geofold.core.contract import Probe, require, require_close, require_finite, require_shape, require_unchanged
from geofold.core.domain import Domain, Expansion, Prediction
from geofold.core.linearise import Linearisation, differentiate, evaluate_loss, linearise
from geofold.core.metric import Metric

DIFFERENCE_STEP = 1e-5


def check_domain(
    domain: Domain, state: Any, goal: Any, *, latent: Tensor | None = None, seed: int = 0, tolerance: float = 1e-4
) -> None:
    """Check a domain at one state and goal.

    Parameters
    ----------
    latent : (B, d) or None
        Where derivatives are checked; None: a small random latent.
    tolerance : float
        Relative error that finite differences may have.

    Raises
    ------
    ContractError
        At the first promise that is broken.
    """
    probe = Probe(seed)
    seen = require_shape("observe", domain.observe(state, goal), (None, None))
    require(
        seen.is_floating_point(),
        "observe",
        f"a tensor of {seen.dtype}",
        "floating-point features (B, f)",
        "return a floating-point tensor: its type is that of the whole stream",
    )
    rows, dim = len(seen), domain.latent_dim
    z = 0.05 * probe.like(seen.new_zeros(rows, dim)) if latent is None else latent
    require_shape("the latent", z, (rows, dim))
    prediction = _check_decode(domain, z, state)
    with require_unchanged("loss", "goal", goal), require_unchanged("loss", "state", state):
        _check_loss(domain, prediction, state, goal)
    _check_space(domain, z, probe)
    _check_derivatives(domain, z, state, probe, tolerance)
    _check_slope(domain, z, state, goal, probe, tolerance)
    _check_commit(domain, prediction, state)
    if hasattr(domain, "select"):
        _check_rows(domain, z, state, goal)


def check_backbone(backbone: Backbone, batch: int, features: int, dim: int, *, seed: int = 0) -> None:
    """Check a backbone: shapes, purity, independent rows, and a corrected latent that persists and counts.

    Raises
    ------
    ContractError
        At the first promise that is broken.
    """
    probe = Probe(seed)
    xs = probe.like(torch.zeros(3, batch, features, dtype=torch.float64))
    state = backbone.init_state(batch, dim, xs[0])
    with require_unchanged("step", "state", state):
        z, after = backbone.step(xs[0], state)
        again, _ = backbone.step(xs[0], state)
    require_shape("step", z, (batch, dim))
    require_finite("step", z)
    require_close(
        "step", z, again, "the same proposal from the same state", "draw no random numbers in a frozen model", 0.0
    )
    corrected = z + probe.like(z)
    with require_unchanged("write", "state", after):
        written = backbone.write(after, corrected)
    told = backbone.read(written)
    require_close("write", told, corrected, "read(write(state, z)) = z", "keep the corrected latent as it is", 0.0)
    if not getattr(backbone, "no_motion", False):
        plain, other = backbone.step(xs[1], after)[0], backbone.step(xs[1], written)[0]
        require(
            bool((plain != other).any(-1).all()),
            "write",
            "the same next proposal as without the correction",
            "a corrected latent that changes what comes next",
            "let the state that write returns enter the next step",
        )
    halves = [take_rows(written, torch.arange(batch)[k : k + 1]) for k in range(batch)]
    together, _ = backbone.step(xs[1], written)
    apart = torch.cat([backbone.step(xs[1][k : k + 1], half)[0] for k, half in enumerate(halves)])
    require_close(
        "step",
        together,
        apart,
        "rows that do not know each other, in nests of tensors whose first dimension is the batch",
        "keep the batch first in every tensor of the state",
        1e-6,
    )
    if scan := getattr(backbone, "scan", None):
        stepped, memory = [], state
        for x in xs:
            z, memory = backbone.step(x, memory)
            stepped.append(z)
        require_close("scan", scan(xs, state)[0], torch.stack(stepped), "scan = step after step", "mend scan", 1e-6)


def check_metric(metric: Metric, at: Linearisation, *, seed: int = 0, tolerance: float = 1e-6) -> None:
    """Check a metric at a linearised problem: positive definite, solved, pure, and unmoved by a constant look.

    Raises
    ------
    ContractError
        At the first promise that is broken.
    """
    probe = Probe(seed)
    rows, dim = at.z.shape
    state = metric.init(rows, dim, at.z)
    require(metric.damping > 0, "damping", f"{metric.damping}", "lambda > 0", "give the metric a floor")
    for number in range(3):
        with require_unchanged("update", "state", state):
            state = metric.update(state, at, probe.like(at.z), number)
    with require_unchanged("factor", "state", state):
        factor = metric.factor(state)
    v, w = probe.like(at.z), probe.like(at.z)
    for name, value in (("solve", factor.solve(v)), ("times", factor.times(v))):
        require_finite(name, require_shape(name, value, (rows, dim)))
    length = require_shape("quadratic", factor.quadratic(v), (rows,))
    require(
        bool((length >= metric.damping * (1 - tolerance) * v.square().sum(-1)).all()),
        "quadratic",
        f"v'Gv = {float(length.min()):.3g}",
        "a positive definite metric, no less than lambda |v|^2",
        "add lambda to the diagonal, and only squares to it",
    )
    require_close("norm", factor.norm(v), length.sqrt(), "the root of the quadratic form", "take the root", tolerance)
    require_close(
        "times", (v * factor.times(v)).sum(-1), length, "v'(Gv) = quadratic(v)", "let both use one G", tolerance
    )
    swapped = ((v * factor.times(w)).sum(-1), (w * factor.times(v)).sum(-1))
    require_close("times", *swapped, "a symmetric metric", "average G and its transpose", tolerance)
    # Eq. 4 subtracts what nearly cancels: it loses the square of the condition number
    loose = max(tolerance, min(1e-2, 1e-15 * float(factor.condition().max()) ** 2))
    back = factor.times(factor.solve(v))
    require_close("solve", back, v, "G (G^-1 g) = g", "factor the very matrix that `times` multiplies with", loose)
    condition = require_finite("condition", require_shape("condition", factor.condition(), (rows,)))
    require(
        bool((condition >= 1 - tolerance).all()),
        "condition",
        f"{float(condition.min()):.3g}",
        "at least one",
        "divide the largest eigenvalue by the smallest",
    )


def _check_decode(domain: Domain, z: Tensor, state: Any) -> Prediction:
    with torch.no_grad(), require_unchanged("decode", "latent", z), require_unchanged("decode", "state", state):
        prediction, again = domain.decode(z, state), domain.decode(z, state)
    rows = len(z)
    mean = require_finite("decode", require_shape("decode: mean", prediction.mean, (rows, None)))
    require_finite("decode: precision", prediction.precision)
    wide = prediction.precision.shape in (mean.shape, mean.shape[1:])
    require(
        wide and bool((prediction.precision >= 0).all()),
        "decode: precision",
        f"shape {tuple(prediction.precision.shape)}, smallest {float(prediction.precision.min()):.3g}",
        f"non-negative weights {tuple(mean.shape)} or {tuple(mean.shape[1:])}",
        "give each observation its inverse variance, zero for what only the loss reads",
    )
    valid = require_shape("decode: valid", prediction.valid, (rows,))
    require(
        valid.dtype == torch.bool and bool(valid.all()),
        "decode: valid",
        f"{valid.tolist()}",
        "true for a small latent, as a bool (B,)",
        "say false only where a latent has no admissible decoding",
    )
    require_close("decode", again.mean, mean, "the same prediction twice", "draw no random numbers", 0.0)
    return prediction


def _check_loss(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> None:
    with torch.no_grad():
        loss, again = (domain.loss(prediction, state, goal) for _ in range(2))
    rows = len(prediction.mean)
    total = require_finite("loss", require_shape("loss: total", loss.total, (rows,)))
    require_close("loss", again.total, total, "the same loss twice", "draw no random numbers", 0.0)
    for name, term in loss.terms.items():
        require_shape(f"loss: term {name}", term, (rows,))
    if loss.terms:
        found = torch.stack(list(loss.terms.values())).sum(0)
        require_close(
            "loss: terms", found, total, "terms that add up to the total", "name every part of the loss", 1e-6
        )
    for name in ("difficulty", "violation"):
        part = getattr(loss, name)
        if part is not None:
            require_finite(f"loss: {name}", require_shape(f"loss: {name}", part, (rows,)))
    require(goal == goal, "goal", "goal != goal", "goals that equal themselves", "give them an __eq__")


def _check_space(domain: Domain, z: Tensor, probe: Probe) -> None:
    step = 0.01 * probe.like(z)
    require_close("space", domain.space.retract(z, 0 * step), z, "retract(z, 0) = z", "add nothing for no step", 0.0)
    back = domain.space.minus(domain.space.retract(z, step), z)
    require_close("space", back, step, "minus(retract(z, s), z) = s", "make minus the inverse of retract", 1e-6)


def _check_derivatives(domain: Domain, z: Tensor, state: Any, probe: Probe, tolerance: float) -> None:
    """Derivatives in closed form, or by differentiation, against finite differences."""
    given = getattr(domain, "expand", None)
    around: Expansion = given(z, state) if given else differentiate(domain, z, state)
    name = "expand" if given else "decode, differentiated"
    plain = domain.decode(z, state).mean.detach()
    require_close(name, around.prediction.mean, plain, "the prediction of `decode`", "let both share their code", 1e-6)
    v, w = probe.like(z), torch.rand_like(plain)
    pushed = around.push(v[None])[0].detach()

    def mean(t: float) -> Tensor:
        return domain.decode(domain.space.retract(z, t * v), state).mean.detach()

    # the scale of J as a whole: single observations may hardly depend on this direction
    slope = (mean(DIFFERENCE_STEP) - mean(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)
    require_close(
        f"{name}: push", pushed, slope, "J v", "mend the first derivative; is it wrapped, capped or cut?", tolerance
    )
    wide = 30 * DIFFERENCE_STEP
    curve = (mean(wide) - 2 * plain + mean(-wide)) / wide**2
    floor = 1e-3 * float(slope.abs().max()) + 1e-6
    require_close(
        f"{name}: bend", around.bend(v).detach(), curve, "d2g[v, v]", "mend the second derivative", 0.02, floor
    )
    c = probe.like(plain)
    left, right = (around.pull(c[None])[0] * v).sum(-1), (c * pushed).sum(-1)
    require_close(f"{name}: pull", left, right, "J', the transpose of push", "mend the backward map", 1e-6)
    found = torch.einsum("bi,bij,bj->b", v, around.gram(w), v)
    require_close(f"{name}: gram", found, (w * pushed.square()).sum(-1), "J'WJ", "mend the Gram matrix", 1e-6)


def _check_slope(domain: Domain, z: Tensor, state: Any, goal: Any, probe: Probe, tolerance: float) -> None:
    """Gradient of the loss; it must see the latent through the predicted mean alone."""
    at = linearise(domain, z, state, evaluate_loss(domain, z, state, goal))
    v = probe.like(z)

    def value(t: float) -> Tensor:
        with torch.no_grad():
            return domain.loss(domain.decode(domain.space.retract(z, t * v), state), state, goal).total

    require_close(
        "loss", at.loss.total, value(0.0), "one loss, whichever way it is asked for", "let `sloped` equal it", 1e-6
    )
    slope = (value(DIFFERENCE_STEP) - value(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)
    floor = tolerance * float(at.gradient.norm() * v.norm()) + 1e-7
    require_close(
        "loss: gradient",
        (at.gradient * v).sum(-1),
        slope,
        "the derivative of the loss by the latent",
        "let the loss depend on the latent through prediction.mean only, differentiably",
        tolerance,
        floor,
    )


def _check_commit(domain: Domain, prediction: Prediction, state: Any) -> None:
    with (
        torch.no_grad(),
        require_unchanged("commit", "state", state),
        require_unchanged("commit", "prediction", tuple(prediction.__dict__.values())),
    ):
        after = domain.commit(prediction, state)
        none = torch.zeros_like(prediction.valid)
        refused = domain.commit(Prediction(prediction.mean, prediction.precision, none), state)
        rows, dim = len(prediction.mean), domain.latent_dim
        seen = domain.decode(prediction.mean.new_zeros(rows, dim), refused).mean
        was = domain.decode(prediction.mean.new_zeros(rows, dim), state).mean
    require_close(
        "commit", seen, was, "rows whose prediction is not valid stay as they are", "keep the old state there", 1e-9
    )
    require_finite("observe, after commit", domain.observe(after, None))


def _check_rows(domain: Any, z: Tensor, state: Any, goal: Any) -> None:
    rows = torch.arange(len(z), device=z.device)
    with torch.no_grad(), require_unchanged("select", "state", state):
        twice = domain.select(state, rows.repeat(2))
        one, both = domain.decode(z, state), domain.decode(z.repeat(2, 1), twice)
        require_close("select", both.mean, one.mean.repeat(2, 1), "the rows asked for", "rearrange every tensor", 1e-9)
        cost = domain.loss(both, twice, goal).total
        want = domain.loss(one, state, goal).total.repeat(2)
        require_close(
            "select", cost, want, "a loss that takes one goal for any number of rows", "repeat what is per row", 1e-9
        )

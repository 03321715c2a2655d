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
from geofold.core.contract import Probe, agree, demand, finite, frozen, shaped
from geofold.core.domain import Domain, Expansion, Prediction
from geofold.core.linearise import Linearisation, differentiate, linearise, look
from geofold.core.metric import Metric

STEP = 1e-5


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
    seen = shaped("observe", domain.observe(state, goal), (None, None))
    demand(
        seen.is_floating_point(),
        "observe",
        f"a tensor of {seen.dtype}",
        "floating-point features (B, f)",
        "return a floating-point tensor: its type is that of the whole stream",
    )
    rows, dim = len(seen), domain.latent_dim
    z = 0.05 * probe.like(seen.new_zeros(rows, dim)) if latent is None else latent
    shaped("the latent", z, (rows, dim))
    prediction = _decoded(domain, z, state)
    with frozen("loss", "goal", goal), frozen("loss", "state", state):
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
    with frozen("step", "state", state):
        z, after = backbone.step(xs[0], state)
        again, _ = backbone.step(xs[0], state)
    shaped("step", z, (batch, dim))
    finite("step", z)
    agree("step", z, again, "the same proposal from the same state", "draw no random numbers in a frozen model", 0.0)
    corrected = z + probe.like(z)
    with frozen("write", "state", after):
        written = backbone.write(after, corrected)
    told = backbone.read(written)
    agree("write", told, corrected, "read(write(state, z)) = z", "keep the corrected latent as it is", 0.0)
    if not getattr(backbone, "still", False):
        plain, other = backbone.step(xs[1], after)[0], backbone.step(xs[1], written)[0]
        demand(
            bool((plain != other).any(-1).all()),
            "write",
            "the same next proposal as without the correction",
            "a corrected latent that changes what comes next",
            "let the state that write returns enter the next step",
        )
    halves = [take_rows(written, torch.arange(batch)[k : k + 1]) for k in range(batch)]
    together, _ = backbone.step(xs[1], written)
    apart = torch.cat([backbone.step(xs[1][k : k + 1], half)[0] for k, half in enumerate(halves)])
    agree(
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
        agree("scan", scan(xs, state)[0], torch.stack(stepped), "scan = step after step", "mend scan", 1e-6)


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
    demand(metric.damping > 0, "damping", f"{metric.damping}", "lambda > 0", "give the metric a floor")
    for number in range(3):
        with frozen("update", "state", state):
            state = metric.update(state, at, probe.like(at.z), number)
    with frozen("factor", "state", state):
        factor = metric.factor(state)
    v, w = probe.like(at.z), probe.like(at.z)
    for name, value in (("solve", factor.solve(v)), ("times", factor.times(v))):
        finite(name, shaped(name, value, (rows, dim)))
    length = shaped("quadratic", factor.quadratic(v), (rows,))
    demand(
        bool((length >= metric.damping * (1 - tolerance) * v.square().sum(-1)).all()),
        "quadratic",
        f"v'Gv = {float(length.min()):.3g}",
        "a positive definite metric, no less than lambda |v|^2",
        "add lambda to the diagonal, and only squares to it",
    )
    agree("norm", factor.norm(v), length.sqrt(), "the root of the quadratic form", "take the root", tolerance)
    agree("times", (v * factor.times(v)).sum(-1), length, "v'(Gv) = quadratic(v)", "let both use one G", tolerance)
    swapped = ((v * factor.times(w)).sum(-1), (w * factor.times(v)).sum(-1))
    agree("times", *swapped, "a symmetric metric", "average G and its transpose", tolerance)
    # Eq. 4 subtracts what nearly cancels: it loses the square of the condition number
    loose = max(tolerance, min(1e-2, 1e-15 * float(factor.condition().max()) ** 2))
    back = factor.times(factor.solve(v))
    agree("solve", back, v, "G (G^-1 g) = g", "factor the very matrix that `times` multiplies with", loose)
    condition = finite("condition", shaped("condition", factor.condition(), (rows,)))
    demand(
        bool((condition >= 1 - tolerance).all()),
        "condition",
        f"{float(condition.min()):.3g}",
        "at least one",
        "divide the largest eigenvalue by the smallest",
    )


def _decoded(domain: Domain, z: Tensor, state: Any) -> Prediction:
    with torch.no_grad(), frozen("decode", "latent", z), frozen("decode", "state", state):
        prediction, again = domain.decode(z, state), domain.decode(z, state)
    rows = len(z)
    mean = finite("decode", shaped("decode: mean", prediction.mean, (rows, None)))
    finite("decode: precision", prediction.precision)
    wide = prediction.precision.shape in (mean.shape, mean.shape[1:])
    demand(
        wide and bool((prediction.precision >= 0).all()),
        "decode: precision",
        f"shape {tuple(prediction.precision.shape)}, smallest {float(prediction.precision.min()):.3g}",
        f"non-negative weights {tuple(mean.shape)} or {tuple(mean.shape[1:])}",
        "give each observation its inverse variance, zero for what only the loss reads",
    )
    valid = shaped("decode: valid", prediction.valid, (rows,))
    demand(
        valid.dtype == torch.bool and bool(valid.all()),
        "decode: valid",
        f"{valid.tolist()}",
        "true for a small latent, as a bool (B,)",
        "say false only where a latent has no admissible decoding",
    )
    agree("decode", again.mean, mean, "the same prediction twice", "draw no random numbers", 0.0)
    return prediction


def _check_loss(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> None:
    with torch.no_grad():
        loss, again = (domain.loss(prediction, state, goal) for _ in range(2))
    rows = len(prediction.mean)
    total = finite("loss", shaped("loss: total", loss.total, (rows,)))
    agree("loss", again.total, total, "the same loss twice", "draw no random numbers", 0.0)
    for name, term in loss.terms.items():
        shaped(f"loss: term {name}", term, (rows,))
    if loss.terms:
        found = torch.stack(list(loss.terms.values())).sum(0)
        agree("loss: terms", found, total, "terms that add up to the total", "name every part of the loss", 1e-6)
    for name in ("difficulty", "violation"):
        part = getattr(loss, name)
        if part is not None:
            finite(f"loss: {name}", shaped(f"loss: {name}", part, (rows,)))
    demand(goal == goal, "goal", "goal != goal", "goals that equal themselves", "give them an __eq__")


def _check_space(domain: Domain, z: Tensor, probe: Probe) -> None:
    step = 0.01 * probe.like(z)
    agree("space", domain.space.retract(z, 0 * step), z, "retract(z, 0) = z", "add nothing for no step", 0.0)
    back = domain.space.minus(domain.space.retract(z, step), z)
    agree("space", back, step, "minus(retract(z, s), z) = s", "make minus the inverse of retract", 1e-6)


def _check_derivatives(domain: Domain, z: Tensor, state: Any, probe: Probe, tolerance: float) -> None:
    """Derivatives in closed form, or by differentiation, against finite differences."""
    given = getattr(domain, "expand", None)
    around: Expansion = given(z, state) if given else differentiate(domain, z, state)
    name = "expand" if given else "decode, differentiated"
    plain = domain.decode(z, state).mean.detach()
    agree(name, around.prediction.mean, plain, "the prediction of `decode`", "let both share their code", 1e-6)
    v, w = probe.like(z), torch.rand_like(plain)
    pushed = around.push(v[None])[0].detach()

    def mean(t: float) -> Tensor:
        return domain.decode(domain.space.retract(z, t * v), state).mean.detach()

    # the scale of J as a whole: single observations may hardly depend on this direction
    slope = (mean(STEP) - mean(-STEP)) / (2 * STEP)
    agree(f"{name}: push", pushed, slope, "J v", "mend the first derivative; is it wrapped, capped or cut?", tolerance)
    wide = 30 * STEP
    curve = (mean(wide) - 2 * plain + mean(-wide)) / wide**2
    floor = 1e-3 * float(slope.abs().max()) + 1e-6
    agree(f"{name}: bend", around.bend(v).detach(), curve, "d2g[v, v]", "mend the second derivative", 0.02, floor)
    c = probe.like(plain)
    left, right = (around.pull(c[None])[0] * v).sum(-1), (c * pushed).sum(-1)
    agree(f"{name}: pull", left, right, "J', the transpose of push", "mend the backward map", 1e-6)
    found = torch.einsum("bi,bij,bj->b", v, around.gram(w), v)
    agree(f"{name}: gram", found, (w * pushed.square()).sum(-1), "J'WJ", "mend the Gram matrix", 1e-6)


def _check_slope(domain: Domain, z: Tensor, state: Any, goal: Any, probe: Probe, tolerance: float) -> None:
    """Gradient of the loss; it must see the latent through the predicted mean alone."""
    at = linearise(domain, z, state, look(domain, z, state, goal))
    v = probe.like(z)

    def value(t: float) -> Tensor:
        with torch.no_grad():
            return domain.loss(domain.decode(domain.space.retract(z, t * v), state), state, goal).total

    agree("loss", at.loss.total, value(0.0), "one loss, whichever way it is asked for", "let `sloped` equal it", 1e-6)
    slope = (value(STEP) - value(-STEP)) / (2 * STEP)
    floor = tolerance * float(at.gradient.norm() * v.norm()) + 1e-7
    agree(
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
        frozen("commit", "state", state),
        frozen("commit", "prediction", tuple(prediction.__dict__.values())),
    ):
        after = domain.commit(prediction, state)
        none = torch.zeros_like(prediction.valid)
        refused = domain.commit(Prediction(prediction.mean, prediction.precision, none), state)
        rows, dim = len(prediction.mean), domain.latent_dim
        seen = domain.decode(prediction.mean.new_zeros(rows, dim), refused).mean
        was = domain.decode(prediction.mean.new_zeros(rows, dim), state).mean
    agree("commit", seen, was, "rows whose prediction is not valid stay as they are", "keep the old state there", 1e-9)
    finite("observe, after commit", domain.observe(after, None))


def _check_rows(domain: Any, z: Tensor, state: Any, goal: Any) -> None:
    rows = torch.arange(len(z), device=z.device)
    with torch.no_grad(), frozen("select", "state", state):
        twice = domain.select(state, rows.repeat(2))
        one, both = domain.decode(z, state), domain.decode(z.repeat(2, 1), twice)
        agree("select", both.mean, one.mean.repeat(2, 1), "the rows asked for", "rearrange every tensor", 1e-9)
        cost = domain.loss(both, twice, goal).total
        want = domain.loss(one, state, goal).total.repeat(2)
        agree("select", cost, want, "a loss that takes one goal for any number of rows", "repeat what is per row", 1e-9)

"""Checks of the single promises of a domain; `geofold.core.checks.check_domain` runs them in order.

Each function raises a `ContractError` at the first violation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geofold.core.checks.assertions import (
    Probe,
    require,
    require_close,
    require_finite,
    require_shape,
    require_unchanged,
)
from geofold.core.domain import Domain, Expansion, Prediction
from geofold.core.linearise import differentiate, evaluate_loss, linearise

DIFFERENCE_STEP = 1e-5
"""Step of central finite differences: small enough for their truncation, large enough for rounding in float64."""


def check_decode(domain: Domain, z: Tensor, state: Any) -> Prediction:
    """Check shapes, weights and purity of `decode`, and return the prediction at a latent (B, d)."""
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
        "return inverse variances, zero for observations that enter the loss only",
    )
    valid = require_shape("decode: valid", prediction.valid, (rows,))
    require(
        valid.dtype == torch.bool and bool(valid.all()),
        "decode: valid",
        f"{valid.tolist()}",
        "true for a small latent, as a bool (B,)",
        "return false only if a latent has no admissible decoding",
    )
    require_close("decode", again.mean, mean, "the same prediction twice", "draw no random numbers", 0.0)
    return prediction


def check_loss(domain: Domain, prediction: Prediction, state: Any, goal: Any) -> None:
    """Check shapes, terms and purity of `loss`, and that the goal equals itself.

    Parameters
    ----------
    domain : Domain
        Domain to check.
    prediction : Prediction
        Decoded latents.
    state
        State of the domain.
    goal
        Goal of the loss.
    """
    with torch.no_grad():
        loss, again = (domain.loss(prediction, state, goal) for _ in range(2))
    rows = len(prediction.mean)
    total = require_finite("loss", require_shape("loss: total", loss.total, (rows,)))
    require_close("loss", again.total, total, "the same loss twice", "draw no random numbers", 0.0)
    for name, term in loss.terms.items():
        require_shape(f"loss: term {name}", term, (rows,))
    if loss.terms:
        term_sum = torch.stack(list(loss.terms.values())).sum(0)
        require_close(
            "loss: terms", term_sum, total, "terms that add up to the total", "name every part of the loss", 1e-6
        )
    for name in ("difficulty", "violation"):
        part = getattr(loss, name)
        if part is not None:
            require_finite(f"loss: {name}", require_shape(f"loss: {name}", part, (rows,)))
    require(goal == goal, "goal", "goal != goal", "goals that equal themselves", "define __eq__")


def check_space(domain: Domain, z: Tensor, probe: Probe) -> None:
    """Check that `retract` and `minus` of the space are inverse to each other near a latent (B, d)."""
    step = 0.01 * probe.like(z)
    require_close(
        "space", domain.space.retract(z, 0 * step), z, "retract(z, 0) = z", "add nothing for a zero step", 0.0
    )
    back = domain.space.minus(domain.space.retract(z, step), z)
    require_close("space", back, step, "minus(retract(z, s), z) = s", "make minus the inverse of retract", 1e-6)


def check_derivatives(domain: Domain, z: Tensor, state: Any, probe: Probe, tolerance: float) -> None:
    """Check derivatives, in closed form or by differentiation, against finite differences.

    Parameters
    ----------
    domain : Domain
        Domain to check.
    z : (B, d)
        Latents.
    state
        State of the domain.
    probe : Probe
        Source of random directions.
    tolerance : float
        Largest relative error.
    """
    expand = getattr(domain, "expand", None)
    around: Expansion = expand(z, state) if expand else differentiate(domain, z, state)
    name = "expand" if expand else "decode, differentiated"
    reference = domain.decode(z, state).mean.detach()
    require_close(name, around.prediction.mean, reference, "the prediction of `decode`", "share the code of both", 1e-6)
    v, w = probe.like(z), torch.rand_like(reference)
    pushed = around.push(v[None])[0].detach()

    def mean(t: float) -> Tensor:
        return domain.decode(domain.space.retract(z, t * v), state).mean.detach()

    # Errors are relative to the largest entry, because single observations may hardly depend on this direction.
    slope = (mean(DIFFERENCE_STEP) - mean(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)
    require_close(
        f"{name}: push", pushed, slope, "J v", "correct the first derivative; is it wrapped, capped or cut?", tolerance
    )
    wide = 30 * DIFFERENCE_STEP
    curve = (mean(wide) - 2 * reference + mean(-wide)) / wide**2
    floor = 1e-3 * float(slope.abs().max()) + 1e-6
    require_close(
        f"{name}: bend", around.bend(v).detach(), curve, "d2g[v, v]", "correct the second derivative", 0.02, floor
    )
    c = probe.like(reference)
    left, right = (around.pull(c[None])[0] * v).sum(-1), (c * pushed).sum(-1)
    require_close(f"{name}: pull", left, right, "J', the transpose of push", "correct the backward map", 1e-6)
    length = torch.einsum("bi,bij,bj->b", v, around.gram(w), v)
    require_close(f"{name}: gram", length, (w * pushed.square()).sum(-1), "J'WJ", "correct the Gram matrix", 1e-6)


def check_slope(domain: Domain, z: Tensor, state: Any, goal: Any, probe: Probe, tolerance: float) -> None:
    """Check the gradient of the loss, which may depend on the latent through the predicted mean only.

    Parameters
    ----------
    domain : Domain
        Domain to check.
    z : (B, d)
        Latents.
    state
        State of the domain.
    goal
        Goal of the loss.
    probe : Probe
        Source of random directions.
    tolerance : float
        Largest relative error.
    """
    at = linearise(domain, z, state, evaluate_loss(domain, z, state, goal))
    v = probe.like(z)

    def value(t: float) -> Tensor:
        with torch.no_grad():
            return domain.loss(domain.decode(domain.space.retract(z, t * v), state), state, goal).total

    require_close(
        "loss",
        at.loss.total,
        value(0.0),
        "equal losses from both methods",
        "return the same loss from `loss_and_gradient`",
        1e-6,
    )
    slope = (value(DIFFERENCE_STEP) - value(-DIFFERENCE_STEP)) / (2 * DIFFERENCE_STEP)
    floor = tolerance * float(at.gradient.norm() * v.norm()) + 1e-7
    require_close(
        "loss: gradient",
        (at.gradient * v).sum(-1),
        slope,
        "the derivative of the loss by the latent",
        "make the loss a differentiable function of prediction.mean only",
        tolerance,
        floor,
    )


def check_commit(domain: Domain, prediction: Prediction, state: Any) -> None:
    """Check purity of `commit`, and that rows without a valid prediction keep their state."""
    with (
        torch.no_grad(),
        require_unchanged("commit", "state", state),
        require_unchanged("commit", "prediction", tuple(prediction.__dict__.values())),
    ):
        after = domain.commit(prediction, state)
        invalid = torch.zeros_like(prediction.valid)
        refused = domain.commit(Prediction(prediction.mean, prediction.precision, invalid), state)
        rows, dim = len(prediction.mean), domain.latent_dim
        after_mean = domain.decode(prediction.mean.new_zeros(rows, dim), refused).mean
        before_mean = domain.decode(prediction.mean.new_zeros(rows, dim), state).mean
    require_close(
        "commit", after_mean, before_mean, "unchanged rows where the prediction is not valid", "keep their state", 1e-9
    )
    require_finite("observe, after commit", domain.observe(after, None))


def check_rows(domain: Any, z: Tensor, state: Any, goal: Any) -> None:
    """Check that `select` repeats rows, and that the loss accepts one goal for any number of rows.

    Parameters
    ----------
    domain : Domain
        Domain to check.
    z : (B, d)
        Latents.
    state
        State of the domain.
    goal
        Goal of the loss.
    """
    rows = torch.arange(len(z), device=z.device)
    with torch.no_grad(), require_unchanged("select", "state", state):
        twice = domain.select(state, rows.repeat(2))
        single, both = domain.decode(z, state), domain.decode(z.repeat(2, 1), twice)
        require_close(
            "select", both.mean, single.mean.repeat(2, 1), "the rows asked for", "rearrange every tensor", 1e-9
        )
        cost = domain.loss(both, twice, goal).total
        reference = domain.loss(single, state, goal).total.repeat(2)
        require_close(
            "select",
            cost,
            reference,
            "a loss that takes one goal for any number of rows",
            "repeat values per row",
            1e-9,
        )

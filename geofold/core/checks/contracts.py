"""The checks of a whole domain, backbone or metric, each composed of single assertions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import Backbone, take_rows
from geofold.core.checks.assertions import (
    Probe,
    require,
    require_close,
    require_finite,
    require_shape,
    require_unchanged,
)
from geofold.core.checks.domain import (
    check_commit,
    check_decode,
    check_derivatives,
    check_loss,
    check_rows,
    check_slope,
    check_space,
)
from geofold.core.domain import Domain
from geofold.core.linearise import Linearisation
from geofold.core.metric import Metric


def check_domain(
    domain: Domain, state: Any, goal: Any, *, latent: Tensor | None = None, seed: int = 0, tolerance: float = 1e-4
) -> None:
    """Check a domain at one state and goal.

    Parameters
    ----------
    domain : Domain
    state, goal
        State and goal in the types of the domain.
    latent : (B, d) or None
        Latent at which derivatives are checked; None: a small random latent.
    seed : int
        Seed of the random directions.
    tolerance : float
        Allowed relative error of derivatives against finite differences.

    Raises
    ------
    ContractError
        At the first violation.
    """
    probe = Probe(seed)
    features = require_shape("observe", domain.observe(state, goal), (None, None))
    require(
        features.is_floating_point(),
        "observe",
        f"a tensor of {features.dtype}",
        "floating-point features (B, f)",
        "return a floating-point tensor: its type is that of the whole stream",
    )
    rows, dim = len(features), domain.latent_dim
    z = 0.05 * probe.like(features.new_zeros(rows, dim)) if latent is None else latent
    require_shape("the latent", z, (rows, dim))
    prediction = check_decode(domain, z, state)
    with require_unchanged("loss", "goal", goal), require_unchanged("loss", "state", state):
        check_loss(domain, prediction, state, goal)
    check_space(domain, z, probe)
    check_derivatives(domain, z, state, probe, tolerance)
    check_slope(domain, z, state, goal, probe, tolerance)
    check_commit(domain, prediction, state)
    if hasattr(domain, "select"):
        check_rows(domain, z, state, goal)


def check_backbone(backbone: Backbone, batch: int, features: int, dim: int, *, seed: int = 0) -> None:
    """Check a backbone: shapes, purity, independent rows, and that a corrected latent is stored and has an effect.

    Parameters
    ----------
    backbone : Backbone
    batch, features, dim : int
        Sizes of the streams: rows B, features F, latent dimension d.
    seed : int
        Seed of the random streams.

    Raises
    ------
    ContractError
        At the first violation.
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
    latent = backbone.read(written)
    require_close("write", latent, corrected, "read(write(state, z)) = z", "keep the corrected latent as it is", 0.0)
    if not getattr(backbone, "no_motion", False):
        uncorrected, changed = backbone.step(xs[1], after)[0], backbone.step(xs[1], written)[0]
        require(
            bool((uncorrected != changed).any(-1).all()),
            "write",
            "the same next proposal with and without a correction",
            "a correction that changes the next proposal",
            "use the state that write returns in the next step",
        )
    halves = [take_rows(written, torch.arange(batch)[k : k + 1]) for k in range(batch)]
    together, _ = backbone.step(xs[1], written)
    separate = torch.cat([backbone.step(xs[1][k : k + 1], half)[0] for k, half in enumerate(halves)])
    require_close(
        "step",
        together,
        separate,
        "independent rows, in nests of tensors whose first dimension is the batch",
        "keep the batch first in every tensor of the state",
        1e-6,
    )
    if scan := getattr(backbone, "scan", None):
        stepped, memory = [], state
        for x in xs:
            z, memory = backbone.step(x, memory)
            stepped.append(z)
        require_close("scan", scan(xs, state)[0], torch.stack(stepped), "scan = repeated step", "correct scan", 1e-6)


def check_metric(metric: Metric, at: Linearisation, *, seed: int = 0, tolerance: float = 1e-6) -> None:
    """Check a metric at a linearised problem: purity, positive definiteness, and consistency of its operations.

    Parameters
    ----------
    metric : Metric
    at : Linearisation
    seed : int
        Seed of the random vectors.
    tolerance : float
        Allowed relative error.

    Raises
    ------
    ContractError
        At the first violation.
    """
    probe = Probe(seed)
    rows, dim = at.z.shape
    state = metric.init(rows, dim, at.z)
    require(metric.damping > 0, "damping", f"{metric.damping}", "lambda > 0", "add a positive damping")
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
        "times", (v * factor.times(v)).sum(-1), length, "v'(Gv) = quadratic(v)", "use one G for both", tolerance
    )
    swapped = ((v * factor.times(w)).sum(-1), (w * factor.times(v)).sum(-1))
    require_close("times", *swapped, "a symmetric metric", "average G and its transpose", tolerance)
    # The subtraction in Eq. 4 cancels: it loses the square of the condition number.
    loose = max(tolerance, min(1e-2, 1e-15 * float(factor.condition().max()) ** 2))
    back = factor.times(factor.solve(v))
    require_close("solve", back, v, "G (G^-1 g) = g", "factor the matrix by which `times` multiplies", loose)
    condition = require_finite("condition", require_shape("condition", factor.condition(), (rows,)))
    require(
        bool((condition >= 1 - tolerance).all()),
        "condition",
        f"{float(condition.min()):.3g}",
        "at least one",
        "divide the largest eigenvalue by the smallest",
    )

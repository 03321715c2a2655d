"""Figures of the lag operator (Lag Operator SSMs, figures 1 to 3), and memories with several resolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geofold.backbone.hippo import legendre, reconstruct
from geofold.backbone.lag import (
    Exponential,
    Hyperbolic,
    MultiResolution,
    Warp,
    backward_shift,
    forward_shift,
    recurrence,
)
from geofold.bench.models.memory_figure import make_signal, project_signal

WARPS: dict[str, Warp] = {
    "fast": Exponential(0.25),
    "middle": Exponential(1.0),
    "slow": Exponential(4.0),
    "hyperbolic": Hyperbolic(0.5),
    "multi_resolution": MultiResolution((0.25, 1.0, 4.0)),
}
"""Warps of the figures; the first three are exponential."""
LABELS = {
    "fast": "exponential, 0.25",
    "middle": "exponential, 1",
    "slow": "exponential, 4",
    "hyperbolic": "hyperbolic, 0.5",
    "multi_resolution": "multi-resolution, 0.25, 1 and 4",
}
COLOURS = dict(zip(WARPS, ("#56b4e9", "#0072b2", "#004166", "#009e73", "#d55e00"), strict=True))
AGES = {"newest": (0.0, 0.25), "recent": (0.25, 1.0), "old": (1.0, 4.0), "oldest": (4.0, 10.0)}
"""Ranges of age in which reconstruction errors are averaged."""
CHIRP_STATES, CHIRP_LAG, CHIRP_LENGTH = 32, 0.01, 2000


def draw_figures(folder: Path) -> dict[str, float]:
    """Draw all figures into a folder; returns the reconstruction errors of `resolution_errors`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    draw_warps(pyplot, folder / "lag_warps.png")
    draw_extended_signal(pyplot, folder / "lag_extended_signal.png")
    draw_shifts(pyplot, folder / "lag_shifts.png")
    errors, memories = resolution_errors()
    draw_resolutions(pyplot, memories, folder / "lag_resolutions.png")
    return errors


def draw_warps(pyplot: Any, path: Path) -> None:
    """Figure 1: the past (-inf, 0] on the interval (0, 1], and where equal parts of the interval are in the past."""
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    past = -torch.linspace(0, 8, 400, dtype=torch.float64).flip(0)
    parts = torch.arange(1, 17, dtype=torch.float64) / 16
    for row, (name, warp) in enumerate(WARPS.items()):
        axes[0].plot(past, warp.forward(past), color=COLOURS[name], label=LABELS[name])
        axes[1].plot(warp.inverse(parts), torch.full_like(parts, -row), "|", color=COLOURS[name], ms=14, mew=1.5)
    axes[0].set(xlabel="time before now s", ylabel="warped past z = f(s)")
    axes[0].legend(fontsize=8)
    axes[1].set(xlabel="time before now of sixteenths of z", xlim=(-8.2, 0.2), yticks=[])
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_extended_signal(pyplot: Any, path: Path) -> None:
    """Figure 2: a remembered signal, extended by a new input that is held or blended, and the memories of both."""
    count, lag = 16, 0.4
    values = make_signal(400)
    past = -0.01 * torch.arange(len(values), dtype=torch.float64).flip(0)
    warp = Exponential()
    memory = project_signal(*recurrence(warp, torch.tensor(0.01, dtype=torch.float64), count), values)
    present = float(reconstruct(memory, torch.ones(1, dtype=torch.float64))[0])
    new_input = present + 1.5
    figure, axis = pyplot.subplots(figsize=(9, 3.6), layout="constrained")
    axis.plot(past, values, color="0.8", lw=3, label="signal")
    axis.plot(past, reconstruct(memory, warp.forward(past)), color="k", label="memory before")
    axis.plot([0, 0, lag], [present, new_input, new_input], color="#0072b2", lw=1, label="held input")
    axis.plot([0, lag], [present, new_input], color="#d55e00", lw=1, label="blended input")
    late = torch.cat([past, torch.linspace(0, lag, 40, dtype=torch.float64)])
    for blend, colour in ((False, "#0072b2"), (True, "#d55e00")):
        step, drive = recurrence(warp, torch.tensor(lag, dtype=torch.float64), count, blend=blend)
        after = step @ memory + drive * new_input
        axis.plot(late, reconstruct(after, warp.forward(late - lag)), color=colour, linestyle="--")
    axis.plot([], [], color="0.3", linestyle="--", label="memory after")
    axis.axvline(0, color="0.7", lw=0.8)
    axis.set(xlabel="time after the last step", ylabel="signal", xlim=(-3, lag))
    axis.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_shifts(pyplot: Any, path: Path) -> None:
    """Figure 3: basis functions, shifted backward and forward by a lag."""
    count, lag = 24, torch.tensor(0.4, dtype=torch.float64)
    z = torch.linspace(0.002, 1, 400, dtype=torch.float64)
    basis = legendre(z, count)
    warps: dict[str, Warp] = {"exponential": WARPS["middle"], "multi-resolution": WARPS["multi_resolution"]}
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 5.6), sharex=True, layout="constrained")
    for column, (name, warp) in enumerate(warps.items()):
        for row, shift in enumerate((backward_shift, forward_shift)):
            axis, matrix = axes[row, column], shift(warp, lag, count)
            for n, colour in ((2, "#0072b2"), (5, "#d55e00")):
                axis.plot(z, basis[:, n], color=colour, lw=1, alpha=0.5)
                axis.plot(z, basis @ matrix[:, n], color=colour)
            axis.set_title(f"{name}, {'backward' if row == 0 else 'forward'}", fontsize=10)
        axes[0, column].axvline(float(warp.forward(-lag)), color="0.7", lw=0.8)
        axes[1, column].set(xlabel="warped past z")
    axes[0, 0].set(ylabel="basis function n = 2, 5")
    axes[1, 0].set(ylabel="(pale: before the shift)")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def make_chirp() -> tuple[Tensor, Tensor]:
    """Make times (T,) before now and a signal (T,) that is fast now and ever slower the older it is."""
    past = -CHIRP_LAG * torch.arange(CHIRP_LENGTH, dtype=torch.float64).flip(0)
    return past, torch.sin(10 * torch.log(0.1 - past))


def resolution_errors() -> tuple[dict[str, float], dict[str, Tensor]]:
    """Errors (RMS by age; the signal has 0.7) of memories of a chirp under each warp, and the remembered signals."""
    past, signal = make_chirp()
    errors, memories = {}, {}
    for name, warp in WARPS.items():
        step, drive = recurrence(warp, torch.tensor(CHIRP_LAG, dtype=torch.float64), CHIRP_STATES)
        memories[name] = reconstruct(project_signal(step, drive, signal), warp.forward(past))
        for age, (low, high) in AGES.items():
            miss = (memories[name] - signal)[(past <= -low) & (past > -high)]
            errors[f"warp.{name}.{age}"] = float(miss.square().mean().sqrt())
    return errors, memories


def draw_resolutions(pyplot: Any, memories: dict[str, Tensor], path: Path) -> None:
    """Draw what is left of a chirp under a fast, a slow and a multi-resolution warp, against the logarithm of age."""
    past, signal = make_chirp()
    shown = ("fast", "slow", "multi_resolution")
    figure, axes = pyplot.subplots(len(shown), 1, figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
    for axis, name in zip(axes, shown, strict=True):
        axis.semilogx(-past + CHIRP_LAG, signal, color="0.8", lw=3)
        axis.semilogx(-past + CHIRP_LAG, memories[name], color=COLOURS[name], label=LABELS[name])
        axis.legend(fontsize=8, loc="upper left")
        axis.set(ylim=(-1.6, 1.6))
    axes[-1].set(xlabel="age (now is left)")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)

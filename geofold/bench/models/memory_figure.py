"""Memories of a signal side by side: lag operator and HiPPO-LegS (figure 4 of Lag Operator SSMs), and another warp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.linalg import expm
from torch import Tensor

from geofold.backbone.hippo import legs, reconstruct
from geofold.backbone.lag import Exponential, Hyperbolic, Warp, recurrence

STATES, LENGTH, LAG = 32, 1000, 0.01


def signal(length: int = LENGTH, seed: int = 0) -> Tensor:
    """Noise of low frequency, (length,)."""
    noise = np.random.default_rng(seed).standard_normal(length)
    width = np.exp(-0.5 * (np.arange(-60, 61) / 20) ** 2)
    return torch.as_tensor(np.convolve(noise, width / np.sqrt((width**2).sum()), mode="same"))


def remembered(step: Tensor, drive: Tensor, values: Tensor) -> Tensor:
    """Coefficients (N,) after all values of a signal (T,)."""
    c = torch.zeros_like(drive)
    for value in values:
        c = step @ c + drive * value
    return c


def memories(values: Tensor) -> dict[str, tuple[Tensor, Warp]]:
    """Coefficients after a signal, and the warp of the past that they belong to."""
    a, b = legs(STATES)
    decay = torch.as_tensor(expm(-LAG * a.numpy()))
    held = torch.linalg.solve(a, (torch.eye(STATES, dtype=a.dtype) - decay) @ b)
    found: dict[str, tuple[Tensor, Warp]] = {"HiPPO-LegS": (remembered(decay, held, values), Exponential())}
    for name, warp in (("lag operator, exponential", Exponential()), ("lag operator, hyperbolic", Hyperbolic())):
        found[name] = (remembered(*recurrence(warp, torch.tensor(LAG, dtype=a.dtype), STATES), values), warp)
    return found


def draw_memory(path: Path) -> float:
    """Draw the signal and what is left of it; returns the largest difference between the first two memories."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    values = signal()
    past = -LAG * torch.arange(LENGTH, dtype=torch.float64).flip(0)
    found = memories(values)
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained", height_ratios=(3, 1))
    axes[0].plot(past, values, color="0.75", lw=3, label="signal")
    for (name, (c, warp)), look in zip(
        found.items(), (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-")), strict=True
    ):
        axes[0].plot(past, reconstruct(c, warp.forward(past)), color=look[0], linestyle=look[1], lw=1.3, label=name)
        if name != "HiPPO-LegS":
            axes[1].semilogy(past, warp.slope(warp.forward(past)), color=look[0], linestyle=look[1])
    axes[0].legend(loc="lower left")
    axes[0].set(ylabel="signal and memory", ylim=(-3.5, 3.5))
    axes[1].set(xlabel="time before now, in units of the warp's scale", ylabel="weight")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    one, other = (found[name][0] for name in ("HiPPO-LegS", "lag operator, exponential"))
    return float((one - other).abs().max())

"""Figure of the memories of a signal: lag operator and HiPPO-LegS (Lag Operator SSMs, figure 4), and another warp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.linalg import expm
from torch import Tensor

from geofold.backbone.hippo import legs, reconstruct
from geofold.backbone.lag import Exponential, Hyperbolic, Warp, recurrence

STATE_SIZE, SIGNAL_LENGTH, LAG = 32, 1000, 0.01


def make_signal(length: int = SIGNAL_LENGTH, seed: int = 0) -> Tensor:
    """Make low-frequency noise, (length,)."""
    noise = np.random.default_rng(seed).standard_normal(length)
    width = np.exp(-0.5 * (np.arange(-60, 61) / 20) ** 2)
    return torch.as_tensor(np.convolve(noise, width / np.sqrt((width**2).sum()), mode="same"))


def project_signal(step: Tensor, drive: Tensor, values: Tensor) -> Tensor:
    """Coefficients (N,) after all values of a signal (T,)."""
    c = torch.zeros_like(drive)
    for value in values:
        c = step @ c + drive * value
    return c


def make_memories(values: Tensor) -> dict[str, tuple[Tensor, Warp]]:
    """Coefficients after a signal, and the warp of the past to which they refer, by name of the memory."""
    a, b = legs(STATE_SIZE)
    decay = torch.as_tensor(expm(-LAG * a.numpy()))
    input_map = torch.linalg.solve(a, (torch.eye(STATE_SIZE, dtype=a.dtype) - decay) @ b)
    memories_: dict[str, tuple[Tensor, Warp]] = {
        "HiPPO-LegS": (project_signal(decay, input_map, values), Exponential())
    }
    for name, warp in (("lag operator, exponential", Exponential()), ("lag operator, hyperbolic", Hyperbolic())):
        memories_[name] = (
            project_signal(*recurrence(warp, torch.tensor(LAG, dtype=a.dtype), STATE_SIZE), values),
            warp,
        )
    return memories_


def draw_memory(path: Path) -> float:
    """Draw a signal and its memories; returns the largest difference between the first two memories."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    values = make_signal()
    past = -LAG * torch.arange(SIGNAL_LENGTH, dtype=torch.float64).flip(0)
    memories_ = make_memories(values)
    figure, axes = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained", height_ratios=(3, 1))
    axes[0].plot(past, values, color="0.75", lw=3, label="signal")
    for (name, (c, warp)), style in zip(
        memories_.items(), (("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-")), strict=True
    ):
        axes[0].plot(past, reconstruct(c, warp.forward(past)), color=style[0], linestyle=style[1], lw=1.3, label=name)
        if name != "HiPPO-LegS":
            axes[1].semilogy(past, warp.slope(warp.forward(past)), color=style[0], linestyle=style[1])
    axes[0].legend(loc="lower left")
    axes[0].set(ylabel="signal and memory", ylim=(-3.5, 3.5))
    axes[1].set(xlabel="time before now, in units of the warp's scale", ylabel="weight")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    legs_memory, lag_memory = (memories_[name][0] for name in ("HiPPO-LegS", "lag operator, exponential"))
    return float((legs_memory - lag_memory).abs().max())

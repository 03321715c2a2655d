"""Comparison of the backbones: cost of a streamed step, throughput of a scan, and learning at equal budgets.

All parts run on one thread. Every part of every backbone is a record, so that an unfinished run can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from geofold.backbone.attention import Cache
from geofold.backbone.protocol import StreamingBackbone, StreamState
from geofold.backbone.registry import BACKBONE_NAMES, GROWING_STATE, build_backbone
from geofold.backbone.state_io import state_bytes
from geofold.bench.common.data import require_data
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.models.memory_figure import draw_memory
from geofold.bench.models.sequence_tasks import AssociativeRecall, SelectiveCopying, Task, Torsions
from geofold.bench.models.sequence_training import evaluate, train
from geofold.learn.data.chains import read_chains

CONTEXTS, QUICK_CONTEXTS = (1024, 4096, 16384, 65536), (256, 1024)
LENGTH, QUICK_LENGTH, STEPPED_LENGTH = 4096, 512, 512
PARAMETERS = 60_000
BUDGET, QUICK_BUDGET = 45.0, 2.0
"""Training time (s) of each backbone on each task."""
STREAMING_WIDTH, FEATURES, LATENT = 64, 8, 8


def run(out: str, *, data: str | None, quick: bool, limit: int | None) -> None:
    """Measure and train the backbones, then write plots, table and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of `backbones.npz`.
    quick : bool
        Use shorter contexts and two seconds of training.
    limit : int or None
        Number of backbones, in the order of `BACKBONE_NAMES`.

    Raises
    ------
    OptionError
        If there is no data.
    """
    data = require_data(data, "benchmark backbones", "backbones.npz")
    began = time.time()
    records = Records(out)
    tasks: list[Task] = [Torsions(read_chains(Path(data) / "backbones.npz")), SelectiveCopying(), AssociativeRecall()]
    budget = QUICK_BUDGET if quick else BUDGET
    jobs: dict[str, Callable[[str], dict[str, Any]]] = {
        "streaming": lambda name: time_streaming(name, QUICK_CONTEXTS if quick else CONTEXTS),
        "throughput": lambda name: measure_throughput(name, QUICK_LENGTH if quick else LENGTH),
    }
    jobs |= {task.name: lambda name, task=task: train_and_score(name, task, budget) for task in tasks}  # type: ignore[misc]
    names = BACKBONE_NAMES[:limit]
    for name, job in track([(n, j) for j in jobs for n in names], description="backbones"):
        if not records.has(job, name):
            records.add(job, name, **jobs[job](name))
    summarise(records, quick=quick or limit is not None, began=began)


@torch.no_grad()
def time_streaming(name: str, contexts: tuple[int, ...], steps: int = 60) -> dict[str, Any]:
    """CPU time (ms) and bytes of state of a streamed step at several contexts, with interleaved measurements."""
    model = build_backbone(name, FEATURES, LATENT, width=STREAMING_WIDTH).eval()
    states = [make_aged_state(model, context) for context in contexts]
    x, times = torch.randn(1, FEATURES, generator=torch.Generator().manual_seed(0)), np.zeros((len(contexts), steps))
    for step_number in range(-10, steps):
        for k, state in enumerate(states):
            began = time.process_time()
            model.step(x, state)
            if step_number >= 0:
                times[k, step_number] = 1e3 * (time.process_time() - began)
    return {
        "contexts": list(contexts),
        "milliseconds": np.median(times, 1).tolist(),
        "bytes": [state_bytes(state) for state in states],
    }


def make_aged_state(model: StreamingBackbone, context: int) -> StreamState:
    """Make a state after some steps; caches are filled with noise, since their content does not affect the cost."""
    noise = torch.Generator().manual_seed(0)
    _, state = model.scan(torch.randn(128, 1, FEATURES, generator=noise), model.init_state(1))
    layers: list[Any] = list(state.layers)
    for index, layer in enumerate(layers):
        if isinstance(layer, Cache) and layer.keys.shape[1] == 128:
            keys = torch.randn(1, context, *layer.keys.shape[2:], generator=noise)
            layers[index] = Cache(keys, keys.clone(), torch.full_like(layer.n_steps, context))
    return state._replace(layers=tuple(layers))


def measure_throughput(name: str, length: int) -> dict[str, Any]:
    """Return steps per second of a training pass (forward and backward) by scan and by single steps.

    Scan is the fastest of three. Single steps are timed over the first `STEPPED_LENGTH`. Backbones with a growing cache
    are stepped to the end, and measured without backward pass, whose graph would hold every cache.
    """
    model = build_backbone(name, FEATURES, LATENT, width=STREAMING_WIDTH)
    xs = torch.randn(length, 1, FEATURES, generator=torch.Generator().manual_seed(0))
    train = name not in GROWING_STATE
    count = min(STEPPED_LENGTH, length) if train else length

    def scanned() -> torch.Tensor:
        return model.scan(xs, model.init_state(1))[0]

    def stepped() -> torch.Tensor:
        state, zs = model.init_state(1), []
        for x in xs[:count]:
            z, state = model.step(x, state)
            zs.append(z)
        return torch.stack(zs)

    def seconds(forwards: Callable[[], torch.Tensor], train: bool, repeats: int) -> float:
        best = float("inf")
        for _ in range(repeats):
            began = time.perf_counter()
            with torch.set_grad_enabled(train):
                zs = forwards()
            if train:
                zs.square().mean().backward()
            best = min(best, time.perf_counter() - began)
        return best

    by_scan, by_step = seconds(scanned, train, 3), seconds(stepped, train, 1)
    return {"length": length, "train": train, "scan": length / by_scan, "step": count / by_step}


def fit_width(name: str, task: Task) -> StreamingBackbone:
    """Build the backbone with the number of parameters nearest to `PARAMETERS`."""
    candidates = [build_backbone(name, task.features, task.outputs, width=width) for width in range(8, 136, 8)]
    return min(candidates, key=lambda model: abs(sum(p.numel() for p in model.parameters()) - PARAMETERS))


def train_and_score(name: str, task: Task, budget: float) -> dict[str, Any]:
    """Train for `budget` seconds, then evaluate on the validation split."""
    model = fit_width(name, task)
    began = time.perf_counter()
    step_number = train(model, task, lambda _: (time.perf_counter() - began) / budget)
    scores = evaluate(model, task)
    return {
        "score": float(np.mean(scores)),
        "ci": float(1.96 * np.std(scores, ddof=1) / np.sqrt(len(scores))),
        "batches": step_number,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table, plots and summary of the records."""
    metrics: dict[str, float] = {}
    body, timings = [], {}
    for name in BACKBONE_NAMES:
        rows = {row["episode"]: row for row in records.of(name)}
        if "streaming" not in rows:
            continue
        stream, speed = rows["streaming"], rows["throughput"]
        timings[name] = stream
        numbers = {
            "ms_first": stream["milliseconds"][0],
            "ms_last": stream["milliseconds"][-1],
            "ms_growth": stream["milliseconds"][-1] / stream["milliseconds"][0],
            "bytes_last": stream["bytes"][-1],
            "bytes_growth": stream["bytes"][-1] / stream["bytes"][0],
            "scan_over_step": speed["scan"] / speed["step"],
            "scan_steps_per_second": speed["scan"],
            "nll": rows["torsions"]["score"],
            "nll_ci": rows["torsions"]["ci"],
            "copying": rows["copying"]["score"],
            "recall": rows["recall"]["score"],
            "parameters": rows["torsions"]["parameters"],
            "batches": rows["torsions"]["batches"],
        }
        metrics |= {f"{name}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                name,
                f"{numbers['ms_first']:.2f} -> {numbers['ms_last']:.2f}",
                f"{stream['bytes'][0] / 1024:.0f} -> {stream['bytes'][-1] / 1024:.0f}",
                f"{numbers['scan_over_step']:.1f}{'' if speed['train'] else ' (forwards)'}",
                f"{numbers['nll']:.3f} +- {numbers['nll_ci']:.3f}",
                f"{100 * numbers['copying']:.0f} %",
                f"{100 * numbers['recall']:.0f} %",
                str(numbers["parameters"]),
                str(numbers["batches"]),
            ]
        )
    first = next(iter(timings.values()))["contexts"]
    columns = [
        "backbone",
        f"ms a step at context {first[0]} -> {first[-1]}",
        "state KiB",
        "scan / step, training",
        "NLL of phi, psi (nat)",
        "copying",
        "recall",
        "parameters",
        "batches in the time",
    ]
    draw(timings, records.folder / "streaming.png")
    metrics["lag.memory_minus_legs"] = draw_memory(records.folder / "memory.png")
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="backbones")


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw time and bytes of a step against the context; growing states in colour, the others in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    styles = iter(("-", "--", ":"))
    for name, row in rows.items():
        growing = name in GROWING_STATE
        style: dict[str, Any] = (
            {"color": "#d55e00", "linestyle": next(styles)} if growing else {"color": "0.6", "lw": 1}
        )
        for axis, what in zip(axes, ("milliseconds", "bytes"), strict=True):
            axis.loglog(row["contexts"], row[what], marker=".", label=name if growing else None, **style)
    axes[0].plot([], [], color="0.6", label=f"{sum(name not in GROWING_STATE for name in rows)} others")
    axes[0].set(xlabel="steps streamed so far", ylabel="ms a step")
    axes[1].set(xlabel="steps streamed so far", ylabel="bytes of state")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)

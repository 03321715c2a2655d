"""The backbones side by side: cost of a streamed step, throughput of a scan, and what equal budgets learn.

One thread. Every part of every backbone is a record of its own, so an unfinished run goes on.
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
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.models.memory_figure import draw_memory
from geofold.bench.models.sequence_tasks import AssociativeRecall, SelectiveCopying, Task, Torsions
from geofold.errors import OptionError
from geofold.learn.data.chains import read_chains

CONTEXTS, QUICK_CONTEXTS = (1024, 4096, 16384, 65536), (256, 1024)
LENGTH, QUICK_LENGTH, STEPPED = 4096, 512, 512
PARAMETERS = 60_000
BUDGET, QUICK_BUDGET = 45.0, 2.0
"""Seconds of training of each backbone on each task."""
ROWS, JUDGED = 16, 8
WIDTH, FEATURES, LATENT = 64, 8, 8
RATE = 3e-3


def run(out: str, *, data: str | None, quick: bool, limit: int | None) -> None:
    """Measure, train, draw and sum up.

    Parameters
    ----------
    data : str or None
        Folder that holds `backbones.npz`.
    limit : int or None
        Only so many backbones, in the order of their names.

    Raises
    ------
    OptionError
        Without data.
    """
    if data is None:
        raise OptionError("benchmark backbones without --data", "the folder of backbones.npz", "add --data FOLDER")
    began = time.time()
    records = Records(out)
    tasks: list[Task] = [Torsions(read_chains(Path(data) / "backbones.npz")), SelectiveCopying(), AssociativeRecall()]
    budget = QUICK_BUDGET if quick else BUDGET
    jobs: dict[str, Callable[[str], dict[str, Any]]] = {
        "streaming": lambda name: streaming(name, QUICK_CONTEXTS if quick else CONTEXTS),
        "throughput": lambda name: throughput(name, QUICK_LENGTH if quick else LENGTH),
    }
    jobs |= {task.name: lambda name, task=task: trained(name, task, budget) for task in tasks}  # type: ignore[misc]
    names = BACKBONE_NAMES[:limit]
    for name, job in track([(n, j) for j in jobs for n in names], description="backbones"):
        if not records.has(job, name):
            records.add(job, name, **jobs[job](name))
    summarise(records, quick=quick or limit is not None, began=began)


@torch.no_grad()
def streaming(name: str, contexts: tuple[int, ...], steps: int = 60) -> dict[str, Any]:
    """Milliseconds and bytes of a streamed step after so many steps, contexts in turn."""
    model = build_backbone(name, FEATURES, LATENT, width=WIDTH).eval()
    states = [aged(model, context) for context in contexts]
    x, times = torch.randn(1, FEATURES), np.zeros((len(contexts), steps))
    for number in range(-10, steps):
        for k, state in enumerate(states):
            began = time.perf_counter()
            model.step(x, state)
            if number >= 0:
                times[k, number] = 1e3 * (time.perf_counter() - began)
    return {
        "contexts": list(contexts), "milliseconds": np.median(times, 1).tolist(),
        "bytes": [state_bytes(state) for state in states],
    }  # fmt: skip


def aged(model: StreamingBackbone, context: int) -> StreamState:
    """State after some steps; caches are filled with noise up to the context, for what they hold costs nothing."""
    _, state = model.scan(torch.randn(128, 1, FEATURES), model.init_state(1))
    layers: list[Any] = list(state.layers)
    for number, layer in enumerate(layers):
        if isinstance(layer, Cache) and layer.keys.shape[1] == 128:
            keys = torch.randn(1, context, *layer.keys.shape[2:])
            layers[number] = Cache(keys, keys.clone(), torch.full_like(layer.n_steps, context))
    return state._replace(layers=tuple(layers))


def throughput(name: str, length: int) -> dict[str, Any]:
    """Steps a second of a training pass (forwards and backwards) by scan and by step, the fastest of three.

    The rate of the steps is that of their first `STEPPED`. A cache that grows is stepped through to the end, and both
    ways without the pass backwards, for its graph would hold every cache there was.
    """
    model = build_backbone(name, FEATURES, LATENT, width=WIDTH)
    xs = torch.randn(length, 1, FEATURES)
    train = name not in GROWING_STATE
    count = min(STEPPED, length) if train else length

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


def fitted(name: str, task: Task) -> StreamingBackbone:
    """The backbone whose number of parameters is nearest to the budget."""
    made = [build_backbone(name, task.features, task.outputs, width=width) for width in range(8, 136, 8)]
    return min(made, key=lambda model: abs(sum(p.numel() for p in model.parameters()) - PARAMETERS))


def trained(name: str, task: Task, budget: float) -> dict[str, Any]:
    """Train for some seconds, judge on the validation split."""
    model = fitted(name, task)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    number, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < budget:
        # the rate falls to zero as the time runs out, so that nobody is judged in mid-flight
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (number + 1) / 20) * (1 - spent / budget)
        batch = task.batch("train", number, ROWS)
        loss = task.loss(model.scan(batch.inputs, model.init_state(ROWS))[0], batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        number += 1
    with torch.no_grad():
        batches = [task.batch("valid", k, 2 * ROWS) for k in range(JUDGED)]
        scores = [task.score(model.scan(b.inputs, model.init_state(2 * ROWS))[0], b) for b in batches]
    return {
        "score": float(np.mean(scores)), "ci": float(1.96 * np.std(scores, ddof=1) / np.sqrt(len(scores))),
        "batches": number, "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Table, plot and summary of the records."""
    metrics: dict[str, float] = {}
    body, drawn = [], {}
    for name in BACKBONE_NAMES:
        rows = {row["episode"]: row for row in records.of(name)}
        if "streaming" not in rows:
            continue
        stream, speed = rows["streaming"], rows["throughput"]
        drawn[name] = stream
        numbers = {
            "ms_first": stream["milliseconds"][0], "ms_last": stream["milliseconds"][-1],
            "ms_growth": stream["milliseconds"][-1] / stream["milliseconds"][0], "bytes_last": stream["bytes"][-1],
            "bytes_growth": stream["bytes"][-1] / stream["bytes"][0], "scan_over_step": speed["scan"] / speed["step"],
            "scan_steps_per_second": speed["scan"], "nll": rows["torsions"]["score"],
            "nll_ci": rows["torsions"]["ci"], "copying": rows["copying"]["score"], "recall": rows["recall"]["score"],
            "parameters": rows["torsions"]["parameters"], "batches": rows["torsions"]["batches"],
        }  # fmt: skip
        metrics |= {f"{name}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                name, f"{numbers['ms_first']:.2f} -> {numbers['ms_last']:.2f}",
                f"{stream['bytes'][0] / 1024:.0f} -> {stream['bytes'][-1] / 1024:.0f}",
                f"{numbers['scan_over_step']:.1f}{'' if speed['train'] else ' (forwards)'}",
                f"{numbers['nll']:.3f} +- {numbers['nll_ci']:.3f}", f"{100 * numbers['copying']:.0f} %",
                f"{100 * numbers['recall']:.0f} %", str(numbers["parameters"]), str(numbers["batches"]),
            ]
        )  # fmt: skip
    first = next(iter(drawn.values()))["contexts"]
    columns = [
        "backbone", f"ms a step at context {first[0]} -> {first[-1]}", "state KiB", "scan / step, training",
        "NLL of phi, psi (nat)", "copying", "recall", "parameters", "batches in the time",
    ]  # fmt: skip
    draw(drawn, records.folder / "streaming.png")
    metrics["lag.memory_minus_legs"] = draw_memory(records.folder / "memory.png")
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="backbones")


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Milliseconds and bytes of a step over the context, growing states in colour, the others in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    styles = iter(("-", "--", ":"))
    for name, row in rows.items():
        growing = name in GROWING_STATE
        look: dict[str, Any] = {"color": "#d55e00", "linestyle": next(styles)} if growing else {"color": "0.6", "lw": 1}
        for axis, what in zip(axes, ("milliseconds", "bytes"), strict=True):
            axis.loglog(row["contexts"], row[what], marker=".", label=name if growing else None, **look)
    axes[0].plot([], [], color="0.6", label=f"{sum(name not in GROWING_STATE for name in rows)} others")
    axes[0].set(xlabel="steps streamed so far", ylabel="ms a step")
    axes[1].set(xlabel="steps streamed so far", ylabel="bytes of state")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)

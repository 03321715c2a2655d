"""Published claims about state-space models, on a small scale: HiPPO's A, cost against context, recall, warps.

- Sequential digits: the same LSSL with A of HiPPO and with random ones (Gu et al., LSSL and S4: 98 and 60 % on MNIST).
- Selective model against Transformer at 1k, 8k and 64k steps: streamed steps, training passes, bytes of state.
- Associative recall against the distance from the pairs to the questions.
- The figures of the lag operator, and memories with several resolutions (`geofold.bench.models.lag_figures`).

Trainings have a budget of batches, not of time, so their results do not depend on the machine. All run on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from geofold.backbone.attention import FeedForward
from geofold.backbone.hippo import legs, legt
from geofold.backbone.lssl import LinearStateSpace
from geofold.backbone.protocol import StreamingBackbone
from geofold.backbone.registry import build_backbone
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.models.lag_figures import AGES, LABELS, draw_figures
from geofold.bench.models.sequence_backbones import FEATURES, LATENT, STREAMING_WIDTH, time_streaming
from geofold.bench.models.sequence_tasks import RecallOverGaps, SequentialDigits
from geofold.bench.models.sequence_training import evaluate, train
from geofold.core.draws import DrawsFrom
from geofold.errors import OptionError

SEEDS = 3
Memory = Callable[[int], tuple[Tensor, Tensor]]
DIGITS_WIDTH, DIGITS_STATES, DIGITS_BATCHES, QUICK_BATCHES = 32, 16, 800, 3
DIGITS_RATE, ROWS = 1e-2, 32
RECALL_WIDTH, RECALL_BATCHES = 48, 700
RECALL_MODELS = {"selective": 1, "ssd": 1, "transformer": 1, "transformer_longer": 3}
"""Models of the recall task, and the multiple of `RECALL_BATCHES` for which they are trained."""
TRAINED_GAPS, GAPS = (0, 8, 24), (0, 24, 64, 256)
"""Blanks between pairs and questions, in training and in evaluation."""
LENGTHS, QUICK_LENGTHS = (1024, 8192, 65536), (64, 128)
TIMED = ("selective", "transformer")


def run(out: str, *, quick: bool, seeds: int | None = None) -> None:
    """Train, time and draw what is not in the records yet, then write table, plots and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Make three batches for each training, and use short contexts.
    seeds : int or None
        Seeds of each training; None: three. 0: costs and figures alone.

    Raises
    ------
    OptionError
        Without scikit-learn.
    """
    if find_spec("sklearn") is None:
        raise OptionError("no sklearn in this environment", "the packages of the extra bench", "pip install '.[bench]'")
    began = time.time()
    records = Records(out)
    lengths = QUICK_LENGTHS if quick else LENGTHS
    jobs: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {}
    for name in TIMED:
        jobs["streaming", name] = partial(time_streaming, name, lengths)
        for length in lengths:
            jobs[f"training_{length}", name] = partial(time_training, name, length)
    for seed in range(SEEDS if seeds is None else seeds):
        for name in MEMORIES:
            jobs[f"digits_{seed}", name] = partial(
                train_on_digits, name, seed, QUICK_BATCHES if quick else DIGITS_BATCHES
            )
        for name in RECALL_MODELS:
            jobs[f"recall_{seed}", name] = partial(
                train_on_recall, name, seed, QUICK_BATCHES if quick else RECALL_BATCHES
            )
    for (episode, agent), job in track(jobs.items(), description="published claims"):
        if not records.has(episode, agent):
            records.add(episode, agent, **job())
    metrics = draw_figures(records.folder)
    tables = [summarise_costs(records, lengths, metrics), summarise_warps(metrics)]
    for kind, summarise in (("digits", summarise_digits), ("recall", summarise_recall)):
        if any(str(row["episode"]).startswith(kind) for row in records.rows):
            tables.append(summarise(records, metrics))
    write_summary(records.folder, metrics, quick=quick, began=began, table="\n".join(tables), note="published claims")


def random_memory(count: int, *, stable: bool) -> tuple[Tensor, Tensor]:
    """Return a random A (N, N) and the B (N,) of LegS, in the signs of dc/ds = -A c + B u.

    Entries of A are normal with variance 1 / N, so its eigenvalues fill the unit disc, half of them growing.

    Parameters
    ----------
    count : int
        N.
    stable : bool
        Shift the eigenvalues until none of them grows, and stretch them until the largest is that of LegS, which is N:
        the same range of time scales.
    """
    a = torch.randn(count, count, dtype=torch.float64) / count**0.5
    if stable:
        a = a - torch.linalg.eigvals(a).real.min() * torch.eye(count, dtype=a.dtype)
        a = a * count / torch.linalg.eigvals(a).abs().max()
    return a, legs(count)[1]


MEMORIES: dict[str, Memory] = {
    "legs": legs,
    "legt": legt,
    "random": partial(random_memory, stable=False),
    "random_stable": partial(random_memory, stable=True),
}


def train_on_digits(name: str, seed: int, batches: int) -> dict[str, Any]:
    """Train an LSSL whose A and B stay those of a memory; returns its accuracy."""
    task = SequentialDigits()
    with DrawsFrom(seed):
        layers: list[torch.nn.Module] = []
        for _ in range(2):
            layers.append(LinearStateSpace(DIGITS_WIDTH, DIGITS_STATES, MEMORIES[name]))
            layers.append(FeedForward(DIGITS_WIDTH))
        model = StreamingBackbone(name, layers, task.features, task.outputs, DIGITS_WIDTH)
    began = time.process_time()
    train(model, task, lambda number: number / batches, rows=ROWS, rate=DIGITS_RATE, seed=seed)
    return {"accuracy": float(np.mean(evaluate(model, task, 128))), "cpu_seconds": time.process_time() - began}


def train_on_recall(name: str, seed: int, batches: int) -> dict[str, Any]:
    """Train a backbone on recall over short gaps; returns its accuracy at each gap."""
    task = RecallOverGaps(gaps=TRAINED_GAPS)
    kind = name.removesuffix("_longer")
    model = build_backbone(kind, task.features, task.outputs, width=RECALL_WIDTH, seed=seed)
    began, batches = time.process_time(), batches * RECALL_MODELS[name]
    train(model, task, lambda number: number / batches, rows=ROWS, seed=seed)
    seconds = time.process_time() - began
    scores = {f"gap_{gap}": float(np.mean(evaluate(model, task.of(gap)))) for gap in GAPS}
    return {"cpu_seconds": seconds, "parameters": sum(p.numel() for p in model.parameters()), **scores}


def time_training(name: str, length: int) -> dict[str, Any]:
    """CPU seconds of a training pass (forward and backward) over a sequence; the faster of two if it is short."""
    model = build_backbone(name, FEATURES, LATENT, width=STREAMING_WIDTH)
    xs = torch.randn(length, 1, FEATURES, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(2 if length < LENGTHS[-1] else 1):
        began = time.process_time()
        model.scan(xs, model.init_state(1))[0].square().mean().backward()
        seconds.append(time.process_time() - began)
    return {"length": length, "cpu_seconds": min(seconds)}


def summarise_digits(records: Records, metrics: dict[str, float]) -> str:
    """Return the table of accuracies on sequential digits, and add them to the metrics."""
    body = []
    for name in MEMORIES:
        accuracies = _values(records, "digits", name, "accuracy")
        if not accuracies:
            continue
        metrics |= {f"digits.{name}.{key}": value for key, value in _averages("accuracy", accuracies).items()}
        body.append([name, *_cells(accuracies), str(len(accuracies))])
    return table_of(["A of the LSSL", "accuracy, mean", "median", "lowest to highest", "seeds"], body)


def summarise_costs(records: Records, lengths: tuple[int, ...], metrics: dict[str, float]) -> str:
    """Return the table of costs against context, and add them to the metrics."""
    streams = {name: next(row for row in records.of(name) if row["episode"] == "streaming") for name in TIMED}
    body = []
    for k, length in enumerate(lengths):
        cells = [str(length)]
        for what in ("milliseconds", "bytes", "training"):
            numbers = []
            for name in TIMED:
                if what == "training":
                    numbers.append(_values(records, f"training_{length}", name, "cpu_seconds")[0])
                else:
                    numbers.append(float(streams[name][what][k]))
                metrics[f"{name}.{what}_{length}"] = numbers[-1]
            metrics[f"ratio.{what}_{length}"] = numbers[1] / numbers[0]
            cells += [f"{numbers[0]:.4g}", f"{numbers[1]:.4g}", f"{numbers[1] / numbers[0]:.1f}"]
        for name in TIMED:
            metrics[f"{name}.growth_{length}"] = streams[name]["milliseconds"][k] / streams[name]["milliseconds"][0]
        body.append(cells)
    heads = ("ms a streamed step", "bytes of state", "CPU s of a training pass")
    columns = [f"{head}: {name}" for head in heads for name in (*TIMED, "ratio")]
    return table_of(["steps", *columns], body)


def summarise_recall(records: Records, metrics: dict[str, float]) -> str:
    """Return the table of recall by gap (mean; median), and add the accuracies to the metrics."""
    body = []
    for name in RECALL_MODELS:
        row = [name]
        for gap in GAPS:
            accuracies = _values(records, "recall", name, f"gap_{gap}")
            metrics |= {f"recall.{name}.{key}": value for key, value in _averages(f"gap_{gap}", accuracies).items()}
            row.append(f"{np.mean(accuracies):.1%}; {np.median(accuracies):.1%}".replace("%", " %"))
        metrics[f"recall.{name}.cpu_seconds"] = float(np.median(_values(records, "recall", name, "cpu_seconds")))
        body.append([*row, f"{metrics[f'recall.{name}.cpu_seconds']:.0f}"])
    return table_of(["recall by gap: mean; median", *(str(gap) for gap in GAPS), "CPU s of training"], body)


def summarise_warps(metrics: dict[str, float]) -> str:
    """Return the table of reconstruction errors by age."""
    ages = [f"{name}, age {low:g}-{high:g}" for name, (low, high) in AGES.items()]
    body = [[LABELS[name], *(f"{metrics[f'warp.{name}.{age}']:.3f}" for age in AGES)] for name in LABELS]
    return table_of(["warp: RMS error of a chirp", *ages], body)


def _values(records: Records, episode: str, agent: str, key: str) -> list[float]:
    """Numbers of the records whose episode begins with a name."""
    return [float(row[key]) for row in records.of(agent) if str(row["episode"]).startswith(episode)]


def _averages(key: str, values: list[float]) -> dict[str, float]:
    return {key: float(np.mean(values)), f"{key}_median": float(np.median(values)), f"{key}_lowest": min(values)}


def _cells(values: list[float]) -> list[str]:
    cells = [f"{np.mean(values):.1%}", f"{np.median(values):.1%}", f"{min(values):.1%} to {max(values):.1%}"]
    return [cell.replace("%", " %") for cell in cells]

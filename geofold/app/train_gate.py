"""The gate of the loop domain: streams recorded, gates trained at several prices, the front drawn, one chosen."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file

from geofold.app.loop_parts import GUIDED_SWEEPS, loop_controller
from geofold.backbone.handover import write_whole
from geofold.core.gate import FixedGate, Gate, LearnedGate, ThresholdGate
from geofold.learn.chains import Chains, read_chains
from geofold.learn.gate_training import WEIGHTS, Case, Outcomes, joined, outcomes, trained_gate
from geofold.learn.loop_training import shipped_loop_model
from geofold.learn.training import data_hash, save_weights
from geofold.molecule.loop_episodes import gate_cases
from geofold.molecule.packed_chains import PackedChains, read_packed

PRICES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""lambda: task loss (a sum of two logarithms) that a correction at every step has to be worth."""
LARGEST = 2
STILL = 0.0
"""The gate waits until the predictor rests. Left to find that out from eighty streams, it did not always: median RMSD
2.3 A on eighty validation loops, where a plain threshold that waits reached 2.1 A."""
UNIFORM = 0.0
"""Stands for uniform depth in the front."""
ROUNDS, CASES, JUDGED = 2, 40, 40
WORSE = 0.05
"""Task loss by which the gate that ships may end above the best."""
FIRST, FIRST_PRICE = ThresholdGate(0.05, largest=LARGEST, still=0.0), 0.1
"""What the first round's streams go on with, and the price of the gate that the second round's follow."""


def train_gate_model(data: str, packed: str, out: str, *, cases: int, seed: int) -> None:
    """Record, train, judge, choose; what is in the folder already is not done again."""
    torch.set_num_threads(1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    chains = read_chains(data)
    side = read_packed(packed, data_hash(data))
    judged = max(cases * JUDGED // CASES, 1)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("gate", total=ROUNDS * cases + (len(PRICES) + 1) * judged)

        def done() -> None:
            bar.advance(task)

        try:
            gates, front = _trained(folder, chains, side, cases, judged, seed, done)
        except KeyboardInterrupt:
            typer.echo(f"geofold: interrupted; the same command goes on from what is in {out}", err=True)
            raise typer.Exit(130) from None
    chosen = choose(front)
    write_front(folder, front, chosen)
    card = {
        "model": "gate of the loop domain", "price": chosen, "seed": seed, "cases": cases, "front": front,
        "estimator": "exact expectation over K; each sweep made with each K, each branch judged at the stream's end",
        "loop_model_sha256": shipped_loop_model()[1]["sha256"], "data_sha256": data_hash(data),
        "packed_sha256": data_hash(packed), "command": f"geofold train gate --cases {cases} --seed {seed}",
    }  # fmt: skip
    save_weights(folder / WEIGHTS, gates[chosen].weights, card)
    row = next(row for row in front if row["price"] == chosen)
    typer.echo(f"{out}: price {chosen}, mean K {row['inner']:.2f}, task loss {row['task']:.3f}")


def _trained(
    folder: Path, chains: Chains, side: PackedChains, cases: int, judged: int, seed: int, done: Any
) -> tuple[dict[float, LearnedGate], list[dict[str, float]]]:
    seen: Outcomes | None = None
    gate: Gate = FIRST
    for number in range(ROUNDS):
        part = _recorded(folder, chains, side, cases, seed, number, gate, done)
        seen = part if seen is None else joined([seen, part])
        gate = trained_gate(seen, FIRST_PRICE, still=STILL, seed=seed)
    assert seen is not None
    gates = {price: trained_gate(seen, price, still=STILL, seed=seed) for price in PRICES}
    named: list[tuple[float, Gate]] = [(UNIFORM, FixedGate(LARGEST)), *gates.items()]
    front = []
    for price, one in named:
        found = [_played(case, done) for case in gate_cases(
            chains, side, "valid", judged, loop_controller, one, sweeps=GUIDED_SWEEPS, seed=seed + 1)]  # fmt: skip
        task, inner = np.mean(found, 0)
        front.append({"price": price, "task": float(task), "inner": float(inner)})
    return gates, front


def _recorded(
    folder: Path, chains: Chains, side: PackedChains, cases: int, seed: int, number: int, gate: Gate,
    done: Any,
) -> Outcomes:  # fmt: skip
    """Outcomes of a round, one file a case, so that a killed run goes on at the next."""
    rows: list[Outcomes] = []
    streams = gate_cases(
        chains,
        side,
        "train",
        cases,
        loop_controller,
        FixedGate(LARGEST),
        sweeps=GUIDED_SWEEPS,
        seed=1000 * number + seed,
    )
    for place, case in enumerate(streams):
        path = folder / "outcomes" / f"{number}_{place}.safetensors"
        if path.exists():
            rows.append(Outcomes(**load_file(path)))
        else:
            found = outcomes(case, gate, largest=LARGEST, seed=place)
            path.parent.mkdir(exist_ok=True)
            tensors = {name: part.contiguous() for name, part in found._asdict().items()}
            write_whole(path, lambda name, kept=tensors: save_file(kept, name))  # type: ignore[misc]
            rows.append(found)
        done()
    return joined(rows)


def _played(case: Case, done: Any) -> tuple[float, float]:
    """Task loss at the end of a stream, and its mean K."""
    state, spent = case.state, 0
    for _ in range(case.steps):
        state, info = case.controller.step(case.domain, state, case.goal)
        spent += int(info.inner_steps[0])
    done()
    return float(case.judge(state.domain)[0]), spent / case.steps


def choose(front: list[dict[str, float]]) -> float:
    """The highest price that ends within `WORSE` of the best."""
    rows = [row for row in front if row["price"] != UNIFORM]
    best = min(row["task"] for row in rows)
    return max(row["price"] for row in rows if row["task"] <= best + WORSE)


def write_front(folder: Path, front: list[dict[str, float]], chosen: float) -> None:
    """The front as CSV, and as a figure."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["price", "task", "inner"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(front)
    write_whole(folder / "front.csv", lambda name: Path(name).write_text(text.getvalue(), encoding="utf-8"))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for row in front:
        colour = "#d55e00" if row["price"] == chosen else "0.5" if row["price"] != UNIFORM else "#0072b2"
        axis.plot(row["inner"], row["task"], "o", color=colour)
        name = f"$\\lambda$ = {row['price']:g}" if row["price"] != UNIFORM else "uniform depth"
        axis.annotate(name, (row["inner"], row["task"]), xytext=(5, 4), textcoords="offset points")
    axis.set(xlabel="corrections a step (mean K)", ylabel="task loss at the end")
    write_whole(folder / "front.png", lambda name: figure.savefig(name, dpi=120, format="png"))
    pyplot.close(figure)

"""Gates of the loop and the peptide domain: streams recorded, gates trained at several prices, the front drawn, one
chosen."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import typer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from geofold.app.train.driver import progress
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate, LearnedGate, ThresholdGate
from geofold.errors import InputFileError, OptionError
from geofold.files import write_atomically
from geofold.learn.data.chains import SPLITS, read_chains
from geofold.learn.gate import GateCase, Outcomes, concatenate, fit_gate, record_outcomes
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.peptide_policy.model import shipped_policy
from geofold.learn.pretrained import GATE_WEIGHTS, PEPTIDE_GATE_WEIGHTS
from geofold.learn.weights import data_hash, save_weights
from geofold.modelling.controllers import GUIDED_SWEEPS, loop_controller
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import controller, plain_gate
from geofold.molecule.datasets.bent_loops import gate_cases
from geofold.molecule.datasets.loop_windows import MORE_DATA
from geofold.molecule.datasets.packed_chains import read_packed
from geofold.molecule.datasets.peptide_streams import peptide_cases
from geofold.molecule.peptide.domain import PeptideDomain

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""lambda: task loss (a sum of two logarithms) that a correction at every step has to be worth."""
MAX_DEPTH = 2
STILL = 0.0
"""The gate of a loop waits until the predictor rests. Left to find that out from eighty streams, it did not always:
median RMSD 2.3 A on eighty validation loops, where a plain threshold that waits reached 2.1 A."""
UNIFORM_DEPTH = 0.0
"""Stands for uniform depth in the front."""
ROUNDS, CASES, JUDGED = 2, 40, 40
WORSE = 0.05
"""Task loss by which the gate that ships may end above the best."""
FIRST_PRICE = 0.1
"""Price of the gate that the second round's streams follow."""
JUDGED_SEED = 1_000_000
"""Peptides that gates are judged by are drawn apart from those that they learn from."""


@dataclass(frozen=True)
class GateTask:
    """What a gate is trained on.

    Attributes
    ----------
    name : str
        Of the gate, for its card.
    weights : str
        Name of its file.
    cases : callable
        Streams (judged or learnt from, number of them, gate, seed).
    first : Gate
        What the first round's streams go on with; its K_max is that of the gate to be trained.
    still : float
        See `geofold.core.gate.LearnedGate`.
    command : str
        That trains it, without the number of cases and the seed.
    sources : dict
        Hashes of what it is trained with, for the card.
    source : str
        Where its streams come from, for messages.
    """

    name: str
    weights: str
    cases: Callable[[bool, int, Gate, int], Iterator[GateCase]]
    first: Gate
    still: float
    command: str
    sources: dict[str, str] = field(default_factory=dict)
    source: str = "random peptides"


def loop_task(data: str, packed: str) -> GateTask:
    """Loops of packed training chains, the loop model frozen."""
    chains = read_chains(data)
    digest = data_hash(data)
    side = read_packed(packed, digest, chains)

    def cases(judged: bool, count: int, gate: Gate, seed: int) -> Iterator[GateCase]:
        split = "valid" if judged else "train"
        return gate_cases(chains, side, split, count, loop_controller, gate, sweeps=GUIDED_SWEEPS, seed=seed)

    return GateTask(
        "gate of the loop domain", GATE_WEIGHTS, cases, ThresholdGate(0.05, largest=MAX_DEPTH, max_motion=STILL), STILL,
        "geofold train gate",
        {
            "loop_model_sha256": shipped_loop_model()[1]["sha256"], "data_sha256": digest,
            "packed_sha256": data_hash(packed),
        }, packed,
    )  # fmt: skip


def peptide_task() -> GateTask:
    """Random peptides, the peptide policy frozen."""
    options = RunOptions()

    def parts(domain: PeptideDomain, gate: Gate) -> Controller:
        return controller(options, domain, gate)

    def cases(judged: bool, count: int, gate: Gate, seed: int) -> Iterator[GateCase]:
        return peptide_cases(count, parts, gate, seed=seed + JUDGED_SEED * judged)

    return GateTask(
        "gate of the peptide domain", PEPTIDE_GATE_WEIGHTS, cases, plain_gate(), math.inf,
        "geofold train gate --domain peptide", {"policy_sha256": shipped_policy()[1]["sha256"]},
    )  # fmt: skip


def train_gate_model(school: GateTask, out: str, *, cases: int, seed: int) -> None:
    """Record, train, judge, choose; what is in the folder already is not done again.

    Raises
    ------
    InputFileError
        If the school has no stream to learn from, or none to be judged by.
    """
    torch.set_num_threads(1)
    judged = max(cases * JUDGED // CASES, 1)
    _require_streams(school, cases, judged, seed)
    command = f"{school.command} --cases {cases} --seed {seed}"
    folder = open_run(out, command, **school.sources)
    with progress() as bar:
        task = bar.add_task("gate", total=ROUNDS * cases + (len(PENALTIES) + 1) * judged)

        def done() -> None:
            bar.advance(task)

        try:
            gates, front = _trained(school, folder, cases, judged, seed, done)
        except KeyboardInterrupt:
            typer.echo(f"geofold: interrupted; the same command goes on from what is in {out}", err=True)
            raise typer.Exit(130) from None
    chosen = choose_penalty(front)
    write_front(folder, front, chosen)
    card = {
        "model": school.name, "price": chosen, "seed": seed, "cases": cases, "front": front,
        "estimator": "exact expectation over K; each span made with each K, each branch judged at the stream's end",
        **school.sources, "command": command,
    }  # fmt: skip
    save_weights(folder / school.weights, gates[chosen].weights, card)
    row = next(row for row in front if row["price"] == chosen)
    typer.echo(f"{out}: price {chosen}, mean K {row['inner']:.2f}, task loss {row['task']:.3f}")


def _require_streams(school: GateTask, cases: int, judged: int, seed: int) -> None:
    """Make sure that there is a stream to learn from and one to be judged by, before hours go into the others."""
    for split, count in ((False, cases), (True, judged)):
        if next(school.cases(split, count, FixedGate(school.first.largest), seed + split), None) is None:
            name = SPLITS[int(split)]
            raise InputFileError(
                f"{school.source} has no loop in its split {name!r} that a gate can be trained on (none of {count}"
                " tried)", "chains with loops in both train and valid", MORE_DATA,
            )  # fmt: skip


def _trained(
    school: GateTask, folder: Path, cases: int, judged: int, seed: int, done: Callable[[], None]
) -> tuple[dict[float, LearnedGate], list[dict[str, float]]]:
    seen: Outcomes | None = None
    gate, still = school.first, school.still
    for number in range(ROUNDS):
        part = _recorded(school, folder, cases, seed, number, gate, done)
        seen = part if seen is None else concatenate([seen, part])
        if not bool((seen.motion <= still).any()):
            raise OptionError(f"--cases {cases}, in none of which the predictor comes to rest", "more of them",
                              "give a larger number")  # fmt: skip
        gate = fit_gate(seen, FIRST_PRICE, still=still, seed=seed)
    assert seen is not None
    gates = {price: fit_gate(seen, price, still=still, seed=seed) for price in PENALTIES}
    named: list[tuple[float, Gate]] = [(UNIFORM_DEPTH, FixedGate(school.first.largest)), *gates.items()]
    front = []
    for price, one in named:
        found = [_played(case, done) for case in school.cases(True, judged, one, seed + 1)]
        task, inner = np.mean(found, 0)
        front.append({"price": price, "task": float(task), "inner": float(inner)})
    return gates, front


def _recorded(
    school: GateTask, folder: Path, cases: int, seed: int, number: int, gate: Gate, done: Callable[[], None]
) -> Outcomes:
    """Outcomes of a round, one file a case, so that a killed run goes on at the next."""
    rows: list[Outcomes] = []
    largest = school.first.largest
    streams = school.cases(False, cases, FixedGate(largest), 1000 * number + seed)
    for place, case in enumerate(streams):
        path = folder / "outcomes" / f"{number}_{place}.safetensors"
        if path.exists():
            rows.append(_read_outcomes(path, largest))
        else:
            found = record_outcomes(case, gate, largest=largest, seed=place)
            path.parent.mkdir(exist_ok=True)
            tensors = {name: part.contiguous() for name, part in found._asdict().items()}
            write_atomically(path, lambda name, kept=tensors: save_file(kept, name))  # type: ignore[misc]
            rows.append(found)
        done()
    return concatenate(rows)


def _read_outcomes(path: Path, largest: int) -> Outcomes:
    try:
        found = Outcomes(**load_file(path))
        sizes = {part.shape for part in found[:6]}, {part.shape for part in found[6:]}
        if any(len(own) != 1 for own in sizes) or min(sizes[1]) != (*min(sizes[0]), largest + 1):
            raise ValueError("its arrays are of other sizes")
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputFileError(
            f"{path} holds no outcomes of this gate ({error})", "what an earlier run of the same command wrote",
            MADE_AGAIN,
        ) from None  # fmt: skip
    return found


def _played(case: GateCase, done: Callable[[], None]) -> tuple[float, float]:
    """Task loss at the end of a stream, and its mean K."""
    state, spent = case.state, 0
    for _ in range(case.steps):
        state, info = case.controller.step(case.domain, state, case.goal)
        spent += int(info.inner_steps[0])
    done()
    return float(case.judge(state.domain)[0]), spent / case.steps


def choose_penalty(front: list[dict[str, float]]) -> float:
    """The highest price that ends within `WORSE` of the best."""
    rows = [row for row in front if row["price"] != UNIFORM_DEPTH]
    best = min(row["task"] for row in rows)
    return max(row["price"] for row in rows if row["task"] <= best + WORSE)


def write_front(folder: Path, front: list[dict[str, float]], chosen: float) -> None:
    """The front as CSV, and as a figure."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["price", "task", "inner"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(front)
    write_atomically(folder / "front.csv", lambda name: Path(name).write_text(text.getvalue(), encoding="utf-8"))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for row in front:
        colour = "#d55e00" if row["price"] == chosen else "0.5" if row["price"] != UNIFORM_DEPTH else "#0072b2"
        axis.plot(row["inner"], row["task"], "o", color=colour)
        name = f"$\\lambda$ = {row['price']:g}" if row["price"] != UNIFORM_DEPTH else "uniform depth"
        axis.annotate(name, (row["inner"], row["task"]), xytext=(5, 4), textcoords="offset points")
    axis.set(xlabel="corrections a step (mean K)", ylabel="task loss at the end")
    write_atomically(folder / "front.png", lambda name: figure.savefig(name, dpi=120, format="png"))
    pyplot.close(figure)

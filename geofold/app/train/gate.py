"""Train the gates of loops, peptides and mazes.

Streams are recorded, gates are fitted at several penalties of a correction and evaluated on held-out streams, and the
highest penalty that costs hardly any task loss is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import typer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from geofold.app.train.driver import progress_bar
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.app.train.gate_front import TASK_TOLERANCE, UNIFORM_DEPTH, choose_penalty, write_front
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
from geofold.modelling.threads import use_one_thread
from geofold.molecule.datasets.bent_loops import gate_cases
from geofold.molecule.datasets.loop_windows import MORE_DATA
from geofold.molecule.datasets.packed_chains import read_packed
from geofold.molecule.datasets.peptide_streams import peptide_cases
from geofold.molecule.peptide.domain import PeptideDomain

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""lambda: task loss (a sum of two logarithms) that a correction at every step must save."""
MAX_DEPTH = 2
STILL = 0.0
"""Motion of the predictor above which the gate of a loop stays closed. Learned from eighty streams instead, it gave a
median RMSD of 2.3 A on eighty validation loops; a plain threshold that waits gave 2.1 A."""
ROUNDS, CASES, VALIDATION_CASES = 2, 40, 40
"""Rounds of recording, and usual numbers of streams for training and validation."""
VALIDATION_SEED = 1_000_000
"""Offset of the seed of validation peptides, which are other ones than those of training."""


@dataclass(frozen=True)
class GateTask:
    """Task and data of the training of a gate.

    Attributes
    ----------
    name : str
        Name of the gate, for its card.
    weights : str
        File name of its weights.
    cases : callable
        Gives streams from (validation or training, count, gate, seed).
    first : Gate
        Gate that the streams of the first round follow; its K_max is that of the trained gate.
    still : float
        See `geofold.core.gate.LearnedGate`.
    penalties : tuple of float
        lambda of the gates that are compared, in rising order; the streams of the second round follow the second gate.
    command : str
        Command line, without the number of cases and the seed.
    sources : dict
        Hashes of models and data, for the card.
    source : str
        Origin of the streams, for messages.
    tolerance : float
        Task loss by which the chosen gate may end above the best one.
    """

    name: str
    weights: str
    cases: Callable[[bool, int, Gate, int], Iterator[GateCase]]
    first: Gate
    still: float
    penalties: tuple[float, ...]
    command: str
    sources: dict[str, str] = field(default_factory=dict)
    source: str = "random peptides"
    tolerance: float = TASK_TOLERANCE


def loop_task(data: str, packed: str) -> GateTask:
    """Gate of the loop domain, on loops of packed training chains, with the loop model frozen."""
    chains = read_chains(data)
    digest = data_hash(data)
    side_chains = read_packed(packed, digest, chains)

    def cases(validation: bool, count: int, gate: Gate, seed: int) -> Iterator[GateCase]:
        split = "valid" if validation else "train"
        return gate_cases(chains, side_chains, split, count, loop_controller, gate, sweeps=GUIDED_SWEEPS, seed=seed)

    return GateTask(
        name="gate of the loop domain",
        weights=GATE_WEIGHTS,
        cases=cases,
        first=ThresholdGate(0.05, largest=MAX_DEPTH, max_motion=STILL),
        still=STILL,
        penalties=PENALTIES,
        command="geofold train gate",
        sources={
            "loop_model_sha256": shipped_loop_model()[1]["sha256"],
            "data_sha256": digest,
            "packed_sha256": data_hash(packed),
        },
        source=packed,
    )


def peptide_task() -> GateTask:
    """Gate of the peptide domain, on random peptides, with the peptide policy frozen."""
    options = RunOptions()

    def parts(domain: PeptideDomain, gate: Gate) -> Controller:
        return controller(options, domain, gate)

    def cases(validation: bool, count: int, gate: Gate, seed: int) -> Iterator[GateCase]:
        return peptide_cases(count, parts, gate, seed=seed + VALIDATION_SEED * validation)

    return GateTask(
        name="gate of the peptide domain",
        weights=PEPTIDE_GATE_WEIGHTS,
        cases=cases,
        first=plain_gate(),
        still=math.inf,
        penalties=PENALTIES,
        command="geofold train gate --domain peptide",
        sources={"policy_sha256": shipped_policy()[1]["sha256"]},
    )


def train_gate_model(task: GateTask, out: str, *, cases: int, seed: int) -> None:
    """Record streams, fit gates, evaluate them and write the chosen one; recorded streams in the folder are reused.

    Parameters
    ----------
    task : GateTask
        What the gate is for.
    out : str
        Output folder.
    cases : int
        Streams of each round.
    seed : int
        Seed of streams and weights.

    Raises
    ------
    InputFileError
        If the data give no stream for training, or none for validation.
    """
    use_one_thread()
    validation = max(cases * VALIDATION_CASES // CASES, 1)
    _require_streams(task, cases, validation, seed)
    command = f"{task.command} --cases {cases} --seed {seed}"
    folder = open_run(out, command, **task.sources)
    with progress_bar() as bar:
        job = bar.add_task("gate", total=ROUNDS * cases + (len(task.penalties) + 1) * validation)

        def advance() -> None:
            bar.advance(job)

        try:
            gates = _fit_gates(task, folder, cases, seed, advance)
            front = _evaluate(task, gates, validation, seed + 1, advance)
        except KeyboardInterrupt:
            typer.echo(f"geofold: interrupted; the same command resumes from the streams in {out}", err=True)
            raise typer.Exit(130) from None
    penalty = choose_penalty(front, task.tolerance)
    write_front(folder, front, penalty)
    card = {
        "model": task.name,
        "price": penalty,
        "seed": seed,
        "cases": cases,
        "front": front,
        "estimator": "exact expectation over K; each span made with each K, each branch judged at the stream's end",
        **task.sources,
        "command": command,
    }
    save_weights(folder / task.weights, gates[penalty].weights, card)
    row = next(row for row in front if row["price"] == penalty)
    typer.echo(f"{out}: penalty {penalty}, mean K {row['inner']:.2f}, task loss {row['task']:.3f}")


def _require_streams(task: GateTask, cases: int, validation: int, seed: int) -> None:
    """Make sure that there is a stream for training and one for validation, before hours go into the others."""
    for is_validation, count in ((False, cases), (True, validation)):
        streams = task.cases(is_validation, count, FixedGate(task.first.largest), seed + is_validation)
        if next(streams, None) is None:
            raise InputFileError(
                f"{task.source} has no loop in its split {SPLITS[int(is_validation)]!r} that a gate can be trained on"
                f" (none of {count} tried)",
                "chains with loops in both train and valid",
                MORE_DATA,
            )


def _fit_gates(
    task: GateTask, folder: Path, cases: int, seed: int, advance: Callable[[], None]
) -> dict[float, LearnedGate]:
    """Gates by penalty, fitted to the streams of all rounds."""
    outcomes: Outcomes | None = None
    gate = task.first
    for number in range(ROUNDS):
        part = _record_round(task, folder, cases, seed, number, gate, advance)
        outcomes = part if outcomes is None else concatenate([outcomes, part])
        if not bool((outcomes.motion <= task.still).any()):
            raise OptionError(
                f"--cases {cases}, in none of which the predictor comes to rest", "more of them", "give a larger number"
            )
        gate = fit_gate(outcomes, task.penalties[1], still=task.still, seed=seed)
    assert outcomes is not None
    return {penalty: fit_gate(outcomes, penalty, still=task.still, seed=seed) for penalty in task.penalties}


def _evaluate(
    task: GateTask, gates: dict[float, LearnedGate], count: int, seed: int, advance: Callable[[], None]
) -> list[dict[str, float]]:
    """Rows of the front: mean task loss and mean K of a fixed depth and of each gate, on validation streams."""
    options: list[tuple[float, Gate]] = [(UNIFORM_DEPTH, FixedGate(task.first.largest)), *gates.items()]
    front = []
    for penalty, gate in options:
        results = [_run_stream(case, advance) for case in task.cases(True, count, gate, seed)]
        loss, inner = np.mean(results, 0)
        front.append({"price": penalty, "task": float(loss), "inner": float(inner)})
    return front


def _record_round(
    task: GateTask, folder: Path, cases: int, seed: int, number: int, gate: Gate, advance: Callable[[], None]
) -> Outcomes:
    """Outcomes of a round, one file per stream, so that an interrupted run resumes.

    Parameters
    ----------
    task : GateTask
        Gives the streams.
    folder : Path
        Output folder.
    cases, seed, number : int
        Number of streams, seed, and number of the round.
    gate : Gate
        Gate that the streams follow.
    advance : callable
        Called after each stream.
    """
    rows: list[Outcomes] = []
    largest = task.first.largest
    streams = task.cases(False, cases, FixedGate(largest), 1000 * number + seed)
    for place, case in enumerate(streams):
        path = folder / "outcomes" / f"{number}_{place}.safetensors"
        if path.exists():
            rows.append(_read_outcomes(path, largest))
        else:
            outcomes = record_outcomes(case, gate, largest=largest, seed=place)
            path.parent.mkdir(exist_ok=True)
            tensors = {name: part.contiguous() for name, part in outcomes._asdict().items()}
            write_atomically(path, lambda name, tensors=tensors: save_file(tensors, name))  # type: ignore[misc]
            rows.append(outcomes)
        advance()
    return concatenate(rows)


def _read_outcomes(path: Path, largest: int) -> Outcomes:
    """Read the outcomes of a stream that an earlier run recorded."""
    try:
        outcomes = Outcomes(**load_file(path))
        sizes = {part.shape for part in outcomes[:6]}, {part.shape for part in outcomes[6:]}
        if any(len(shapes) != 1 for shapes in sizes) or min(sizes[1]) != (*min(sizes[0]), largest + 1):
            raise ValueError("its arrays are of other sizes")
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise InputFileError(
            f"{path} holds no outcomes of this gate ({error})",
            "what an earlier run of the same command wrote",
            MADE_AGAIN,
        ) from None
    return outcomes


def _run_stream(case: GateCase, advance: Callable[[], None]) -> tuple[float, float]:
    """Task loss at the end of a stream, and its mean K."""
    state, spent = case.state, 0
    for _ in range(case.steps):
        state, info = case.controller.step(case.domain, state, case.goal)
        spent += int(info.inner_steps[0])
    advance()
    return float(case.task_loss(state.domain)[0]), spent / case.steps

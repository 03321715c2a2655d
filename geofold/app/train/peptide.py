"""Train the peptide policy on demonstrations that are made once, and a metric on the frozen policy."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
import typer

from geofold.app.train.driver import make_once, progress_bar, require_backbone, run_training
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.core.gate import FixedGate
from geofold.core.learned_metric import LearnedMetric
from geofold.errors import OptionError
from geofold.files import write_npz
from geofold.learn.arrays import FLOATS, INTEGERS, TEXT, Field, read_arrays
from geofold.learn.metric import MetricStream, train_metric
from geofold.learn.peptide_policy.model import PeptidePolicy, shipped_policy
from geofold.learn.peptide_policy.training import train_peptide
from geofold.learn.pretrained import METRIC_WEIGHTS
from geofold.learn.weights import save_weights
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import DAMPING, controller
from geofold.modelling.threads import use_one_thread
from geofold.molecule.datasets.peptide_demonstrations import (
    SolvedContact,
    contacts_from_arrays,
    contacts_to_arrays,
    make_demonstration,
    solve_contacts,
    state_at,
)
from geofold.molecule.datasets.peptide_streams import draw_stream
from geofold.molecule.kinematics.decoder import LATENT

PATHS = 4
"""Noisy demonstrations of each solved contact."""
WORKERS = 2
METRIC_ROWS, METRIC_STEPS, METRIC_NOISE = 16, 12, 0.3
"""Rows and steps of a stream that a metric learns from, and standard deviation (radian) of its initial torsions."""
STREAM_SPACING = 20
"""Numbers of random peptides between the first draws of two streams of a metric."""
DEMONSTRATION_FIELDS: dict[str, Field] = {
    # arrays of a file without demonstrations have no type
    "sequence": (TEXT + FLOATS, ("D",)),
    "contact": (TEXT + FLOATS, ("D",)),
    "size": (INTEGERS, ("D",)),
    "start": (FLOATS, ("n",)),
    "end": (FLOATS, ("n",)),
}
"""Arrays of a file of solved contacts."""


def train_peptide_policy(out: str, *, peptides: int, steps: int, kind: str, seed: int) -> None:
    """Solve missing contacts, then train the policy.

    Parameters
    ----------
    out : str
        Output folder.
    peptides : int
        Random peptides with contacts to solve.
    steps : int
        Number of batches.
    kind : str
        Name of the backbone.
    seed : int
        Seed of peptides, weights and batches.

    Raises
    ------
    OptionError
        If no peptide reaches its contact, or no backbone has the name.
    """
    require_backbone(kind)
    backbone = "" if kind == PeptidePolicy.USUAL else f" --backbone {kind}"
    command = f"geofold train peptide --peptides {peptides} --steps {steps} --seed {seed}{backbone}"
    contacts = solved_contacts(open_run(out, command), peptides, seed)
    if not contacts:
        raise OptionError(
            f"--peptides {peptides}, none of which reaches its contact",
            "more of them",
            "give a larger number, or another --seed",
        )
    demonstrations = [
        make_demonstration(contact, seed=PATHS * k + path)
        for k, contact in enumerate(contacts)
        for path in range(PATHS)
    ]
    card = {"demonstrations": len(contacts), "ways": PATHS, "command": command}
    valid_loss = run_training(
        "peptide",
        out,
        steps,
        lambda progress: train_peptide(
            demonstrations.__getitem__,
            len(demonstrations),
            out,
            steps=steps,
            seed=seed,
            progress=progress,
            card=card,
            kind=kind,
        ),
    )
    typer.echo(
        f"{out}: validation {valid_loss:.3f} nat per torsion after {steps} batches, {len(contacts)} demonstrations"
    )


def train_peptide_metric(out: str, *, courses: int, seed: int) -> None:
    """Train G_psi on streams of random peptides, whose rows start from randomly turned torsions.

    Parameters
    ----------
    out : str
        Output folder.
    courses : int
        Number of peptides.
    seed : int
        Seed of peptides and weights.
    """
    use_one_thread()
    policy, command = shipped_policy()[1]["sha256"], f"geofold train metric --courses {courses} --seed {seed}"
    folder = open_run(out, command, policy_sha256=policy)
    start = LearnedMetric.start(LATENT, damping=DAMPING, seed=seed)
    options = RunOptions(seed=seed)

    def stream(number: int) -> MetricStream:
        # the latent is larger than usual for a peptide with more torsions
        draws = (draw_stream(STREAM_SPACING * number + k, seed) for k in count())
        structure, domain, goal, noise = next(draw for draw in draws if draw[1].latent_dim == LATENT)
        angle = METRIC_NOISE * torch.as_tensor(noise.standard_normal((METRIC_ROWS, len(domain.tree))))
        parts = replace(controller(options, domain, FixedGate(1)), metric=start)
        state = parts.init(domain, state_at(domain, structure.xyz, angle))
        return MetricStream(parts, domain, state, goal, METRIC_STEPS)

    with progress_bar() as bar:
        task = bar.add_task("metric", total=courses)
        metric = train_metric(stream, courses, start, progress=lambda done: bar.update(task, completed=done))
    card = {
        "model": "metric of the peptide domain",
        "damping": DAMPING,
        "seed": seed,
        "courses": courses,
        "policy_sha256": policy,
        "command": command,
    }
    save_weights(folder / METRIC_WEIGHTS, metric.weights, card)
    typer.echo(f"{out}: a metric after {courses} courses")


def solved_contacts(folder: Path, peptides: int, seed: int) -> list[SolvedContact]:
    """Solved contacts of some peptides, one file per peptide, so that an interrupted run resumes."""
    folder = folder / "demonstrations"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {folder / f"{seed}_{number:05d}.npz": (number, seed) for number in range(peptides)}
    make_once("demonstrations", folder, jobs, _solve, WORKERS)
    return [contact for path in jobs for contact in contacts_from_arrays(_read(path))]


def _read(path: Path) -> dict[str, Any]:
    """Read the solved contacts of one peptide."""
    return read_arrays(
        path,
        DEMONSTRATION_FIELDS,
        content="demonstrations",
        expected="what an earlier run wrote",
        remedy=MADE_AGAIN,
    )


def _solve(path: Path, number: int, seed: int) -> None:
    use_one_thread()
    write_npz(path, contacts_to_arrays(solve_contacts(number, seed=seed)))

"""The peptide policy, from demonstrations made once and kept in the folder; and a metric on the frozen policy."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
import typer

from geofold.app.train.driver import make_once, progress, require_backbone, run_training
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.core.gate import FixedGate
from geofold.core.learned_metric import LearnedMetric
from geofold.errors import OptionError
from geofold.files import write_npz
from geofold.learn.arrays import FLOATS, INTEGERS, TEXT, Field, read_arrays
from geofold.learn.metric import MetricStream, train_metric
from geofold.learn.peptide_policy.model import PeptidePolicy, shipped_policy
from geofold.learn.peptide_policy.training import train_peptide
from geofold.learn.pretrained import METRIC_WEIGHTS as METRIC_WEIGHTS
from geofold.learn.weights import save_weights
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import DAMPING, controller
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

WAYS = 4
"""Noisy ways that each demonstration is learned from."""
WORKERS = 2
ROWS, STREAMED, SHAKEN = 16, 12, 0.3
"""Of a course that a metric learns from: rows, steps, and how far (radian) its rows start apart."""
SPREAD = 20
"""Numbers of random peptides from one course to the next, until one of the right size is found."""
DEMO_FIELDS: dict[str, Field] = {
    # no demonstration at all leaves arrays without a type
    "sequence": (TEXT + FLOATS, ("D",)), "contact": (TEXT + FLOATS, ("D",)), "size": (INTEGERS, ("D",)),
    "start": (FLOATS, ("n",)), "end": (FLOATS, ("n",)),
}  # fmt: skip


def train_peptide_policy(out: str, *, peptides: int, steps: int, kind: str, seed: int) -> None:
    """Make what demonstrations are missing, then train."""
    require_backbone(kind)
    usual = "" if kind == PeptidePolicy.USUAL else f" --backbone {kind}"
    command = f"geofold train peptide --peptides {peptides} --steps {steps} --seed {seed}{usual}"
    demos = solved_contacts(open_run(out, command), peptides, seed)
    if not demos:
        raise OptionError(f"--peptides {peptides}, none of which reaches its contact", "more of them",
                          "give a larger number, or another --seed")  # fmt: skip
    lessons = [make_demonstration(demo, seed=WAYS * k + way) for k, demo in enumerate(demos) for way in range(WAYS)]
    card = {"demonstrations": len(demos), "ways": WAYS, "command": command}
    judged = run_training("peptide", out, steps, lambda tell: train_peptide(
        lessons.__getitem__, len(lessons), out, steps=steps, seed=seed, told=tell, card=card, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a torsion after {steps} batches, {len(demos)} demonstrations")


def train_peptide_metric(out: str, *, courses: int, seed: int) -> None:
    """G_psi on streams of random peptides, several rows each, that start from torsions shaken at random."""
    torch.set_num_threads(1)
    policy, command = shipped_policy()[1]["sha256"], f"geofold train metric --courses {courses} --seed {seed}"
    folder = open_run(out, command, policy_sha256=policy)
    start = LearnedMetric.start(LATENT, damping=DAMPING, seed=seed)
    options = RunOptions(seed=seed)

    def course(number: int) -> MetricStream:
        # a latent is longer where a peptide has more torsions than it has places
        structure, domain, goal, noise = next(
            found for k in count() if (found := draw_stream(SPREAD * number + k, seed))[1].latent_dim == LATENT
        )
        shaken = SHAKEN * torch.as_tensor(noise.standard_normal((ROWS, len(domain.tree))))
        parts = replace(controller(options, domain, FixedGate(1)), metric=start)
        state = parts.init(domain, state_at(domain, structure.xyz, shaken))
        return MetricStream(parts, domain, state, goal, STREAMED)

    with progress() as bar:
        task = bar.add_task("metric", total=courses)
        metric = train_metric(course, courses, start, told=lambda done: bar.update(task, completed=done))
    card = {
        "model": "metric of the peptide domain", "damping": DAMPING, "seed": seed, "courses": courses,
        "policy_sha256": policy, "command": command,
    }  # fmt: skip
    save_weights(folder / METRIC_WEIGHTS, metric.weights, card)
    typer.echo(f"{out}: a metric after {courses} courses")


def solved_contacts(folder: Path, peptides: int, seed: int) -> list[SolvedContact]:
    """Demonstrations with so many peptides, one file a peptide, so that a killed run goes on at the next."""
    folder = folder / "demonstrations"
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{seed}_{number:05d}.npz": (number, seed) for number in range(peptides)}
    make_once("demonstrations", folder, files, _make, WORKERS)
    return [demo for path in files for demo in contacts_from_arrays(_read(path))]


def _read(path: Path) -> dict[str, Any]:
    """Arrays of the demonstrations with one peptide."""
    return read_arrays(path, DEMO_FIELDS, content="demonstrations", expected="what an earlier run wrote",
                       remedy=MADE_AGAIN)  # fmt: skip


def _make(path: Path, number: int, seed: int) -> None:
    torch.set_num_threads(1)
    write_npz(path, contacts_to_arrays(solve_contacts(number, seed=seed)))

"""The peptide policy, from demonstrations made once and kept in the folder; and a metric on the frozen policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress

from geofold.app.train.driver import make_once, require_backbone, run_training
from geofold.core.gate import FixedGate
from geofold.core.learned_metric import LearnedMetric
from geofold.files import write_npz
from geofold.learn.metric import MetricStream, train_metric
from geofold.learn.peptide_policy.model import PeptidePolicy, shipped_policy
from geofold.learn.peptide_policy.training import train_peptide
from geofold.learn.pretrained import METRIC_WEIGHTS
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
TRIES = 20


def train_peptide_policy(out: str, *, peptides: int, steps: int, kind: str, seed: int) -> None:
    """Make what demonstrations are missing, then train."""
    require_backbone(kind)
    demos = solved_contacts(Path(out), peptides, seed)
    lessons = [make_demonstration(demo, seed=WAYS * k + way) for k, demo in enumerate(demos) for way in range(WAYS)]
    usual = "" if kind == PeptidePolicy.USUAL else f" --backbone {kind}"
    card = {
        "demonstrations": len(demos), "ways": WAYS,
        "command": f"geofold train peptide --peptides {peptides} --steps {steps} --seed {seed}{usual}",
    }  # fmt: skip
    judged = run_training("peptide", out, steps, lambda tell: train_peptide(
        lessons.__getitem__, len(lessons), out, steps=steps, seed=seed, told=tell, card=card, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a torsion after {steps} batches, {len(demos)} demonstrations")


def train_peptide_metric(out: str, *, courses: int, seed: int) -> None:
    """G_psi on streams of random peptides, several rows each, that start from torsions shaken at random."""
    torch.set_num_threads(1)
    start = LearnedMetric.start(LATENT, damping=DAMPING, seed=seed)
    options = RunOptions(seed=seed)

    def course(number: int) -> MetricStream:
        # a latent is longer where a peptide has more torsions than it has places
        structure, domain, goal, noise = next(
            found for k in range(TRIES) if (found := draw_stream(TRIES * number + k, seed))[1].latent_dim == LATENT
        )
        shaken = SHAKEN * torch.as_tensor(noise.standard_normal((ROWS, len(domain.tree))))
        parts = replace(controller(options, domain, FixedGate(1)), metric=start)
        state = parts.init(domain, state_at(domain, structure.xyz, shaken))
        return MetricStream(parts, domain, state, goal, STREAMED)

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("metric", total=courses)
        metric = train_metric(course, courses, start, told=lambda done: bar.update(task, completed=done))
    card = {
        "model": "metric of the peptide domain", "damping": DAMPING, "seed": seed, "courses": courses,
        "policy_sha256": shipped_policy()[1]["sha256"],
        "command": f"geofold train metric --courses {courses} --seed {seed}",
    }  # fmt: skip
    Path(out).mkdir(parents=True, exist_ok=True)
    save_weights(Path(out) / METRIC_WEIGHTS, metric.weights, card)
    typer.echo(f"{out}: a metric after {courses} courses")


def solved_contacts(folder: Path, peptides: int, seed: int) -> list[SolvedContact]:
    """Demonstrations with so many peptides, one file a peptide, so that a killed run goes on at the next."""
    folder = folder / "demonstrations"
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{seed}_{number:05d}.npz": (number, seed) for number in range(peptides)}
    make_once("demonstrations", folder, files, _make, WORKERS)
    return [demo for path in files for demo in contacts_from_arrays(dict(np.load(path)))]


def _make(path: Path, number: int, seed: int) -> None:
    torch.set_num_threads(1)
    write_npz(path, contacts_to_arrays(solve_contacts(number, seed=seed)))

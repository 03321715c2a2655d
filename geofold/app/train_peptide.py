"""The peptide policy: demonstrations made once and kept in the folder, then a policy trained on them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress

from geofold.app.train_models import require_backbone, watched
from geofold.backbone.handover import write_whole
from geofold.learn.peptide_model import PeptidePolicy
from geofold.learn.peptide_training import train_peptide
from geofold.molecule.peptide_demos import Demo, demonstrations, lesson, loaded, saved

WAYS = 4
"""Noisy ways that each demonstration is learned from."""
WORKERS = 2


def train_peptide_policy(out: str, *, peptides: int, steps: int, kind: str, seed: int) -> None:
    """Make what demonstrations are missing, then train."""
    require_backbone(kind)
    demos = made(Path(out), peptides, seed)
    lessons = [lesson(demo, seed=WAYS * k + way) for k, demo in enumerate(demos) for way in range(WAYS)]
    usual = "" if kind == PeptidePolicy.USUAL else f" --backbone {kind}"
    card = {
        "demonstrations": len(demos), "ways": WAYS,
        "command": f"geofold train peptide --peptides {peptides} --steps {steps} --seed {seed}{usual}",
    }  # fmt: skip
    judged = watched("peptide", out, steps, lambda tell: train_peptide(
        lessons.__getitem__, len(lessons), out, steps=steps, seed=seed, told=tell, card=card, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a torsion after {steps} batches, {len(demos)} demonstrations")


def made(folder: Path, peptides: int, seed: int) -> list[Demo]:
    """Demonstrations with so many peptides, one file a peptide, so that a killed run goes on at the next."""
    folder = folder / "demonstrations"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed}_{number:05d}.npz" for number in range(peptides)]
    left = [number for number, path in enumerate(files) if not path.exists()]
    with Progress(console=Console(stderr=True)) as bar, ProcessPoolExecutor(WORKERS) as pool:
        task = bar.add_task("demonstrations", total=peptides, completed=peptides - len(left))
        try:
            for job in as_completed([pool.submit(_make, files[number], number, seed) for number in left]):
                job.result()
                bar.advance(task)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            typer.echo(f"geofold: interrupted; the same command goes on from what is in {folder}", err=True)
            raise typer.Exit(130) from None
    return [demo for path in files for demo in loaded(dict(np.load(path)))]


def _make(path: Path, number: int, seed: int) -> None:
    torch.set_num_threads(1)
    parts = saved(demonstrations(number, seed=seed))
    write_whole(path, lambda name: _save(name, parts))


def _save(name: str, parts: dict[str, np.ndarray]) -> None:
    with open(name, "wb") as file:
        np.savez(file, **parts)  # type: ignore[arg-type]

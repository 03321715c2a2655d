"""The judge's training to rank candidates of loops, as a command: decoys are made once, then it is trained on them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from geofold import resources
from geofold.app.train.driver import make_once, run_training
from geofold.app.train.folder import open_run
from geofold.app.train.judge import backbones, require_device
from geofold.app.train.score_decoys import WORKERS, read_chains_once, read_decoys, write_decoys
from geofold.app.train.score_loops import LoopSite, choose_sites
from geofold.app.train.score_options import DECOYS
from geofold.errors import InputFileError
from geofold.learn.loop_score.decoys import Decoys
from geofold.learn.loop_score.model import WEIGHTS, load_score
from geofold.learn.weights import data_hash
from geofold.modelling.search.decoys import decoys_of

SHORTEST = 7
"""Residues of a loop at least; shorter loops have few wrong candidates."""
VALIDATION_RATIO = 20
"""Training loops for each validation loop."""
SEARCHED_EVERY = 4
"""Every how many loops the decoys that an evolutionary search finds are included; they take eight times as long as
sampled ones, and new loops teach more."""


def train_ranking_model(data: str, out: str, *, begin: str, loops: int, steps: int, device: str, seed: int) -> None:
    """Train a pretrained judge to rank candidates of loops.

    Parameters
    ----------
    data : str
        A `backbones.npz`, or its folder.
    out : str
        Output folder.
    begin : str
        Pretrained weights.
    loops : int
        Training loops before those that are too short or cannot be closed are left out.
    steps : int
        Number of batches.
    device : str
        Torch device.
    seed : int
        Seed of loops, decoys and batches.

    Raises
    ------
    InputFileError
        If a split of the data has no loop to learn from.
    """
    from geofold.learn.judge.ranking import train_ranking

    require_device(device)
    source = str(backbones(data))
    command = f"geofold train judge-rank --loops {loops} --steps {steps} --seed {seed}"
    folder = open_run(out, command, data_sha256=data_hash(source), begin_sha256=data_hash(begin))
    training, validation = (
        make_decoys(folder / DECOYS, source, split, count, seed)
        for split, count in (("train", loops), ("valid", -(-loops // VALIDATION_RATIO)))
    )
    card = {"command": command, "data_sha256": data_hash(source)}
    valid_loss = run_training(
        "judge-rank",
        out,
        steps,
        lambda progress: train_ranking(
            training, validation, begin, out, steps=steps, seed=seed, device=device, progress=progress, card=card
        ),
    )
    typer.echo(f"{out}: validation {valid_loss:.3f} nat per loop after {steps} batches of {len(training)} loops")


def make_decoys(folder: Path, data: str, split: str, count: int, seed: int) -> list[Decoys]:
    """Make missing decoy files of a split, one per loop, and read them all.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    data : str
        A `backbones.npz`.
    split : str
        Split of the loops.
    count : int
        Number of loops before short ones are left out.
    seed : int
        Seed of the choice of loops.

    Raises
    ------
    InputFileError
        If the split has no loop with decoys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sites = [site for site in choose_sites(read_chains_once(data), split, count, 0, seed) if site.length >= SHORTEST]
    files = {folder / f"{split}_{site.number:05d}.npz": site for site in sites}
    make_once(f"decoys ({split})", folder, {path: (data, site) for path, site in files.items()}, _make, WORKERS)
    decoys = read_decoys(list(files))
    if not decoys:
        raise InputFileError(
            f"{data} has no loop to learn from in its split {split!r}",
            f"chains with loops of {SHORTEST} or more residues in both train and valid",
            "give `geofold data build` more structures, or this command more --loops",
        )
    return decoys


def _make(path: Path, data: str, site: LoopSite) -> None:
    score = load_score(resources.find(WEIGHTS))[0] if site.number % SEARCHED_EVERY == 0 else None
    write_decoys(path, data, site, partial(decoys_of, score=score, seed=site.number))

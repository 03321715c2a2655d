"""Train the potential of loops, round by round, on decoys that are made once and kept in the output folder.

Decoys of the first round are sampled from the torsion prior, or are a native's torsions disturbed and crossed. In each
later round the potential so far searches for loops that it has not seen, and what it scores too well there joins the
decoys. Chains are bare (backbones and CB), since loops are searched for where side chains may be wrong.

`plan` reads the options and decides what each round does; `train_round` does it. An interrupted run resumes: files
that exist are not made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from geofold.app.train.driver import make_once
from geofold.app.train.folder import open_run
from geofold.app.train.score_decoys import (
    WORKERS,
    make_decoys,
    read_chains_once,
    read_decoys,
    search_validation_loops,
)
from geofold.app.train.score_loops import CHAIN_LENGTHS, choose_sites
from geofold.app.train.score_options import ScoreRun
from geofold.errors import InputFileError
from geofold.learn.data.chains import SPLITS
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.loop_score.decoys import EVOLVED, MIN_CANDIDATES, Decoys
from geofold.learn.loop_score.ensemble import average_rounds, network_files, save_score, split_ensemble
from geofold.learn.loop_score.model import WEIGHTS, load_score
from geofold.learn.loop_score.training import train_score
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.learn.weights import data_hash
from geofold.modelling.threads import use_one_thread

VALIDATION_RATIO, MAX_VALIDATION_LOOPS = 10, 60
"""Training loops per validation loop, and the largest number of validation loops in a round."""
FALSE_POSITIVE_REPEATS = 3
"""Times that a loop with decoys of searches counts among the training loops: there the potential was wrong."""
Files = dict[str, list[Path]]
"""Decoy files by split."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """Settings of one round of a training.

    Attributes
    ----------
    number : int
        Number of the round, counted on from the weights of `--begin`; chooses the loops.
    drawn : int
        Training loops for which decoys are sampled without a potential.
    searched_with : Path or None
        Potential whose searches add decoys; None for sampled decoys only.
    start_from : Path or None
        Folder of the networks that training starts from; None from scratch.
    split : Path or None
        Potential whose networks are put into `start_from` first.
    steps : int
        Batches for each network.
    networks : Path
        Folder of the trained networks.
    averaged : tuple of Path
        Folders of networks whose mean is the potential of the round; empty: the trained networks are.
    output : Path
        Weights of the potential.
    last : bool
        Whether validation loops are searched for at the end, to fit a confidence.
    """

    number: int
    drawn: int
    searched_with: Path | None
    start_from: Path | None
    split: Path | None = None
    steps: int
    networks: Path
    averaged: tuple[Path, ...] = ()
    output: Path
    last: bool


def plan(run: ScoreRun, card_before: Mapping[str, Any] | None) -> list[Round]:
    """Decide what each round of a training does; reads no file.

    Parameters
    ----------
    run : ScoreRun
        The options.
    card_before : mapping or None
        Card of the potential that is trained further (see `ScoreRun.check`).

    Returns
    -------
    list of Round
        In order; later rounds start from the files of earlier ones.
    """
    folder, continued = run.folder, run.init_weights is not None
    first = 0 if card_before is None else card_before["rounds"] + 1
    last = first + run.rounds - (1 if continued else 0)
    potential = None if run.init_weights is None else Path(run.init_weights)
    start_from, split = (folder / "begun", potential) if continued else (None, None)
    rounds: list[Round] = []
    for number in range(first, last + 1):
        is_last = number == last
        here = folder if is_last else folder / f"round_{number}"
        steps = run.steps if start_from is None else max(run.steps // 2, 1)
        averaged = (*(earlier.networks for earlier in rounds), here) if continued else ()
        rounds.append(
            Round(
                number=number,
                drawn=run.loops if number == first else 0,
                searched_with=potential,
                start_from=start_from,
                split=split,
                steps=steps,
                networks=here,
                averaged=averaged if is_last else (),
                output=here / WEIGHTS,
                last=is_last,
            )
        )
        start_from, split, potential = here, None, here / WEIGHTS
    return rounds


def train_score_model(run: ScoreRun) -> None:
    """Make missing decoys and train, round by round.

    Raises
    ------
    InputFileError, OptionError
        See `ScoreRun.check`; if a split of the data has no loop, or too few candidates of each.
    """
    use_one_thread()
    card_before = run.check()
    _require_sites(run)
    sources = {} if card_before is None else {"begun_sha256": str(card_before["sha256"])}
    open_run(run.out, run.command, data_sha256=data_hash(run.data), **sources)
    decoys: Files = {split: [] for split in SPLITS[:2]}
    for round_ in plan(run, card_before):
        for split, files in collect_decoys(run, round_).items():
            decoys[split] += files
        _require_decoys(run, decoys)
        train_round(run, round_, decoys, sources)


def train_round(run: ScoreRun, round_: Round, decoys: Files, sources: Mapping[str, str]) -> None:
    """Train the networks of a round and write its potential.

    Parameters
    ----------
    run : ScoreRun
        The options.
    round_ : Round
        What the round does.
    decoys : dict
        Decoy files of this round and of those before it.
    sources : mapping
        Entries of the card: hash of the weights that the training began with.
    """
    if round_.split is not None and round_.start_from is not None:
        split_ensemble(load_score(round_.split)[0], round_.start_from)
    networks = train_networks(run, round_, decoys)
    if round_.averaged:
        folders = [network_files(folder, run.members) for folder in round_.averaged]
        networks = average_rounds(folders, run.folder / "mean")
    ends = list[Decoys]()
    if round_.last:
        ends = search_validation_loops(run, networks)
    count = len(read_decoys(decoys["train"]))
    card = {
        "data_sha256": data_hash(run.data),
        "prior_sha256": shipped_prior()[1]["sha256"],
        "loop_sha256": shipped_loop_model()[1]["sha256"],
        "loops": count,
        "rounds": round_.number,
        "steps": run.steps,
        "seed": run.seed,
        "command": run.command,
    } | dict(sources)
    value = save_score(round_.output, networks, read_decoys(decoys["valid"]), ends, card)
    typer.echo(f"{round_.output}: validation {value:.3f} nat per loop, trained on {count} loops")


def collect_decoys(run: ScoreRun, round_: Round) -> Files:
    """Decoy files of a round, by split; missing ones are made: those of searches first, then sampled ones."""
    files = Files()
    for split in SPLITS[:2]:
        searches = run.searches if round_.searched_with is not None else 0
        count = [loops_in_split(split, number) for number in (searches, round_.drawn)]
        sites = choose_sites(read_chains_once(run.data), split, sum(count), round_.number, run.seed, run.irregular)
        files[split] = [
            *make_decoys(run, split, sites[: count[0]], round_.searched_with),
            *make_decoys(run, split, sites[count[0] :], None),
        ]
    return files


def train_networks(run: ScoreRun, round_: Round, decoys: Files) -> list[Path]:
    """Train the networks of a round; returns their weights files."""
    paths = network_files(round_.networks, run.members)
    starts = [None] * run.members if round_.start_from is None else network_files(round_.start_from, run.members)
    jobs: dict[Path, tuple[Any, ...]] = {
        path: (decoys["train"], decoys["valid"], round_.steps, 100 * run.seed + k, start, run.width)
        for k, (path, start) in enumerate(zip(paths, starts, strict=True))
    }
    make_once(f"{round_.networks.name}: networks", round_.networks, jobs, _train_network, WORKERS)
    return paths


def _require_sites(run: ScoreRun) -> None:
    """Make sure that both splits have a loop."""
    chains = read_chains_once(run.data)
    for split in SPLITS[:2]:
        if not choose_sites(chains, split, 1, 0, run.seed, run.irregular):
            in_split = chains.split == SPLITS.index(split)
            raise InputFileError(
                f"{run.data} has no loop to learn from in its split {split!r} ({int(in_split.sum())} chains in this"
                f" split, the longest of {chains.length[in_split].max(initial=0)} residues)",
                f"chains of {CHAIN_LENGTHS[0]} to {CHAIN_LENGTHS[1]} residues, with loops, in both train and valid",
                "give `geofold data build` more structures, or this command a smaller --irregular",
            )


def _require_decoys(run: ScoreRun, files: Files) -> None:
    """Make sure that each split has a loop with enough candidates."""
    for split, paths in files.items():
        if not read_decoys(paths):
            raise InputFileError(
                f"{run.data} gave too few candidates of each of {len(paths)} loops of its split {split!r}",
                f"a loop with {MIN_CANDIDATES} that close",
                "give more structures, or larger --loops",
            )


def loops_in_split(split: str, count: int) -> int:
    """Return the number of loops of a split, from that of the training split."""
    return count if split == "train" or not count else min(max(count // VALIDATION_RATIO, 1), MAX_VALIDATION_LOOPS)


def _train_network(
    path: Path, train: list[Path], valid: list[Path], steps: int, seed: int, start: Path | None, width: int
) -> None:
    """Train one network in the folder of its weights, from scratch or from the weights `start`."""
    use_one_thread()

    def progress(step: int, loss: float, valid_loss: float) -> None:
        typer.echo(
            f"{path.parent}: {step} of {steps} batches, training {loss:.3f}, validation {valid_loss:.3f} nat", err=True
        )

    options: dict[str, Any] = {"width": width} if start is None else load_score(start)[0].options
    loops = read_decoys(train)
    false_positives = [loop for loop in loops if bool((loop.kind == EVOLVED).any())]
    loops += (FALSE_POSITIVE_REPEATS - 1) * false_positives
    train_score(
        loops,
        read_decoys(valid),
        path.parent,
        steps=steps,
        seed=seed,
        init_weights=start,
        progress=progress,
        **options,
    )

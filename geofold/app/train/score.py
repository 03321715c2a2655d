"""The potential of loops, trained on decoys that are made once and kept in the folder.

The decoys of the first round are drawn, or a native's torsions disturbed and crossed. A potential that learned from
those is held against loops it has not seen: what it likes there, once bred, led and polished, is what the next round
learns from besides, and so on. Chains are bare (backbones and CB), as loops are searched for where the side chains
around them may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from geofold.app.train.driver import make_once
from geofold.app.train.score_loops import Lesson, lessons
from geofold.app.train.score_options import DECOYS, ScoreRun
from geofold.errors import GeofoldError
from geofold.files import write_npz
from geofold.learn.data.chains import SPLITS, Chains, read_chains
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.loop_score.model import WEIGHTS, LoopScore, load_score
from geofold.learn.loop_score.training import (
    EVOLVED,
    MIN_CANDIDATES,
    Decoys,
    average_rounds,
    decoys_from_arrays,
    decoys_to_arrays,
    save_score,
    split_ensemble,
    train_score,
)  # fmt: skip
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.learn.weights import data_hash
from geofold.modelling.search.decoys import decoys_of, ends_of
from geofold.molecule.datasets.packed_chains import backbone_structure, with_betas
from geofold.molecule.structure import Structure

HELD_OUT, JUDGED = 10, 60
"""One loop of the validation split for so many of the training split, and at most."""
REPEATED = 3
"""Times that a loop whose decoys a potential liked is among the lessons."""
WORKERS = 2
ASKED = 48
"""Validation loops whose searches tell how sure the final potential may be."""
CARDS = {"begin": "begun_sha256", "judge": "judge_sha256"}
"""What a card calls the weights that were gone on from."""
ANEW = "anew"
"""Folder of networks trained from scratch at the end."""
Files = dict[str, list[Path]]
"""Of decoys, by split."""


def gathered(run: ScoreRun, number: int, weights: Path | None, fresh: int) -> Files:
    """Files of the decoys of a round, made where they are missing: of searches by weights, and drawn ones."""
    found = Files()
    for split in SPLITS[:2]:
        count = [_most(split, many) for many in (run.searches if weights is not None else 0, fresh)]
        every = lessons(_data(run.data), split, sum(count), number, run.seed, run.irregular)
        found[split] = [
            *made(run.data, run.folder / DECOYS, split, every[: count[0]], weights, run.seed),
            *made(run.data, run.folder / DECOYS, split, every[count[0] :], None, run.seed),
        ]
    return found


def everything(run: ScoreRun, files: Files) -> Files:
    """Files of decoys and those of an earlier run, in the order of their names."""
    before = [] if run.earlier is None else sorted((Path(run.earlier) / DECOYS).glob("*.npz"))
    return {
        split: [path for path in before if path.name.startswith(f"{split}_")] + sorted(own)
        for split, own in files.items()
    }


def trained(
    run: ScoreRun, folder: Path, files: Files, steps: int, begun: Sequence[Path] | None
) -> list[Path]:  # fmt: skip
    """Weights of networks trained in a folder, from scratch or from those of a round."""
    parts: dict[Path, tuple[Any, ...]] = {
        folder / f"member_{k}" / WEIGHTS: (
            files["train"], files["valid"], steps, 100 * run.seed + k, None if begun is None else begun[k],
            run.width,
        ) for k in range(run.members)
    }  # fmt: skip
    make_once(f"{folder.name}: networks", folder, parts, _learn, WORKERS)
    return list(parts)


def train_score_model(run: ScoreRun) -> None:
    """Make what decoys are missing and train, round by round.

    Raises
    ------
    InputFileError, OptionError
        See `ScoreRun.checked`.
    """
    torch.set_num_threads(1)
    before, folder = run.checked(), run.folder
    first, weights, begun, rounds = 0, None, None, list[list[Path]]()
    if run.begin is not None:
        first, weights = before["begin"]["rounds"] + 1, Path(run.begin)
        begun = split_ensemble(load_score(weights)[0], folder / "begun")
    last = first + run.rounds - (1 if run.begin is not None else 0)
    kept: Files = {split: [] for split in SPLITS[:2]}
    for number in range(first, last + 1):
        for split, files in gathered(run, number, weights, run.loops if number == first else 0).items():
            kept[split] += files
        learnt, ends, here = kept, list[Decoys](), folder if number == last else folder / f"round_{number}"
        if number == last and run.anew:
            learnt = everything(run, kept)
            begun = trained(run, folder / ANEW, learnt, run.anew, None)
        else:
            steps = run.steps if begun is None else run.steps // 2
            if number == last and run.judge is not None:
                begun, steps = split_ensemble(load_score(run.judge)[0], folder / "judge"), run.steps
                rounds = [begun]
            begun = trained(run, here, learnt, steps, begun)
            rounds.append(begun)
        if number == last:
            begun = average_rounds(rounds, folder / "mean") if run.begin is not None and not run.anew else begun
            ends = _searches(run, [weights] if run.judges and weights is not None else begun)
        weights = here / WEIGHTS
        count = len(_read(learnt["train"]))
        card = {
            "data_sha256": data_hash(run.data), "prior_sha256": shipped_prior()[1]["sha256"],
            "loop_sha256": shipped_loop_model()[1]["sha256"], "loops": count, "rounds": number, "steps": run.steps,
            "seed": run.seed, "command": run.command,
        } | {CARDS[option]: known["sha256"] for option, known in before.items()}  # fmt: skip
        value = save_score(weights, begun, _read(learnt["valid"]), ends, card)
        typer.echo(f"{weights}: validation {value:.3f} nat a loop, learned from {count} loops")


def _most(split: str, count: int) -> int:
    """Loops of a split for so many of the training split."""
    return count if split == "train" or not count else min(max(count // HELD_OUT, 1), JUDGED)


def _learn(
    path: Path, learnt: list[Path], judged: list[Path], steps: int, seed: int, begun: Path | None, width: int
) -> None:  # fmt: skip
    """Train one network in the folder of its weights, from scratch or from those of the last round."""
    torch.set_num_threads(1)

    def told(step: int, loss: float, held: float) -> None:
        done = f"{step} of {steps} batches, training {loss:.3f}, validation {held:.3f} nat"
        typer.echo(f"{path.parent}: {done}", err=True)

    options: dict[str, Any] = {"width": width} if begun is None else load_score(begun)[0].options
    every = _read(learnt)
    lured = [one for one in every if bool((one.kind == EVOLVED).any())]
    train_score(every + (REPEATED - 1) * lured, _read(judged), path.parent, steps=steps, seed=seed, begun=begun,
                told=told, **options)  # fmt: skip


def _read(files: Sequence[Path], fewest: int | None = None) -> list[Decoys]:
    """Decoys of files; a loop that could not be made has an empty one, so that it is not tried again."""
    found = [dict(np.load(path)) for path in files]
    return [
        decoys_from_arrays(parts)
        for parts in found
        if parts and len(parts["rmsd"]) >= (MIN_CANDIDATES if fewest is None else fewest)
    ]


def made(data: str, folder: Path, split: str, wanted: Sequence[Lesson], weights: Path | None, seed: int) -> list[Path]:
    """Files of decoys, one a loop, so that a killed run goes on at the next."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{split}_{seed}_{lesson.name}.npz": (data, lesson, weights, seed) for lesson in wanted}
    how = "drawn" if weights is None else "bred as the potential likes"
    make_once(f"decoys ({split}, {how})", folder, files, _make, WORKERS)
    return list(files)


def _make(path: Path, data: str, lesson: Lesson, weights: Path | None, seed: int) -> None:
    score = None if weights is None else load_score(weights)[0]
    _keep(path, data, lesson, partial(decoys_of, score=score, seed=1000 * seed + lesson.number))


def _keep(path: Path, data: str, lesson: Lesson, decoys: Callable[[Structure, int, int], Decoys]) -> None:
    """Write the decoys of a lesson; an empty file where there can be none."""
    torch.set_num_threads(1)
    native = with_betas(backbone_structure(_data(data), lesson.chain))
    try:
        parts = decoys_to_arrays(decoys(native, lesson.first, lesson.last))
    except GeofoldError:
        parts = {}
    write_npz(path, parts)


@cache
def _data(data: str) -> Chains:
    return read_chains(data)


def _searches(run: ScoreRun, weights: list[Path]) -> list[Decoys]:
    """What searches by a potential end with, for validation loops."""
    folder = (run.folder / ANEW if run.anew else run.folder) / "searched"
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[Path, tuple[Any, ...]] = {
        folder / f"{run.seed}_{lesson.name}.npz": (run.data, lesson, weights, run.seed)
        for lesson in lessons(_data(run.data), "valid", ASKED, 0, run.seed, run.irregular)
    }
    make_once("searches (valid)", folder, files, _search, WORKERS)
    return _read(list(files), fewest=1)


def _search(path: Path, data: str, lesson: Lesson, weights: list[Path], seed: int) -> None:
    score = LoopScore.together([load_score(one)[0] for one in weights])
    _keep(path, data, lesson, partial(ends_of, score=score, seed=seed))

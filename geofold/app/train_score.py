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

from geofold.app.loop_candidates import LoopCandidates, rebuilt
from geofold.app.loop_search import Effort, bred, searched, unlike
from geofold.app.score_lessons import Lesson, lessons
from geofold.app.train_models import make_once
from geofold.backbone.handover import write_npz
from geofold.errors import BuildError, GeofoldError, OptionError
from geofold.learn.chains import SPLITS, Chains, read_chains
from geofold.learn.loop_score import WEIGHTS, LoopScore, load_score
from geofold.learn.loop_training import shipped_loop_model
from geofold.learn.prior_training import shipped_prior
from geofold.learn.score_training import (
    BRED,
    CROSSED,
    DISTURBED,
    DRAWN,
    FEWEST,
    LED,
    SEARCHED,
    Decoys,
    loaded,
    mixed,
    parted,
    save_score,
    saved,
    train_score,
)  # fmt: skip
from geofold.learn.training import data_hash
from geofold.molecule.packed_chains import backbone_structure, with_betas
from geofold.molecule.packing import backbone_torsions
from geofold.molecule.structure import Floats, Structure

HELD_OUT, JUDGED = 10, 60
"""One loop of the validation split for so many of the training split, and at most."""
DRAWS, KEPT, NEAREST = 480, 96, 24
"""Drawn, kept of those that close, and how many of them are the nearest."""
SIZES, EACH = (3.0, 8.0, 16.0, 32.0), 12
"""Degrees: standard deviations of the disturbed natives' torsions, and how many natives each disturbs."""
PARENTS, CROSSES = (8, 12), 96
"""Of crosses near the native: the nearest drawn ones and disturbed natives; and how many are made."""
HARD = Effort(draws=DRAWS, crosses=96, broods=4, parents=12)
LIKED, LEADING, NATIVES = 64, 12, 4
"""Bred ones that an earlier potential likes best, how many of them are led, and how many disturbed natives."""
REPEATED = 3
"""Times that a loop whose decoys a potential liked is among the lessons."""
WORKERS = 2
SHORTEST, ASKED = 8, 30
"""Residues, and number, of the validation loops whose searches tell how sure the final potential may be."""
SEARCHES = Effort(draws=512, crosses=160, led=16, generations=2)


def train_score_model(
    data: str, out: str, *, loops: int, searches: int, rounds: int, steps: int, members: int, seed: int,
    begin: str | None = None,
) -> None:  # fmt: skip
    """Make what decoys are missing and train, round by round.

    Parameters
    ----------
    begin
        Weights of a potential to go on from: `rounds` follow those that its card tells of, the first of them with
        `loops` drawn afresh beside its searches, and what comes out is the mean of their weights. None: from scratch,
        a first round of `loops` and `rounds` after it, and what comes out is the last one's.

    Raises
    ------
    InputFileError, OptionError
        If `begin` is no such potential, or one of another number of networks.
    """
    torch.set_num_threads(1)
    folder, kept = Path(out), {split: list[Path]() for split in SPLITS[:2]}
    first, weights, begun, source = 0, None, None, dict[str, Any]()
    if begin is not None:
        score, before = load_score(begin)
        if not rounds:
            raise OptionError(f"--rounds 0 with --begin {begin}", "at least one more", "give --rounds 1")
        if members != score.options["members"]:
            raise OptionError(
                f"--members {members} with --begin {begin}", f"{score.options['members']}, as it has", "leave it out"
            )  # fmt: skip
        first, weights, source = before["rounds"] + 1, Path(begin), {"begun_sha256": before["sha256"]}
        begun = parted(score, folder / "begun")
    last, rounds_of = first + rounds - (1 if begun is not None else 0), list[list[Path]]()
    for number in range(first, last + 1):
        fresh = loops if number == first else 0
        for split, files in kept.items():
            count = [_most(split, many) for many in (searches if weights is not None else 0, fresh)]
            every = lessons(_data(data), split, sum(count), number, seed)
            files += made(data, folder / "decoys", split, every[: count[0]], weights, seed)
            files += made(data, folder / "decoys", split, every[count[0] :], None, seed)
        here = folder if number == last else folder / f"round_{number}"
        parts = {
            here / f"member_{k}" / WEIGHTS: (
                kept["train"], kept["valid"], steps if begun is None else steps // 2, 100 * seed + k,
                None if begun is None else begun[k],
            ) for k in range(members)
        }  # fmt: skip
        make_once(f"round {number}: networks", here, parts, _learn, WORKERS)
        weights, begun = here / WEIGHTS, list(parts)
        rounds_of.append(begun)
        judged, ends = _read(kept["valid"]), list[Decoys]()
        if number == last:
            if begin is not None:
                begun = mixed(rounds_of, folder / "mean")
            ends = _searches(data, folder / "searched", begun, seed)
        card = source | {
            "data_sha256": data_hash(data), "prior_sha256": shipped_prior()[1]["sha256"],
            "loop_sha256": shipped_loop_model()[1]["sha256"], "loops": len(_read(kept["train"])), "rounds": number,
            "steps": steps, "seed": seed,
            "command": f"geofold train score --loops {loops} --searches {searches} --rounds {rounds} --steps {steps} "
            f"--members {members} --seed {seed}" + ("" if begin is None else f" --begin {Path(begin).name}"),
        }  # fmt: skip
        value = save_score(weights, begun, judged, ends, card)
        typer.echo(f"{weights}: validation {value:.3f} nat a loop, learned from {card['loops']} loops")


def _most(split: str, count: int) -> int:
    """Loops of a split for so many of the training split."""
    return count if split == "train" or not count else min(max(count // HELD_OUT, 1), JUDGED)


def _learn(path: Path, learnt: list[Path], judged: list[Path], steps: int, seed: int, begun: Path | None) -> None:
    """Train one network in the folder of its weights, from scratch or from those of the last round."""
    torch.set_num_threads(1)

    def told(step: int, loss: float, held: float) -> None:
        done = f"{step} of {steps} batches, training {loss:.3f}, validation {held:.3f} nat"
        typer.echo(f"{path.parent}: {done}", err=True)

    every = _read(learnt)
    lured = [one for one in every if bool((one.kind == BRED).any())]
    train_score(every + (REPEATED - 1) * lured, _read(judged), path.parent, steps=steps, seed=seed, begun=begun,
                told=told)  # fmt: skip


def _read(files: Sequence[Path], fewest: int | None = None) -> list[Decoys]:
    """Decoys of files; a loop that could not be made has an empty one, so that it is not tried again."""
    found = [dict(np.load(path)) for path in files]
    return [loaded(parts) for parts in found if parts and len(parts["rmsd"]) >= (FEWEST if fewest is None else fewest)]


def made(
    data: str, folder: Path, split: str, wanted: Sequence[Lesson], weights: Path | None, seed: int
) -> list[Path]:
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
        parts = saved(decoys(native, lesson.first, lesson.last))
    except GeofoldError:
        parts = {}
    write_npz(path, parts)


@cache
def _data(data: str) -> Chains:
    return read_chains(data)


def decoys_of(native: Structure, first: int, last: int, score: LoopScore | None, *, seed: int) -> Decoys:
    """Candidates of a loop of a native: drawn, its own torsions disturbed, those and the nearest drawn ones crossed;
    with a potential those that it likes once they are bred, and the best of them led and polished.

    Raises
    ------
    BuildError
        If nothing that is drawn closes.
    """
    noise = np.random.default_rng(seed)
    loop = LoopCandidates.of(native, rebuilt(native, first, last), seed=seed)
    every = loop.drawn(DRAWS, noise)[1:]  # the first is that of the structure, and was drawn to be closed at all
    disturbed = _disturbed(loop, native, first, last, noise)
    if not len(every) or not len(disturbed):
        raise BuildError(f"none of {DRAWS} draws closes {loop.build.label}", "one that does", "leave the loop out")
    order = np.argsort(_rmsd(loop, native, first, last, every), kind="stable")
    kept = np.concatenate([order[:NEAREST], noise.permutation(order[NEAREST:])[: KEPT - NEAREST]])
    near = np.concatenate([every[order[: PARENTS[0]]], disturbed[:: max(1, len(disturbed) // PARENTS[1])]])
    parts = [(DRAWN, every[kept]), (DISTURBED, disturbed), (CROSSED, loop.crossed(near, CROSSES, noise))]
    if score is not None:
        pool = bred(loop, every, HARD, score, noise)
        liked = pool.taken(unlike(pool.rows, pool.value, LIKED)).rows
        led, _ = loop.led(np.concatenate([liked[:LEADING], disturbed[:: max(1, len(disturbed) // NATIVES)]]))
        polished, _ = loop.polished(led, score)
        parts += [(BRED, liked), (LED, np.concatenate([led, polished]))]
    return _decoys(loop, native, first, last, parts)


def _disturbed(loop: LoopCandidates, native: Structure, first: int, last: int, noise: np.random.Generator) -> Floats:
    """Candidates that have the native's torsions but for noise of several sizes."""
    torsions = backbone_torsions(native)[first : last + 2, :2]
    sizes = np.radians(np.repeat(SIZES, EACH))[:, None, None]
    return loop.closed(torsions + sizes * noise.standard_normal((len(sizes), *torsions.shape)))


def _searches(data: str, folder: Path, weights: list[Path], seed: int) -> list[Decoys]:
    """What searches by the final potential end with, for validation loops that are long enough."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [one for one in lessons(_data(data), "valid", 2 * ASKED, 0, seed) if one.length >= SHORTEST][:ASKED]
    files: dict[Path, tuple[Any, ...]] = {
        folder / f"{seed}_{lesson.name}.npz": (data, lesson, weights, seed) for lesson in wanted
    }
    make_once("searches (valid)", folder, files, _search, WORKERS)
    return _read(list(files), fewest=1)


def _search(path: Path, data: str, lesson: Lesson, weights: list[Path], seed: int) -> None:
    score = LoopScore.together([load_score(one)[0] for one in weights])
    _keep(path, data, lesson, partial(ends_of, score=score, seed=seed))


def ends_of(native: Structure, first: int, last: int, score: LoopScore, *, seed: int) -> Decoys:
    """Candidates of a loop of a native that a search by a potential led.

    Raises
    ------
    BuildError
        If nothing that is drawn closes.
    """
    loop = LoopCandidates.of(native, rebuilt(native, first, last), seed=seed)
    ends = searched(loop, SEARCHES, seed=seed, score=score).rows
    return _decoys(loop, native, first, last, [(SEARCHED, ends)])


def _rmsd(loop: LoopCandidates, native: Structure, first: int, last: int, rows: Floats) -> Floats:
    """To the native's backbone, A."""
    own = [native.atom(k, name, native.steering_mask) for k in range(first, last + 1) for name in ("N", "CA", "C", "O")]
    there = native.xyz[np.array(own)].reshape(-1, 4, 3)
    return np.asarray(10 * np.sqrt(((loop.backbone(rows) - there) ** 2).sum(-1).mean((1, 2))))


def _decoys(
    loop: LoopCandidates, native: Structure, first: int, last: int, every: Sequence[tuple[int, Floats]]
) -> Decoys:
    kind = np.repeat([kind for kind, _ in every], [len(rows) for _, rows in every])
    rows = np.concatenate([rows for _, rows in every])
    rmsd = _rmsd(loop, native, first, last, rows)
    return Decoys(
        torch.as_tensor(10 * loop.backbone(rows), dtype=torch.float32), torch.as_tensor(rmsd, dtype=torch.float32),
        torch.as_tensor(kind), loop.around,
    )  # fmt: skip

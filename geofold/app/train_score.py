"""The potential of loops, trained on decoys that are made once and kept in the folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
import typer

from geofold.app.loop_candidates import LoopCandidates, rebuilt
from geofold.app.loop_search import Effort, searched
from geofold.app.train_models import make_once, watched
from geofold.backbone.handover import write_npz
from geofold.errors import BuildError, GeofoldError
from geofold.learn.chains import Chains, read_chains
from geofold.learn.loop_score import WEIGHTS, LoopScore, load_score
from geofold.learn.loop_training import shipped_loop_model
from geofold.learn.prior_training import shipped_prior
from geofold.learn.score_training import DISTURBED, DRAWN, LED, SEARCHED, Decoys, loaded, saved, train_score
from geofold.learn.training import data_hash
from geofold.molecule.loop_episodes import Episode, episodes
from geofold.molecule.packed_chains import PackedChains, packed_structure, read_packed
from geofold.molecule.packing import backbone_torsions
from geofold.molecule.structure import Floats, Structure

LENGTHS = (12, 8, 10, 12, 6, 14, 12, 9, 11, 7, 12, 4, 10, 16)
HELD_OUT, JUDGED = 10, 50
"""One loop of the validation split for so many of the training split, and at most."""
MOST = 400
"""Residues of a chain."""
DRAWS, KEPT, NEAREST = 320, 80, 24
"""Drawn, kept of those that close, and how many of them are the nearest."""
SIZES, EACH = (3.0, 8.0, 16.0, 32.0), 12
"""Degrees: standard deviations of the disturbed natives' torsions, and how many natives each disturbs."""
CLEAN, NEAR, ANY = 6, 4, 4
"""Drawn ones that are led: the cleanest, the nearest, and others."""
LED_LOOPS = 400
"""Training loops that have led ones, which take most of the time; those after them have none."""
FEWEST = 40
"""Candidates without which a loop is left out."""
WORKERS = 2
FIRST = "first"
"""Folder, within that of a training, of the potential whose searches the final one learns from."""
SHORTEST = 8
"""Residues of a loop that is searched for: shorter ones hold no wrong turns worth it."""
HARD = Effort(draws=384, crosses=192, led=16, generations=3, parents=8)
SURE = 4
"""Searches of the training split for one of the validation split, by which the confidence is told."""
REPEATED = 3
"""Times that a loop that was searched for is among the lessons, each time with what stands beside the search's ends."""


def train_score_model(data: str, packed: str, out: str, *, loops: int, steps: int, searches: int, seed: int) -> None:
    """Make what decoys are missing, train, search by what was learnt, and train anew on where that led, too."""
    digest = data_hash(data)
    counts = {"valid": min(max(loops // HELD_OUT, 1), JUDGED), "train": loops}
    every = {split: made(data, packed, Path(out) / "decoys", split, count, seed) for split, count in counts.items()}
    card = {
        "data_sha256": digest, "packed_sha256": data_hash(packed), "prior_sha256": shipped_prior()[1]["sha256"],
        "loop_sha256": shipped_loop_model()[1]["sha256"],
        "command": f"geofold train score --loops {loops} --steps {steps} --searches {searches} --seed {seed}",
    }  # fmt: skip

    def trained(folder: Path) -> float:
        return watched("score", str(folder), steps, lambda tell: train_score(
            every["train"], every["valid"], folder, steps=steps, seed=seed, told=tell, card=card))  # fmt: skip

    if searches:
        first = Path(out) / FIRST
        if not (first / WEIGHTS).exists():
            trained(first)
        for split, count in (("valid", max(searches // SURE, 1)), ("train", searches)):
            hard = searched_for(data, packed, Path(out) / "searched", split, count, first / WEIGHTS, seed)
            every[split] += hard * (REPEATED if split == "train" else 1)
    judged = trained(Path(out))
    typer.echo(f"{out}: validation {judged:.3f} nat a loop after {steps} batches, {len(every['train'])} loops")


def made(data: str, packed: str, folder: Path, split: str, count: int, seed: int) -> list[Decoys]:
    """Decoys of so many loops of a split, one file a loop, so that a killed run goes on at the next."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = list(episodes(*_data(data, packed), split, count, seed=seed + 29, lengths=LENGTHS, most=MOST))
    files = {episode: folder / f"{split}_{seed}_{episode.name}.npz" for episode in wanted}
    make_once(
        f"decoys ({split})", folder, {path: (data, packed, episode, seed) for episode, path in files.items()}, _make,
        WORKERS,
    )  # fmt: skip
    found = [dict(np.load(path)) for path in files.values()]
    # a loop that could not be made has an empty file, so that it is not tried again
    return [loaded(parts) for parts in found if parts and len(parts["rmsd"]) >= FEWEST]


def searched_for(
    data: str, packed: str, folder: Path, split: str, count: int, weights: Path, seed: int
) -> list[Decoys]:
    """What searches by a potential end with, for so many loops of a split that are long enough."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        one for one in episodes(*_data(data, packed), split, 2 * count, seed=seed + 29, lengths=LENGTHS, most=MOST)
        if one.length >= SHORTEST
    ][:count]  # fmt: skip
    files = {episode: folder / f"{split}_{seed}_{episode.name}.npz" for episode in wanted}
    make_once(
        f"searches ({split})", folder,
        {path: (data, packed, episode, str(weights), seed) for episode, path in files.items()}, _search, WORKERS,
    )  # fmt: skip
    found = [dict(np.load(path)) for path in files.values()]
    return [loaded(parts) for parts in found if parts and len(parts["rmsd"]) >= FEWEST]


def _search(path: Path, data: str, packed: str, episode: Episode, weights: str, seed: int) -> None:
    torch.set_num_threads(1)
    native = packed_structure(*_data(data, packed), episode.chain)
    try:
        parts = saved(ends_of(native, episode.first, episode.last, load_score(weights)[0], seed=seed))
    except GeofoldError:
        parts = {}
    write_npz(path, parts)


def ends_of(native: Structure, first: int, last: int, score: LoopScore, *, seed: int) -> Decoys:
    """Candidates of a loop of a native that a search by a potential led, and the native's torsions disturbed.

    Raises
    ------
    BuildError
        If nothing that is drawn closes.
    """
    loop = LoopCandidates.of(native, rebuilt(native, first, last), seed=seed)
    ends = searched(loop, HARD, seed=seed, score=score).rows
    near = _disturbed(loop, native, first, last, np.random.default_rng([seed, 4]))
    return _decoys(loop, native, first, last, ((SEARCHED, ends), (DISTURBED, near)))


def _make(path: Path, data: str, packed: str, episode: Episode, seed: int) -> None:
    torch.set_num_threads(1)
    native = packed_structure(*_data(data, packed), episode.chain)
    try:
        lead = episode.number < LED_LOOPS
        parts = saved(decoys_of(native, episode.first, episode.last, seed=1000 * seed + episode.number, lead=lead))
    except GeofoldError:
        parts = {}
    write_npz(path, parts)


@cache
def _data(data: str, packed: str) -> tuple[Chains, PackedChains]:
    return read_chains(data), read_packed(packed, data_hash(data))


def decoys_of(native: Structure, first: int, last: int, *, seed: int, lead: bool = True) -> Decoys:
    """Candidates of a loop of a native: drawn, the native's torsions disturbed, and led if some are to be.

    Raises
    ------
    BuildError
        If nothing that is drawn closes.
    """
    noise = np.random.default_rng(seed)
    loop = LoopCandidates.of(native, rebuilt(native, first, last), seed=seed)
    drawn = loop.drawn(DRAWS, noise)[1:]  # the first is that of the structure, and was drawn to be closed at all
    if not len(drawn):
        raise BuildError(f"none of {DRAWS} draws closes {loop.build.label}", "one that does", "leave the loop out")
    order = np.argsort(_rmsd(loop, native, first, last, drawn), kind="stable")
    kept = np.concatenate([order[:NEAREST], noise.permutation(order[NEAREST:])[: KEPT - NEAREST]])
    disturbed = _disturbed(loop, native, first, last, noise)
    led = drawn[:0]
    if lead:
        clean = np.argsort(loop.worth(drawn), kind="stable")[:CLEAN]
        others = noise.permutation(len(drawn))[:ANY]
        led, _ = loop.led(drawn[np.unique(np.concatenate([clean, order[:NEAR], others]))])
    return _decoys(loop, native, first, last, ((DRAWN, drawn[kept]), (DISTURBED, disturbed), (LED, led)))


def _disturbed(loop: LoopCandidates, native: Structure, first: int, last: int, noise: np.random.Generator) -> Floats:
    """Candidates that have the native's torsions but for noise of several sizes."""
    torsions = backbone_torsions(native)[first : last + 2, :2]
    sizes = np.radians(np.repeat(SIZES, EACH))[:, None, None]
    return loop.closed(torsions + sizes * noise.standard_normal((len(sizes), *torsions.shape)))


def _rmsd(loop: LoopCandidates, native: Structure, first: int, last: int, rows: Floats) -> Floats:
    """To the native's backbone, A."""
    own = [native.atom(k, name, native.steering_mask) for k in range(first, last + 1) for name in ("N", "CA", "C", "O")]
    there = native.xyz[np.array(own)].reshape(-1, 4, 3)
    return np.asarray(10 * np.sqrt(((loop.backbone(rows) - there) ** 2).sum(-1).mean((1, 2))))


def _decoys(
    loop: LoopCandidates, native: Structure, first: int, last: int, every: tuple[tuple[int, Floats], ...]
) -> Decoys:
    kind = np.repeat([kind for kind, _ in every], [len(rows) for _, rows in every])
    rows = np.concatenate([rows for _, rows in every])
    rmsd = _rmsd(loop, native, first, last, rows)
    return Decoys(
        torch.as_tensor(10 * loop.backbone(rows), dtype=torch.float32), torch.as_tensor(rmsd, dtype=torch.float32),
        torch.as_tensor(kind), loop.around,
    )  # fmt: skip

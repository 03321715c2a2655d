"""The potential of loops, trained on decoys that are made once and kept in the folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
import typer

from geofold.app.loop_candidates import LoopCandidates, rebuilt
from geofold.app.train_models import make_once, watched
from geofold.backbone.handover import write_npz
from geofold.errors import BuildError, GeofoldError
from geofold.learn.chains import Chains, read_chains
from geofold.learn.loop_training import shipped_loop_model
from geofold.learn.prior_training import shipped_prior
from geofold.learn.score_training import DISTURBED, DRAWN, LED, Decoys, loaded, saved, train_score
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


def train_score_model(data: str, packed: str, out: str, *, loops: int, steps: int, seed: int) -> None:
    """Make what decoys are missing, then train."""
    digest = data_hash(data)
    every = {
        split: made(data, packed, Path(out) / "decoys", split, count, seed)
        for split, count in (("valid", min(max(loops // HELD_OUT, 1), JUDGED)), ("train", loops))
    }
    card = {
        "data_sha256": digest, "packed_sha256": data_hash(packed), "prior_sha256": shipped_prior()[1]["sha256"],
        "loop_sha256": shipped_loop_model()[1]["sha256"],
        "command": f"geofold train score --loops {loops} --steps {steps} --seed {seed}",
    }  # fmt: skip
    judged = watched("score", out, steps, lambda tell: train_score(
        every["train"], every["valid"], out, steps=steps, seed=seed, told=tell, card=card))  # fmt: skip
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
    own = [native.atom(k, name, native.steering_mask) for k in range(first, last + 1) for name in ("N", "CA", "C", "O")]
    there = native.xyz[np.array(own)].reshape(-1, 4, 3)

    def rmsd(rows: Floats) -> Floats:
        return np.asarray(10 * np.sqrt(((loop.backbone(rows) - there) ** 2).sum(-1).mean((1, 2))))

    drawn = loop.drawn(DRAWS, noise)[1:]  # the first is that of the structure, and was drawn to be closed at all
    if not len(drawn):
        raise BuildError(f"none of {DRAWS} draws closes {loop.build.label}", "one that does", "leave the loop out")
    order = np.argsort(rmsd(drawn), kind="stable")
    kept = np.concatenate([order[:NEAREST], noise.permutation(order[NEAREST:])[: KEPT - NEAREST]])
    torsions = backbone_torsions(native)[first : last + 2, :2]
    sizes = np.radians(np.repeat(SIZES, EACH))[:, None, None]
    disturbed = loop.closed(torsions + sizes * noise.standard_normal((len(sizes), *torsions.shape)))
    led = drawn[:0]
    if lead:
        clean = np.argsort(loop.worth(drawn), kind="stable")[:CLEAN]
        others = noise.permutation(len(drawn))[:ANY]
        led, _ = loop.led(drawn[np.unique(np.concatenate([clean, order[:NEAR], others]))])
    every = (drawn[kept], disturbed, led)
    kind = np.repeat((DRAWN, DISTURBED, LED), [len(rows) for rows in every])
    rows = np.concatenate(every)
    return Decoys(
        torch.as_tensor(10 * loop.backbone(rows), dtype=torch.float32),
        torch.as_tensor(rmsd(rows), dtype=torch.float32), torch.as_tensor(kind), loop.around,
    )  # fmt: skip

"""Perplexity and recovery of a trained judge on chains that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geofold.learn.data.chains import DSSP, Chains
from geofold.learn.judge.crops import LONGEST, Crops, chosen, held_out, pack, segments
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.pretraining import Recovery, evaluate

IRREGULAR = "TSC"
"""DSSP states of residues in no helix, strand or bridge."""
TRIES = 50
"""Segments that are drawn in a chain for the most irregular one."""
QUARTER = 0.25


def recoveries(
    network: InverseFolding, chains: Chains, split: str, *, count: int | None = None, device: str = "cpu"
) -> dict[str, Recovery]:
    """Perplexity and recovery on a split, in three settings.

    Parameters
    ----------
    network : InverseFolding
        Trained.
    chains : Chains
        Chains of all splits.
    split : {'train', 'valid', 'test'}
        Chains to read.
    count : int or None
        At most so many chains, drawn at random; all by default.
    device : str
        Where the network is.

    Returns
    -------
    dict of str to Recovery
        'segments': segments of 4 to 16 residues that cover a quarter of each chain, all masked at once. 'segment': one
        segment a chain. 'loop': one segment a chain, mostly outside helices and strands; absent where the data do not
        tell the secondary structure.
    """
    size = len(chains.length) if count is None else count
    settings = {
        "segments": held_out(chains, split, count=size, coverage=QUARTER),
        "segment": held_out(chains, split, count=size, coverage=0.0),
    }
    found = {name: evaluate(network, crops, device) for name, crops in settings.items()}
    if chains.dssp is not None:
        found["loop"] = evaluate(network, irregular_loops(chains, split, size), device)
    return found


def irregular_loops(chains: Chains, split: str, count: int, seed: int = 0) -> Iterator[Crops]:
    """Crops of one chain each with one segment, mostly outside helices and strands; needs `chains.dssp`.

    The segment is the one with the largest share of irregular residues among several draws.
    """
    assert chains.dssp is not None
    irregular = np.isin(chains.dssp, [DSSP.index(state) for state in IRREGULAR])
    noise = np.random.default_rng([seed, 3])
    for row in chosen(chains, split, count, seed):
        own = slice(int(chains.start[row]), int(chains.start[row] + min(chains.length[row], LONGEST)))
        letters, size = chains.residue[own], own.stop - own.start
        drawn = [segments(size, 0.0, noise) for _ in range(TRIES)]
        best: NDArray[np.bool_] = max(drawn, key=lambda masked: float(irregular[own][masked].mean()))
        yield pack([(chains.xyz(int(row))[:size].astype(np.float32), letters, letters, best)])

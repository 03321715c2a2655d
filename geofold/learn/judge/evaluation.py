"""Perplexity and recovery of a trained judge on chains that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geofold.learn.data.chains import DSSP, Chains
from geofold.learn.judge.crops import MAX_RESIDUES, Crops, concatenate, draw_chains, draw_segments, evaluation_crops
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.pretraining import Recovery, evaluate

IRREGULAR = "TSC"
"""DSSP states of residues outside helices, strands and bridges."""
SEGMENT_DRAWS = 50
"""Number of segments drawn in a chain, of which the most irregular one is used."""
QUARTER = 0.25


def evaluate_settings(
    network: InverseFolding, chains: Chains, split: str, *, count: int | None = None, device: str = "cpu"
) -> dict[str, Recovery]:
    """Perplexity and recovery on a split, in three settings.

    Parameters
    ----------
    network : InverseFolding
        Trained network.
    chains : Chains
        Chains of all splits.
    split : {'train', 'valid', 'test'}
        Split to evaluate.
    count : int or None
        Largest number of chains, drawn at random; all by default.
    device : str
        Device of the network.

    Returns
    -------
    dict of str to Recovery
        'segments': segments of 4 to 16 residues that cover a quarter of each chain, all masked at once. 'segment': one
        segment a chain. 'loop': one segment a chain, mostly outside helices and strands; absent if the data lack the
        secondary structure.
    """
    size = len(chains.length) if count is None else count
    settings = {
        "segments": evaluation_crops(chains, split, count=size, coverage=QUARTER),
        "segment": evaluation_crops(chains, split, count=size, coverage=0.0),
    }
    results = {name: evaluate(network, crops, device) for name, crops in settings.items()}
    if chains.dssp is not None:
        results["loop"] = evaluate(network, irregular_crops(chains, split, size), device)
    return results


def irregular_crops(chains: Chains, split: str, count: int, seed: int = 0) -> Iterator[Crops]:
    """Crops of one chain each with one segment, mostly outside helices and strands; needs `chains.dssp`.

    The segment is the one with the largest share of irregular residues among several draws.

    Parameters
    ----------
    chains : Chains
        The data.
    split : str
        One of `SPLITS`.
    count : int
        Largest number of chains.
    seed : int
        Seed of chains and segments.
    """
    assert chains.dssp is not None
    irregular = np.isin(chains.dssp, [DSSP.index(state) for state in IRREGULAR])
    generator = np.random.default_rng([seed, 3])
    for row in draw_chains(chains, split, count, seed):
        residues = slice(int(chains.start[row]), int(chains.start[row] + min(chains.length[row], MAX_RESIDUES)))
        letters, size = chains.residue[residues], residues.stop - residues.start
        candidates = [draw_segments(size, 0.0, generator) for _ in range(SEGMENT_DRAWS)]
        best: NDArray[np.bool_] = max(candidates, key=lambda masked: float(irregular[residues][masked].mean()))
        yield concatenate([(chains.xyz(int(row))[:size].astype(np.float32), letters, letters, best)])

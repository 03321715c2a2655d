"""Choice of the loops on which the potential of loops is trained and validated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geofold.learn.data.chains import SPLITS, Chains
from geofold.molecule.datasets.loop_windows import IRREGULAR, draw_loop

LENGTHS = (12, 8, 10, 12, 6, 14, 12, 9, 11, 7, 12, 5, 10, 16, 13, 8)
"""Residues of one loop after the other, cyclically."""
CHAIN_LENGTHS = (60, 400)
"""Smallest and largest number of residues of a chain."""
TRIES = 20
"""Draws in one chain before the next chain is tried."""
ROUND_SHIFT = 4
"""Rounds after which the chains of a split begin to repeat: each round starts a quarter of the chains further on."""


class LoopSite(NamedTuple):
    """A loop of the data: round and number of its choice, chain, first residue and length."""

    round: int
    number: int
    chain: int
    first: int
    length: int

    @property
    def name(self) -> str:
        """File stem, unique among the sites of all rounds."""
        return "_".join(f"{part}" for part in self)

    @property
    def last(self) -> int:
        """Last residue."""
        return self.first + self.length - 1


def choose_sites(
    chains: Chains, split: str, count: int, round_: int, seed: int, irregular: float = IRREGULAR
) -> list[LoopSite]:
    """Choose loops of a split, one per chain; reproducible, and in other chains for each round while there are any.

    Parameters
    ----------
    chains : Chains
        The data.
    split : str
        One of `SPLITS`.
    count : int
        Number of loops; fewer are returned if the chains are used up.
    round_ : int
        Round of the training.
    seed : int
        Seed of the choice.
    irregular : float
        Minimum fraction of residues outside helices and strands.

    Returns
    -------
    list of LoopSite
    """
    index = SPLITS.index(split)
    noise = np.random.default_rng([seed, 29, index])
    is_candidate = (chains.split == index) & (chains.length >= CHAIN_LENGTHS[0]) & (chains.length <= CHAIN_LENGTHS[1])
    order = noise.permutation(np.flatnonzero(is_candidate))
    order = np.roll(order, -round_ * len(order) // ROUND_SHIFT)
    sites = list[LoopSite]()
    for chain in order.tolist():
        if len(sites) == count:
            break
        length = LENGTHS[len(sites) % len(LENGTHS)]
        chain_noise = np.random.default_rng([seed, round_, chain])
        draws = (draw_loop(chains, chain, chain_noise, (length, length), irregular) for _ in range(TRIES))
        place = next((draw for draw in draws if draw is not None), None)
        if place is not None:
            sites.append(LoopSite(round_, len(sites), chain, *place))
    return sites

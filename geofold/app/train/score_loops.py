"""Which loops of the data the potential of loops learns from, and which it is judged by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geofold.learn.data.chains import SPLITS, Chains
from geofold.molecule.datasets.loop_windows import IRREGULAR, draw_loop

LENGTHS = (12, 8, 10, 12, 6, 14, 12, 9, 11, 7, 12, 5, 10, 16, 13, 8)
SIZE = (60, 400)
"""Residues of a chain."""
TRIES = 20
ROUNDS_APART = 4
"""Part of the chains of a split after which those of the next round begin."""


class Lesson(NamedTuple):
    """A loop of the data: its round, number, chain, first residue and length."""

    round: int
    number: int
    chain: int
    first: int
    length: int

    @property
    def name(self) -> str:
        """Of its file."""
        return "_".join(f"{part}" for part in self)

    @property
    def last(self) -> int:
        """Last residue."""
        return self.first + self.length - 1


def lessons(
    chains: Chains, split: str, count: int, round_: int, seed: int, irregular: float = IRREGULAR
) -> list[Lesson]:  # fmt: skip
    """Loops of a split, of one chain each, the same ones every time; those of different rounds lie in other chains as
    long as there are any.

    Parameters
    ----------
    irregular
        Share of their residues that have to be in no helix or strand.
    """
    number = SPLITS.index(split)
    noise = np.random.default_rng([seed, 29, number])
    fitting = (chains.split == number) & (chains.length >= SIZE[0]) & (chains.length <= SIZE[1])
    own = noise.permutation(np.flatnonzero(fitting))
    own = np.roll(own, -round_ * len(own) // ROUNDS_APART)
    found = list[Lesson]()
    for chain in own.tolist():
        if len(found) == count:
            break
        length = LENGTHS[len(found) % len(LENGTHS)]
        here = np.random.default_rng([seed, round_, chain])
        places = (draw_loop(chains, chain, here, (length, length), irregular) for _ in range(TRIES))
        place = next((one for one in places if one is not None), None)
        if place is not None:
            found.append(Lesson(round_, len(found), chain, *place))
    return found

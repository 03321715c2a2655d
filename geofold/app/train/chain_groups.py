"""Groups of related chains, which go to the same split of a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD_LENGTH, MIN_COMMON = 5, 0.3
"""Chains that share this fraction of their words of five residues are related and go to the same split."""
SHARES = (0.90, 0.05, 0.05)
"""Fractions of the residues in the splits."""


def group_related(sequences: list[str], names: list[str]) -> NDArray[np.int32]:
    """Group (C,) of each chain: those of the same file, or with enough common words (of the shorter chain's)."""
    parent = list(range(len(sequences)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    words = [{s[k : k + WORD_LENGTH] for k in range(len(s) - WORD_LENGTH + 1)} for s in sequences]
    chains_with: dict[str, list[int]] = {}
    first: dict[str, int] = {}
    for c, chain_words in enumerate(words):
        common: dict[int, int] = {}
        for word in chain_words:
            for earlier in chains_with.get(word, ()):
                common[earlier] = common.get(earlier, 0) + 1
            chains_with.setdefault(word, []).append(c)
        for earlier, count in common.items():
            if count >= MIN_COMMON * min(len(chain_words), len(words[earlier])):
                parent[root(c)] = root(earlier)
        parent[root(c)] = root(first.setdefault(names[c], c))
    return np.unique([root(k) for k in range(len(sequences))], return_inverse=True)[1].astype(np.int32)


def assign_splits(group: NDArray[np.int32], length: NDArray[np.int32], seed: int) -> NDArray[np.uint8]:
    """Split (C,) of each chain: complete groups in random order, until each split has its share of the residues.

    No split is empty if there are enough groups: training needs one for validation.
    """
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    size = np.bincount(group, weights=length)[order]
    edge = np.cumsum(SHARES) * size.sum()
    index = np.minimum(np.searchsorted(edge, np.cumsum(size) - size / 2), len(SHARES) - 1)
    count = np.bincount(index, minlength=len(SHARES))
    needed = range(min(len(order), len(SHARES)))
    for empty in (k for k in needed if not count[k]):
        giver = max((int(count[k]), k) for k in range(len(SHARES)) if count[k] > 1 or k not in needed)[1]
        count[giver] -= 1
        count[empty] += 1
    split = np.zeros(len(order), dtype=np.uint8)
    split[order] = np.repeat(np.arange(len(SHARES)), count)
    return np.asarray(split[group])

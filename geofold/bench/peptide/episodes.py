"""Episodes of the peptide benchmark: random ones, ones whose constraint changes, and fragments of real structures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from geofold import resources
from geofold.molecule.ideal_peptide import LETTERS
from geofold.molecule.peptide.contacts import CLOSEST
from geofold.molecule.sidechains.rotamer_library import letter_of
from geofold.molecule.structure import Structure, read

TEST_SEED, TUNING_SEED = 7000, 6000
BOUND = 0.6
"""nm."""
TIGHT = 5.0
"""A: of a contact that is tightened."""
CHANGES = (16, 32, 64)
REAL = ("1yjp.cif", "5e5z.pdb", "5wkd.pdb", "1a1p.pdb", "2erl.pdb")
REAL_LENGTH, SHORTEST, REAL_STRIDE = 12, 6, 4


@dataclass(frozen=True)
class Episode:
    """A sequence and the contact that is wanted of it; where it changes, at which step, and to what."""

    name: str
    sequence: str
    contact: str
    change: int = 0
    later: tuple[str, ...] = ()


def episodes(count: int, *, seed: int = TEST_SEED) -> list[Episode]:
    """Random sequences of 8-12 residues over the twenty amino acids, random i, j with |i - j| >= 3."""
    noise = np.random.default_rng(seed)
    made = []
    for number in range(count):
        length = int(noise.integers(8, 13))
        sequence = "".join(noise.choice(list(LETTERS), length))
        i, j = _pair(noise, length)
        made.append(Episode(f"{number:03d}_{sequence}_{i}_{j}", sequence, _text(i, j)))
    return made


def changing(count: int, *, seed: int = TEST_SEED) -> Iterator[Episode]:
    """The same peptides, the contact moved to another pair (or tightened to 5 A) at step 16, 32 or 64."""
    noise = np.random.default_rng([seed, 1])
    for number, episode in enumerate(episodes(count, seed=seed)):
        i, j = (int(k) for k in episode.name.split("_")[2:])
        first = i, j
        change, tight = CHANGES[number % len(CHANGES)], noise.random() < 0.25
        second = first
        while second == first and not tight:
            second = _pair(noise, len(episode.sequence))
        later = _text(*first, TIGHT) if tight else _text(*second)
        yield replace(episode, name=f"{episode.name}_{change}", change=change, later=(later,))


def real_episodes() -> list[Episode]:
    """Stretches of at most twelve residues of shipped structures, each with contacts that it makes there."""
    made = []
    for file in REAL:
        structure = read(resources.find("structures", file))
        for first, last in _stretches(structure):
            for start in range(first, last - SHORTEST + 2, REAL_STRIDE):
                end = min(start + REAL_LENGTH - 1, last)
                found = _contacts(structure, start, end)
                if found:
                    i, j = max(found, key=lambda pair: pair[1] - pair[0])
                    sequence = "".join(letter_of(structure.residues[k].resname) for k in range(start, end + 1))
                    name = f"{file.split('.')[0]}_{structure.residues[start].label}_{sequence}_{i}_{j}"
                    made.append(Episode(name, sequence, _text(i, j)))
    return sorted({(e.sequence, e.contact): e for e in made}.values(), key=lambda e: e.name)


def _pair(noise: Generator, length: int) -> tuple[int, int]:
    while True:
        i, j = sorted(int(k) for k in noise.integers(1, length + 1, 2))
        if j - i >= CLOSEST:
            return i, j


def _text(i: int, j: int, bound: float = 6.0) -> str:
    return f"A:{i}-A:{j}<{bound}"


def _stretches(structure: Structure) -> Iterator[tuple[int, int]]:
    """First and last residue of unbroken stretches of the twenty amino acids."""
    first = None
    size = len(structure.residues)
    for k in range(size):
        known = letter_of(structure.residues[k].resname) in LETTERS and structure.is_amino_acid(k)
        joined = first is not None and structure.bonded(k - 1, k)
        if first is not None and not (known and joined):
            yield first, k - 1
            first = None
        if known and first is None:
            first = k
    if first is not None:
        yield first, size - 1


def _contacts(structure: Structure, start: int, end: int) -> list[tuple[int, int]]:
    """Pairs, counted from one, whose CB (CA for glycine) lie within the bound."""
    place = []
    for k in range(start, end + 1):
        name = "CA" if structure.residues[k].resname == "GLY" else "CB"
        atom = structure.atom(k, name, structure.steering_mask)
        place.append(structure.xyz[atom] if atom is not None else np.full(3, np.nan))
    apart = np.linalg.norm(np.array(place)[:, None] - np.array(place)[None], axis=-1)
    return [(i + 1, j + 1) for i in range(len(place)) for j in range(i + CLOSEST, len(place)) if apart[i, j] <= BOUND]

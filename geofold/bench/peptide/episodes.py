"""Episodes of the peptide benchmark: random peptides, contacts that change, and fragments of real structures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from geofold import resources
from geofold.molecule.io.read import read
from geofold.molecule.peptide.contacts import MIN_CONTACT_SEPARATION
from geofold.molecule.residues import AMINO_ACID_LETTERS, one_letter_code
from geofold.molecule.structure import Structure

TEST_SEED, TUNING_SEED = 7000, 6000
CONTACT_DISTANCE = 0.6
"""Distance (nm) below which a pair is a contact in a real structure."""
TIGHT_BOUND = 5.0
"""Bound (A) of a contact that is tightened."""
CHANGE_STEPS = (16, 32, 64)
REAL_FILES = ("1yjp.cif", "5e5z.pdb", "5wkd.pdb", "1a1p.pdb", "2erl.pdb")
REAL_LENGTH, MIN_REAL_LENGTH, REAL_STRIDE = 12, 6, 4


@dataclass(frozen=True)
class Episode:
    """A sequence and its contact; `later_contacts` replace the contact at step `change`."""

    name: str
    sequence: str
    contact: str
    change: int = 0
    later_contacts: tuple[str, ...] = ()


def episodes(count: int, *, seed: int = TEST_SEED) -> list[Episode]:
    """Draw sequences of 8-12 residues over the twenty amino acids, and pairs i, j with |i - j| >= 3."""
    rng = np.random.default_rng(seed)
    result = []
    for number in range(count):
        length = int(rng.integers(8, 13))
        sequence = "".join(rng.choice(list(AMINO_ACID_LETTERS), length))
        i, j = _draw_pair(rng, length)
        result.append(Episode(f"{number:03d}_{sequence}_{i}_{j}", sequence, _contact_text(i, j)))
    return result


def changing_episodes(count: int, *, seed: int = TEST_SEED) -> Iterator[Episode]:
    """Yield the same peptides with a contact that moves to another pair (or tightens to 5 A) at step 16, 32 or 64."""
    rng = np.random.default_rng([seed, 1])
    for number, episode in enumerate(episodes(count, seed=seed)):
        i, j = (int(k) for k in episode.name.split("_")[2:])
        first = i, j
        change, is_tightened = CHANGE_STEPS[number % len(CHANGE_STEPS)], rng.random() < 0.25
        second = first
        while second == first and not is_tightened:
            second = _draw_pair(rng, len(episode.sequence))
        later_contacts = _contact_text(*first, TIGHT_BOUND) if is_tightened else _contact_text(*second)
        yield replace(episode, name=f"{episode.name}_{change}", change=change, later_contacts=(later_contacts,))


def real_episodes() -> list[Episode]:
    """Segments of at most twelve residues of shipped structures, each with a contact that the structure has."""
    result = []
    for file in REAL_FILES:
        structure = read(resources.find("structures", file))
        for first, last in _find_segments(structure):
            for start in range(first, last - MIN_REAL_LENGTH + 2, REAL_STRIDE):
                end = min(start + REAL_LENGTH - 1, last)
                contacts = _find_contacts(structure, start, end)
                if contacts:
                    i, j = max(contacts, key=lambda pair: pair[1] - pair[0])
                    sequence = "".join(one_letter_code(structure.residues[k].resname) for k in range(start, end + 1))
                    name = f"{file.split('.')[0]}_{structure.residues[start].label}_{sequence}_{i}_{j}"
                    result.append(Episode(name, sequence, _contact_text(i, j)))
    return sorted({(e.sequence, e.contact): e for e in result}.values(), key=lambda e: e.name)


def _draw_pair(rng: Generator, length: int) -> tuple[int, int]:
    while True:
        i, j = sorted(int(k) for k in rng.integers(1, length + 1, 2))
        if j - i >= MIN_CONTACT_SEPARATION:
            return i, j


def _contact_text(i: int, j: int, bound: float = 6.0) -> str:
    return f"A:{i}-A:{j}<{bound}"


def _find_segments(structure: Structure) -> Iterator[tuple[int, int]]:
    """Yield first and last residue of unbroken segments of standard amino acids."""
    first = None
    size = len(structure.residues)
    for k in range(size):
        is_standard = one_letter_code(structure.residues[k].resname) in AMINO_ACID_LETTERS and structure.is_amino_acid(
            k
        )
        is_bonded = first is not None and structure.bonded(k - 1, k)
        if first is not None and not (is_standard and is_bonded):
            yield first, k - 1
            first = None
        if is_standard and first is None:
            first = k
    if first is not None:
        yield first, size - 1


def _find_contacts(structure: Structure, start: int, end: int) -> list[tuple[int, int]]:
    """Pairs (numbered from 1) with CB atoms (CA for glycine) within `CONTACT_DISTANCE`."""
    positions = []
    for k in range(start, end + 1):
        name = "CA" if structure.residues[k].resname == "GLY" else "CB"
        atom = structure.atom(k, name, structure.conformer_mask)
        positions.append(structure.xyz[atom] if atom is not None else np.full(3, np.nan))
    distances = np.linalg.norm(np.array(positions)[:, None] - np.array(positions)[None], axis=-1)
    return [
        (i + 1, j + 1)
        for i in range(len(positions))
        for j in range(i + MIN_CONTACT_SEPARATION, len(positions))
        if distances[i, j] <= CONTACT_DISTANCE
    ]

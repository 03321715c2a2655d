"""What the mutations of lines share: which lines hold atoms, and which of them are chosen."""

from __future__ import annotations

from random import Random

Lines = list[str]
FIELDS = ((6, 11), (22, 26), (30, 38), (38, 46), (46, 54), (54, 60), (60, 66))
"""Columns of the numbers of an ATOM record: serial, residue, x, y, z, occupancy, B-factor."""


def is_atom(line: str) -> bool:
    """Whether a line holds an atom, in either format."""
    return line.startswith(("ATOM", "HETATM"))


def some(lines: Lines, noise: Random, most: int = 8) -> list[int]:
    """Numbers of a few lines, atoms more often than others."""
    atoms = [k for k, line in enumerate(lines) if is_atom(line)]
    pool = atoms if atoms and noise.random() < 0.8 else range(len(lines))
    return sorted({noise.choice(pool) for _ in range(noise.randint(1, most))}) if len(lines) else []


def atoms_of(lines: Lines, noise: Random) -> list[int]:
    """Numbers of the lines of some atoms: a few, those of a stretch, or all."""
    atoms = [k for k, line in enumerate(lines) if is_atom(line)]
    if not atoms or noise.random() < 0.1:
        return atoms
    first = noise.randrange(len(atoms))
    stretch = atoms[first : first + noise.choice((1, 1, 2, 5, 9, 20))]
    return stretch if noise.random() < 0.5 else some(lines, noise)

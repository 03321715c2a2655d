"""Damaged structures, each made from a seed and a shipped file. Imports nothing of geofold.

A case is a piece of a file or the whole of it, with one to four mutations of its lines or values, and at last, in some
cases, one of its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import damage
import mild
from bytes_of import BYTES
from hostile import CONTACTS, RANGES
from lines import Lines, is_atom

STRUCTURES = Path(__file__).resolve().parents[2] / "structures"
LARGEST = 130_000
"""Bytes of a file that cases are made from as a whole."""
CIF_SHARE, WHOLE, MILD, ENERGY, BROKEN = 0.25, 0.1, 0.6, 0.06, 0.2
"""Shares of cases: mmCIF beyond what the folder has, whole files, those that can mostly be read still, those with the
energy, and those with other bytes."""
SHORTEST, LONGEST = 8, 160
"""Atoms of a piece."""
Mutation = Callable[[Lines, Random], Lines]
EVERY: tuple[Mutation, ...] = (
    damage.lose_lines, damage.double_lines, damage.swap_lines, damage.cut_columns, damage.shift_columns,
    damage.put_records, damage.repeat_record, damage.hostile_numbers, damage.one_number, damage.quotes, damage.models,
)  # fmt: skip
PDB = EVERY + 2 * (mild.places,) + 3 * (damage.fields, damage.labels)
CIF = EVERY + 3 * (damage.tokens, damage.cif_numbers) + 2 * (damage.tags,) + (damage.blocks,)
MILD_PDB: tuple[Mutation, ...] = (
    *2 * (mild.lose_atoms, mild.lone, mild.shake, mild.bonds, mild.interior), *4 * (mild.rename,), mild.renumber,
    mild.move_atoms, mild.places, mild.coincide, damage.models, damage.put_records,
)  # fmt: skip
MILD_CIF: tuple[Mutation, ...] = (
    *2 * (mild.lose_atoms, mild.lone), *6 * (mild.revalue,), damage.double_lines, damage.tags,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One case: content of a file by a name, what is selected in it, and whether its energy is asked for."""

    seed: int
    source: str
    name: str
    content: bytes
    ranges: tuple[str, ...]
    contact: str
    altloc: str | None
    energy: bool
    steps: tuple[str, ...]


def make_case(seed: int) -> Case:
    """The case of a seed."""
    noise = Random(seed)
    names = sorted(path.name for path in STRUCTURES.glob("*.[pc][di][bf]"))
    source = noise.choice([name for name in names if name.endswith("cif")] if noise.random() < CIF_SHARE else names)
    lines = (STRUCTURES / source).read_text(encoding="latin-1").splitlines()
    size = sum(map(len, lines))
    if size > LARGEST or noise.random() > WHOLE:
        lines = piece(lines, noise)
    cif = source.endswith("cif")
    mutations = (MILD_CIF if cif else MILD_PDB) if noise.random() < MILD else (CIF if cif else PDB)
    chosen = [noise.choice(mutations) for _ in range(noise.randint(1, 4))]
    for mutate in chosen:
        lines = mutate(lines, noise) or ["END"]
    content = "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"
    last = noise.choice(BYTES) if noise.random() < BROKEN else None
    content = content if last is None else last(content, noise)
    ranges = span(lines, noise), noise.choice(RANGES)
    return Case(
        seed, source, "case.cif" if cif else "case.pdb", content, ranges, noise.choice(CONTACTS),
        noise.choice((None, None, "A", "B", "?")), noise.random() < ENERGY,
        tuple(part.__name__ for part in (*chosen, last) if part is not None),
    )  # fmt: skip


def piece(lines: Lines, noise: Random) -> Lines:
    """A stretch of atoms with some of what stands before and behind the atoms."""
    atoms = [k for k, line in enumerate(lines) if is_atom(line)]
    count = min(noise.randint(SHORTEST, LONGEST), len(atoms))
    first = noise.randrange(len(atoms) - count + 1)
    own = atoms[first : first + count]
    head, tail = lines[: atoms[0]], lines[atoms[-1] + 1 :]
    if not lines[0].startswith("data_") and noise.random() < 0.5:
        head = []
    return head + [lines[k] for k in own] + tail


def span(lines: Lines, noise: Random) -> str:
    """A range of residues that the lines may hold."""
    chain, low = noise.choice(("A", "A", "A", "B", "", "I")), noise.randint(-3, 130)
    return f"{chain}:{low}-{low + noise.randint(0, 12)}" + noise.choice(("", "", "", "", "=GAGAG", "A", "-"))

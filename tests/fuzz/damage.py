"""Mutations that break lines, columns and values of a file."""

from __future__ import annotations

import re
from random import Random

from hostile import NAMES, NUMBERS, RECORDS
from lines import FIELDS, Lines, is_atom, some

LABELS = ((12, 16), (16, 17), (17, 20), (21, 22), (26, 27), (72, 76), (76, 78), (78, 80))
"""Columns of the names of an ATOM record."""
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+\.?\d*(?![\w.])")


def lose_lines(lines: Lines, noise: Random) -> Lines:
    """Some lines are lost, single ones or a block."""
    if noise.random() < 0.5:
        first = noise.randrange(len(lines))
        return lines[:first] + lines[first + noise.randint(1, 30) :]
    gone = set(some(lines, noise))
    return [line for k, line in enumerate(lines) if k not in gone]


def double_lines(lines: Lines, noise: Random) -> Lines:
    """Some lines stand twice, or all of the atoms."""
    if noise.random() < 0.2:
        return lines + [line for line in lines if is_atom(line)]
    twice = set(some(lines, noise))
    return [line for k, line in enumerate(lines) for _ in range(2 if k in twice else 1)]


def swap_lines(lines: Lines, noise: Random) -> Lines:
    """Some lines change places, or a block is shuffled."""
    made = list(lines)
    if noise.random() < 0.2:
        noise.shuffle(made)
    for k in some(lines, noise):
        other = noise.randrange(len(made))
        made[k], made[other] = made[other], made[k]
    return made


def cut_columns(lines: Lines, noise: Random) -> Lines:
    """Some lines end early, or all of them at one column."""
    column = noise.randint(0, 80)
    chosen = range(len(lines)) if noise.random() < 0.2 else some(lines, noise)
    made = list(lines)
    for k in chosen:
        made[k] = made[k][:column]
    return made


def shift_columns(lines: Lines, noise: Random) -> Lines:
    """A character is put in or taken out of some lines."""
    made = list(lines)
    for k in some(lines, noise):
        column = noise.randint(0, max(len(made[k]) - 1, 0))
        put = noise.choice((" ", "\t", "0", "-", ".", "é", "\u3000", "\x1b", "")) * noise.choice((1, 1, 1, 40))
        made[k] = made[k][:column] + put + made[k][column + (not put) :]
    return made


def put_records(lines: Lines, noise: Random) -> Lines:
    """Lines that say something of their own."""
    made = list(lines)
    for _ in range(noise.randint(1, 4)):
        made.insert(noise.randint(0, len(made)), noise.choice(RECORDS))
    return made


def repeat_record(lines: Lines, noise: Random) -> Lines:
    """One short line many times over."""
    made = list(lines)
    where = noise.randint(0, len(made))
    made[where:where] = [noise.choice(RECORDS)[:80]] * noise.choice((50, 3000))
    return made


def hostile_numbers(lines: Lines, noise: Random) -> Lines:
    """Numbers replaced wherever they stand."""
    made = list(lines)
    for k in some(lines, noise):
        found = list(NUMBER.finditer(made[k]))
        if found:
            one = noise.choice(found)
            made[k] = made[k][: one.start()] + noise.choice(NUMBERS) + made[k][one.end() :]
    return made


def one_number(lines: Lines, noise: Random) -> Lines:
    """One value in the same column of all atoms."""
    number, made = noise.choice(NUMBERS), list(lines)
    atoms = [k for k, line in enumerate(lines) if is_atom(line)]
    which = noise.randrange(12)
    for k in atoms:
        found = list(NUMBER.finditer(made[k]))
        if which < len(found):
            made[k] = made[k][: found[which].start()] + number + made[k][found[which].end() :]
    return made


def quotes(lines: Lines, noise: Random) -> Lines:
    """Quotes that are not closed, one or thousands."""
    made = list(lines)
    for k in some(lines, noise, 3):
        column = noise.randint(0, len(made[k]))
        put = noise.choice(("'", '"', "\n;", " '", "' ", "'a' ")) * noise.choice((1, 1, 1, 3000))
        made[k] = made[k][:column] + put + made[k][column:]
    return "\n".join(made).split("\n")


def models(lines: Lines, noise: Random) -> Lines:
    """Models that are not balanced, or the atoms as several of them."""
    if noise.random() < 0.5:
        atoms = [line for line in lines if is_atom(line)]
        other = [line for line in atoms if noise.random() < noise.choice((1.0, 0.9))]
        return ["MODEL        1", *atoms, "ENDMDL", "MODEL        2", *other, "ENDMDL", "END"]
    made = list(lines)
    for _ in range(noise.randint(1, 5)):
        record = noise.choice(("MODEL        1", "ENDMDL", "MODEL", "MODEL     x", "END"))
        made.insert(noise.randint(0, len(made)), record)
    return made


def fields(lines: Lines, noise: Random) -> Lines:
    """Numbers in the columns of PDB, cut to their width."""
    made = list(lines)
    start, end = noise.choice(FIELDS)
    number = noise.choice(NUMBERS)
    atoms = [k for k, line in enumerate(made) if is_atom(line)]
    for k in atoms if noise.random() < 0.2 else some(lines, noise):
        made[k] = made[k][:start] + number[: end - start].rjust(end - start) + made[k][end:]
    return made


def labels(lines: Lines, noise: Random) -> Lines:
    """Names of atoms, residues, chains, elements and the like in the columns of PDB."""
    made = list(lines)
    start, end = noise.choice(LABELS)
    name = noise.choice(NAMES)
    atoms = [k for k, line in enumerate(made) if is_atom(line)]
    for k in atoms if noise.random() < 0.3 else some(lines, noise):
        made[k] = made[k][:start] + name[: end - start].center(end - start) + made[k][end:]
    return made


def tokens(lines: Lines, noise: Random) -> Lines:
    """Values of mmCIF rows replaced, lost or doubled."""
    made = list(lines)
    column = noise.randrange(25)
    value = noise.choice(NUMBERS + NAMES)
    atoms = [k for k, line in enumerate(made) if is_atom(line)]
    for k in atoms if noise.random() < 0.3 else some(lines, noise):
        parts = made[k].split()
        if len(parts) > column:
            parts[column : column + 1] = noise.choice(([value], [value], [], [parts[column]] * 2))
            made[k] = " ".join(parts)
    return made


def cif_numbers(lines: Lines, noise: Random) -> Lines:
    """Coordinates, occupancies and B-factors of mmCIF rows replaced: the n-th real number of each."""
    made, which, number = list(lines), noise.randrange(5), noise.choice(NUMBERS)
    atoms = [k for k, line in enumerate(made) if is_atom(line)]
    for k in atoms if noise.random() < 0.3 else some(lines, noise):
        parts = made[k].split()
        real = [place for place, part in enumerate(parts) if "." in part[1:-1]]
        if which < len(real):
            parts[real[which]] = number
            made[k] = " ".join(parts)
    return made


def tags(lines: Lines, noise: Random) -> Lines:
    """Names of mmCIF items lost, doubled, renamed or out of order; loops without their word."""
    made = list(lines)
    where = [k for k, line in enumerate(made) if line.startswith(("_", "loop_", "data_", "#"))]
    for _ in range(noise.randint(1, 4)):
        if not where:
            break
        k, other = noise.choice(where), noise.choice(where)
        made[k] = noise.choice((
            "", made[other], made[k] + "\n" + made[k], made[k].upper(), made[k].replace("_", ".", 1), made[k] + " ?",
            made[k] + "\nloop_", "loop_", "_atom_site.Cartn_x", "_atom_site.pdbx_PDB_model_num",
        ))  # fmt: skip
    return "\n".join(made).split("\n")


def blocks(lines: Lines, noise: Random) -> Lines:
    """The whole file as a second data block, or as a text field."""
    if noise.random() < 0.3:
        return ["data_x", "_a.text", ";", *lines, noise.choice((";", ""))]
    return lines + ["data_second"] * noise.randint(0, 1) + lines[noise.randrange(len(lines)) :]

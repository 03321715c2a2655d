"""Mutations after which a file can mostly be read still: it says something else, or says it oddly."""

from __future__ import annotations

from random import Random

from hostile import ATOMS, ELEMENTS, RESIDUES, VALUES
from lines import FIELDS, Lines, atoms_of, is_atom, some


def places(lines: Lines, noise: Random) -> Lines:
    """Coordinates stretched, moved, or all the same."""
    how = noise.choice(("stretch", "move", "same", "mirror"))
    factor = noise.choice((0.0, 1e-3, 0.5, 1.3, 100.0, 1e4))
    made = list(lines)
    for k in range(len(made)) if noise.random() < 0.6 else some(lines, noise):
        if not is_atom(made[k]):
            continue
        try:
            xyz = [float(made[k][start:end]) for start, end in FIELDS[2:5]]
        except ValueError:
            continue
        xyz = {
            "stretch": [factor * x for x in xyz], "move": [x + factor for x in xyz], "same": [factor] * 3,
            "mirror": [-xyz[0], *xyz[1:]],
        }[how]  # fmt: skip
        made[k] = made[k][:30] + "".join(f"{x:8.3f}" for x in xyz) + made[k][54:]
    return made


def lose_atoms(lines: Lines, noise: Random) -> Lines:
    """Atoms are not there: some, or a stretch of the chain."""
    gone = set(atoms_of(lines, noise))
    return [line for k, line in enumerate(lines) if k not in gone or not is_atom(line)]


def move_atoms(lines: Lines, noise: Random) -> Lines:
    """Some atoms stand elsewhere in the file, or come twice under another conformer."""
    chosen = [k for k in atoms_of(lines, noise) if is_atom(lines[k])]
    part, where = [lines[k] for k in chosen], noise.randint(0, len(lines))
    if noise.random() < 0.5:
        return lines[:where] + [line[:16] + noise.choice("AB ") + line[17:] for line in part] + lines[where:]
    gone = set(chosen)
    return (
        [line for k, line in enumerate(lines[:where]) if k not in gone]
        + part
        + [line for k, line in enumerate(lines[where:], where) if k not in gone]
    )


def rename(lines: Lines, noise: Random) -> Lines:
    """Other names of atoms, residues, chains, conformers, insertion codes or elements in the columns of PDB."""
    (start, end), names = noise.choice((
        ((12, 16), ATOMS), ((17, 20), RESIDUES), ((21, 22), ("A", "B", " ", "1")), ((16, 17), ("A", "B", " ")),
        ((26, 27), ("A", "Z", " ", "1")), ((76, 78), ELEMENTS), ((0, 6), ("ATOM  ", "HETATM")),
    ))  # fmt: skip
    made, name = list(lines), noise.choice(names)
    for k in atoms_of(lines, noise):
        name = noise.choice((name, name, noise.choice(names)))
        made[k] = made[k][:start] + name.center(end - start)[: end - start] + made[k][end:]
    return made


def renumber(lines: Lines, noise: Random) -> Lines:
    """Numbers that a file may have, in the columns of PDB: of atoms, residues, occupancies, B-factors."""
    start, end = noise.choice((*FIELDS[:2], FIELDS[1], *FIELDS[5:]))
    made, value = list(lines), noise.choice(VALUES)
    for k in atoms_of(lines, noise):
        made[k] = made[k][:start] + value.rjust(end - start)[: end - start] + made[k][end:]
    return made


def shake(lines: Lines, noise: Random) -> Lines:
    """Atoms of PDB a little or far off their places."""
    made, size = list(lines), noise.choice((0.01, 0.1, 0.5, 2.0, 10.0, 500.0))
    for k in atoms_of(lines, noise):
        for start, end in FIELDS[2:5]:
            try:
                value = float(made[k][start:end]) + noise.gauss(0, size)
            except ValueError:
                continue
            made[k] = made[k][:start] + f"{value:8.3f}"[:8] + made[k][end:]
    return made


def revalue(lines: Lines, noise: Random) -> Lines:
    """Other values in a column of mmCIF rows: names, numbers, unknowns, coordinates."""
    made, column = list(lines), noise.randrange(21)
    value = noise.choice((*VALUES[:-1], *ATOMS[:-3], *RESIDUES[:-2], *ELEMENTS[:-3], "?", "."))
    size = noise.choice((0.0, 0.1, 3.0, 500.0))
    for k in atoms_of(lines, noise):
        parts = made[k].split()
        if column < len(parts):
            try:
                number = f"{float(parts[column]) + noise.gauss(0, size):.3f}"
            except ValueError:
                number = value
            parts[column] = number if size and "." in parts[column] else value
            made[k] = " ".join(parts)
    return made


def bonds(lines: Lines, noise: Random) -> Lines:
    """Bonds of PDB between any two atoms, by CONECT, LINK or SSBOND."""
    atoms = [line for line in lines if is_atom(line)]
    made = list(lines)
    for _ in range(noise.choice((1, 1, 2, 6)) if atoms else 0):
        one, two = (noise.choice(atoms).ljust(80) for _ in range(2))
        record = noise.choice((
            f"CONECT{one[6:11]}{two[6:11]}",
            f"SSBOND   1 {one[17:20]} {one[21:27]}    {two[17:20]} {two[21:27]}",
            f"LINK        {one[12:27]}               {two[12:27]}     1555   1555  1.50",
        ))  # fmt: skip
        made.insert(0 if record[0] in "SL" else len(made), record)
    return made


def lone(lines: Lines, noise: Random) -> Lines:
    """A few atoms of each residue are left: one, the backbone, heavy atoms, hydrogens."""
    kept = noise.choice((("N",), ("CA",), ("N", "CA", "C"), ("N", "CA", "C", "O"), ("C", "O"), ("CB", "CA", "N", "C")))
    how = noise.choice(("names", "heavy", "every other"))
    chosen = set(atoms_of(lines, noise))

    def stays(k: int) -> bool:
        parts = lines[k].split()
        if k not in chosen or len(parts) < 4:
            return True
        if how == "names":
            return parts[2] in kept or parts[3] in kept
        hydrogen = any(part.startswith(("H", "1H", "2H")) for part in parts[2:4])
        return k % 2 == 0 if how == "every other" else not hydrogen

    return [line for k, line in enumerate(lines) if stays(k)]


def coincide(lines: Lines, noise: Random) -> Lines:
    """Some atoms of PDB stand where another one stands."""
    atoms = [k for k, line in enumerate(lines) if is_atom(line)]
    made = list(lines)
    for k in atoms_of(lines, noise):
        other = lines[noise.choice(atoms)]
        made[k] = made[k][:30] + other[30:54] + made[k][54:]
    return made


def interior(lines: Lines, noise: Random) -> Lines:
    """Residues of PDB with other numbers from one place on, or in another chain, with or without a TER before it."""
    made, atoms = list(lines), [k for k, line in enumerate(lines) if is_atom(line)]
    if not atoms:
        return lines
    first = noise.choice(atoms)
    step, chain = noise.choice((0, 1, 3, 40, -1, -10, 5000)), noise.choice(("", "", "B", " "))
    for k in (k for k in atoms if k >= first):
        try:
            number = f"{int(made[k][22:26]) + step:4d}"[-4:]
        except ValueError:
            continue
        made[k] = made[k][:21] + (chain or made[k][21:22]) + number + made[k][26:]
    return made[:first] + ["TER"] * noise.randint(0, 1) + made[first:]

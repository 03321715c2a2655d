"""Columns of a table of jobs: valid cells and their meaning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geofold.modelling.options import LIMITS, PREDICTORS, STARTS

SEPARATOR = ";"
"""Separator of several ranges or contacts in a cell."""
WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class Column:
    """Type of the cells of a column.

    Attributes
    ----------
    read : callable
        Converts a cell's text to its value; raises ValueError for invalid text.
    expected : str
        Valid text, for the error message.
    help : str
        Purpose of the column, for the help text.
    """

    read: Callable[[str], Any]
    expected: str
    help: str


def several(text: str) -> list[str]:
    """Split a cell at `SEPARATOR`."""
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def _file(text: str) -> str:
    if text == "-" or "\0" in text:
        raise ValueError
    return text


def _switch(text: str) -> bool:
    if text.lower() not in WORDS:
        raise ValueError
    return WORDS[text.lower()]


def _within(name: str, kind: type[int] | type[float], help: str) -> Column:
    low, high = LIMITS[name]

    def read(text: str) -> float:
        value = kind(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError
        return value

    return Column(read, f"a {'whole ' if kind is int else ''}number from {low} to {high:g}", help)


def _one_of(words: tuple[str, ...], help: str) -> Column:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return Column(read, " or ".join(words), help)


def _path(help: str) -> Column:
    return Column(_file, "a file's name", help)


def _text(expected: str, help: str) -> Column:
    return Column(str, expected, help)


_YES = "yes or no"
_OUTPUTS = {
    "trajectory": _path("also write the trajectory: .pdb, .dcd or .xtc"),
    "report": _path("also write measurements before and after, as JSON"),
    "view": _path("also write a viewer page, as HTML"),
    "offline": Column(_switch, _YES, "yes: embed 3Dmol.js in the page"),
}
_RUN = {
    "seed": _within("seed", int, "0 if empty"),
    "altloc": _text("a letter", "conformer that moves if the backbone has several"),
    "energy": Column(_switch, _YES, "no: skip refinement and audit by the force field (amber14 + OBC2)"),
    "predictor": _one_of(PREDICTORS, "trained or hold-still"),
}
COLUMNS: dict[str, dict[str, Column]] = {
    "repair": {
        "input": _path("PDB, mmCIF or BinaryCIF, plain or gzip"),
        "output": _path("output file of the structure"),
        "loop": Column(several, "ranges such as A:45-56", "residues to repair; separate several by ;"),
        "build": Column(several, "ranges such as A:45-56=SEQUENCE", "missing residues to build; separate several by ;"),
        "auto": Column(_switch, _YES, "yes: find the loops to repair"),
        **_OUTPUTS, **_RUN,
        "streams": _within("streams", int, "streams in one batch"),
        "rounds": _within("rounds", int, "maximum rounds of streaming and selection"),
        "models": _within("models", int, "models of one loop, best first"),
        "budget": _within("budget", float, "time limit in seconds, in place of rounds; results then depend on speed"),
        "repack_shell": _within("repack_shell", float, "also repack side chains whose CB is this near to the loop (A)"),
        "allow_cis_pro": Column(_switch, _YES, "yes: loops to build may have one of their prolines cis"),
    },
    "constrain": {
        "input": _path("PDB, mmCIF or BinaryCIF, plain or gzip"),
        "sequence": _text("one-letter codes", "start from a peptide of this sequence instead"),
        "output": _path("output file of the structure"),
        "contact": Column(several, "contacts such as A:3-A:10<6.0", "A:3-A:10<6.0; separate several by ;"),
        "start": _one_of(STARTS, "extended or prior: start conformation of a sequence"),
        **_OUTPUTS, **_RUN,
        "steps": _within("steps", int, "maximum streaming steps"),
    },
}  # fmt: skip
NEEDED = {"repair": ("input", "output"), "constrain": ("output", "contact")}
"""Columns that every row has to fill."""
WRITTEN = ("output", "trajectory", "report", "view")
EITHER = {"repair": ("loop", "build", "auto"), "constrain": ("input", "sequence")}
"""Columns of which every row has to fill exactly one."""


def described(command: str) -> str:
    """Describe the columns of a command as lines of a help text."""
    width = max(map(len, COLUMNS[command])) + 2
    return "\n".join(f"  {name:<{width}}{column.help}" for name, column in COLUMNS[command].items())

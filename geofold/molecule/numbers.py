"""Where text becomes numbers: what counts as a number in a file or an argument, and within which limits.

`int` and `float` accept more than the file formats do (underscores, digits of any script, ``nan``, ``1e400``), and
numbers larger than an array can hold. Readers of files and arguments call the functions here instead. They return
None for what is no number; the caller knows where the text stood and raises the error.
"""

from __future__ import annotations

import re

LARGEST_INTEGER = 2**31 - 1
"""Of residue numbers and atom ids, positive and negative: what programs with 32-bit integers hold."""
LARGEST_REAL = 1e5
"""Of coordinates in A, occupancies and B-factors.

Single precision, which trajectories use, holds positions to 0.01 A up to here; the largest assemblies are ten times
smaller, and the columns of PDB files end at 9,999.999 A.
"""
MAX_SHOWN = 40
"""Characters of a text that a message shows."""

INTEGER = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
CIF_REAL = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?:\([0-9]+\))?")


def parse_int(text: str) -> int | None:
    """Integer in ASCII digits up to `LARGEST_INTEGER`, blanks around it allowed; None for anything else."""
    text = text.strip(" \t")
    if not INTEGER.fullmatch(text):
        return None
    digits = text.lstrip("+-0")
    if len(digits) > len(str(LARGEST_INTEGER)):
        return None
    number = int(digits or "0")
    if number > LARGEST_INTEGER:
        return None
    return -number if text.startswith("-") else number


def parse_decimal(text: str) -> float | None:
    """Number of a PDB column, Real(n.m): digits with a decimal point, no exponent; None for anything else.

    Numbers beyond `LARGEST_REAL` are none either.
    """
    text = text.strip(" \t")
    return _within_limit(text) if DECIMAL.fullmatch(text) else None


def parse_cif_real(text: str) -> float | None:
    """Number of a CIF value: an exponent and a standard uncertainty, ``1.25(3)``, are allowed; None for anything else.

    Numbers beyond `LARGEST_REAL` are none either.
    """
    match = CIF_REAL.fullmatch(text)
    return _within_limit(match[1]) if match else None


def _within_limit(text: str) -> float | None:
    value = float(text)
    return value if abs(value) <= LARGEST_REAL else None


def abbreviate(text: str) -> str:
    """A text as a message shows it: its beginning, where it is long."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"

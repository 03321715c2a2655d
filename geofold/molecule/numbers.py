"""Parsing of numbers in files and arguments, within fixed limits.

`int` and `float` accept more than the file formats (underscores, digits of any script, ``nan``, ``1e400``) and numbers
that overflow an array. Readers of files and arguments therefore call the functions of this module. They return None if
a text is not a number; the caller knows its origin and raises the error.
"""

from __future__ import annotations

import re

LARGEST_INTEGER = 2**31 - 1
"""Largest absolute value of residue numbers and atom ids, that of 32-bit integers."""
LARGEST_REAL = 1e5
"""Largest absolute value of coordinates (A), occupancies and B-factors.

Up to this value the single precision of trajectories resolves 0.01 A; the largest assemblies are ten times smaller, and
coordinates of PDB files end at 9,999.999 A.
"""
MAX_SHOWN = 40
"""Largest number of characters of a text in a message."""

INTEGER = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
CIF_REAL = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?:\([0-9]+\))?")


def parse_int(text: str) -> int | None:
    """Parse an integer in ASCII digits up to `LARGEST_INTEGER`, with or without blanks around it; None otherwise."""
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
    """Parse a number of a PDB column, Real(n.m), without exponent; None otherwise or beyond `LARGEST_REAL`."""
    text = text.strip(" \t")
    return _within_limit(text) if DECIMAL.fullmatch(text) else None


def parse_cif_real(text: str) -> float | None:
    """Parse a number of a CIF value, which may have an exponent and a standard uncertainty such as ``1.25(3)``.

    The result is None if the value is not a number or beyond `LARGEST_REAL`.
    """
    match = CIF_REAL.fullmatch(text)
    return _within_limit(match[1]) if match else None


def _within_limit(text: str) -> float | None:
    value = float(text)
    return value if abs(value) <= LARGEST_REAL else None


def abbreviate(text: str) -> str:
    """Abbreviate a long text for a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"

"""Fixed columns of the atom records of a PDB file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from geofold.errors import OutputError
from geofold.molecule.io.hybrid36 import decode36
from geofold.molecule.numbers import parse_decimal

LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
"""A line with its end."""


def is_atom(line: str) -> bool:
    """Whether a line is an ATOM or HETATM record."""
    return line.startswith(("ATOM ", "HETATM"))


def serial_field(line: str) -> str:
    """Read the serial number of an atom or TER record, without blanks; six digits may start right after ATOM."""
    return (line[5:11] if line.startswith("ATOM") else line[6:11]).strip()


def highest_serial(lines: Sequence[str]) -> int:
    """Highest serial number of an atom or TER record."""
    records = (line for line in lines if is_atom(line) or line.startswith("TER"))
    return max((decode36(serial_field(line), 5) or 0 for line in records), default=0)


def coordinate_field(value: float, old: str, where: str) -> str:
    """Columns of a coordinate in A, eight characters; the previous text `old` is returned if it has the same value.

    Raises
    ------
    OutputError
        If the number is not finite or does not fit; the message starts with `where`.
    """
    decimals = min(max(3, len(old.strip().partition(".")[2])), 6)
    for places in range(decimals, 2, -1):
        text = f"{value:8.{places}f}"
        if math.isfinite(value) and len(text) == 8:
            return old if parse_decimal(old) == float(text) else text
    raise OutputError(f"{where} has coordinate {value:.3f} A", "-999.999 to 9999.999 A, as PDB columns hold",
                      "move the structure to the origin or write mmCIF")  # fmt: skip


def resnum_field(number: int) -> str:
    """Columns 23-26: a residue number, wrapped where it does not fit, as viewers read it."""
    return f"{number if -1000 < number < 10000 else number % 10000:4d}"


def bfactor_field(value: float) -> str:
    """Columns 61-66: a B-factor in square A, the nearest that fits."""
    return f"{min(max(value, -99.99), 999.99):6.2f}"


def name_field(name: str, element: str) -> str:
    """Columns 13-16: the element right-justified in the first two, unless the name needs all four."""
    return f"{name[:4]:<4s}" if len(element) == 2 or len(name) >= 4 else f" {name:<3s}"

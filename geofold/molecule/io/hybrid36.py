"""Numbers beyond the columns of a PDB file, as in hybrid-36 (Grosse-Kunstleve et al., http://cci.lbl.gov/hybrid_36)."""

from __future__ import annotations

from geofold.molecule.numbers import parse_int

DIGITS36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def decode36(text: str, width: int) -> int | None:
    """Read the number of a column, decimal or hybrid-36; None where it is neither (``*****``, blank)."""
    number = parse_int(text)
    if number is not None:
        return number
    text = text.strip()
    if len(text) != width or not text.isascii() or not text.isalnum() or not text[0].isalpha():
        return None
    if not text.islower() and not text.isupper():
        return None
    return int(text, 36) + int((16 if text.islower() else -10) * 36 ** (width - 1) + 10**width)


def encode36(number: int, width: int) -> str:
    """Write a number in a column: decimal while it fits, then upper-case hybrid-36, then wrapped."""
    if -(10 ** (width - 1)) < number < 10**width:
        return f"{number:{width}d}"
    rest = number - 10**width + 10 * 36 ** (width - 1)
    if not 0 <= rest < 36**width:
        return f"{number % 10**width:{width}d}"
    digits = ""
    for _ in range(width):
        rest, digit = divmod(rest, 36)
        digits = DIGITS36[digit] + digits
    return digits

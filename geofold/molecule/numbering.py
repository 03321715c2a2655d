"""Residue numbers and insertion codes as they follow each other."""

from __future__ import annotations

from geofold.molecule.selection import Number, ResidueRange


def numbers_between(one: Number, two: Number) -> tuple[Number, ...]:
    """Numbers that the numbering leaves free between two residues."""
    if one[0] == two[0]:
        return lettered(one[0], _next(one[1]), _letter(two[1]) - 1) if one[1] < two[1] else ()
    inside = [(number, "") for number in range(one[0] + 1, two[0])]
    return (*inside, *lettered(two[0], 0, _letter(two[1]) - 1))


def numbers_of(span: ResidueRange) -> tuple[Number, ...]:
    """All numbers of a range, both ends included; empty if it runs backwards.

    A number is followed by the next one, but the last number by its insertion codes, as in A:99-100B: 99, 100, 100A,
    100B.
    """
    (low, start), (high, end) = span.first, span.last
    if low == high:
        return lettered(low, _letter(start), _letter(end))
    if low > high:
        return ()
    return ((low, start), *((number, "") for number in range(low + 1, high)), *lettered(high, 0, _letter(end)))


def lettered(number: int, first: int, last: int) -> tuple[Number, ...]:
    """One number with its insertion codes from the first to the last; code 0 is none, 1 is A."""
    return tuple((number, "" if code == 0 else chr(64 + code)) for code in range(first, last + 1))


def _letter(icode: str) -> int:
    return ord(icode.upper()) - 64 if icode else 0


def _next(icode: str) -> int:
    return _letter(icode) + 1

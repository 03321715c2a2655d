"""Sequences of residue numbers with insertion codes, stored as intervals, since a gap may have any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from geofold.molecule.selection import Number, ResidueRange

MAX_INSERTION_CODES = 26
"""Number of insertion codes, A to Z."""


@dataclass(frozen=True)
class Interval(Sequence[Number]):
    """Consecutive residue numbers in constant memory.

    Attributes
    ----------
    lead : tuple of (int, str)
        First numbers, with insertion codes.
    plain : range
        Numbers without insertion codes that follow.
    tail : tuple of (int, str)
        Last numbers, with insertion codes.
    """

    lead: tuple[Number, ...]
    plain: range
    tail: tuple[Number, ...]

    def __len__(self) -> int:
        """Return the count of numbers."""
        return len(self.lead) + len(self.plain) + len(self.tail)

    def __contains__(self, number: object) -> bool:
        """Return whether a number is among them."""
        if number in self.lead or number in self.tail:
            return True
        match number:
            case (int(plain), ""):
                return plain in self.plain
        return False

    @overload
    def __getitem__(self, index: int) -> Number: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Number, ...]: ...

    def __getitem__(self, index: int | slice) -> Number | tuple[Number, ...]:
        """Return the number at an index, or those of a slice."""
        if isinstance(index, slice):
            return tuple(self[k] for k in range(*index.indices(len(self))))
        k = range(len(self))[index]
        if k < len(self.lead):
            return self.lead[k]
        k -= len(self.lead)
        return (self.plain[k], "") if k < len(self.plain) else self.tail[k - len(self.plain)]


def numbers_between(before: Number, after: Number) -> Interval:
    """List the free numbers between those of two residues."""
    low, high = before[0], after[0]
    if low == high:
        free = with_insertion_codes(low, _letter(before[1]) + 1, _letter(after[1]) - 1) if before[1] < after[1] else ()
        return Interval(free, range(0), ())
    tail = with_insertion_codes(high, 0, _letter(after[1]) - 1)
    return Interval((), range(0) if low > high else range(low + 1, high), tail)


def numbers_of(span: ResidueRange) -> Interval:
    """List the numbers of a range, both ends included; empty if it runs backwards.

    Numbers between the ends have no insertion codes: A:99-100B is 99, 100, 100A, 100B.
    """
    (low, start), (high, end) = span.first, span.last
    if low == high:
        return Interval(with_insertion_codes(low, _letter(start), _letter(end)), range(0), ())
    if low > high:
        return Interval((), range(0), ())
    return Interval(((low, start),), range(low + 1, high), with_insertion_codes(high, 0, _letter(end)))


def with_insertion_codes(number: int, first: int, last: int) -> tuple[Number, ...]:
    """List a number with insertion codes `first` to `last`; code 0 is none, 1 is A, 26 is Z."""
    return tuple(
        (number, "" if code == 0 else chr(64 + code)) for code in range(first, min(last, MAX_INSERTION_CODES) + 1)
    )


def _letter(icode: str) -> int:
    """Return the index of an insertion code, from 1 for A; 0 without one, and for a code that is not a letter."""
    return ord(icode.upper()) - 64 if len(icode) == 1 and icode.isascii() and icode.isalpha() else 0

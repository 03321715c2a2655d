"""Residue numbers and insertion codes as they follow each other, held as intervals: a gap may be of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from geofold.molecule.selection import Number, ResidueRange

MAX_INSERTION_CODES = 26
"""Insertion codes of one number, A to Z."""


@dataclass(frozen=True)
class Interval(Sequence[Number]):
    """Consecutive numbers: `lead`, then those of `plain` without insertion codes, then `tail`.

    It takes the memory of its ends, however many numbers lie between them.
    """

    lead: tuple[Number, ...]
    plain: range
    tail: tuple[Number, ...]

    def __len__(self) -> int:
        return len(self.lead) + len(self.plain) + len(self.tail)

    @overload
    def __getitem__(self, index: int) -> Number: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Number, ...]: ...

    def __getitem__(self, index: int | slice) -> Number | tuple[Number, ...]:
        if isinstance(index, slice):
            return tuple(self[k] for k in range(*index.indices(len(self))))
        place = range(len(self))[index]
        if place < len(self.lead):
            return self.lead[place]
        place -= len(self.lead)
        return (self.plain[place], "") if place < len(self.plain) else self.tail[place - len(self.plain)]


def numbers_between(one: Number, two: Number) -> Interval:
    """Numbers that the numbering leaves free between two residues."""
    if one[0] == two[0]:
        free = with_insertion_codes(one[0], _letter(one[1]) + 1, _letter(two[1]) - 1) if one[1] < two[1] else ()
        return Interval(free, range(0), ())
    if one[0] > two[0]:
        return Interval((), range(0), with_insertion_codes(two[0], 0, _letter(two[1]) - 1))
    return Interval((), range(one[0] + 1, two[0]), with_insertion_codes(two[0], 0, _letter(two[1]) - 1))


def numbers_of(span: ResidueRange) -> Interval:
    """All numbers of a range, both ends included; empty if it runs backwards.

    A number is followed by the next one, but the last number by its insertion codes, as in A:99-100B: 99, 100, 100A,
    100B.
    """
    (low, start), (high, end) = span.first, span.last
    if low == high:
        return Interval(with_insertion_codes(low, _letter(start), _letter(end)), range(0), ())
    if low > high:
        return Interval((), range(0), ())
    return Interval(((low, start),), range(low + 1, high), with_insertion_codes(high, 0, _letter(end)))


def with_insertion_codes(number: int, first: int, last: int) -> tuple[Number, ...]:
    """One number with its insertion codes from the first to the last; code 0 is none, 1 is A, 26 is Z."""
    return tuple(
        (number, "" if code == 0 else chr(64 + code)) for code in range(first, min(last, MAX_INSERTION_CODES) + 1)
    )


def _letter(icode: str) -> int:
    """Place of an insertion code; 0 for none, and for a code that is no letter, whose order nobody knows."""
    return ord(icode.upper()) - 64 if len(icode) == 1 and icode.isascii() and icode.isalpha() else 0

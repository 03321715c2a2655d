"""CIF syntax: the tokens of a text, and the categories they form with the place of every value.

After Hall, Allen and Brown (Acta Cryst. A47:655, 1991).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUOTED = r"""{0}(?:[^{0}\r\n]++|{0}(?=\S))*+(?:{0}|(?=[\r\n]|\Z))"""
"""From a quote to the one that closes it, which blanks follow, or to the end of the line if none does."""
TOKEN = re.compile(
    rf"""^;[\s\S]*?\n;|{QUOTED.format("'")}|{QUOTED.format('"')}|#[^\r\n]*|\S+""",
    re.MULTILINE,
)
REST = {
    "'": re.compile(rf"""{QUOTED.format('"')}|#[^\r\n]*|\S+"""),
    '"': re.compile(rf"""{QUOTED.format("'")}|#[^\r\n]*|\S+"""),
}
"""Pattern of the rest of a line after a quote that is never closed: the quote is then an ordinary character."""
WORD = re.compile(r"#[^\r\n]*|\S+")
Columns = dict[str, list[str]]
"""Values of a category by item, '' for unknown ones."""
CONTROL = re.compile(r"loop_$|data_|save_|global_$|stop_$", re.IGNORECASE)


BLANKS = np.array([chr(code).isspace() for code in range(256)])
"""Whether a byte of ASCII text is blank."""
UNKNOWN = ("?", ".")
LOOP_ENDS = ("\n#", "\n_", "\nloop_", "\ndata_")


class Block(NamedTuple):
    """Values of a loop.

    Attributes
    ----------
    raw : list of str
        As they are written.
    places : (values, 2) int
        Start and end of each in the text.
    quoted : bool
        Whether some may have quotes.
    end : int
        Where the text continues.
    """

    raw: list[str]
    places: NDArray[np.int64]
    quoted: bool
    end: int


@dataclass(eq=False)
class Category:
    """Items of one category and its values, row after row; filled while scanning.

    Attributes
    ----------
    text : str
    items : list of str
    spans : list of (int, int)
        Start and end of the values that were found one by one.
    block : Block or None
        Values that were found at once.
    """

    text: str
    items: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    block: Block | None = None

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self.spans) + (0 if self.block is None else len(self.block.raw))

    @property
    def places(self) -> NDArray[np.int64]:
        """Start and end of every value in the text, (values, 2)."""
        single = np.array(self.spans, dtype=np.int64).reshape(-1, 2)
        return single if self.block is None else np.concatenate([self.block.places, single])

    def is_complete(self) -> bool:
        """Whether every item is named once and every row has a value of each."""
        return len(set(self.items)) == len(self.items) and len(self) % len(self.items) == 0

    def column(self, *names: str) -> list[str]:
        """Values of the first of these items that a row gives, '' where none does ('?' and '.' give none)."""
        rows = len(self) // max(len(self.items), 1)
        values = [""] * rows
        for name in names:
            if name in self.items and not all(values):
                own = self._values(self.items.index(name))
                values = [value or other for value, other in zip(values, own, strict=True)] if any(values) else own
        return values

    def columns(self) -> Columns:
        """Values of every item, '' where a row gives none."""
        return {item: self.column(item) for item in self.items}

    def _values(self, item: int) -> list[str]:
        """Values of an item without their quotes, '' for unknown ones."""
        step = len(self.items)
        raw = [] if self.block is None else self.block.raw
        if self.spans:  # after a block only if a comment interrupts the loop
            raw = raw + [self.text[start:end] for start, end in self.spans]
        raw = raw[item::step]
        if self.spans or (self.block is not None and self.block.quoted):
            return [plain_value(value) for value in raw]
        return ["" if value in UNKNOWN else value for value in raw] if "?" in raw or "." in raw else raw


def plain_value(raw: str) -> str:
    """One value without its quotes; '' for an unknown one."""
    if raw[0] not in "'\";":
        return "" if raw in UNKNOWN else raw
    if raw[0] == ";" and "\n" in raw:
        return " ".join(raw[1:-1].split())
    return raw[1:-1] if len(raw) > 1 and raw[0] != ";" and raw[-1] == raw[0] else raw


def read_block(text: str, start: int) -> Block | None:
    """Values of a loop whose tokens are all that is between blanks, from its first value to the end of the loop.

    It is None for a loop with comments, text fields, blanks in quotes, or anything else that only `tokens` reads.
    """
    end = min((place for mark in LOOP_ENDS if (place := text.find(mark, start)) >= 0), default=len(text))
    part = text[start:end]
    if not part.isascii() or any(mark in part for mark in ("#", "_", "\n;")) or part[0] == ";":
        return None
    raw, quoted = part.split(), any(mark in part for mark in "'\";")
    if quoted and any(value[0] in "'\"" and (len(value) < 2 or value[-1] != value[0]) for value in raw):
        return None
    blank = np.ones(len(part) + 2, dtype=bool)
    blank[1:-1] = BLANKS[np.frombuffer(part.encode("ascii"), dtype=np.uint8)]
    places = np.flatnonzero(blank[1:] != blank[:-1]).reshape(-1, 2) + start
    return Block(raw, places, quoted, end)


def tokens(text: str, begin: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of every token from `begin` on, in time linear in the text."""
    for match in TOKEN.finditer(text, begin):
        start, end = match.span()
        if _unclosed(text, start, end):
            yield from _rest(text, start, end)
        else:
            yield start, end


def _unclosed(text: str, start: int, end: int) -> bool:
    """Whether a token of `QUOTED` ran to the end of its line without a closing quote."""
    return text[start] in "'\"" and text[end - 1] != text[start]


def _rest(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Tokens of a line from a quote on that nothing closes; the other quote may be unclosed as well."""
    for match in REST[text[start]].finditer(text, start, end):
        if match.start() > start and _unclosed(text, *match.span()):
            yield from (word.span() for word in WORD.finditer(text, *match.span()))
        else:
            yield match.span()


def scan(text: str, names: Sequence[str]) -> dict[str, Category]:
    """Find the given categories of the first data block that has atoms."""
    found: dict[str, Category] = {}
    current: Category | None = None
    in_header = False
    rest = tokens(text)
    while (span := next(rest, None)) is not None:
        start, end = span
        first = text[start]
        if first == "#":
            continue
        if first == "_":
            name, _, item = text[start:end].lower().partition(".")
            if not in_header or current is None:
                current = None
                if name in names:
                    current = found.setdefault(name, Category(text))
            if current is not None:
                current.items.append(item)
        elif first in "lLdDsSgG" and CONTROL.match(text, start, end):
            in_header = text[start:end].lower() == "loop_"
            current = None
            if first in "dD":
                if "_atom_site" in found:
                    break
                found.clear()
        else:
            # only the first loop of a category is read as a block
            block = read_block(text, start) if in_header and current is not None and not len(current) else None
            if current is not None and block is not None:
                current.block, rest = block, tokens(text, block.end)
            elif current is not None:
                current.spans.append((start, end))
            in_header = False
    return found

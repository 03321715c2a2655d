"""CIF syntax: the tokens of a text, and the categories they form with the place of every value.

After Hall, Allen and Brown (Acta Cryst. A47:655, 1991).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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


@dataclass(eq=False)
class Category:
    """Items of one category and the (start, end) of its values, row after row; filled while scanning."""

    text: str
    items: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def is_complete(self) -> bool:
        """Whether every item is named once and every row has a value of each."""
        return len(set(self.items)) == len(self.items) and len(self.spans) % len(self.items) == 0

    def column(self, *names: str) -> list[str]:
        """Values of the first of these items that a row gives, '' where none does ('?' and '.' give none)."""
        rows = len(self.spans) // max(len(self.items), 1)
        values = [""] * rows
        for name in names:
            if name in self.items:
                own = (self.value(span) for span in self.spans[self.items.index(name) :: len(self.items)])
                values = [value or other for value, other in zip(values, own, strict=True)]
        return values

    def columns(self) -> Columns:
        """Values of every item, '' where a row gives none."""
        return {item: self.column(item) for item in self.items}

    def value(self, span: tuple[int, int]) -> str:
        """One value without its quotes."""
        raw = self.text[span[0] : span[1]]
        if raw[0] == ";" and "\n" in raw:
            return " ".join(raw[1:-1].split())
        quoted = len(raw) > 1 and raw[0] in "'\"" and raw[-1] == raw[0]
        return raw[1:-1] if quoted else "" if raw in ("?", ".") else raw


def tokens(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every token, in time linear in the text."""
    for match in TOKEN.finditer(text):
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
    for start, end in tokens(text):
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
            in_header = False
            if current is not None:
                current.spans.append((start, end))
    return found

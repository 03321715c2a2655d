"""Plain scientific English: some words and phrases, once a private dialect here, stay out of names and texts."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "geofold"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

WORDS = {
    "told": "reported, predicted, given",
    "tell": "report, give, show",
    "tells": "reports, gives, shows",
    "liked": "scored best; potential",
    "worth": "cost",
    "anew": "again, from scratch; re-",
    "mend": "repair, correct",
    "mended": "repaired, corrected",
    "mends": "repairs, corrects",
    "mending": "repair",
    "settle": "refine",
    "settled": "refined",
    "settles": "refines",
    "settling": "refinement",
    "bred": "recombined",
    "brood": "offspring",
    "sighted": "with features",
    "nobody": "no one; nothing",
    "somebody": "someone; another program",
    "beside": "next to, besides, compared with",
    "befell": "happened to",
    "hear": "receive",
    "heard": "received",
    "hears": "receives",
    "lured": "ranked wrongly",
}
"""Words that neither names nor texts contain, and what to write instead."""

NAMES = {
    "behind": "after, following",
    "begun": "started; elapsed",
    "contender": "candidate",
    "contenders": "candidates",
    "eased": "relaxed",
    "glide": "momentum",
    "heed": "weight",
    "lesson": "example, site, demonstration",
    "lessons": "examples, sites, demonstrations",
    "lettered": "one_letter_sequence",
    "lifted": "embedded",
    "onward": "shift",
    "outsiders": "baselines",
    "rider": "virtual atom, added hydrogen",
    "school": "task",
    "sense": "features",
    "spoiled": "outlier_after",
    "trouble": "anomaly",
}
"""Words that are English in a text, but are not what a function or a variable is called in this field."""

PRONOUNS = frozenset(
    {"again", "every", "found", "here", "kept", "made", "more", "most", "own", "said", "seen", "taken", "then", "there"}
    | {"told", "wanted", "whole"}
)
"""Words that are not names of functions, classes, parameters or fields by themselves."""

PHRASES = {
    r"so many(?! \w+ (?:that|as)\b)": "the number, count",
    r"goes on|go on": "continues, resumes",
    r"(?:by|in) turns": "alternately",
    r"apart from": "except",
    r"stands?|stood": "is, are, was",
    r"behind": "after, following",
    r"but (?:for|that)": "except",
    r"(?<!there\s)(?:is|are|was|were) no (?!longer|more|less|worse|such|\w+er\b)\w+": "is not a",
    r"in the (?:mean|median)": "mean, median (as an adjective)",
    r"in vain": "without effect",
}
"""Phrases that texts do not contain, and what to write instead."""

STARTS = r"(?:Of |That |What |Who |Else\b|So many|The same\.)"
"""Beginnings of docstrings and comments that lack their noun."""

ALLOWED = {
    "wanted(self)": "attribute of `gf.Steering`, which is public",
    '"beside"': "key of the data of a page, and id of an element in it",
    '"BESIDE"': "placeholder in the template of a page",
    "self.hear": "name in the keys of shipped weights",
    "every: int": "field of `Schedule`, which checkpoints record",
    ".behind": "key of metrics in files of examples/results",
    "behind the best": "heading of a table in examples/results",
}
"""Exceptions, each with its reason: text that is taken out of a line before it is read."""

Finding = tuple[int, str, str]
"""Line, word found, and what to write instead."""


def parts_of(name: str) -> list[str]:
    """Words of an identifier in snake or camel case, in lower case."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def without_exceptions(source: str) -> str:
    """Source in which exceptions are blanked, so that positions stay."""
    for text in ALLOWED:
        source = source.replace(text, "x" * len(text) if text.isidentifier() else re.sub(r"\w", "x", text))
    return source


def tokens(source: str) -> Iterator[tuple[int, str, bool]]:
    """Line, text, and whether it is a name, of the names, comments and strings of a source."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            yield token.start[0], token.string, token.type == tokenize.NAME


def findings(source: str) -> list[Finding]:
    """Words and phrases in the names, docstrings, comments and strings of a source."""
    source = without_exceptions(source)
    result: list[Finding] = []
    for line, text, is_name in tokens(source):
        if is_name:
            for word in parts_of(text):
                if hint := WORDS.get(word) or NAMES.get(word):
                    result.append((line, text, hint))
            continue
        for pattern, hint in [*WORDS.items(), *PHRASES.items()]:
            for match in re.finditer(rf"\b(?:{pattern})\b".replace(" ", r"\s+"), text, re.IGNORECASE):
                result.append((line + text.count("\n", 0, match.start()), " ".join(match[0].split()), hint))
        if re.match(rf'(?:[rbuf]*"""|# ?){STARTS}', text):
            result.append((line, text[:40], "begin with the noun"))
    return result + pronouns(source)


def pronouns(source: str) -> list[Finding]:
    """Functions, classes, parameters and fields that are called by a pronoun, a participle or an adverb."""
    result = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append((node.lineno, node.name))
        if isinstance(node, ast.ClassDef):
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            names += [(item.lineno, item.target.id) for item in fields if isinstance(item.target, ast.Name)]
        if isinstance(node, ast.arg):
            names.append((node.lineno, node.arg))
        result += [(line, name, "a noun or a verb") for line, name in names if name.strip("_").lower() in PRONOUNS]
    return result


def report(found: list[Finding]) -> str:
    return "; ".join(f"line {line}: {word!r} ({hint})" for line, word, hint in found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_is_in_plain_english(path: Path) -> None:
    found = findings(path.read_text())
    assert not found, report(found)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_names_of_tests_are_in_plain_english(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    names = [(node.lineno, node.name) for node in functions if node.name.startswith("test_")]
    found = [(line, name, WORDS[word]) for line, name in names for word in parts_of(name) if word in WORDS]
    for line, name in names:
        text = name.replace("_", " ")
        found += [(line, name, hint) for pattern, hint in PHRASES.items() if re.search(rf"\b(?:{pattern})\b", text)]
    assert not found, report(found)


SAMPLE = '''"""Of the search."""

WORTH = 1.0


def told(state, own):
    """Begin anew; what is no loop stands behind it."""
    return "mend it"  # goes on


class TornSense:
    kept: int = 0
'''


def test_the_check_finds_names_and_texts() -> None:
    found = [(line, word.lower()) for line, word, _ in findings(SAMPLE)]
    expected = {(1, '"""of the search."""'), (3, "worth"), (6, "told"), (6, "own"), (7, "anew"), (7, "is no loop")}
    expected |= {(7, "stands"), (7, "behind"), (8, "mend"), (8, "goes on"), (11, "tornsense"), (12, "kept")}
    assert set(found) == expected


def test_the_check_accepts_plain_english() -> None:
    plain = (
        '"""Report what there is; there is no other way, so many rows as fit are kept, and it is no longer used."""\n'
    )
    assert findings(plain + "one_letter = tolerance = understanding = 1  # misunderstood, untold\n") == []


def test_exceptions_occur_and_hide_nothing_else() -> None:
    texts = [path.read_text() for path in FILES]
    assert [text for text in ALLOWED if not any(text in content for content in texts)] == []
    assert [word for _, word, _ in findings('page["beside"] = "beside"  # beside\n')] == ["beside"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [("told_along", ["told", "along"]), ("PeptideSense", ["peptide", "sense"]), ("HTTPTold2", ["http", "told"])],
)
def test_names_are_split(name: str, parts: list[str]) -> None:
    assert parts_of(name) == parts

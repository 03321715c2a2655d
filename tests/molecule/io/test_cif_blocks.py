"""Loops that are read at once give the values, places and structures that reading token by token gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geofold import resources
from geofold.molecule.io import cif_tokens, mmcif_reader
from geofold.molecule.io.cif_tokens import Category, read_block, scan
from geofold.molecule.structure import COLUMNS, Structure

WORDS = st.sampled_from(
    [
        "1.5",
        "-2",
        "CA",
        "?",
        ".",
        '"O5\'"',
        "'a'",
        "'a b'",
        "O5'",
        ";",
        "#x",
        "'",
        "_a",
        "loop_",
        "DATA_b",
        "x;y",
        "\u00e9",
    ]
)
GAPS = st.sampled_from([" ", "  ", "\n", "\t", "\r\n", "\n\n", "\x0c"])
HEAD = "data_x\nloop_\n_atom_site.a\n_atom_site.b\n"


def token_by_token(text: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> dict[str, Category]:
    with monkeypatch.context() as patch:
        patch.setattr(cif_tokens, "read_block", lambda text, start: None)
        return scan(text, names)


@given(
    st.lists(st.tuples(WORDS, GAPS), min_size=1, max_size=12),
    st.sampled_from(["", "#\n_struct.title t\n", "loop_\n", "\nloop_\n_atom_site.a\n_atom_site.b\n5 6\n"]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_blocks_equal_tokens(words: list[tuple[str, str]], tail: str) -> None:
    text = HEAD + "".join(word + gap for word, gap in words) + tail
    with pytest.MonkeyPatch.context() as monkeypatch:
        slow = token_by_token(text, ("_atom_site", "_struct"), monkeypatch)
    fast = scan(text, ("_atom_site", "_struct"))
    assert list(fast) == list(slow)
    for name, category in fast.items():
        other = slow[name]
        assert category.items == other.items and len(category) == len(other)
        assert category.is_complete() == other.is_complete()
        np.testing.assert_array_equal(category.places, other.places)
        assert category.columns() == other.columns()


@pytest.mark.parametrize("name", ["1yjp.cif", "1fas.cif", "5pti.cif"])
def test_columns_equal_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(resources.find("structures", name)).read_bytes()
    fast = mmcif_reader.parse(content, name)
    assert read_block(content.decode(), content.index(b"ATOM ")) is not None
    monkeypatch.setattr(mmcif_reader, "atom_columns", lambda sites, rows: None)
    monkeypatch.setattr(cif_tokens, "read_block", lambda text, start: None)
    assert_equal(fast, mmcif_reader.parse(content, name))


@pytest.mark.parametrize(
    ("old", "new"),
    [(" CA ", " ? "), (" 1.00 ", " 1.00(2) "), ("ATOM ", "atom "), (" 1.00 ", " 1_0 "), (" 1.00 ", " ? ")],
    ids=["no name", "uncertainty", "lower case", "not a number", "unknown"],
)
def test_irregular_values_are_read_as_by_rows(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = resources.find("structures", "1yjp.cif").read_text()
    start = text.index("ATOM ")
    content = (text[:start] + text[start:].replace(old, new, 1)).encode()
    results = []
    for _ in range(2):
        try:
            results.append(mmcif_reader.parse(content, "x.cif"))
        except Exception as error:
            results.append(str(error))
        monkeypatch.setattr(mmcif_reader, "atom_columns", lambda sites, rows: None)
    if isinstance(results[0], str):
        assert results[0] == results[1]
    else:
        assert_equal(*results)


def assert_equal(fast: Structure, slow: Structure) -> None:
    for column in (*COLUMNS, "residue_of"):
        np.testing.assert_array_equal(getattr(fast, column), getattr(slow, column), column)
    assert [(r.label, r.resname, r.atoms.tolist()) for r in fast.residues] == [
        (r.label, r.resname, r.atoms.tolist()) for r in slow.residues
    ]
    assert fast.links == slow.links and fast.document.last_serial == slow.document.last_serial
    np.testing.assert_array_equal(fast.document.spans, slow.document.spans)

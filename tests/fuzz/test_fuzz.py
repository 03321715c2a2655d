"""Files and arguments that nobody wrote on purpose: each is read and checked, or refused in one line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold import resources
from geofold.errors import GeofoldError
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_request import plan_build
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.selection import find_range, find_residue
from geofold.molecule.structure import Structure

HERE = Path(__file__).resolve().parent
ODD = sorted(path for path in (HERE.parent / "data" / "odd").iterdir() if path.suffix != ".md")
CASES, FIRST = 300, 1_000_000
"""Cases of the default run; `python tests/fuzz/run.py --cases 10000` makes others."""
ACCEPTED = ("fine", "refused")


def module(name: str) -> ModuleType:
    """A module of this folder, which is a script's and no package."""
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None and Path(spec.origin).parent == HERE
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def worker() -> Iterator[object]:
    worker = module("pool").Worker()
    yield worker
    worker.close()


@pytest.mark.parametrize("part", range(6))
def test_damaged_structures_are_read_or_refused(part: int, worker, tmp_path: Path) -> None:
    outcomes = []
    for seed in range(FIRST + part, FIRST + CASES, 6):
        answer = worker.ask(seed=seed)
        outcomes.append(answer["outcome"])
        if answer["outcome"] not in ACCEPTED:
            case = module("cases").make_case(seed)
            kept = tmp_path / f"fuzz_{seed}_{case.name}"
            kept.write_bytes(case.content)
            pytest.fail(f"seed {seed}, kept as {kept}: {answer['outcome']}\n{answer['text']}")
    assert min(outcomes.count(kind) for kind in ACCEPTED) > len(outcomes) // 5, "too harmless, or too harsh"


@pytest.mark.parametrize("path", ODD, ids=lambda path: path.name)
def test_known_failures_stay_fixed(path: Path, worker) -> None:
    answer = worker.ask(file=str(path))
    assert answer["outcome"] in ACCEPTED, answer["text"]


def test_a_seed_makes_one_case() -> None:
    make_case = module("cases").make_case
    assert make_case(5) == make_case(5) != make_case(6)


@pytest.mark.parametrize(("kind", "outcome"), [
    ("warn", "crash"), ("divide", "crash"), ("hang", "cpu"), ("flood", "memory"), ("die", "crash"), ("behave", "fine"),
])  # fmt: skip
def test_a_worker_reports_the_end_of_a_case_and_continues(kind: str, outcome: str, worker) -> None:
    assert worker.ask(misbehave=kind)["outcome"] == outcome
    assert worker.ask(misbehave="behave")["outcome"] == "fine"


@pytest.fixture(scope="module")
def ubiquitin() -> Structure:
    return read(resources.find("structures", "1ubi.pdb"))


NUMBER = st.one_of(
    st.integers().map(str), st.text("0123456789+-_.eE\uff11\u0663", max_size=6),
    st.integers(4000, 6000).map("9".__mul__),
)  # fmt: skip
RESIDUE = st.builds("{}:{}{}".format, st.text(max_size=2), NUMBER, st.text(max_size=1))
WRITTEN = st.one_of(
    st.text(max_size=40), RESIDUE, st.builds("{}-{}".format, RESIDUE, NUMBER),
    st.builds("A:{}-{}={}".format, NUMBER, NUMBER, st.text("ACDEFGX*", max_size=70)),
)  # fmt: skip
CONTACT = st.builds("{}{}-{}{}{}{}".format, RESIDUE, st.sampled_from(("", "@CA", "@", "@XX")), RESIDUE,
                    st.sampled_from(("", "@CB")), st.sampled_from("<>="), NUMBER)  # fmt: skip
QUICK = settings(max_examples=200, deadline=None, derandomize=True)
VALUE = st.one_of(
    st.text(max_size=8), st.sampled_from(("?", ".", "'", "1e308", "loop_", ";")), st.integers().map(str),
)  # fmt: skip


def one_line(select, *given_: object) -> None:
    """A selection works, or is refused in one short line."""
    try:
        select(*given_)
    except GeofoldError as error:
        assert "\n" not in str(error) and len(str(error)) < 1500


@QUICK
@given(text=WRITTEN)
def test_any_text_as_a_range(ubiquitin: Structure, text: str) -> None:
    for select in (find_range, find_residue, plan_build):
        one_line(select, ubiquitin, text)


@QUICK
@given(text=st.one_of(CONTACT, st.text(max_size=40)))
def test_any_text_as_a_contact(ubiquitin: Structure, text: str) -> None:
    one_line(parse_contact, ubiquitin, text)


FIELD = st.one_of(st.text(max_size=8), st.floats(width=32).map(str), st.integers(-99999, 99999).map(str))


@QUICK
@given(rows=st.lists(st.tuples(st.integers(0, 79), FIELD), max_size=4), line=st.integers(0, 9))
def test_any_text_in_the_columns_of_an_atom(ubiquitin: Structure, rows: list[tuple[int, str]], line: int) -> None:
    path = resources.find("structures", "1ubi.pdb")
    atoms = [text for text in path.read_text().splitlines() if text.startswith("ATOM")][:40]
    for column, text in rows:
        atoms[line] = atoms[line][:column] + text + atoms[line][column + len(text) :]
    one_line(read, "\n".join(atoms).encode("utf-8", "surrogatepass"))


@QUICK
@given(values=st.lists(VALUE, max_size=24))
def test_any_values_in_a_row_of_mmcif(values: list[str]) -> None:
    text = resources.find("structures", "1yjp.cif").read_text()
    lines = text.splitlines()
    first = next(k for k, one in enumerate(lines) if one.startswith("ATOM"))
    lines[first] = " ".join(values)
    one_line(read, "\n".join(lines).encode("utf-8", "surrogatepass"))

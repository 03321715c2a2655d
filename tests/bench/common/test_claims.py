"""Claims: verdicts follow from the records, and every metric, run and test that a claim names exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from geofold.bench.common import claims
from geofold.bench.common.claims import CHECK, CLAIMS, TERM, UNMEASURED, claims_page, holds, verdict_of
from geofold.bench.common.finished_runs import OLDER, Run
from geofold.errors import InputFileError

ROOT = Path(__file__).resolve().parents[3]
RUNS = {"peptide": Run("peptide", {"metrics": {"ours.steps": 14.0, "theirs.steps": 20.0}}, "", ())}
FEWER, FAR_FEWER, MORE = (
    "peptide/ours.steps < peptide/theirs.steps",
    "peptide/ours.steps < 0.5 * peptide/theirs.steps",
    "peptide/ours.steps >= 15",
)
TEXTS = """
introduction = "# Claims"
summary = "{claims} claims, {reproduced} reproduced, {not_measured} not measured."

[[paper]]
title = "A paper"
source = "Somewhere."

[[paper.claim]]
claim = "fewer steps"
published = "0.75"
measured = "{peptide/ours.steps:.1f}"
checks = ["peptide/ours.steps < 0.75 * peptide/theirs.steps"]
why = "They take {peptide/theirs.steps:.0f}."

[[paper.claim]]
claim = "faster"
published = "2.0"
measured = "{latency/ours.speed:.1f}"
checks = ["latency/ours.speed > 2"]
"""


def published() -> list[dict[str, Any]]:
    texts = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))
    return [claim for paper in texts["paper"] for claim in paper["claim"]]


@pytest.mark.parametrize(
    ("check", "expected"), [(FEWER, True), (FAR_FEWER, False), (MORE, False), ("20 <= peptide/theirs.steps", True)]
)
def test_comparisons(check: str, expected: bool) -> None:
    assert holds(check, RUNS) is expected


@pytest.mark.parametrize(
    "check", ["peptide/ours.steps", "peptide/ours.steps = 3", "many < 3", "peptide/ours.steps < 1 + 1"]
)
def test_comparisons_that_cannot_be_read(check: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        holds(check, RUNS)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([FEWER], "reproduced"),
        ([FEWER, FAR_FEWER], "partly"),
        ([FAR_FEWER, MORE], "not reproduced"),
        ([], UNMEASURED),
        ([FEWER, "latency/ours.speed > 2"], UNMEASURED),
    ],
)
def test_a_verdict_is_what_the_comparisons_say(checks: list[str], verdict: str) -> None:
    assert verdict_of({"checks": checks}, RUNS) == verdict


def test_a_metric_that_a_run_lacks_is_an_error() -> None:
    with pytest.raises(InputFileError, match=r"no metric ours\.speed"):
        verdict_of({"checks": ["peptide/ours.speed > 2"]}, RUNS)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "claims.toml").write_text(TEXTS)
    monkeypatch.setattr(claims, "CLAIMS", tmp_path / "claims.toml")
    page, summary = claims_page(RUNS, {"peptide": OLDER})
    assert summary == "2 claims, 1 reproduced, 1 not measured."
    assert f"## A paper{OLDER}\n" in page
    assert (
        "| fewer steps | 0.75 | 14.0 | reproduced | They take 20. | [peptide](../peptide/README.md) (older) |" in page
    )
    assert f"| faster | 2.0 |  | {UNMEASURED} |  |  |" in page
    assert OLDER not in claims_page(RUNS, {"peptide": ""}).page


def test_claims_name_existing_runs_and_tests() -> None:
    for claim in published():
        assert ("test" in claim) + ("checks" in claim) <= 1 and ("measured" in claim) == bool(
            claim.keys() & {"test", "checks"}
        )
        for check in claim.get("checks", ()):
            left, _, right = CHECK.fullmatch(check).groups()
            for term in (left, right):
                folder = TERM.fullmatch(term)["folder"]
                assert folder is None or (ROOT / "examples" / "results" / folder / "summary.json").is_file(), check
        if "test" in claim:
            path, _, name = claim["test"].partition("::")
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), claim["test"]


def test_measured_figures_are_not_typed() -> None:
    for claim in published():
        if "checks" in claim:
            assert re.search(r"\{[a-z0-9_]+/", claim["measured"]), claim["claim"]
            left = re.sub(r"\{[^{}]*\}", "", claim["measured"])
            assert not re.search(r"\d\.\d", left.replace("published: 0.", "")), claim["claim"]

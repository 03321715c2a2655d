"""Page of the published claims that this project builds on: claimed, measured, verdict, why.

The claims are in `claims.toml`. Measured figures are read from the summaries of the runs, and the verdict follows from
comparisons of these metrics with the published figures, so that neither can disagree with the records.
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from geofold.bench.common.finished_runs import IN_A_CELL, NUMBER_OF_RUN, Run, fill_from_runs
from geofold.bench.common.records import table_of, wrapped

CLAIMS = Path(__file__).with_name("claims.toml")
COLUMNS = ["claim", "published", "measured", "verdict", "why", "record"]
REPRODUCED, PARTLY, NOT, TESTED, UNMEASURED = VERDICTS = (
    "reproduced",
    "partly",
    "not reproduced",
    "shown by a test",
    "not measured",
)
CHECK = re.compile(r"(\S.*?) (<=|>=|<|>) (\S.*)")
"""A comparison of two terms."""
TERM = re.compile(
    r"(?:(?P<factor>[0-9.]+) \* )?(?:(?P<folder>[a-z0-9_]+)/(?P<metric>[A-Za-z0-9_.]+)|(?P<number>[0-9.-]+))"
)
"""A number or a metric ``folder/name``, with or without a factor: ``0.69 * peptide/se3_mpc.steps``."""
SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class Claims(NamedTuple):
    """The page of all claims, and the paragraph that sums it up."""

    page: str
    summary: str


def claims_page(runs: Mapping[str, Run], marks: Mapping[str, str]) -> Claims:
    """Make the page of claims.

    Parameters
    ----------
    runs : mapping of str to Run
        Finished runs by folder.
    marks : mapping of str to str
        What the titles of tables with figures of a run have to say of its age; see `Run.mark`.

    Returns
    -------
    Claims

    Raises
    ------
    InputFileError
        If a claim names a metric that a run does not have.
    ValueError
        If a comparison cannot be read.
    """
    texts = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))
    parts = [
        f"<!-- Written by `geofold bench report`; edit geofold/bench/common/{CLAIMS.name} instead. -->\n",
        wrapped(texts["introduction"]),
    ]
    counts: Counter[str] = Counter()
    for paper in texts["paper"]:
        verdicts = [verdict_of(claim, runs) for claim in paper["claim"]]
        counts.update(verdicts)
        rows = [_row(claim, verdict, runs, marks) for claim, verdict in zip(paper["claim"], verdicts, strict=True)]
        mark = max(
            (marks[folder] for claim in paper["claim"] for folder in _folders(claim) if folder in runs), default=""
        )
        parts.append(f"## {paper['title']}{mark}\n\n{wrapped(paper['source'])}\n{table_of(COLUMNS, rows)}")
    numbers = {verdict.replace(" ", "_"): counts[verdict] for verdict in VERDICTS}
    return Claims("\n".join(parts), texts["summary"].format(claims=counts.total(), **numbers))


def verdict_of(claim: Mapping[str, Any], runs: Mapping[str, Run]) -> str:
    """Return the verdict on a claim, one of `VERDICTS`.

    A claim whose comparisons all hold is reproduced; partly if some of them hold, not if none does.
    """
    if "test" in claim:
        return TESTED
    if not claim.get("checks") or not _folders(claim) <= runs.keys():
        return UNMEASURED
    held = [holds(check, runs) for check in claim["checks"]]
    return REPRODUCED if all(held) else PARTLY if any(held) else NOT


def holds(check: str, runs: Mapping[str, Run]) -> bool:
    """Whether a comparison such as ``peptide/geossm.steps < 0.69 * peptide/se3_mpc.steps`` holds.

    Raises
    ------
    InputFileError
        If a run does not have the metric.
    ValueError
        If the comparison cannot be read.
    """
    parts = CHECK.fullmatch(check)
    if parts is None:
        raise ValueError(f"comparison {check!r}; expected two terms with <, <=, > or >= between them")
    return bool(SIGNS[parts[2]](_value(parts[1], runs), _value(parts[3], runs)))


def _value(text: str, runs: Mapping[str, Run]) -> float:
    term = TERM.fullmatch(text)
    if term is None:
        raise ValueError(f"term {text!r}; expected a number, folder/metric or number * folder/metric")
    if term["number"] is not None:
        return float(term["number"])
    return float(term["factor"] or 1.0) * runs[term["folder"]].metric(term["metric"])


def _folders(claim: Mapping[str, Any]) -> set[str]:
    """Folders of the runs whose metrics a claim needs."""
    texts = " ".join([claim.get("measured", ""), claim.get("why", "")])
    compared = " ".join(claim.get("checks", ()))
    return {match[1] for match in NUMBER_OF_RUN.finditer(texts)} | set(re.findall(r"([a-z0-9_]+)/", compared))


def _row(claim: Mapping[str, Any], verdict: str, runs: Mapping[str, Run], marks: Mapping[str, str]) -> list[str]:
    measured, why, record = claim.get("measured", ""), claim.get("why", ""), ""
    if verdict == TESTED:
        record = f"`{claim['test']}`"
    elif verdict == UNMEASURED:
        measured, why = ("" if NUMBER_OF_RUN.search(text) else text for text in (measured, why))
    else:
        record = ", ".join(
            f"[{folder}](../{folder}/README.md){IN_A_CELL[marks[folder]]}" for folder in sorted(_folders(claim))
        )
    cells = (claim["claim"], claim["published"], measured, verdict, why, record)
    return [" ".join(fill_from_runs(cell, runs).split()) for cell in cells]

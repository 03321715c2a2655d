"""A report as it comes back from a file that anyone may have written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from geofold.errors import InputFileError
from geofold.molecule.io.content import content_of

TIMES = ("seconds",)
STREAM_TIMES = ("seconds", "seconds_to_goal", "latency_ms")
"""Keys of a report, and of its part ``stream``, that tell how long a run took. All else is the same for the same input
and seed, and so is a page, which leaves them out."""
EXPECTED = "a JSON report of geofold"
DEEPEST = 32
"""Lists and objects within one another; a report of ours has five."""
LARGEST = 2**53
"""Whole numbers up to here are the same to every reader of JSON."""


def read_report(path: str) -> dict[str, Any]:
    """The JSON object of a report: finite numbers, nothing nested deeper than `DEEPEST`.

    Parameters
    ----------
    path : str
        ``-`` is standard input.

    Raises
    ------
    InputFileError
    """
    content = content_of(path, EXPECTED)
    try:
        found = json.loads(content, parse_float=_finite, parse_int=_whole, parse_constant=_refuse)
        _require_flat(found)
    except RecursionError:
        reason = f"nested more than {DEEPEST} deep"
    except ValueError as error:
        reason = str(error)
    else:
        if isinstance(found, dict):
            return found
        reason = "no object"
    raise InputFileError(f"report {path} cannot be read ({reason})", EXPECTED, "check the path")


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report of which all is the same for the same input and seed."""
    kept = {key: value for key, value in report.items() if key not in TIMES}
    if isinstance(kept.get("stream"), Mapping):
        kept["stream"] = {key: value for key, value in kept["stream"].items() if key not in STREAM_TIMES}
    return kept


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _whole(text: str) -> int:
    return int(text) if len(text) < 18 and abs(int(text)) <= LARGEST else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no number that JSON can hold")


def _require_flat(value: Any) -> None:
    """Without recursion, whose own depth is limited."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            item
            for part in level
            if isinstance(part, (dict, list))
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise RecursionError

"""Reading of a report from a file, which may come from an untrusted source."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from geofold.errors import InputFileError
from geofold.molecule.io.content import content_of

TIMES = ("seconds",)
STREAM_TIMES = ("seconds", "seconds_to_goal", "latency_ms")
"""Keys of the times in a report and in its section ``stream``. Everything else is reproducible for a given input and
seed, and so is a page, which omits the times."""
EXPECTED = "a JSON report of geofold"
DEEPEST = 32
"""Maximum nesting of lists and objects; geofold's own reports have five levels."""
LARGEST = 2**53
"""Largest integer that every JSON parser reads exactly."""


def read_report(path: str) -> dict[str, Any]:
    """Read the JSON object of a report.

    Parameters
    ----------
    path : str
        The file; ``-`` is standard input.

    Raises
    ------
    InputFileError
        If it cannot be read, is not a JSON object, contains a number that is not finite, or is nested deeper than
        `DEEPEST`.
    """
    content = content_of(path, EXPECTED)
    try:
        report = json.loads(content, parse_float=_finite, parse_int=_integer, parse_constant=_refuse)
        _require_flat(report)
    except RecursionError:
        reason = f"nested more than {DEEPEST} deep"
    except ValueError as error:
        reason = str(error)
    else:
        if isinstance(report, dict):
            return report
        reason = "not an object"
    raise InputFileError(f"report {path} cannot be read ({reason})", EXPECTED, "check the path")


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reproducible part of a report, i.e. all of it except the times."""
    timeless = {key: value for key, value in report.items() if key not in TIMES}
    if isinstance(timeless.get("stream"), Mapping):
        timeless["stream"] = {key: value for key, value in timeless["stream"].items() if key not in STREAM_TIMES}
    return timeless


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _integer(text: str) -> int:
    return int(text) if len(text) < 18 and abs(int(text)) <= LARGEST else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a JSON number")


def _require_flat(value: Any) -> None:
    """Raise RecursionError for nesting deeper than `DEEPEST`, without recursion, whose own depth is limited."""
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

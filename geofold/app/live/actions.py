"""Actions of a session: what each is called, which values it takes, and the script that records them.

A script is JSON lines. The first one describes the start, each further one is an action. ``{"do": "step", "count": 12,
"depth": 2}`` means twelve steps of at most two corrections, so that a replay does not depend on the speed of the
machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from geofold.app.live.restraints import REGIONS
from geofold.errors import ActionError
from geofold.modelling.option_table import join_choices
from geofold.molecule.numbers import abbreviate

SCHEMA = "geofold-live/1"
LONGEST_TEXT = 200
FARTHEST = 10_000.0
"""Largest coordinate (A) of a target."""
MOST_STEPS, MOST_CORRECTIONS = 1_000_000, 100
ANY = "any"
"""Region of a residue that may be anywhere."""

Action = dict[str, Any]


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT


def _place(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_number(x) and abs(x) <= FARTHEST for x in value)


def _angles(value: Any) -> bool:
    return isinstance(value, list) and all(_number(x) and abs(x) <= 2 * math.pi for x in value)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _count(largest: int) -> Any:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest


VALUES = {
    "atom": (_text, "an atom such as A:5@CA"),
    "residue": (_text, "a residue such as A:5"),
    "to": (_place, "three coordinates in A"),
    "contact": (_text, "a contact such as A:3-A:10<6.0"),
    "torsion": (_text, "phi, psi, or chi1 to chi4"),
    "region": (lambda value: value in (*REGIONS, ANY), join_choices((*REGIONS, ANY))),
    "name": (_text, "a name"),
    "of": (_text, "the origin of the torsions"),
    "turn": (_angles, "one angle (radian) for each torsion"),
    "count": (_count(MOST_STEPS), "a number of steps"),
    "depth": (_count(MOST_CORRECTIONS), "a number of corrections"),
}
"""Check of each value of an action, and what is valid."""

ACTIONS: dict[str, tuple[str, ...]] = {
    "grab": ("atom",),
    "grab residue": ("residue",),
    "drag": ("to",),
    "release": (),
    "band": ("contact",),
    "unband": ("contact",),
    "freeze": ("residue",),
    "thaw": ("residue",),
    "hold": ("residue", "torsion"),
    "free": ("residue", "torsion"),
    "flip": ("residue",),
    "region": ("residue", "region"),
    "take": ("of", "turn"),
    "undo": (),
    "redo": (),
    "mark": ("name",),
    "return": ("name",),
    "pause": (),
    "resume": (),
    "step": ("count", "depth"),
}
"""Values of each action."""


def require_action(given: Any) -> Action:
    """Return an action that is complete and valid.

    Raises
    ------
    ActionError
        If it is not.
    """
    name = given.get("do") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or name not in ACTIONS:
        raise ActionError(f"action {abbreviate(json.dumps(given, default=str))}", "an action with a known name under "
                          f"'do': {join_choices(tuple(ACTIONS))}", "correct it")  # fmt: skip
    expected = ACTIONS[name]
    if set(given) != {"do", *expected}:
        raise ActionError(
            f"action {abbreviate(json.dumps(given, default=str))}",
            f"'do'{''.join(f', {key!r}' for key in expected)} and nothing else",
            "correct it",
        )
    for key in expected:
        check, valid = VALUES[key]
        if not check(given[key]):
            raise ActionError(f"{key} {abbreviate(json.dumps(given[key], default=str))}", valid, "correct it")
    return {"do": name, **{key: given[key] for key in expected}}


class Script:
    """Record of a session, as JSON lines."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        self._lines = [_line({"schema": SCHEMA, **start})]
        self._steps: Action | None = None

    def add(self, action: Action) -> None:
        """Append an action; a step is counted if it is like the one before."""
        if action["do"] == "step":
            if self._steps is not None and self._steps["depth"] == action["depth"]:
                self._steps["count"] += action["count"]
                return
            self._flush()
            self._steps = dict(action)
            return
        self._flush()
        self._lines.append(_line(action))

    def _flush(self) -> None:
        if self._steps is not None:
            self._lines.append(_line(self._steps))
            self._steps = None

    def text(self) -> str:
        """Return the script so far."""
        return "".join(self._lines) + ("" if self._steps is None else _line(self._steps))


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False) + "\n"


def read_script(text: str, name: str) -> tuple[dict[str, Any], Iterable[Action]]:
    """Read a script: its first line, and its actions.

    Parameters
    ----------
    text : str
        JSON lines.
    name : str
        Name of the file in messages.

    Raises
    ------
    ActionError
        If a line is not JSON, the first one does not describe a start, or an action is not valid.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError):
            raise ActionError(
                f"{name}, line {number}, which is not JSON", "one action per line", "correct it"
            ) from None
    if not rows or not isinstance(rows[0], dict) or rows[0].get("schema") != SCHEMA:
        raise ActionError(f"{name} without a start", f"a first line with the schema {SCHEMA}", "give a saved script")
    return rows[0], [require_action(row) for row in rows[1:]]

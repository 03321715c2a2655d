"""What a stepping agent of the peptide benchmark is: parts for a domain, and the options it was tuned over.

Every agent streams over the same domain under the same cap; what differs is who proposes and who corrects. Each has the
same number of trials on the tuning split; what won stands in `tuned.json` beside this file (`geofold bench peptide
--tune` writes it) and is committed before the test split is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from geofold.core.state import ControllerState, StepInfo
from geofold.molecule.peptide.domain import PeptideDomain

TUNED = Path(__file__).with_name("tuned.json")
TRIALS = 6
Choice = dict[str, Any]


class Stepping(Protocol):
    """What moves a peptide step by step: a `Controller`, or what behaves like one."""

    def init(self, domain: Any, state: Any) -> ControllerState:
        """State before the first step."""

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """One step towards a goal."""


@dataclass(frozen=True)
class Agent:
    """An agent by name.

    Attributes
    ----------
    name, note : str
        As tables call it, and what it is.
    parts : callable
        (domain, seed, options) -> what steps.
    trials : tuple of dict
        Options that were tried on the tuning split.
    thorough : callable or None
        Parts that take over once a stream has been stuck, of the parts before; None: the same go on.
    learned : bool
        Whether it is a rival with weights of its own, or a planner on one.
    """

    name: str
    note: str
    parts: Callable[[PeptideDomain, int, Choice], Stepping]
    trials: tuple[Choice, ...] = field(default=({},))
    thorough: Callable[[Any], Any] | None = None
    learned: bool = False

    def chosen(self) -> Choice:
        """The options that won on the tuning split, the first trial's where none was tuned yet."""
        known = tuned().get(self.name)
        return self.trials[0] if known is None else known["options"]


def tuned() -> dict[str, dict[str, Any]]:
    """What the tuning chose, by agent: options, success, steps."""
    if not TUNED.exists():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(TUNED.read_text(encoding="utf-8"))
    return found


def grid(**options: tuple[Any, ...]) -> tuple[Choice, ...]:
    """All combinations of options, the first values first."""
    choices: list[Choice] = [{}]
    for name, values in options.items():
        choices = [{**choice, name: value} for choice in choices for value in values]
    return tuple(choices)

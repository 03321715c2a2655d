"""A stepping agent of the peptide benchmark: its controller for a domain, and the options that were tried in tuning.

Every agent streams over the same domain with the same cap on torsion changes; agents differ in predictor and corrector.
Each has the same number of trials on the tuning split. `geofold bench tune` writes the best options to `tuned.json` in
this folder, which is committed before the test split is run.
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
Options = dict[str, Any]


class Stepping(Protocol):
    """Something that moves a peptide step by step, such as a `Controller`."""

    def init(self, domain: Any, state: Any) -> ControllerState:
        """Make the state before the first step."""

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step towards a goal."""


@dataclass(frozen=True)
class Agent:
    """A stepping agent.

    Attributes
    ----------
    name, note : str
        Name in tables, and description.
    parts : callable
        Makes the controller from a domain, a seed and options.
    trials : tuple of dict
        Options that were tried on the tuning split.
    fallback_controller : callable or None
        Makes the controller that takes over once a stream has been stuck; None: the same one continues.
    learned : bool
        Whether it is a rival with its own weights, or a planner on one.
    """

    name: str
    note: str
    parts: Callable[[PeptideDomain, int, Options], Stepping]
    trials: tuple[Options, ...] = field(default=({},))
    fallback_controller: Callable[[Any], Any] | None = None
    learned: bool = False

    def tuned_options(self) -> Options:
        """Return the best options of the tuning split, or those of the first trial if the agent is not tuned."""
        entry = read_tuning().get(self.name)
        return self.trials[0] if entry is None else entry["options"]


def read_tuning() -> dict[str, dict[str, Any]]:
    """Read the result of the tuning: options, success and steps by agent."""
    if not TUNED.exists():
        return {}
    content: dict[str, dict[str, Any]] = json.loads(TUNED.read_text(encoding="utf-8"))
    return content


def make_grid(**options: tuple[Any, ...]) -> tuple[Options, ...]:
    """Make all combinations of options, in the order of their values."""
    choices: list[Options] = [{}]
    for name, values in options.items():
        choices = [{**choice, name: value} for choice in choices for value in values]
    return tuple(choices)

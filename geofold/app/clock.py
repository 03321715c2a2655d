"""How long a run may take, where it was given a budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

SEARCHING = 0.6
"""Share of a budget after which no further generation of a search begins."""


@dataclass(frozen=True)
class Clock:
    """A budget in seconds, running since the clock was made; without one, nothing is ever spent."""

    seconds: float | None = None
    began: float = field(default_factory=time.perf_counter)

    def spent(self, share: float = 1.0) -> bool:
        """Whether so much of the budget is gone."""
        return self.seconds is not None and time.perf_counter() - self.began >= share * self.seconds

    def stopped(self) -> Clock:
        """With what is left of the budget, to go on later."""
        return Clock(None if self.seconds is None else self.seconds - (time.perf_counter() - self.began))

    def going_on(self) -> Clock:
        """With the same budget, from now."""
        return Clock(self.seconds)

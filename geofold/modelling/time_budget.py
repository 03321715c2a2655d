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

    @property
    def left(self) -> float | None:
        """Seconds that are not spent yet."""
        return None if self.seconds is None else self.seconds - (time.perf_counter() - self.began)

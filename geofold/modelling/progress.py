"""Progress of a run, reported by stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ProgressCallback = Callable[[str, int, int, float], None]
"""Called with the stage, steps done, steps at most, and the loss."""


@dataclass(frozen=True)
class Progress:
    """Reports the progress of one stage to a callback, if there is one.

    Parameters
    ----------
    callback : callable or None
    stage : str
        Name of the stage: 'refine the input', 'guided', 'search', 'refine', 'pack and refine'.
    """

    callback: ProgressCallback | None = None
    stage: str = ""

    def begin(self, stage: str) -> Progress:
        """Progress of a stage within this one, its name appended to this one's."""
        return Progress(self.callback, f"{self.stage} {stage}".strip())

    def update(self, done: int, total: int, loss: float) -> None:
        """Report that `done` of `total` steps are done, with the present loss."""
        if self.callback is not None:
            self.callback(self.stage, done, total, loss)

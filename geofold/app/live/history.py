"""Snapshots of a session: undo, redo and named checkpoints."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from geofold.app.live.restraints import Restraints
from geofold.errors import ActionError
from geofold.molecule.structure import Floats

DEPTH = 2000
"""Largest number of actions that can be undone; older ones are forgotten."""
MARKS = 200
"""Largest number of named checkpoints."""


@dataclass(frozen=True)
class Snapshot:
    """Conformation and restraints at one moment.

    Attributes
    ----------
    epoch : int
        Number of the domain that the increments belong to.
    root : int or None
        Its root.
    xyz : (p, 3)
        Coordinates (nm) of the atoms that may move.
    angle : (n,)
        Total increments (radian).
    restraints : Restraints
    """

    epoch: int
    root: int | None
    xyz: Floats
    angle: Floats
    restraints: Restraints


class History:
    """Snapshots to go back to."""

    def __init__(self) -> None:
        self._past: deque[Snapshot] = deque(maxlen=DEPTH)
        self._future: list[Snapshot] = []
        self.marks: dict[str, Snapshot] = {}

    @property
    def can_undo(self) -> bool:
        """Whether there is an action to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone action."""
        return bool(self._future)

    def record(self, now: Snapshot) -> None:
        """Record the state before an action; what was undone is forgotten."""
        self._past.append(now)
        self._future.clear()

    def undo(self, now: Snapshot) -> Snapshot:
        """Return the state before the last action; `now` can be returned to by `redo`."""
        if not self._past:
            raise ActionError("undo at the start", "an action to undo", "act first")
        self._future.append(now)
        return self._past.pop()

    def redo(self, now: Snapshot) -> Snapshot:
        """Return the state that was left by the last undo."""
        if not self._future:
            raise ActionError("redo without an undone action", "an undone action", "undo one first")
        self._past.append(now)
        return self._future.pop()

    def mark(self, name: str, now: Snapshot) -> None:
        """Keep a state under a name."""
        if name not in self.marks and len(self.marks) >= MARKS:
            raise ActionError(f"checkpoint {MARKS + 1}", f"at most {MARKS} checkpoints", "use one of their names again")
        self.marks[name] = now

    def marked(self, name: str) -> Snapshot:
        """State with a name."""
        if name not in self.marks:
            raise ActionError(
                f"checkpoint {name}", ", ".join(self.marks) or "a checkpoint that was made", "make it first"
            )
        return self.marks[name]

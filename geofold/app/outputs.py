"""Where the files of one run go, whether they can go there, and what is in them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geofold.app.result import numbered, require_trajectory_name
from geofold.errors import OptionError
from geofold.files import STANDARD, require_writable

if TYPE_CHECKING:
    from geofold.app.result import Result


@dataclass(frozen=True)
class Targets:
    """Paths of what `repair` or `constrain` writes.

    Attributes
    ----------
    output, trajectory, report, view : str or None
        Structure, path, numbers and page.
    offline : bool
        3Dmol.js goes into the page.
    models : int
        Structures at most, the second and on under numbered names.
    """

    output: str
    trajectory: str | None = None
    report: str | None = None
    view: str | None = None
    offline: bool = False
    models: int = 1

    def given(self) -> list[str]:
        """The paths as they were given."""
        return [path for path in (self.output, self.trajectory, self.report, self.view) if path is not None]

    def further(self, models: int) -> list[str]:
        """Paths of the second model and on, of so many."""
        return [numbered(self.output, rank) for rank in range(2, models + 1)]

    def require(self) -> None:
        """Complain before a long run.

        Raises
        ------
        OptionError, OutputError
        """
        paths = self.given()
        if len({os.path.realpath(path) for path in paths}) < len(paths):
            raise OptionError(f"the same output twice ({', '.join(paths)})", "a file of its own for each", "rename one")
        for path in paths:
            require_writable(path)
        if self.trajectory is not None:
            require_trajectory_name(self.trajectory)
        if self.output == STANDARD and self.models > 1:
            raise OptionError(f"{self.models} models on standard output", "a file name", "give one with -o")

    def contents(self, result: Result) -> dict[str, bytes]:
        """Every file of a result, by its path."""
        outputs = {self.output: result.content}
        further = self.further(len(result.models))
        outputs |= {path: other.content for path, other in zip(further, result.others, strict=True)}
        if self.trajectory is not None:
            outputs[self.trajectory] = result.trajectory_content(self.trajectory)
        if self.report is not None:
            outputs[self.report] = result.report_text().encode()
        if self.view is not None:
            outputs[self.view] = result.page(offline=self.offline).encode()
        return outputs

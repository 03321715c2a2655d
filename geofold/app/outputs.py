"""Where the files of one run go, whether they can go there, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geofold.app.result import BINARY_TRAJECTORIES, numbered, require_trajectory_name
from geofold.errors import OptionError
from geofold.files import encoded, temporary_folder
from geofold.paths import STANDARD, require_apart, require_writable

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

    def every(self) -> list[str]:
        """Every path that may be written: as given, and those of further models."""
        return [*self.given(), *self.further(self.models)]

    def require(self, inputs: Mapping[str, str] | None = None) -> None:
        """Refuse, before a long run, what cannot be written or would replace something that is read.

        Parameters
        ----------
        inputs : mapping of str to str
            Paths that are read, by what they are.

        Raises
        ------
        OptionError, OutputError
        """
        if self.output == STANDARD and self.models > 1:
            raise OptionError(f"{self.models} models on standard output", "a file name", "give one with -o")
        for path in self.every():
            require_writable(path)
        require_apart(self.every(), inputs)
        if self.trajectory is not None and require_trajectory_name(self.trajectory) in BINARY_TRAJECTORIES:
            with temporary_folder():
                pass

    def contents(self, result: Result) -> dict[str, bytes]:
        """Every file of a result, by its path."""
        outputs = {self.output: result.content}
        further = self.further(len(result.models))
        outputs |= {path: other.content for path, other in zip(further, result.others, strict=True)}
        if self.trajectory is not None:
            outputs[self.trajectory] = result.trajectory_content(self.trajectory)
        if self.report is not None:
            outputs[self.report] = encoded(result.report_text())
        if self.view is not None:
            outputs[self.view] = encoded(result.page(offline=self.offline))
        return outputs

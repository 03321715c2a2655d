"""Output files of one run: their paths, the checks before the run, and their contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geofold.app.result import BINARY_TRAJECTORIES, require_trajectory_name
from geofold.errors import OptionError
from geofold.files import encoded, temporary_folder
from geofold.paths import STANDARD, numbered, require_apart, require_writable

if TYPE_CHECKING:
    from geofold.app.result import Result


@dataclass(frozen=True)
class Targets:
    """Paths of the files that `repair` or `constrain` writes.

    Attributes
    ----------
    output, trajectory, report, view : str or None
        Structure, trajectory, JSON report and HTML page.
    offline : bool
        Whether the page contains 3Dmol.js instead of a link to it.
    models : int
        Maximum number of structures; those after the first get numbered names.
    """

    output: str
    trajectory: str | None = None
    report: str | None = None
    view: str | None = None
    offline: bool = False
    models: int = 1

    def requested_paths(self) -> list[str]:
        """List the paths that were given."""
        return [path for path in (self.output, self.trajectory, self.report, self.view) if path is not None]

    def further_paths(self, models: int) -> list[str]:
        """List the paths of the second to the last of `models` models."""
        return [numbered(self.output, rank) for rank in range(2, models + 1)]

    def all_paths(self) -> list[str]:
        """List every path that may be written: those given, and those of further models."""
        return [*self.requested_paths(), *self.further_paths(self.models)]

    def require(self, inputs: Mapping[str, str] | None = None, *, as_json: bool = False) -> None:
        """Refuse, before a long run, outputs that cannot be written or would replace an input.

        Parameters
        ----------
        inputs : mapping of str to str, optional
            Paths to read, by their role ("input", "report").
        as_json : bool
            Whether the report is printed on standard output.

        Raises
        ------
        OptionError
            For several contents on standard output, a trajectory of an unknown format, or a page with another suffix.
        OutputError
            For an output that cannot be written, is named twice or is an input.
        """
        if self.output == STANDARD and self.models > 1:
            raise OptionError(f"{self.models} models on standard output", "a file name", "give one with -o")
        if as_json and STANDARD in self.requested_paths():
            given, remedy = "an output and --json, both on standard output", "give the output a file name"
            raise OptionError(given, "one of them there", remedy)
        for path in self.all_paths():
            require_writable(path)
        require_apart(self.all_paths(), inputs)
        if self.view is not None:
            require_page_name(self.view)
        if self.trajectory is not None and require_trajectory_name(self.trajectory) in BINARY_TRAJECTORIES:
            with temporary_folder():
                pass

    def require_format(self, content: bytes | None, name: str | None) -> None:
        """Refuse, before a long run, an output whose suffix belongs to another format than the run writes.

        Parameters
        ----------
        content : bytes or None
            Content of the input; None if the structure is built from a sequence, which is written as PDB.
        name : str or None
            Name of the input in messages.

        Raises
        ------
        OptionError
            For a suffix of another format.
        InputFileError
            If the input is not a structure.
        """
        from geofold.molecule.io.content import unpack
        from geofold.molecule.io.pdb_reader import PDB
        from geofold.molecule.io.read import recognise, require_suffix

        label = name or "standard input"
        form = PDB if content is None else recognise(unpack(content, label), label)
        require_suffix(self.output, form.written_as)

    def contents(self, result: Result) -> dict[str, bytes]:
        """Return the contents of every output file of a result, by path."""
        outputs = {self.output: result.content}
        further_paths = self.further_paths(len(result.models))
        outputs |= {path: other.content for path, other in zip(further_paths, result.others, strict=True)}
        if self.trajectory is not None:
            outputs[self.trajectory] = result.trajectory_content(self.trajectory)
        if self.report is not None:
            outputs[self.report] = encoded(result.report_text())
        if self.view is not None:
            outputs[self.view] = encoded(result.page(offline=self.offline))
        return outputs


def require_page_name(path: str) -> None:
    """Refuse a name for a page by which no browser would open it.

    Raises
    ------
    OptionError
        For a suffix other than .html and .htm.
    """
    if path != STANDARD and not path.lower().endswith((".html", ".htm")):
        raise OptionError(f"page {path}", "a name ending in .html", "rename it")

"""What a run hands back: coordinates, path, report, and how to save and show them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.energies import infinite
from geofold.app.viewer.notebook import NotebookView
from geofold.errors import OptionError
from geofold.files import require_writable, temporary_folder, write_all
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import links_among
from geofold.streams import say
from geofold.terminal import printable_values

if TYPE_CHECKING:
    import mdtraj

FRAMES_SHOWN = 200
"""A viewer page or PDB trajectory holds at most so many frames, evenly taken from the path; DCD and XTC hold all."""

BINARY_TRAJECTORIES = (".dcd", ".xtc")
DCD_DATE = slice(180, 260)
"""Bytes of a DCD file's second remark, where mdtraj writes the time of day."""


@dataclass(frozen=True)
class Result:
    """Outcome of `repair` or `constrain`.

    Attributes
    ----------
    structure : Structure
        The input (with side-chain atoms added where the moving part lacked them).
    xyz : (n_atoms, 3)
        End coordinates in nm, as precise as the file holds them.
    frames : (T, n_atoms, 3)
        Path from start to end in nm.
    content : bytes
        The output file.
    report : dict
        Numbers before and after, schema ``geofold-report/1``.
    altloc : str or None
        The conformer that moved.
    spans : tuple of (int, int)
        First and last residue of each stretch that moved.
    others : tuple of Result
        Further models, the next best first, where several were asked for.
    """

    structure: Structure
    xyz: NDArray[np.float64]
    frames: NDArray[np.float64]
    content: bytes
    report: dict[str, Any]
    altloc: str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    others: tuple[Result, ...] = ()

    @property
    def models(self) -> tuple[Result, ...]:
        """This and the others, best first."""
        return (self, *self.others)

    @property
    def passed(self) -> bool:
        """Whether the result kept every promise of its audit."""
        return bool(self.report["audit"]["passed"])

    @property
    def trajectory(self) -> mdtraj.Trajectory:
        """The path as an mdtraj trajectory (one conformer, all residues)."""
        from geofold.plugins.mdtraj import trajectory_from

        return trajectory_from(self.structure, self.frames, self.altloc)

    def like(self, source: Any) -> Any:
        """The end in the kind of object that `repair` or `constrain` was given, atoms in its order.

        An mdtraj.Trajectory of one frame, a copy of a Bio.PDB Structure, positions in A for MDAnalysis
        (``atoms.positions = ...``), an OpenMM Quantity for a topology with positions. Atoms that were added have no
        place in it.

        Raises
        ------
        OptionError
            For a path, another object than the run was given, or a loop that was built.
        """
        from geofold.app.sources import with_coordinates

        if "built" in self.report:
            raise OptionError("a loop that was built", "a result with the atoms of its source",
                              "use save or trajectory, which hold the new residues")  # fmt: skip
        return with_coordinates(source, self.structure, self.xyz)

    def save(self, path: str | Path) -> None:
        """Write the structure, in the format of the input, whole or not at all (.gz: compressed)."""
        require_writable(str(path))
        write_all({str(path): self.content})

    def trajectory_content(self, path: str | Path) -> bytes:
        """The path as a file's bytes: multi-model PDB, DCD or XTC by the name's ending."""
        suffix = require_trajectory_name(path)
        if suffix not in BINARY_TRAJECTORIES:
            return self.structure.trajectory_pdb(self._shown(), altloc=self.altloc)
        with temporary_folder() as folder:
            file = folder / f"path{suffix}"
            self.trajectory.save(str(file))
            content = file.read_bytes()
        return content if suffix != ".dcd" else _without_date(content)

    def report_text(self) -> str:
        """The report as JSON, keys in a fixed order."""
        return json.dumps(self.report, indent=2, ensure_ascii=False) + "\n"

    def summary(self) -> str:
        """A few lines for people; also printed."""
        text = summary(self.report)
        say(text)
        return text

    def page(self, *, offline: bool = False) -> str:
        """The viewer page as HTML."""
        from geofold.app.viewer import page as viewer

        title = f"geofold {self.report['command']}: {self.report['input']['name']}"
        links = [(link.i, link.j) for link in links_among(self.structure, self.structure.steering(self.altloc))]
        return viewer.page(
            self._shown_text(), self.report, title=title, offline=offline, links=links,
            energy="energy_kj_mol" in self.report["after"],
        )  # fmt: skip

    def view(self) -> NotebookView:
        """The viewer page for a notebook's cell; its `py3dmol` gives the scene to draw more into."""
        from geofold.app.viewer import page as viewer

        return NotebookView(self.page(), lambda: viewer.view(self._shown_text(), self.report))

    def _shown_text(self) -> str:
        return self.structure.trajectory_pdb(self._shown(), altloc=self.altloc).decode()

    def _shown(self) -> NDArray[np.float64]:
        return self.frames[shown_frames(len(self.frames))]


def _without_date(dcd: bytes) -> bytes:
    """A DCD file whose remarks do not tell when it was written: the same path gives the same bytes."""
    remark = dcd[DCD_DATE]
    if not remark.startswith(b"REMARKS Created"):
        raise ValueError("mdtraj writes the remarks of DCD files in another place")
    return dcd[: DCD_DATE.start] + b"REMARKS".ljust(len(remark)) + dcd[DCD_DATE.stop :]


def shown_frames(count: int) -> NDArray[np.int64]:
    """Which of so many frames a page shows."""
    return np.unique(np.linspace(0, count - 1, min(count, FRAMES_SHOWN)).round().astype(np.int64))


def require_trajectory_name(path: str | Path) -> str:
    """Ending of a trajectory's name, lower case; standard output and .pdb.gz count as PDB.

    Raises
    ------
    OptionError
        For an ending that is none of .pdb, .dcd and .xtc.
    """
    name = str(path).lower()
    suffix = ".pdb" if name == "-" or name.endswith(".pdb.gz") else Path(name).suffix
    if suffix not in (".pdb", ".dcd", ".xtc"):
        raise OptionError(f"trajectory {path}", "a name ending in .pdb, .dcd or .xtc", "rename it")
    return suffix


def numbered(path: str, rank: int) -> str:
    """Name of a further model: ``fixed.pdb`` becomes ``fixed.2.pdb``, ``fixed.cif.gz`` ``fixed.2.cif.gz``."""
    packed = ".gz" if path.lower().endswith(".gz") else ""
    stem, ending = os.path.splitext(path[: len(path) - len(packed)])
    return f"{stem}.{rank}{ending}{path[len(path) - len(packed) :]}"


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines of printable characters."""
    report = printable_values(report)
    before, after = report["before"], report["after"]
    lines = [f"{report['command']} of {report['input']['name']}: {_what(report)}"]

    def row(name: str, one: Any, two: Any, unit: str = "") -> None:
        lines.append(f"  {name:<26}{one!s:>12} -> {two!s:>12} {unit}".rstrip())

    if "built" in report:  # what was missing has no other numbers before
        row("missing residues", before["missing_residues"], after["missing_residues"])
    row("severe overlaps", before.get("severe_overlaps", "-"), after["severe_overlaps"])
    row("Ramachandran outliers", before.get("ramachandran", {}).get("outliers", "-"), after["ramachandran"]["outliers"])
    row("cis peptide bonds", before.get("cis_peptide_bonds", "-"), after["cis_peptide_bonds"])
    if "energy_kj_mol" in after:
        none = "infinite" if infinite(before) else "-"
        start = f"{before['energy_kj_mol']:.0f}" if "energy_kj_mol" in before else none
        row("energy", start, f"{after['energy_kj_mol']:.0f}", f"kJ/mol ({after['force_field']})")
    for contact in report.get("contacts", []):
        row(contact["contact"], contact["before_angstrom"], contact["after_angstrom"], "A")
    moved = report["moved"]
    furthest = moved["max_displacement_angstrom"]
    for built in report.get("built", []):
        told = f"{built['sequence']} (sequence: {built['sequence_from']})"
        lines.append(f"  built {built['residues']} {told}, {built['atoms']} atoms")
    if "built" not in report:
        lines.append(f"  moved {moved['atoms']} atoms of {len(moved['residues'])} residues, at most {furthest} A")
    for loop, told in zip(report.get("loops", []), report.get("confidence", []), strict=False):
        near, far = told["from_angstrom"], told["to_angstrom"]
        lines.append(f"  {loop}: expected within {near}-{far} A of the native (backbone RMSD, two in three)")
    failed = [c["name"] for c in report["audit"]["checks"] if not c["passed"]]
    lines.append("  audit: passed" if not failed else f"  audit: FAILED: {', '.join(failed)}")
    return "\n".join(lines)


def _what(report: dict[str, Any]) -> str:
    """What was worked on."""
    if report["command"] == "repair":
        return ", ".join(report.get("loops", [])) or "no loop is in trouble"
    return "whole chain"

"""Result of a run: coordinates, trajectory and report, with methods to save and show them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.summary import summary, target_of
from geofold.errors import OptionError
from geofold.files import temporary_folder, write_all
from geofold.molecule.io.read import recognise, require_suffix
from geofold.molecule.io.write import trajectory_pdb
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import links_among
from geofold.paths import require_writable
from geofold.streams import say

if TYPE_CHECKING:
    import mdtraj


BINARY_TRAJECTORIES = (".dcd", ".xtc")
DCD_DATE = slice(180, 260)
"""Bytes of a DCD file's second remark, which mdtraj fills with the date."""


@dataclass(frozen=True, repr=False)
class Result:
    """Outcome of `repair` or `constrain`.

    Attributes
    ----------
    structure : Structure
        The input, with missing side-chain atoms of the moving residues added.
    xyz : (n_atoms, 3)
        Final coordinates (nm), at the precision of the output file.
    frames : (T, n_atoms, 3)
        Trajectory from the initial to the final coordinates (nm).
    content : bytes
        Content of the output file.
    report : dict
        Measurements before and after the run, schema ``geofold-report/1``.
    altloc : str or None
        The conformer that moved.
    spans : tuple of (int, int)
        First and last residue index of each segment that moved.
    others : tuple of Result
        Further models, best first, if several were requested.
    """

    structure: Structure
    xyz: NDArray[np.float64]
    frames: NDArray[np.float64]
    content: bytes
    report: dict[str, Any]
    altloc: str | None = None
    spans: tuple[tuple[int, int], ...] = ()
    others: tuple[Result, ...] = ()

    def __repr__(self) -> str:
        """Return the command, its target, and whether the audit passed."""
        audit = "passed" if self.passed else "failed"
        name = self.report["input"]["name"]
        return f"<Result of {self.report['command']} of {name}: {target_of(self.report)}, audit {audit}>"

    @property
    def models(self) -> tuple[Result, ...]:
        """Results of all models, best first."""
        return (self, *self.others)

    @property
    def passed(self) -> bool:
        """Whether the result passed every check of its audit."""
        return bool(self.report["audit"]["passed"])

    @property
    def trajectory(self) -> mdtraj.Trajectory:
        """The frames as an mdtraj trajectory (one conformer, all residues)."""
        from geofold.plugins.mdtraj import trajectory_from

        return trajectory_from(self.structure, self.frames, self.altloc)

    def like(self, source: Any) -> Any:
        """Return the final coordinates as the kind of object that was given to `repair` or `constrain`.

        Parameters
        ----------
        source : toolkit object
            The object that the run was given; atoms keep its order, and atoms added by the run are left out.

        Returns
        -------
        object
            An mdtraj.Trajectory of one frame, a copy of a Bio.PDB Structure, Model or Chain, positions (A) for
            MDAnalysis (``atoms.positions = ...``), or an OpenMM Quantity for a topology with positions.

        Raises
        ------
        OptionError
            For a path, an object other than the one the run was given, or a result with a built loop or caps.
        """
        from geofold.app.sources import with_coordinates

        if "built" in self.report or self.report.get("caps", {}).get("added"):
            raise OptionError(
                "residues that were added",
                "a result with the atoms of its source",
                "use save or trajectory, which hold the new residues",
            )
        return with_coordinates(source, self.structure, self.xyz)

    def to_openmm(self) -> Any:
        """Return the written structure as an `openmm.app.Modeller`, with built residues and added atoms."""
        import io

        from openmm.app import Modeller, PDBFile, PDBxFile

        reader = PDBxFile if recognise(self.content, "the result").written_as == "mmCIF" else PDBFile
        file = reader(io.StringIO(self.content.decode()))
        return Modeller(file.topology, file.positions)

    def save(self, path: str | Path) -> None:
        """Write the structure atomically, in the format of the input (.gz: compressed).

        Raises
        ------
        OutputError
            If the file cannot be written.
        OptionError
            If the suffix belongs to another format.
        """
        require_writable(str(path))
        require_suffix(str(path), recognise(self.content, str(path)).written_as)
        write_all({str(path): self.content})

    def trajectory_content(self, path: str | Path) -> bytes:
        """Render the trajectory as multi-model PDB, DCD or XTC, by the suffix of `path`."""
        suffix = require_trajectory_name(path)
        if suffix not in BINARY_TRAJECTORIES:
            return trajectory_pdb(self.structure, self._shown(), altloc=self.altloc)
        with temporary_folder() as folder:
            file = folder / f"path{suffix}"
            self.trajectory.save(str(file))
            content = file.read_bytes()
        return content if suffix != ".dcd" else _without_date(content)

    def report_text(self) -> str:
        """Render the report as JSON, with keys in a fixed order."""
        return json.dumps(self.report, indent=2, ensure_ascii=False) + "\n"

    def summary(self) -> str:
        """Print and return the summary of the report."""
        text = summary(self.report)
        say(text)
        return text

    def page(self, *, offline: bool = False) -> str:
        """Render the viewer page as HTML; `offline` embeds 3Dmol.js."""
        from geofold.app.viewer import page as viewer

        title = f"geofold {self.report['command']}: {self.report['input']['name']}"
        links = [(link.i, link.j) for link in links_among(self.structure, self.structure.conformer(self.altloc))]
        return viewer.page(
            self._shown_text(),
            self.report,
            title=title,
            offline=offline,
            links=links,
            energy="energy_kj_mol" in self.report["after"],
            compared=[
                (f"model {rank}", trajectory_pdb(other.structure, other.xyz[None], altloc=other.altloc).decode())
                for rank, other in enumerate(self.others, 2)
            ],
        )

    def view(self, width: int = 720, height: int = 480) -> Any:
        """Return a `py3Dmol.view` of the trajectory, with a slider; its methods draw more into it.

        The page with plots and tables is `page`.

        Parameters
        ----------
        width, height : int, optional
            Size in pixels.
        """
        from geofold.app.viewer.slider import view_with_slider

        return view_with_slider(self._shown_text(), self.report, width=width, height=height)

    def _shown_text(self) -> str:
        return trajectory_pdb(self.structure, self._shown(), altloc=self.altloc).decode()

    def _shown(self) -> NDArray[np.float64]:
        from geofold.app.viewer.frames import shown_frames

        return self.frames[shown_frames(len(self.frames))]


def _without_date(dcd: bytes) -> bytes:
    """Remove the date from a DCD file, so that the same trajectory gives the same bytes."""
    remark = dcd[DCD_DATE]
    if not remark.startswith(b"REMARKS Created"):
        raise ValueError("mdtraj writes the remarks of DCD files in another place")
    return dcd[: DCD_DATE.start] + b"REMARKS".ljust(len(remark)) + dcd[DCD_DATE.stop :]


def require_trajectory_name(path: str | Path) -> str:
    """Return the lower-case suffix of a trajectory's name; standard output and .pdb.gz count as PDB.

    Raises
    ------
    OptionError
        For a suffix other than .pdb, .dcd and .xtc.
    """
    name = str(path).lower()
    suffix = ".pdb" if name == "-" or name.endswith(".pdb.gz") else Path(name).suffix
    if suffix not in (".pdb", ".dcd", ".xtc"):
        raise OptionError(f"trajectory {path}", "a name ending in .pdb, .dcd or .xtc", "rename it")
    return suffix

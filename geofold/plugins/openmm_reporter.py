"""OpenMM reporter of torsions, severe overlaps and Ramachandran state of selected residues, as CSV.

simulation.reporters.append(TorsionReporter("torsions.csv", 1000, ["A:45-56"]))
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from geofold.errors import CoordinateError, OptionError, OutputError
from geofold.molecule.analysis.residue_monitor import ResidueMonitor
from geofold.molecule.energy.ramachandran import ALLOWED, FAVOURED, OUTLIER, UNDEFINED
from geofold.molecule.selection import parse_range
from geofold.plugins.openmm import structure_from_openmm

if TYPE_CHECKING:
    from openmm import State
    from openmm.app import Simulation

COLUMNS = (
    "step",
    "time_ps",
    "residue",
    "resname",
    "phi_deg",
    "psi_deg",
    "omega_deg",
    "ramachandran",
    "percentile",
    "severe_overlaps",
)
STATE_NAMES = {FAVOURED: "favoured", ALLOWED: "allowed", OUTLIER: "outlier", UNDEFINED: ""}


class TorsionReporter:
    """Reporter with one line per residue and report; undefined values (phi of the first residue) are empty.

    Parameters
    ----------
    file : str, Path or text file
        A path is opened and flushed at each report, and closed by `close`.
    interval : int
        Number of steps between reports.
    residues : sequence of str
        Ranges such as ``A:45-56``, with the chain ids of the topology; all amino acids by default.
    append : bool
        Append to a file that already has its header.

    Raises
    ------
    GeofoldError
        On creation if a range or the file is invalid; before the first step if the topology lacks a residue.
    """

    def __init__(
        self, file: str | Path | TextIO, interval: int, residues: str | Sequence[str] = (), *, append: bool = False
    ) -> None:
        if interval < 1:
            raise OptionError(f"interval {interval}", "at least 1 step", "give another interval")
        self._ranges = [residues] if isinstance(residues, str) else list(residues)
        for text in self._ranges:
            parse_range(text)
        self._interval, self._headed = interval, append
        self._monitor: ResidueMonitor | None = None
        self._opened = isinstance(file, (str, Path))
        self._out: Any = _open(file, append) if isinstance(file, (str, Path)) else file

    def describeNextReport(self, simulation: Simulation) -> dict[str, Any]:
        """Step of the next report, and the data that it needs: positions of whole molecules."""
        if self._monitor is None:
            from openmm import unit

            start = simulation.context.getState(positions=True).getPositions(asNumpy=True)
            start = start.value_in_unit(unit.nanometer)
            self._monitor = ResidueMonitor.of(structure_from_openmm(simulation.topology, start), self._ranges)
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": False, "include": ["positions"]}

    def report(self, simulation: Simulation, state: State) -> None:
        """Write the lines of one state of a simulation."""
        from openmm import unit

        if self._monitor is None:
            self.describeNextReport(simulation)
        assert self._monitor is not None
        xyz = np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=np.float64)
        if not np.isfinite(xyz).all():
            raise CoordinateError(
                f"positions of step {simulation.currentStep} that are not numbers",
                "finite numbers",
                "take a shorter time step, or minimise first",
            )
        lines = csv.writer(self._out, lineterminator="\n")
        if not self._headed:
            lines.writerow(COLUMNS)
            self._headed = True
        time = f"{state.getTime().value_in_unit(unit.picosecond):.6g}"
        measured = self._monitor.evaluate(xyz)
        for row, k in enumerate(self._monitor.residues.tolist()):
            residue = self._monitor.structure.residues[k]
            angles = [_format(np.degrees(part[row]), 2) for part in (measured.phi, measured.psi, measured.omega)]
            lines.writerow(
                [
                    simulation.currentStep,
                    time,
                    residue.label,
                    residue.resname,
                    *angles,
                    STATE_NAMES[int(measured.verdict[row])],
                    _format(measured.percentile[row], 4),
                    int(measured.overlaps[row]),
                ]
            )
        self._out.flush()

    def close(self) -> None:
        """Close the file if the reporter opened it."""
        if self._opened:
            self._out.close()

    def __del__(self) -> None:
        if getattr(self, "_out", None) is not None:
            self.close()


def _open(path: str | Path, append: bool) -> TextIO:
    try:
        return open(path, "a" if append else "w", encoding="utf-8", newline="")
    except OSError as error:
        found = f"{path} cannot be written ({error.strerror})"
        raise OutputError(found, "a path that can be written", "check the path") from error


def _format(value: float, digits: int) -> str:
    return "" if np.isnan(value) else f"{value:.{digits}f}"

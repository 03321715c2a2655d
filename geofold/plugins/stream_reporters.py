"""Reporters of OpenMM and mdtraj on a stream of geofold: each step is reported as if a simulation had made it.

A stream has positions; it has no velocities, forces, energies or temperature, and its steps have no time.

steering.reporters.append(openmm.app.DCDReporter("path.dcd", 10))
live.reporters.append(mdtraj.reporters.XTCReporter("path.xtc", 1))
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from geofold.errors import OptionError
from geofold.molecule.io.write import trajectory_pdb
from geofold.molecule.structure import Floats, Structure

STEP_TIME = 0.001
"""Time (ps) that a step counts as for reporters that write one."""
REQUESTS = ("steps", "positions", "velocities", "forces", "energy")
"""Entries of a reporter's tuple, in their order."""
UNKNOWN = ("velocities", "forces", "energy")


class StreamReporters:
    """Calls reporters with the steps of a stream.

    Parameters
    ----------
    structure : Structure
    reporters : sequence
        Reporters of OpenMM or mdtraj, or objects with the same two methods; more may be added to a list later.
    altloc : str, optional
        Conformer that is reported.
    """

    def __init__(self, structure: Structure, reporters: Sequence[Any], altloc: str | None = None) -> None:
        self._structure, self._reporters = structure, reporters
        self._atoms = np.flatnonzero(structure.conformer(altloc))
        self._altloc = altloc
        self._simulation: Any = None
        self._due: dict[int, tuple[Any, int]] = {}

    def report(self, step: int, xyz: Floats) -> None:
        """Report a step to every reporter that is due.

        Parameters
        ----------
        step : int
            Number of the step, from 1 on.
        xyz : (n_atoms, 3)
            Coordinates (nm).

        Raises
        ------
        OptionError
            If a reporter asks for what a stream has not: velocities, forces or energies.
        """
        if not self._reporters:
            return
        if self._simulation is None:
            self._simulation = _simulation(self._structure, self._altloc)
        present = False
        for reporter in list(self._reporters):
            if id(reporter) not in self._due:
                self._simulation.currentStep = step - 1
                self._due[id(reporter)] = (reporter, step - 1 + self._steps(reporter))
            if self._due[id(reporter)][1] > step:
                continue
            if not present:
                from openmm import unit

                self._simulation.context.setPositions(xyz[self._atoms] * unit.nanometer)
                present = True
            self._simulation.currentStep = step
            reporter.report(self._simulation, self._simulation.context.getState(positions=True))
            self._due[id(reporter)] = (reporter, step + self._steps(reporter))

    def _steps(self, reporter: Any) -> int:
        """Ask a reporter in how many steps it is due."""
        asked = reporter.describeNextReport(self._simulation)
        if isinstance(asked, dict):
            steps, wanted = int(asked["steps"]), set(asked.get("include", ()))
        else:
            steps, wanted = int(asked[0]), {name for name, flag in zip(REQUESTS[1:], asked[1:5], strict=True) if flag}
        if missing := sorted(wanted & set(UNKNOWN)):
            raise OptionError(
                f"{type(reporter).__name__}, which asks for {' and '.join(missing)}",
                "a reporter of positions",
                "switch them off, or use another reporter",
            )
        return max(steps, 1)


def _simulation(structure: Structure, altloc: str | None) -> Any:
    """Make a simulation without forces, which reporters read topology, step and state from."""
    from openmm import Platform, System, VerletIntegrator, unit
    from openmm.app import PDBFile, Simulation

    text = trajectory_pdb(structure, structure.xyz[None], altloc=altloc).decode()
    topology, system = PDBFile(io.StringIO(text)).topology, System()
    for atom in topology.atoms():
        system.addParticle(0.0 if atom.element is None else atom.element.mass)
    integrator = VerletIntegrator(STEP_TIME * unit.picosecond)
    return Simulation(topology, system, integrator, Platform.getPlatformByName("Reference"))

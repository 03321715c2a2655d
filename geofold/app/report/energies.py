"""OpenMM energies of a structure, in this process or in a background process.

This module does not need PyTorch, which takes longer to import than most energies take to evaluate: `geofold check`
evaluates the energy in a background process while it imports PyTorch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from geofold import errors
from geofold.molecule.energy.amber import AMBER14, FORCE_FIELDS, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.structure import Floats, Mask, Structure
from geofold.molecule.topology.gaps import chain_segments

ENERGY = "energy_kj_mol"
NumbersAndNotes = tuple[dict[str, Any], list[str]]
"""Measurements for the report, and notes."""


def energies(model: EnergyModel, xyz: Floats, moving: Mask) -> dict[str, Any]:
    """Evaluate the energies (kJ/mol) of coordinates.

    Infinite energies, which coinciding atoms have, are left out.

    Parameters
    ----------
    model : EnergyModel
        Force field of the structure.
    xyz : (n_atoms, 3)
        Coordinates (nm).
    moving : (n_residues,)
        Mask of the moving residues, whose Lennard-Jones energy with the fixed ones is given separately.

    Returns
    -------
    dict
    """
    values: dict[str, Any] = {
        ENERGY: round(model.energy(xyz), 2),
        "force_field": model.force_field.label,
        "lennard_jones_moving_fixed_kj_mol": round(model.lennard_jones(xyz, moving), 2),
    }
    return {key: value for key, value in values.items() if isinstance(value, str) or np.isfinite(value)}


def infinite(numbers: dict[str, Any]) -> bool:
    """Whether an energy was evaluated and left out because it is infinite."""
    return "force_field" in numbers and ENERGY not in numbers


def infinite_notes(**numbers: dict[str, Any]) -> list[str]:
    """Return notes on infinite energies; the keywords name the measurements (before, after, now)."""
    return [
        f"the energy {when} is infinite: some atoms coincide"
        for when, measured in numbers.items()
        if infinite(measured)
    ]


def energy_notes(model: EnergyModel | None) -> list[str]:
    """Return notes on residues that the energy leaves out or replaces by their standard parents."""
    notes = []
    if model is not None and model.completed.left_out:
        notes.append(
            f"the energy leaves out {', '.join(model.completed.left_out)} (no {model.force_field.name} parameters)"
        )
    if model is not None and model.completed.replaced:
        notes.append(f"the energy takes {', '.join(model.completed.replaced)} as their standard parent residues")
    return notes


def as_it_is(structure: Structure, altloc: str | None = None, force_field: ForceField = AMBER14) -> NumbersAndNotes:
    """Evaluate the energies of a structure, with every chain segment counted as moving.

    Raises
    ------
    ForceFieldError
        If the force field cannot describe a residue.
    """
    moving = np.zeros(len(structure.residues), dtype=bool)
    for first, last in chain_segments(structure):
        moving[first : last + 1] = last > first
    model = EnergyModel.of(structure, structure.conformer(altloc), force_field=force_field)
    numbers = energies(model, structure.xyz, moving)
    return numbers, energy_notes(model) + infinite_notes(now=numbers)


@dataclass(frozen=True, eq=False)
class BackgroundEnergy:
    """`as_it_is` in a background process; a context that ends the process on exit.

    Parameters
    ----------
    altloc : str or None
        The conformer whose energy is evaluated.
    process : subprocess.Popen or None
        None if no process could be started; `result` then evaluates in this process.
    force_field : ForceField
        One of `FORCE_FIELDS`.
    """

    altloc: str | None
    process: subprocess.Popen[bytes] | None
    force_field: ForceField = AMBER14

    @classmethod
    def start(cls, content: bytes, altloc: str | None, force_field: ForceField = AMBER14) -> BackgroundEnergy:
        """Start the process, if a temporary file and another process can be had."""
        command = [sys.executable, "-P", "-m", __name__, force_field.name, *([] if altloc is None else [altloc])]
        try:
            with tempfile.TemporaryFile() as file:
                file.write(content)
                file.seek(0)
                # a file instead of a pipe, which would block until the new process has finished its imports
                process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            return cls(altloc, None, force_field)
        return cls(altloc, process, force_field)

    def __enter__(self) -> BackgroundEnergy:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def result(self, structure: Structure) -> NumbersAndNotes:
        """Return the energies and notes of a structure that was read from the same content.

        Raises
        ------
        ForceFieldError
            If the force field cannot describe a residue.
        """
        if self.process is None:
            return as_it_is(structure, self.altloc, self.force_field)
        assert self.process.stdout is not None
        text = self.process.stdout.read()
        if self.process.wait() or not text:
            return as_it_is(structure, self.altloc, self.force_field)  # the failure may be that process's only
        answer = json.loads(text)
        if "error" in answer:
            raise getattr(errors, answer["error"])(*answer["parts"])
        return answer["numbers"], answer["notes"]


def _main(arguments: list[str]) -> None:
    """Print the energies of the structure on standard input as JSON.

    The arguments are the name of the force field and, optionally, the conformer.
    """
    name, *altloc = arguments
    try:
        structure = read(sys.stdin.buffer.read())
        numbers, notes = as_it_is(structure, altloc[0] if altloc else None, FORCE_FIELDS[name])
        answer: dict[str, Any] = {"numbers": numbers, "notes": notes}
    except errors.GeofoldError as error:
        answer = {"error": type(error).__name__, "parts": [error.given, error.expected, error.remedy]}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main(sys.argv[1:])

"""What OpenMM says of a structure as it is, here or in a process of its own.

Nothing here needs PyTorch, which takes longer to import than most energies to evaluate: `geofold check` has the one
done while it does the other.
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
from geofold.molecule.energy.amber import NAME
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.structure import Floats, Mask, Structure
from geofold.molecule.topology.gaps import stretches

ENERGY = "energy_kj_mol"
NumbersAndNotes = tuple[dict[str, Any], list[str]]
"""What a report gets."""


def energies(model: EnergyModel, xyz: Floats, moving: Mask) -> dict[str, Any]:
    """Energies of coordinates (n_atoms, 3) in nm; `moving` (n_residues,) are those that others are held against.

    One that is infinite, because atoms coincide, is left out.
    """
    told: dict[str, Any] = {
        ENERGY: round(model.energy(xyz), 2),
        "force_field": NAME,
        "lennard_jones_moving_fixed_kj_mol": round(model.lennard_jones(xyz, moving), 2),
    }
    return {key: value for key, value in told.items() if isinstance(value, str) or np.isfinite(value)}


def infinite(numbers: dict[str, Any]) -> bool:
    """Whether the energy among some numbers was evaluated and left out."""
    return "force_field" in numbers and ENERGY not in numbers


def infinite_notes(**numbers: dict[str, Any]) -> list[str]:
    """What to say of energies that were left out, by when they were taken."""
    return [
        f"the energy {when} is infinite: atoms stand in the very same place"
        for when, told in numbers.items()
        if infinite(told)
    ]


def energy_notes(model: EnergyModel | None) -> list[str]:
    """What the energy left out or took for something else."""
    notes = []
    if model is not None and model.completed.left_out:
        notes.append(f"the energy leaves out {', '.join(model.completed.left_out)} (no amber14 parameters)")
    if model is not None and model.completed.replaced:
        notes.append(f"the energy takes {', '.join(model.completed.replaced)} as their standard parent residues")
    return notes


def as_it_is(structure: Structure, altloc: str | None = None) -> NumbersAndNotes:
    """Energies of a structure, every stretch of its chains free to move.

    Raises
    ------
    ForceFieldError
        If the force field cannot make sense of a residue.
    """
    moving = np.zeros(len(structure.residues), dtype=bool)
    for first, last in stretches(structure):
        moving[first : last + 1] = last > first
    model = EnergyModel.of(structure, structure.steering(altloc))
    numbers = energies(model, structure.xyz, moving)
    return numbers, energy_notes(model) + infinite_notes(now=numbers)


@dataclass(frozen=True, eq=False)
class Aside:
    """`as_it_is` in a process of its own; a context, at whose end that is over, asked for its result or not.

    Parameters
    ----------
    altloc
        The conformer whose energy is evaluated.
    process
        None where none could be started; then `result` evaluates here.
    """

    altloc: str | None
    process: subprocess.Popen[bytes] | None

    @classmethod
    def begun(cls, content: bytes, altloc: str | None) -> Aside:
        """Begin it, where there is room for a temporary file and another process."""
        command = [sys.executable, "-P", "-m", __name__, *([] if altloc is None else [altloc])]
        try:
            with tempfile.TemporaryFile() as file:
                file.write(content)
                file.seek(0)
                # a file and no pipe: it need not be held out to a process that is still importing
                process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            return cls(altloc, None)
        return cls(altloc, process)

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def result(self, structure: Structure) -> NumbersAndNotes:
        """Numbers and notes of a structure that was read from the same source.

        Raises
        ------
        ForceFieldError
            As `as_it_is`.
        """
        if self.process is None:
            return as_it_is(structure, self.altloc)
        assert self.process.stdout is not None
        text = self.process.stdout.read()
        if self.process.wait() or not text:
            return as_it_is(structure, self.altloc)  # whatever befell that process may not befall this one
        told = json.loads(text)
        if "error" in told:
            raise getattr(errors, told["error"])(*told["parts"])
        return told["numbers"], told["notes"]


def _main(arguments: list[str]) -> None:
    """Energies of the structure on standard input, as JSON."""
    try:
        numbers, notes = as_it_is(read(sys.stdin.buffer.read()), arguments[0] if arguments else None)
        told: dict[str, Any] = {"numbers": numbers, "notes": notes}
    except errors.GeofoldError as error:
        told = {"error": type(error).__name__, "parts": [error.given, error.expected, error.remedy]}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    _main(sys.argv[1:])

"""OpenMM energies of a structure, now or in a background thread.

This module does not need PyTorch, which takes longer to import than most energies take to evaluate: `geofold check`
evaluates the energy in a thread, in which OpenMM leaves the interpreter to the main thread, while it imports PyTorch.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from geofold.errors import ForceFieldError
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.structure import Floats, Mask, Structure
from geofold.molecule.topology.gaps import chain_segments

ENERGY = "energy_kj_mol"
LARGEST_WHOLE = 3000
"""Amino acids of a structure whose energy is evaluated as a whole: about a minute."""
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
        If the force field cannot describe a residue, or there are too many.
    """
    amino = sum(structure.is_amino_acid(k) for k in range(len(structure.residues)))
    if amino > LARGEST_WHOLE:
        raise ForceFieldError(
            f"{amino:,} amino acids",
            f"at most {LARGEST_WHOLE:,}, because an energy without a cutoff takes time with the square of their number",
            "check a part of the structure for its energy",
        )
    moving = np.zeros(len(structure.residues), dtype=bool)
    for first, last in chain_segments(structure):
        moving[first : last + 1] = last > first
    model = EnergyModel.of(structure, structure.conformer(altloc), force_field=force_field)
    numbers = energies(model, structure.xyz, moving)
    return numbers, energy_notes(model) + infinite_notes(now=numbers)


@dataclass(frozen=True, eq=False)
class BackgroundEnergy:
    """`as_it_is` in a thread; a context that waits for the thread on exit, except after Ctrl-C.

    Parameters
    ----------
    thread : threading.Thread
    future : Future
        Its result or exception.
    """

    thread: threading.Thread
    future: Future[NumbersAndNotes]

    @classmethod
    def start(cls, structure: Structure, altloc: str | None, force_field: ForceField = AMBER14) -> BackgroundEnergy:
        """Start the evaluation of one conformer of a structure."""
        # before the thread: an import of the same packages by two threads at once can fail
        import pdbfixer  # noqa: F401

        future = Future[NumbersAndNotes]()

        def evaluate() -> None:
            try:
                future.set_result(as_it_is(structure, altloc, force_field))
            except BaseException as error:
                future.set_exception(error)

        # a daemon, so that the interpreter does not wait for it after Ctrl-C
        thread = threading.Thread(target=evaluate, name="energy", daemon=True)
        thread.start()
        return cls(thread, future)

    def __enter__(self) -> BackgroundEnergy:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not KeyboardInterrupt:
            self.thread.join()  # a thread must not end inside OpenMM

    def result(self, _: Structure) -> NumbersAndNotes:
        """Return the energies and notes of the structure.

        Raises
        ------
        ForceFieldError
            If the force field cannot describe a residue.
        """
        return self.future.result()

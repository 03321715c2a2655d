"""Energies of the conformations of one structure: hydrogens and an OpenMM System are made once, at their first use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geofold.modelling.options import RunOptions
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.structure import Floats, Structure


@dataclass(frozen=True, eq=False)
class EnergySource:
    """Force field of the options for the atoms of a structure.

    Attributes
    ----------
    structure : Structure
        Its coordinates decide tautomers, and where hydrogens are that no other conformation moves.
    options : RunOptions
    only : collection of int or None
        Residues that are included; all if None.
    """

    structure: Structure
    options: RunOptions
    only: Collection[int] | None = None

    @classmethod
    def of(cls, structure: Structure, options: RunOptions, only: Collection[int] | None = None) -> EnergySource | None:
        """Return the source of energies, or None if the options ask for none."""
        return cls(structure, options, only) if options.energy else None

    @cached_property
    def model(self) -> EnergyModel:
        """Energy model of the structure's coordinates."""
        return EnergyModel.of(
            self.structure,
            self.structure.conformer(self.options.altloc),
            seed=self.options.seed,
            only=self.only,
            force_field=self.options.force_field_value,
        )

    def prepare(self) -> None:
        """Make the model now.

        Raises
        ------
        ForceFieldError
            If a residue cannot be completed or has no template.
        """
        self.model  # noqa: B018 (made at its first use)

    def model_at(self, xyz: Floats) -> EnergyModel:
        """Energy model with hydrogens placed for coordinates (n_atoms, 3) in nm."""
        return self.model.at(xyz)

    def energy(self, xyz: Floats) -> float:
        """Energy (kJ/mol) of coordinates (n_atoms, 3) in nm with their hydrogens; infinite if atoms coincide.

        Raises
        ------
        ForceFieldError
            If a residue cannot be completed or has no template.
        """
        return self.model_at(np.asarray(xyz)).energy(xyz)

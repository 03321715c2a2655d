"""An energy of a part of a protein: whole residues around, no piece of a chain too short for the force field."""

from __future__ import annotations

import numpy as np
from app_cases import STRUCTURES

from geofold.molecule.energy.all_atom import region
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.selection import find_range


def test_a_region_holds_what_is_near_in_pieces_of_three_at_least() -> None:
    structure = read(STRUCTURES / "1ubi.pdb")
    places = structure.xyz[structure.residue_of == 20]
    found = region(structure, places, 0.6)
    near = np.sqrt(((structure.xyz[:, None] - places) ** 2).sum(-1)).min(1) < 0.6
    assert set(structure.residue_of[near].tolist()) <= found < set(range(len(structure.residues)))
    own = sorted(k for k in found if structure.is_amino_acid(k))
    pieces = np.split(np.array(own), np.flatnonzero(np.diff(own) > 1) + 1)
    last = max(k for k in range(len(structure.residues)) if structure.is_amino_acid(k))
    assert all(len(piece) >= 3 for piece in pieces) and own[-1] <= last


def test_energies_of_a_region_distinguish_models_as_those_of_all_residues_do() -> None:
    structure = read(STRUCTURES / "1ubi.pdb")
    first, last = find_range(structure, "A:46-52")
    ends = [structure.xyz, *(perturb_loop(structure, first, last, seed=k, target=0.4) for k in range(2))]
    moving = np.flatnonzero((structure.residue_of >= first) & (structure.residue_of <= last))
    around = region(structure, np.concatenate([xyz[moving] for xyz in ends]), 1.2)
    assert len(around) < 0.9 * len(structure.residues)
    conformer = structure.conformer_mask
    whole, part = (EnergyModel.of(structure, conformer, only=only) for only in (None, around))
    told, seen = (np.array([model.energy(xyz) for xyz in ends]) for model in (whole, part))
    np.testing.assert_allclose(seen - seen[0], told - told[0], rtol=0.05, atol=10.0)

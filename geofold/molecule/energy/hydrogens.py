"""Hydrogens by OpenMM's Modeller with a private random generator.

``Modeller.addHydrogens`` draws the initial position of each hydrogen from Python's global generator and relaxes it.
The global generator is shared by all threads: seeding it would change their results, and their draws would change the
hydrogens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import FunctionType
from typing import Any

from geofold.molecule.energy.amber import AMBER14, ForceField

PH = 7.0


def add_hydrogens(
    topology: Any,
    positions: Any,
    variants: Sequence[str | None],
    *,
    seed: int,
    platform: Any,
    force_field: ForceField = AMBER14,
) -> Any:
    """Add the hydrogens that a force field needs at pH 7.

    Parameters
    ----------
    topology, positions
        OpenMM topology and positions with complete heavy atoms; existing hydrogens are kept.
    variants : sequence of str or None
        OpenMM variant (protonation state) of each residue; None selects it by pH and hydrogen bonds.
    seed : int
        Seed of the initial positions; results are bitwise reproducible.
    platform
        OpenMM platform on which the hydrogens are relaxed with fixed heavy atoms, which removes overlaps.
    force_field : ForceField
        Force field that relaxes them, without solvent.

    Returns
    -------
    openmm.app.Modeller
        Model with hydrogens.

    Raises
    ------
    RuntimeError
        If the installed OpenMM does not draw from the ``random`` module.
    """
    import openmm.app

    modeller = openmm.app.Modeller(topology, positions)
    parameters = openmm.app.ForceField(*force_field.files)
    _drawing_from(random.Random(seed))(modeller, parameters, PH, list(variants), platform)
    return modeller


def _drawing_from(generator: random.Random) -> FunctionType:
    """Copy of ``Modeller.addHydrogens`` in which the name ``random`` refers to a given generator.

    The copy has its own global namespace. No shared state changes, so no lock is needed; replacing the name in
    OpenMM's module would affect all threads that run the function.
    """
    from openmm.app import Modeller

    method = Modeller.addHydrogens
    names = method.__globals__
    if names.get("random") is not random:
        raise RuntimeError("this version of OpenMM does not draw hydrogen positions from the random module")
    return FunctionType(method.__code__, names | {"random": generator}, argdefs=method.__defaults__)

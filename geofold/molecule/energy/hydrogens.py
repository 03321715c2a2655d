"""Hydrogens by OpenMM's Modeller, placed by random numbers of our own.

``Modeller.addHydrogens`` starts each hydrogen at a place that it draws from Python's global generator, and relaxes it
from there. That generator belongs to the whole process: to seed it would change what other threads draw, and what they
draw meanwhile would change our hydrogens.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import FunctionType
from typing import Any

PH = 7.0


def add_hydrogens(topology: Any, positions: Any, variants: Sequence[str | None], *, seed: int, platform: Any) -> Any:
    """OpenMM Modeller with the hydrogens that ff14SB needs at pH 7.

    Parameters
    ----------
    topology, positions
        OpenMM topology and its positions, heavy atoms complete; hydrogens that are there stay.
    variants : sequence of str or None
        Protonation state of each residue by OpenMM's name; None: by pH and hydrogen bonds.
    seed : int
        The same seed gives the same bits, whatever other threads draw.
    platform
        OpenMM Platform on which the hydrogens are relaxed, the heavy atoms held: without that they overlap.
    """
    import openmm.app

    modeller = openmm.app.Modeller(topology, positions)
    forcefield = openmm.app.ForceField("amber14/protein.ff14SB.xml")
    _drawing_from(random.Random(seed))(modeller, forcefield, PH, list(variants), platform)
    return modeller


def _drawing_from(generator: random.Random) -> FunctionType:
    """``Modeller.addHydrogens`` in which the name ``random`` means this generator and not Python's module.

    The function gets a copy of its module's names. Nothing that others see is changed, so it needs no lock; replacing
    the name in the module itself would be seen by every other thread that is inside the function.
    """
    from openmm.app import Modeller

    method = Modeller.addHydrogens
    names = method.__globals__
    if names.get("random") is not random:
        raise RuntimeError("this version of OpenMM draws the places of hydrogens in another way")
    return FunctionType(method.__code__, names | {"random": generator}, argdefs=method.__defaults__)

"""amber14 with Born implicit solvent as an OpenMM System.

The implicit solvent is OpenMM's native ``GBSAOBCForce`` with the parameters of ``implicit/obc2.xml``, whose
CustomGBForce is four times slower: radius = or + 0.009 nm, scale = sr / or, solvent dielectric 78.5. The energies agree
to 1e-6.
"""

from __future__ import annotations

from typing import Any

from geofold.errors import ForceFieldError

FORCE_FIELD = ("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
NAME = "amber14 (ff14SB) + OBC2"
BORN_OFFSET = 0.009
"""Offset of the Born radius in OBC2 (nm)."""


def amber_system(topology: Any) -> Any:
    """Create the amber14 + OBC2 (CustomGBForce) system of a complete topology, without cutoff and constraints.

    Raises
    ------
    ForceFieldError
        If a residue matches no template.
    """
    import openmm.app

    try:
        return openmm.app.ForceField(*FORCE_FIELD).createSystem(
            topology, nonbondedMethod=openmm.app.NoCutoff, constraints=None, rigidWater=False
        )
    except ValueError as error:
        raise ForceFieldError(
            f"{NAME} has no template for a residue ({error})",
            "standard amino acids after PDBFixer",
            "remove or rename the residue, or run with --no-energy",
        ) from error


def native_born(system: Any) -> Any:
    """Replace the CustomGBForce of ``implicit/obc2.xml`` by OpenMM's native GBSAOBCForce, in place."""
    import openmm

    index = next(i for i, f in enumerate(system.getForces()) if isinstance(f, openmm.CustomGBForce))
    custom = system.getForce(index)
    born = openmm.GBSAOBCForce()
    born.setSolventDielectric(78.5)
    born.setSoluteDielectric(1.0)
    born.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    for i in range(custom.getNumParticles()):
        charge, offset_radius, scaled = custom.getParticleParameters(i)
        born.addParticle(charge, offset_radius + BORN_OFFSET, scaled / offset_radius)
    system.removeForce(index)
    system.addForce(born)
    return system

"""Amber force fields with Born implicit solvent as values, each of which makes OpenMM Systems.

A `ForceField` names the parameter files that OpenMM ships. OBC2 is OpenMM's native ``GBSAOBCForce`` with the parameters
of ``implicit/obc2.xml``, whose CustomGBForce is four times slower: radius = or + 0.009 nm, scale = sr / or, solvent
dielectric 78.5. The energies agree to 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geofold.errors import ForceFieldError

SOLVENT_FILES = {"OBC2": "implicit/obc2.xml"}
"""OpenMM's parameter file of each implicit solvent (OBC2: Onufriev, Bashford and Case, Proteins 55, 383, 2004)."""
BORN_OFFSET = 0.009
"""Offset of the Born radius in OBC2 (nm)."""


@dataclass(frozen=True)
class ForceField:
    """A force field of proteins with all hydrogens.

    Parameters
    ----------
    name : str
        Short name, the value of ``--force-field``.
    title : str
        Name in reports, without the solvent.
    files : tuple of str
        OpenMM's XML files of the protein's parameters.
    implicit_solvent : str or None
        Key of `SOLVENT_FILES`; None for vacuum.

    Raises
    ------
    ForceFieldError
        For an implicit solvent that is not among `SOLVENT_FILES`.
    """

    name: str
    title: str
    files: tuple[str, ...]
    implicit_solvent: str | None = "OBC2"

    def __post_init__(self) -> None:
        if self.implicit_solvent is not None and self.implicit_solvent not in SOLVENT_FILES:
            raise ForceFieldError(
                f"implicit solvent {self.implicit_solvent} of force field {self.name}",
                f"{' or '.join(SOLVENT_FILES)}, or None for vacuum",
                "choose one of them",
            )

    @property
    def label(self) -> str:
        """Name in reports: title and solvent."""
        return self.title if self.implicit_solvent is None else f"{self.title} + {self.implicit_solvent}"

    def system(self, topology: Any) -> Any:
        """Create the openmm.System of a complete topology, with OpenMM's native solvent.

        Raises
        ------
        ForceFieldError
            If a residue matches no template.
        """
        system = self.official_system(topology)
        return system if self.implicit_solvent is None else native_born(system)

    def official_system(self, topology: Any) -> Any:
        """Create the System with the solvent as in OpenMM's file (CustomGBForce), without cutoff and constraints.

        Raises
        ------
        ForceFieldError
            If a residue matches no template.
        """
        import openmm.app

        solvent = () if self.implicit_solvent is None else (SOLVENT_FILES[self.implicit_solvent],)
        try:
            return openmm.app.ForceField(*self.files, *solvent).createSystem(
                topology, nonbondedMethod=openmm.app.NoCutoff, constraints=None, rigidWater=False
            )
        except ValueError as error:
            raise ForceFieldError(
                f"{self.label} has no template for a residue ({error})",
                "standard amino acids after PDBFixer",
                "remove or rename the residue, or run with --no-energy",
            ) from error


AMBER14 = ForceField("amber14", "amber14 (ff14SB)", ("amber14/protein.ff14SB.xml",))
"""Default force field (Maier et al., J. Chem. Theory Comput. 11, 3696, 2015)."""
AMBER19 = ForceField("amber19", "amber19 (ff19SB)", ("amber19/protein.ff19SB.xml",))
"""Backbone maps (CMAP) for each amino acid (Tian et al., J. Chem. Theory Comput. 16, 528, 2020)."""
AMBER99SB_ILDN = ForceField("amber99sbildn", "amber99SB-ILDN", ("amber99sbildn.xml",))
"""Side-chain torsions of Ile, Leu, Asp and Asn refitted (Lindorff-Larsen et al., Proteins 78, 1950, 2010)."""
FORCE_FIELDS = {field.name: field for field in (AMBER14, AMBER19, AMBER99SB_ILDN)}
"""Force fields by the name that options take."""


def labelled_force_field(label: object) -> ForceField:
    """Force field with a label that a report holds; the default one for an unknown label."""
    return next((field for field in FORCE_FIELDS.values() if field.label == label), AMBER14)


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

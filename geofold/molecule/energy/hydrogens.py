"""Hydrogens that a force field needs at a pH, 7 by default: which of them, and their bonds.

The rules are those of OpenMM's ``Modeller.addHydrogens``, read from the same table (``hydrogens.xml``): acids and bases
as at that pH, cysteines in disulfides without a hydrogen, the tautomer of a histidine by its hydrogen bonds. Positions
come from the geometry of the heavy atoms (`geofold.molecule.energy.hydrogen_geometry`), not from a minimisation, and
need no random numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from geofold.errors import ForceFieldError
from geofold.geometry import unit_vectors

PH = 7.0
HISTIDINE_PH = 6.5
"""Highest pH at which a histidine has both hydrogens on its ring, as in OpenMM."""
HYDROGEN_BOND = 0.35
"""Largest distance (nm) between donor and acceptor."""
HYDROGEN_BOND_ANGLE = 50.0
"""Largest angle (degrees) between the directions donor to hydrogen and hydrogen to acceptor."""
Floats = NDArray[np.float64]


class Hydrogen(NamedTuple):
    """A hydrogen of a residue in the table.

    Attributes
    ----------
    name, parent : str
        Its name, and that of the atom that carries it.
    variants : frozenset of str or None
        Variants of the residue that have it; all if None.
    max_ph : float
        Highest pH at which it is there, for a residue without a variant.
    ends : str or None
        Chain ends at which it is there: "N", "C"; everywhere if None.
    """

    name: str
    parent: str
    variants: frozenset[str] | None
    max_ph: float
    ends: str | None


class Protonated(NamedTuple):
    """A topology with hydrogens.

    Attributes
    ----------
    topology : openmm.app.Topology
        Each added hydrogen follows the atom that carries it.
    origin : (p,) int
        Atom of the given topology that each particle was; -1 for added hydrogens.
    """

    topology: Any
    origin: NDArray[np.int64]


@lru_cache(maxsize=1)
def hydrogen_table() -> dict[str, tuple[Hydrogen, ...]]:
    """OpenMM's table of hydrogens, by the name of the residue."""
    import openmm.app

    root = ElementTree.parse(Path(openmm.app.__file__).parent / "data" / "hydrogens.xml").getroot()
    table = {}
    for residue in root.iter("Residue"):
        table[residue.attrib["name"]] = tuple(
            Hydrogen(
                entry.attrib["name"],
                entry.attrib["parent"],
                frozenset(entry.attrib["variant"].split(",")) if "variant" in entry.attrib else None,
                float(entry.attrib.get("maxph", "inf")),
                entry.attrib.get("terminal"),
            )
            for entry in residue.iter("H")
        )
    return table


def protonate(topology: Any, xyz: Floats, variants: Sequence[str | None], ph: float = PH) -> Protonated:
    """Add the hydrogens that residues lack at a pH.

    Parameters
    ----------
    topology : openmm.app.Topology
        Topology with complete heavy atoms; its hydrogens stay, except those that a given variant does not have.
    xyz : (n, 3)
        Coordinates (nm), by which the tautomers of histidines are chosen.
    variants : sequence of str or None
        Variant (protonation state) of each residue in OpenMM's table; None chooses it.
    ph : float
        By which acids, bases and cysteines are protonated, as by OpenMM; a histidine has both hydrogens up to 6.5.

    Returns
    -------
    Protonated

    Raises
    ------
    ForceFieldError
        If a residue has more hydrogens on an atom than the force field.
    """
    import openmm.app
    from openmm.app import element

    atoms = list(topology.atoms())
    bonded = [[atoms[k] for k in around] for around in bonded_particles(topology)]
    new, made, origin = openmm.app.Topology(), dict[int, Any](), list[int]()
    acceptors = [atom for atom in atoms if atom.element in (element.oxygen, element.nitrogen)]
    for chain in topology.chains():
        new_chain, residues = new.addChain(chain.id), list(chain.residues())
        for residue in residues:
            new_residue = new.addResidue(residue.name, new_chain, residue.id, residue.insertionCode)
            given = variants[residue.index]
            variant = _choose_variant(residue, bonded, xyz, acceptors, ph) if given is None else given
            ends = "N" * (residue is residues[0]) + "C" * (residue is residues[-1])
            expected = _expected(residue, variant, ends, ph)
            for atom in residue.atoms():
                if given is not None and atom.element is element.hydrogen and not _is_expected(atom, expected):
                    continue
                made[atom.index] = new.addAtom(atom.name, atom.element, new_residue)
                origin.append(atom.index)
                present = [other.name for other in bonded[atom.index] if other.element is element.hydrogen]
                for name in _missing(expected[atom.name], present):
                    new.addBond(made[atom.index], new.addAtom(name, element.hydrogen, new_residue))
                    origin.append(-1)
    for bond in topology.bonds():
        if bond[0].index in made and bond[1].index in made:
            new.addBond(made[bond[0].index], made[bond[1].index], bond.type, bond.order)
    return Protonated(new, np.array(origin, dtype=np.int64))


def bonded_particles(topology: Any) -> list[list[int]]:
    """List the indices of the atoms bonded to each atom of an OpenMM topology."""
    bonded: list[list[int]] = [[] for _ in range(topology.getNumAtoms())]
    for one, two in topology.bonds():
        bonded[one.index].append(two.index)
        bonded[two.index].append(one.index)
    return bonded


def _expected(residue: Any, variant: str | None, ends: str, ph: float) -> dict[str, list[str]]:
    """Names of the hydrogens of a residue at some chain ends, by the name of the atom that carries them."""
    names = defaultdict(list)
    for hydrogen in hydrogen_table().get(residue.name, ()):
        by_variant = hydrogen.variants is not None and variant is not None
        there = variant in (hydrogen.variants or ()) if by_variant else hydrogen.max_ph >= ph
        if there and (hydrogen.ends is None or any(end in hydrogen.ends for end in ends)):
            names[hydrogen.parent].append(hydrogen.name)
    return names


def _is_expected(atom: Any, expected: dict[str, list[str]]) -> bool:
    return any(atom.name in names for names in expected.values())


def _missing(expected: list[str], present: list[str]) -> list[str]:
    """Names that are missing on an atom; a hydrogen with another name counts as the last of them."""
    missing = [name for name in expected if name not in present]
    return missing[: max(len(expected) - len(present), 0)]


def _choose_variant(residue: Any, bonded: list[list[Any]], xyz: Floats, acceptors: list[Any], ph: float) -> str | None:
    """Variant of a cysteine or a histidine by its bonds; None for other residues."""
    if residue.name == "CYS":
        sulphur = [atom for atom in residue.atoms() if atom.name == "SG"]
        linked = any(other.residue is not residue for atom in sulphur for other in bonded[atom.index])
        return "CYX" if linked else None
    if residue.name != "HIS":
        return None
    return "HIP" if ph <= HISTIDINE_PH else _choose_tautomer(residue, bonded, xyz, acceptors)


def _choose_tautomer(residue: Any, bonded: list[list[Any]], xyz: Floats, acceptors: list[Any]) -> str:
    """Tautomer of a histidine: by its hydrogens or, if it has none, by the hydrogen bonds that each could form."""
    nitrogens = [atom for atom in residue.atoms() if atom.name in ("ND1", "NE2")]
    if [atom.name for atom in nitrogens] != ["ND1", "NE2"]:
        raise ForceFieldError("a histidine without ND1 or NE2", "complete side chains", "run with --no-energy")
    delta, epsilon = (any(other.element.symbol == "H" for other in bonded[atom.index]) for atom in nitrogens)
    if delta or epsilon:
        return "HIP" if delta and epsilon else "HID" if delta else "HIE"
    others = [atom.index for atom in acceptors if atom.residue is not residue]
    donates = []
    for atom in nitrogens:
        around = np.array([xyz[other.index] for other in bonded[atom.index]])
        outward = unit_vectors((xyz[atom.index] - around).sum(0))
        donates.append(_donates(xyz[atom.index], xyz[atom.index] + 0.1 * outward, xyz[others]))
    return "HIE" if donates == [False, True] else "HID"


def _donates(donor: Floats, hydrogen: Floats, acceptors: Floats) -> bool:
    """Whether a donor with its hydrogen forms a hydrogen bond with one of the acceptors (n, 3)."""
    near = acceptors[np.linalg.norm(acceptors - donor, axis=-1) <= HYDROGEN_BOND]
    cosine = unit_vectors(near - hydrogen) @ unit_vectors(hydrogen - donor)
    return bool((cosine > np.cos(np.radians(HYDROGEN_BOND_ANGLE))).any())

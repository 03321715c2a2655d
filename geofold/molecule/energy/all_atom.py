"""Missing atoms by PDBFixer: side chains that the file lacks, and the hydrogens that a force field needs.

Only amino acids and caps of chains enter: waters, ions, ligands, and amino acids in lactams and other covalent links,
have no parameters in amber14 and take no part in the energy, which the report says. A chain that is broken is cut
there, so that no force pulls across it.

Everything random inside PDBFixer and OpenMM is drawn from the seed, nothing from a generator that other threads share,
and OpenMM runs on one thread, because its CPU platform gives the same bits only then.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.errors import ForceFieldError
from geofold.molecule.energy.hydrogens import add_hydrogens
from geofold.molecule.energy.pdbfixer_input import pdb_text, pieces
from geofold.molecule.residues import AMINO_NAMES
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.bonds import is_complete
from geofold.molecule.topology.covalent_links import covalent_links

CAPS = {
    "ACE": {"C", "O", "CH3"},
    "NME": {"N", "C", "CH3"},
    "NMA": {"N", "C", "CH3"},
    "NH2": {"N"},
    "NHE": {"N"},
}
"""What closes the ends of a chain (acetyl, methylamide, amide) with the heavy atoms by which OpenMM knows it."""
VARIANTS = {
    "HID": "HID",
    "HSD": "HID",
    "HIE": "HIE",
    "HSE": "HIE",
    "HIP": "HIP",
    "HSP": "HIP",
    "ASH": "ASH",
    "GLH": "GLH",
    "LYN": "LYN",
}
"""Protonation states by the names that force fields give them; whether a cysteine is bonded, its sulphur tells."""
ALIAS = {("MSE", "SD"): "SE", ("ILE", "CD1"): "CD"}
"""Atoms that OpenMM knows by another name than the file."""
FLANK = 2
"""Residues on either side of each of a region."""


@dataclass(frozen=True)
class Completed:
    """An all-atom model of the amino acids.

    Attributes
    ----------
    topology, xyz
        OpenMM topology and its coordinates (p, 3) in nm.
    source : (p,) int
        Atom of the structure that each particle stands for; -1 for atoms that were added.
    residue : (p,) int
        Residue index in the structure of each particle.
    left_out : tuple of str
        Names of residues that took no part (waters, ligands, ions), amino acids that are joined to no other, and amino
        acids whose covalent links no template has.
    replaced : tuple of str
        Residues that were turned into their standard parent (e.g. MSE into MET).
    """

    topology: Any
    xyz: NDArray[np.float64]
    source: NDArray[np.int64]
    residue: NDArray[np.int64]
    left_out: tuple[str, ...]
    replaced: tuple[str, ...]


def platform() -> Any:
    """OpenMM's CPU platform on one thread (Reference where there is none): same input, same bits."""
    import openmm

    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    chosen = openmm.Platform.getPlatformByName("CPU" if "CPU" in names else "Reference")
    if chosen.getName() == "CPU":
        chosen.setPropertyDefaultValue("Threads", "1")
    return chosen


def complete(
    structure: Structure,
    steering: NDArray[np.bool_],
    *,
    hydrogens: bool,
    seed: int = 0,
    only: Collection[int] | None = None,
) -> Completed:
    """All-atom model of the steering conformer's amino acids.

    Parameters
    ----------
    hydrogens : bool
        Add hydrogens at pH 7 (those of the input stay); without, only heavy atoms are looked after.
    only
        Residues that enter, as `region` gives them; None: all.

    Raises
    ------
    ForceFieldError
        If PDBFixer or OpenMM cannot make sense of a residue, or no two amino acids are joined.
    """
    import pdbfixer

    known = AMINO_NAMES | set(pdbfixer.pdbfixer.substitutions)
    kept = [
        k
        for k, r in enumerate(structure.residues)
        if (structure.is_amino_acid(k) and r.resname in known) or _is_cap(structure, k, steering)
    ]
    left_out = sorted(
        {structure.residues[k].resname for k in range(len(structure.residues))}
        - {structure.residues[k].resname for k in kept}
    )
    # amber14 has no parameters for a link; what a residue gave up for it would be built onto its partner
    tied = _tied(structure, steering, kept)
    left_out += [structure.residues[k].label for k in tied]
    kept = [k for k in kept if k not in tied and (only is None or k in only)]
    # amber14 has templates for the two ends of a chain, and none for what is both
    alone = [piece[0] for piece in pieces(structure, kept) if len(piece) == 1] if hydrogens else []
    left_out += [structure.residues[k].label for k in alone]
    kept = [k for k in kept if k not in alone]
    if not kept:
        raise ForceFieldError(
            "no two standard amino acids are joined to one another",
            "a protein that amber14 knows",
            "give one, or run with --no-energy",
        )
    text = pdb_text(structure, steering, kept)
    try:
        fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(text))
        fixer.platform = platform()
        fixer.missingResidues = {}
        fixer.findNonstandardResidues()
        replaced = tuple(structure.residues[kept[r.index]].label for r, _ in fixer.nonstandardResidues)
        fixer.replaceNonstandardResidues()
        fixer.findMissingAtoms()
        lacking = frozenset(residue.index for residue in fixer.missingAtoms)
        _bare(fixer, lacking)
        fixer.addMissingAtoms(seed=seed + 1)
        if hydrogens:
            variants = [VARIANTS.get(structure.residues[k].resname) for k in kept]
            modeller = add_hydrogens(fixer.topology, fixer.positions, variants, seed=seed, platform=platform())
            fixer.topology, fixer.positions = modeller.topology, modeller.positions
    except ForceFieldError:
        raise
    except Exception as error:
        raise ForceFieldError(
            f"PDBFixer cannot complete the protein ({error})",
            "amino acids that PDBFixer knows",
            "remove or rename the residue it names, or run with --no-energy",
        ) from error
    return _mapped(structure, steering, kept, fixer, tuple(left_out), replaced, lacking)


def _is_cap(structure: Structure, k: int, steering: NDArray[np.bool_]) -> bool:
    """Whether a residue closes the end of a chain, and by atoms that OpenMM knows."""
    residue = structure.residues[k]
    atoms = residue.atoms[steering[residue.atoms]]
    heavy = {str(structure.name[a]) for a in atoms if structure.element[a] not in ("H", "D")}
    return residue.resname in CAPS and heavy <= CAPS[residue.resname]


def _tied(structure: Structure, steering: NDArray[np.bool_], kept: list[int]) -> list[int]:
    """Amino acids that no template fits because of a covalent link: those bound to another, and those that lack an atom
    where a ligand is bound. One that is glycosylated has all of its heavy atoms, and a hydrogen in the sugar's place.
    """
    found = set()
    for link in covalent_links(structure, steering):
        ends = [int(structure.residue_of[atom]) for atom in link]
        both = all(structure.is_amino_acid(k) for k in ends)
        found |= {k for k in ends if k in kept and (both or not is_complete(structure, k, steering))}
    return sorted(found)


def _bare(fixer: Any, residues: Collection[int]) -> None:
    """Take the hydrogens from residues that lack heavy atoms: they may stand where those will."""
    import openmm.app

    spare = [
        atom
        for residue in fixer.topology.residues()
        if residue.index in residues
        for atom in residue.atoms()
        if atom.element.symbol == "H"
    ]
    if spare:
        modeller = openmm.app.Modeller(fixer.topology, fixer.positions)
        modeller.delete(spare)
        fixer.topology, fixer.positions = modeller.topology, modeller.positions
        fixer.findMissingAtoms()


def region(structure: Structure, places: NDArray[np.float64], reach: float) -> frozenset[int]:
    """Residues with an atom within `reach` (nm) of places (p, 3), and `FLANK` more on either side of each, so that no
    piece of a chain is too short for a force field's templates of chain ends."""
    close = np.isfinite(cKDTree(places).query(structure.xyz, distance_upper_bound=reach)[0])
    found = set(structure.residue_of[close].tolist())
    last = len(structure.residues) - 1
    for _ in range(FLANK):
        beside = {n for k in found for n in (k - 1, k + 1) if 0 <= n <= last and structure.bonded(*sorted((k, n)))}
        found |= beside
    return frozenset(found)


def missing_atoms(
    structure: Structure, first: int, last: int, *, altloc: str | None = None, seed: int = 0
) -> list[AddedAtom]:
    """Side-chain atoms that residues `first` to `last` lack, with coordinates built by PDBFixer."""
    steering = structure.steering(altloc)
    full = complete(structure, steering, hydrogens=False, seed=seed)
    added = []
    standard = set(full.replaced)
    for atom, source, residue, place in zip(full.topology.atoms(), full.source, full.residue, full.xyz, strict=True):
        wanted = first <= residue <= last and source < 0 and atom.name != "OXT" and atom.element.symbol != "H"
        if wanted and structure.residues[residue].label not in standard:
            added.append(AddedAtom(int(residue), atom.name, atom.element.symbol.upper(), place))
    return added


def _mapped(
    structure: Structure,
    steering: NDArray[np.bool_],
    kept: list[int],
    fixer: Any,
    left_out: tuple[str, ...],
    replaced: tuple[str, ...],
    lacking: Collection[int],
) -> Completed:
    import openmm.unit

    xyz = np.array(fixer.positions.value_in_unit(openmm.unit.nanometer), dtype=float).reshape(-1, 3)
    source, residue = [], []
    for here in fixer.topology.residues():
        k = kept[here.index]
        for atom in here.atoms():
            added = here.index in lacking and atom.element.symbol == "H"
            found = None if added else _source(structure, steering, k, atom, xyz[atom.index])
            source.append(-1 if found is None else found)
            residue.append(k)
    index = np.array(source, dtype=np.int64)
    xyz[index >= 0] = structure.xyz[index[index >= 0]]
    return Completed(fixer.topology, xyz, index, np.array(residue, dtype=np.int64), left_out, replaced)


def _source(
    structure: Structure, steering: NDArray[np.bool_], k: int, atom: Any, place: NDArray[np.float64]
) -> int | None:
    """The atom of residue k that one of OpenMM's stands for."""
    found = structure.atom(k, atom.name, steering)
    if found is None:
        found = structure.atom(k, ALIAS.get((structure.residues[k].resname, atom.name), ""), steering)
    if found is None and atom.element.symbol == "H":
        found = _renamed_hydrogen(structure, steering, k, place)
    return found


def _renamed_hydrogen(
    structure: Structure, steering: NDArray[np.bool_], k: int, place: NDArray[np.float64]
) -> int | None:
    """A hydrogen of the input that OpenMM knows by another name: it lies in the same place."""
    atoms = structure.residues[k].atoms
    own = atoms[steering[atoms] & (structure.element[atoms] == "H")]
    if not len(own):
        return None
    distance = np.linalg.norm(structure.xyz[own] - place, axis=1)
    return int(own[distance.argmin()]) if distance.min() < 2e-4 else None

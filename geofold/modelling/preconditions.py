"""Preconditions of a run: separate ranges, complete residues, unbroken chains, force-field parameters."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from geofold.errors import ContactError, CovalentLinkError, OptionError, OverlappingLoopsError
from geofold.modelling.cut_out import is_large, surroundings
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.molecule.energy.all_atom import complete
from geofold.molecule.energy.missing_atoms import missing_atoms
from geofold.molecule.energy.pdbfixer_input import pieces
from geofold.molecule.io.edit import with_atoms
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.selection import atom_label
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.bonds import is_complete


def separate(structure: Structure, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges unchanged after checking that a fixed residue separates every two of them.

    Parameters
    ----------
    structure : Structure
        The input.
    ranges : list of (int, int)
        First and last residue index of each loop.

    Raises
    ------
    OptionError
        If there is no range.
    OverlappingLoopsError
        If two ranges overlap or are adjacent.
    """
    if not ranges:
        raise OptionError("nothing to do", "--loop A:45-56, --auto, --build or --cap", "give one of them")
    for (_, end), (start, _) in zip(sorted(ranges), sorted(ranges)[1:], strict=False):
        if start <= end + 1:
            raise OverlappingLoopsError(
                f"loops that meet at {structure.residues[start].label}",
                "loops with at least one residue between them that stays",
                "join them into one range, or shorten one",
            )
    return ranges


def with_missing_atoms(
    structure: Structure, ranges: list[tuple[int, int]], options: RunOptions
) -> tuple[Structure, list[AddedAtom], Structure]:
    """Build the side-chain atoms that the moving residues lack.

    Parameters
    ----------
    structure : Structure
        The input.
    ranges : list of (int, int)
        First and last residue index of each moving segment.
    options : RunOptions
        Its `altloc`, `seed` and force field apply.

    Returns
    -------
    structure : Structure
        The completed structure.
    added : list of AddedAtom
        The atoms that were built.
    original : Structure
        The structure as given.
    """
    conformer = structure.conformer(options.altloc)
    if all(is_complete(structure, k, conformer) for first, last in ranges for k in range(first, last + 1)):
        return structure, [], structure
    only = surroundings(structure, ranges) if is_large(structure) else None
    added = [
        a
        for first, last in ranges
        for a in missing_atoms(
            structure,
            first,
            last,
            altloc=options.altloc,
            seed=options.seed,
            only=only,
            force_field=options.force_field_value,
        )
    ]
    if not added:
        return structure, [], structure
    completed = with_atoms(structure, added)
    note = f"{len(added)} missing side-chain atoms were built"
    return replace(completed, notes=(*structure.notes, note)), added, structure


def require_parameters(structure: Structure, options: RunOptions, gone: Collection[int]) -> None:
    """Check, before a long run, that the force field has parameters for every complete residue.

    Parameters
    ----------
    structure : Structure
        The input.
    options : RunOptions
        Without `energy`, nothing is checked.
    gone : collection of int
        Residues that are removed and rebuilt later; they and incomplete residues are skipped.

    Raises
    ------
    ForceFieldError
        If parameters are missing.
    """
    residues, conformer = range(len(structure.residues)), structure.conformer(options.altloc)
    intact = [k for k in residues if k not in gone and is_complete(structure, k, conformer)]
    amino = [k for k in intact if structure.is_amino_acid(k)]
    if options.energy and any(len(piece) > 1 for piece in pieces(structure, amino)):
        completed = complete(
            structure,
            conformer,
            hydrogens=True,
            seed=options.seed,
            only=set(intact),
            force_field=options.force_field_value,
        )
        options.force_field_value.system(completed.topology)


def chain_of(structure: Structure, contacts: tuple[Contact, ...]) -> tuple[int, int]:
    """Return the first and last residue of the unbroken chain segment that contains the first contact's first atom.

    Raises
    ------
    ContactError
        If a contact has no atom in this segment.
    """
    first = last = int(structure.residue_of[contacts[0].i])
    while first > 0 and structure.is_amino_acid(first - 1) and structure.bonded(first - 1, first):
        first -= 1
    end = len(structure.residues)
    while last + 1 < end and structure.is_amino_acid(last + 1) and structure.bonded(last, last + 1):
        last += 1
    require_touching(structure, contacts, first, last)
    return first, last


def require_touching(structure: Structure, contacts: tuple[Contact, ...], first: int, last: int) -> None:
    """Refuse contacts without an atom in the moving residues `first` to `last`.

    Parameters
    ----------
    structure : Structure
        The input.
    contacts : tuple of Contact
        The requested contacts.
    first, last : int
        Residue indices of the moving segment.

    Raises
    ------
    ContactError
        Naming the first such contact.
    """
    for contact in contacts:
        ends = [int(structure.residue_of[a]) for a in (contact.i, contact.j)]
        if not any(first <= k <= last for k in ends):
            raise ContactError(
                f"contact {contact.text} between residues of other chains",
                f"at least one residue of the chain that moves, {structure.residues[first].label} to "
                f"{structure.residues[last].label}",
                "constrain one chain after the other",
            )


def require_honoured(structure: Structure, move: StreamOutcome) -> None:
    """Report a covalent link that leaves a segment rigid, instead of returning it unmoved.

    Raises
    ------
    CovalentLinkError
        If the segment has no torsional freedom and a covalent link.
    """
    if move.status != "rigid" or not move.tree.links:
        return
    one, other = (atom_label(structure, atom) for atom in move.tree.links[0])
    raise CovalentLinkError(
        f"the covalent link {one} - {other} leaves the moving residues no freedom",
        "torsions that can still turn",
        "take a longer range, or remove the link's record if it is not real",
    )


def require_one(texts: list[str], options: RunOptions, *, chain_ends: int = 0) -> None:
    """Refuse several models of several loops, unless all of these are chain ends.

    Raises
    ------
    OptionError
        If more than one model of more than one loop is requested.
    """
    if options.models > 1 and len(texts) > max(chain_ends, 1):
        raise OptionError(
            f"{options.models} models of {len(texts)} loops",
            "several models of one loop or of chain ends, or one of all",
            "take one loop after the other",
        )

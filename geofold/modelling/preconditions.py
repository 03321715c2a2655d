"""What a run may move: ranges that keep apart, whole residues, whole chains."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from geofold.errors import ContactError, CovalentLinkError, OptionError, OverlappingLoopsError
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.molecule.energy.all_atom import complete, missing_atoms
from geofold.molecule.energy.pdbfixer_input import pieces
from geofold.molecule.io.edit import with_atoms
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.bonds import is_complete


def separate(structure: Structure, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges as they are, if there are any and a residue that stays lies between every two of them.

    Raises
    ------
    OptionError, OverlappingLoopsError
        Else.
    """
    if not ranges:
        raise OptionError("no loop", "at least one range such as A:45-56, or --auto", "add one with --loop")
    for (_, end), (start, _) in zip(sorted(ranges), sorted(ranges)[1:], strict=False):
        if start <= end + 1:
            raise OverlappingLoopsError(
                f"loops that meet at {structure.residues[start].label}",
                "loops with at least one residue between them that stays", "join them into one range, or shorten one",
            )  # fmt: skip
    return ranges


def with_missing_atoms(
    structure: Structure, ranges: list[tuple[int, int]], options: RunOptions
) -> tuple[Structure, list[AddedAtom], Structure]:
    """The structure with side-chain atoms that its moving residues lack; what was added; the structure as given."""
    if all(_complete(structure, k, options.altloc) for first, last in ranges for k in range(first, last + 1)):
        return structure, [], structure
    added = [
        a
        for first, last in ranges
        for a in missing_atoms(structure, first, last, altloc=options.altloc, seed=options.seed)
    ]
    if not added:
        return structure, [], structure
    whole = with_atoms(structure, added)
    note = f"{len(added)} missing side-chain atoms were built"
    return replace(whole, notes=(*structure.notes, note)), added, structure


def require_parameters(structure: Structure, options: RunOptions, gone: Collection[int]) -> None:
    """See to it that the force field knows what stays, where it is to have a say, before anything takes long.

    Residues that are `gone` or lack atoms are not looked at: they are built later.

    Raises
    ------
    ForceFieldError
        If it does not.
    """
    whole = [k for k in range(len(structure.residues)) if k not in gone and _complete(structure, k, options.altloc)]
    amino = [k for k in whole if structure.is_amino_acid(k)]
    if options.energy and any(len(piece) > 1 for piece in pieces(structure, amino)):
        complete(structure, structure.steering(options.altloc), hydrogens=True, seed=options.seed, only=set(whole))


def _complete(structure: Structure, k: int, altloc: str | None) -> bool:
    return is_complete(structure, k, structure.steering(altloc))


def chain_of(structure: Structure, contacts: tuple[Contact, ...]) -> tuple[int, int]:
    """The unbroken chain that the first contact's first atom belongs to, whole."""
    first = last = int(structure.residue_of[contacts[0].i])
    while first > 0 and structure.is_amino_acid(first - 1) and structure.bonded(first - 1, first):
        first -= 1
    end = len(structure.residues)
    while last + 1 < end and structure.is_amino_acid(last + 1) and structure.bonded(last, last + 1):
        last += 1
    require_touching(structure, contacts, first, last)
    return first, last


def require_touching(structure: Structure, contacts: tuple[Contact, ...], first: int, last: int) -> None:
    """Contacts that residues `first` to `last` can do nothing about are refused."""
    for contact in contacts:
        ends = [int(structure.residue_of[a]) for a in (contact.i, contact.j)]
        if not any(first <= k <= last for k in ends):
            raise ContactError(
                f"contact {contact.text} between residues of other chains",
                f"at least one residue of the chain that moves, {structure.residues[first].label} to "
                f"{structure.residues[last].label}", "constrain one chain after the other",
            )  # fmt: skip


def require_honoured(structure: Structure, move: StreamOutcome) -> None:
    """A link that takes the last freedom away is named, instead of a loop that silently stays."""
    if move.status != "rigid" or not move.tree.links:
        return
    i, j = move.tree.links[0]

    def told(atom: int) -> str:
        return f"{structure.residues[structure.residue_of[atom]].label}@{structure.name[atom]}"

    raise CovalentLinkError(
        f"the covalent link {told(i)} - {told(j)} leaves the moving residues no freedom",
        "torsions that can still turn",
        "take a longer range, or remove the link's record if it is not real",
    )


def require_one(texts: list[str], options: RunOptions) -> None:
    """Several models are of one loop.

    Raises
    ------
    OptionError
        If there are several loops.
    """
    if options.models > 1 and len(texts) > 1:
        raise OptionError(f"{options.models} models of {len(texts)} loops", "several models of one loop, or one of all",
                          "take one loop after the other")  # fmt: skip

"""The segment of a structure that a stream moves by hand: a whole chain, or a loop between its anchors."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.finalise import finish
from geofold.app.result import Result
from geofold.core.controller import Controller
from geofold.errors import ContactError, OptionError
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.modelling.peptide.streaming import controller, with_features
from geofold.modelling.preconditions import chain_of, require_touching, with_missing_atoms
from geofold.modelling.threads import one_thread
from geofold.molecule.peptide.contacts import Contact, parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideState
from geofold.molecule.selection import find_range
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.gaps import chain_segments

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MovingSegment:
    """Residues of a structure that move, everything else fixed. Build with `MovingSegment.of`.

    Attributes
    ----------
    structure, original : Structure
        The input with missing side-chain atoms of the segment added, and as given.
    added : list of AddedAtom
        The atoms that were added.
    first, last : int
        First and last residue index.
    loop : str or None
        Range of a loop, as given; None for a whole chain.
    options : RunOptions
    began : float
        Start of the run on `time.perf_counter` (s).
    """

    structure: Structure
    original: Structure
    added: list[AddedAtom]
    first: int
    last: int
    loop: str | None
    options: RunOptions
    began: float

    @classmethod
    def of(cls, structure: Structure, contacts: list[str], loop: str | None, options: RunOptions) -> MovingSegment:
        """Find the segment: the loop if one is given, else the chain of the contacts, else the only chain.

        Parameters
        ----------
        structure : Structure
        contacts : list of str
        loop : str or None
            Range such as A:45-56.
        options : RunOptions

        Raises
        ------
        GeofoldError
            If a contact or the loop cannot be read, or is not in the structure.
        """
        began = time.perf_counter()
        wanted = parse_contacts(structure, contacts, options.altloc)
        if loop is not None:
            first, last = find_range(structure, loop)
            require_touching(structure, wanted, first, last)
        else:
            first, last = chain_of(structure, wanted) if wanted else _only_chain(structure)
        whole, added, original = with_missing_atoms(structure, [(first, last)], options)
        return cls(whole, original, added, first, last, loop, options, began)

    def domain(self, xyz: Floats | None = None, root: int | None = None) -> PeptideDomain:
        """Domain of the segment.

        Parameters
        ----------
        xyz : (n_atoms, 3), optional
            Coordinates (nm) to start from; by default those of the structure.
        root : int, optional
            Residue of a whole chain that stays in place.
        """
        structure = self.structure if xyz is None else replace(self.structure, xyz=xyz)
        options = self.options
        domain = PeptideDomain.of(
            structure,
            self.first,
            self.last,
            cap=TORSION_CAP,
            altloc=options.altloc,
            device=options.device,
            root=root,
        )
        # the policy was trained on chains with free ends
        return domain if self.loop is not None else with_features(structure, domain, options)

    def start(self, domain: PeptideDomain) -> PeptideState:
        """Return the state of a domain of the segment before the first step.

        Raises
        ------
        OptionError
            If the segment has no free torsion.
        """
        state = domain.start(self.structure.xyz)
        if not domain.decoder.can_move(state.conformation):
            labels = [self.structure.residues[k].label for k in (self.first, self.last)]
            raise OptionError(
                f"{labels[0]} to {labels[1]}, where nothing can turn",
                "a segment with free torsions",
                "give a longer one, or one that links do not hold",
            )
        return state

    def controller(self, domain: PeptideDomain) -> Controller:
        """Return the controller of a domain of the segment."""
        return controller(self.options, domain)

    def parse(self, texts: str | Iterable[str]) -> tuple[Contact, ...]:
        """Parse contacts, each of which has to touch the segment.

        Raises
        ------
        ContactError
            If a contact cannot be read, is given twice or does not touch the segment.
        """
        wanted = parse_contacts(self.structure, texts, self.options.altloc)
        require_touching(self.structure, wanted, self.first, self.last)
        return wanted

    def result(self, command: str, outcome: StreamOutcome, *, energy: bool, **options: Any) -> Result:
        """Return the result of a stream of the segment.

        Parameters
        ----------
        command : str
            'constrain' or 'live'.
        outcome : StreamOutcome
        energy : bool
            Evaluate the force field before and after.
        **options
            Those of `finish`.
        """
        with one_thread():
            return finish(
                command,
                self.structure,
                self.original,
                self.added,
                [outcome],
                replace(self.options, energy=energy),
                self.began,
                loops=None if self.loop is None else [self.loop],
                **options,
            )


def parse_contacts(structure: Structure, texts: str | Iterable[str], altloc: str | None) -> tuple[Contact, ...]:
    """Parse contacts; raises `ContactError` if one is given twice or cannot be read."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    wanted = tuple(parse_contact(structure, text, altloc) for text in texts)
    written = [contact.text for contact in wanted]
    for text in written:
        if written.count(text) > 1:
            raise ContactError(f"contact {text!r} twice", "each contact once", "leave one out")
    return wanted


def _only_chain(structure: Structure) -> tuple[int, int]:
    segments = chain_segments(structure)
    if len(segments) != 1:
        raise ContactError(
            f"no contact, and {len(segments)} unbroken chains that could move",
            "a contact of the chain that is to move, or a loop",
            "give one such as A:3-A:10<6.0; it can be removed later",
        )
    return segments[0]

"""Live steering: a peptide or a loop streams while its contacts are added, moved and removed.

The caller owns the loop, as with the controller itself: each iteration of ``for step in steering`` is one step towards
the contacts that ``steering.contacts`` holds at its start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.result import Result
from geofold.app.start import load_or_build
from geofold.app.steering.segment import MovingSegment
from geofold.app.steering.step import SteeringStep
from geofold.core.state import ControllerState, StepInfo
from geofold.core.stream import stream
from geofold.errors import ContactError, OptionError
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.modelling.peptide.streaming import fallback_controller, goal_of, stuck_criterion
from geofold.modelling.threads import one_thread
from geofold.molecule.energy.amber import AMBER14
from geofold.molecule.peptide.contacts import Contact
from geofold.plugins.stream_reporters import StreamReporters

if TYPE_CHECKING:
    from geofold.app.steering.notebook_panel import Panel

Floats = NDArray[np.float64]
KEPT = 2000


class Steering:
    """Endless iterator over the steps of a stream whose contacts may change between steps; created by `steer`.

    Attributes
    ----------
    structure : Structure
        The input, with missing side-chain atoms of the moving chain added.
    contacts : tuple of str
        Contacts of the next step. Set it, or use `add`, `move` and `remove`; an invalid contact raises an error and
        leaves the contacts unchanged.
    wanted : tuple of Contact
        The parsed contacts.
    span : (int, int)
        First and last residue index of the chain or loop that moves.
    altloc : str or None
        The conformer that moves.
    reporters : list
        Reporters of OpenMM or mdtraj that are called with each step, as those of a simulation.
    """

    def __init__(self, segment: MovingSegment, contacts: Iterable[str], keep: int = KEPT) -> None:
        if keep < 2:
            raise OptionError(f"keep {keep}", "at least 2 frames", "give a larger number, or leave it out")
        self._segment, self._options = segment, segment.options
        self.structure, self.span, self.altloc = segment.structure, (segment.first, segment.last), self._options.altloc
        self._domain = segment.domain()
        tree, kinematics = self._domain.tree, self._domain.decoder.kinematics
        self._atoms = kinematics.atoms.cpu().numpy()
        self._carried = np.isin(self._atoms, tree.atoms)
        self._parts = segment.controller(self._domain)
        with one_thread():
            self._state = self._parts.init(self._domain, segment.start(self._domain))
        self.wanted = segment.parse(contacts)
        self._goal: tuple[Contact, ...] | None = None
        self._steps: Iterator[tuple[ControllerState, StepInfo]] = iter(())
        self._number = self._held = self._accepted = 0
        self._reached = False
        self._path: deque[Floats] = deque([self._local()], maxlen=keep)
        self._asked: deque[tuple[Contact, ...]] = deque([self.wanted], maxlen=keep)
        self._trace, self._clock = list[int](), list[float]()
        self.reporters: list[Any] = []
        self._reported = StreamReporters(self.structure, self.reporters, self.altloc)

    @property
    def contacts(self) -> tuple[str, ...]:
        """Contacts of the next step."""
        return tuple(contact.text for contact in self.wanted)

    @contacts.setter
    def contacts(self, texts: str | Iterable[str]) -> None:
        self.wanted = self._segment.parse(texts)

    def add(self, text: str) -> None:
        """Add a contact."""
        self.contacts = (*self.contacts, text)

    def remove(self, text: str) -> None:
        """Remove a contact."""
        place = self._place(text)
        self.contacts = self.contacts[:place] + self.contacts[place + 1 :]

    def move(self, old: str, new: str) -> None:
        """Replace a contact by another one, with other residues or another distance."""
        place = self._place(old)
        self.contacts = (*self.contacts[:place], new, *self.contacts[place + 1 :])

    def _place(self, text: str) -> int:
        if text.strip() not in self.contacts:
            raise ContactError(
                f"contact {text!r}, which is not among the contacts",
                f"one of {', '.join(self.contacts) or 'none'}",
                "write it as in contacts",
            )
        return self.contacts.index(text.strip())

    def __iter__(self) -> Steering:
        return self

    def __next__(self) -> SteeringStep:
        """Make one step towards the current contacts."""
        goal = goal_of(self.wanted)
        with one_thread():
            if self._goal != self.wanted:
                # the stuck criterion compares losses of one goal only, so that new contacts need a new stream
                self._goal, self._held = self.wanted, 0
                self._steps = stream(
                    self._parts,
                    self._domain,
                    self._state,
                    goal,
                    stuck_criterion=stuck_criterion(),
                    fallback_controller=fallback_controller(self._parts),
                    seed=self._options.seed + self._number,
                )
            try:
                self._state, info = next(self._steps)
            except BaseException:  # an interrupted generator has ended: the next step needs a new one
                self._goal = None
                raise
            return self._record(info)

    def _record(self, info: StepInfo) -> SteeringStep:
        domain, state = self._domain, self._state.domain
        distances = domain.distances(state.conformation.xyz, self.wanted)[0].tolist()
        self._reached = domain.reached(state, goal_of(self.wanted))
        self._held = self._held + 1 if self._reached else 0
        self._number += 1
        self._accepted += int(info.accepted[0])
        self._trace.append(int(info.inner_steps[0]))
        self._clock.append(info.milliseconds)
        self._path.append(self._local())
        self._asked.append(self.wanted)
        xyz = self.xyz
        self._reported.report(self._number, xyz)
        return SteeringStep(
            number=self._number,
            xyz=xyz,
            distances_angstrom={c.text: 10 * d for c, d in zip(self.wanted, distances, strict=True)},
            reached=self._reached,
            held=self._held,
            loss=float(info.loss_after[0]),
            terms={name: float(term[0]) for name, term in info.terms.items()},
            inner_steps=self._trace[-1],
            severe_overlaps=int(domain.sterics.count_severe(state.conformation.xyz, state.pairs)[0]),
            outliers=domain.angles.count_outliers(state.conformation.angle)[0],
            milliseconds=info.milliseconds,
        )

    @property
    def xyz(self) -> Floats:
        """Current coordinates (n_atoms, 3) of the whole structure (nm)."""
        xyz = self.structure.xyz.copy()
        xyz[self._atoms[self._carried]] = self._path[-1][self._carried]
        return xyz

    def _local(self) -> Floats:
        local: Floats = self._state.domain.conformation.xyz[0].cpu().numpy().copy()
        return local

    def result(self, *, energy: bool = True) -> Result:
        """Return the result of the steps so far, as `constrain` does; the stream can be continued.

        Parameters
        ----------
        energy : bool
            Evaluate the force field before and after.
        """
        move = StreamOutcome(
            self._domain.tree,
            self._atoms,
            np.array(self._path),
            "done" if self._reached else "stuck",
            self._parts.backbone.name,
            {self.span[0]: sum(self._trace)},
            list(self._trace),
            list(self._clock),
            self._accepted,
            sum(self._clock),
            self._parts.gate.name,
            depth=(0, *self._trace[len(self._trace) + 1 - len(self._path) :]),
        )
        return self._segment.result("constrain", move, energy=energy, contacts=self.wanted, along=list(self._asked))

    def view(self, *, width: int = 720, height: int = 480) -> Any:
        """Create a py3Dmol view (size in pixels) of the current structure and contacts."""
        from geofold.app.steering.notebook_panel import view_of

        return view_of(self, width, height)

    def panel(self, *, width: int = 720, height: int = 480) -> Panel:
        """Create widgets for a notebook: run, pause, editable contacts, and a view that is updated."""
        from geofold.app.steering.notebook_panel import Panel

        return Panel(self, width, height)


def steer(
    structure: Any = None,
    contacts: str | Iterable[str] = (),
    *,
    sequence: str | None = None,
    loop: str | None = None,
    start: str = "extended",
    seed: int = 0,
    altloc: str | None = None,
    predictor: str = PREDICTORS[0],
    step_budget: float | None = None,
    device: str = "cpu",
    force_field: str = AMBER14.name,
    keep: int = KEPT,
    name: str | None = None,
) -> Steering:
    """Stream a peptide, or a loop of a protein, whose contacts the caller may change between steps.

    Parameters
    ----------
    structure, contacts, sequence, start, altloc, predictor, step_budget, device, force_field, name
        As for `constrain`. Without a contact and without a loop, the structure's only chain moves.
    loop : str, optional
        Residues of the structure that move instead of a chain: A:45-56. The ends of the loop stay bonded to
        their neighbours. The policy of peptides is not used; the last move is proposed again.
    seed : int
        Random seed; the same input and seed give the same bytes, if the changes and their steps are the same too.
    keep : int
        Maximum number of frames in the result's trajectory; the oldest are dropped.

    Returns
    -------
    Steering
        ``for step in steering`` has no end: leave it with ``break``.

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    options = RunOptions(
        seed=seed,
        altloc=altloc,
        predictor=predictor,
        step_budget=step_budget,
        device=device,
        force_field=force_field,
    )
    contacts = [contacts] if isinstance(contacts, str) else list(contacts)
    given = load_or_build(structure, sequence, start, seed, name)
    return Steering(MovingSegment.of(given, contacts, loop, options), contacts, keep)

"""A session: a chain or a loop that is moved by hand, one controller step at a time.

A session is driven by actions (see `geofold.app.live.actions`) and by steps, from one thread. It records both, and the
same record gives the same bytes. The number of corrections that fit into a step's time is the only thing that a clock
decides, and it is part of the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app.live.actions import ANY, Script, require_action
from geofold.app.live.chain import LiveChain
from geofold.app.live.history import History, Snapshot
from geofold.app.live.recording import Recording
from geofold.app.live.restraints import FLIP_STEPS, REGIONS, Hand, Restraints, Torsion
from geofold.app.result import Result
from geofold.app.steering.segment import Floats, MovingSegment
from geofold.core.state import StepInfo
from geofold.errors import ActionError
from geofold.geometry import wrap
from geofold.modelling.outcome import StreamOutcome
from geofold.modelling.threads import one_thread
from geofold.molecule.selection import atom_label, find_residue
from geofold.plugins.stream_reporters import StreamReporters

RESTING_STEPS, RESTING_SHIFT = 10, 5e-5
"""A chain rests once no atom has moved by more than this (nm) in any of this number of steps."""


class Session:
    """A chain or loop that follows a hand.

    Parameters
    ----------
    segment : MovingSegment
    contacts : sequence of str
        Bands at the start.
    start : mapping
        Description of the start for the script.

    Attributes
    ----------
    segment : MovingSegment
    chain : LiveChain
    restraints : Restraints
    hand : Hand or None
    history, recording, script : History, Recording, Script
    paused : bool
        Whether a person has stopped the stream; steps that are asked for are made all the same.
    number : int
        Number of steps and of conformations that were set.
    reporters : list
        Reporters of OpenMM or mdtraj that are called with each of these.
    """

    def __init__(self, segment: MovingSegment, contacts: Sequence[str], start: Mapping[str, Any]) -> None:
        self.segment = segment
        with one_thread():
            self.chain = LiveChain(segment)
        self.restraints = Restraints(bands=segment.parse(contacts))
        self.hand: Hand | None = None
        self.history = History()
        self.recording = Recording(self.chain.domain, self.xyz)
        self.script = Script(start)
        self.paused = False
        self.number = self._still = 0
        self.reporters: list[Any] = []
        self._reported = StreamReporters(segment.structure, self.reporters, segment.options.altloc)

    @property
    def xyz(self) -> Floats:
        """Coordinates (n_atoms, 3) of the whole structure (nm)."""
        return self.chain.xyz

    @property
    def resting(self) -> bool:
        """Whether nothing has moved for some steps, so that more of them would change nothing that can be seen."""
        return self._still >= RESTING_STEPS

    @property
    def reached(self) -> bool:
        """Whether every band holds, without severe overlaps and Ramachandran outliers."""
        return self.chain.domain.reached(self.chain.state, self.restraints.goal(self.chain.domain, None))

    def act(self, given: Any) -> None:
        """Do an action and record it; an action that cannot be done raises an error and changes nothing.

        Parameters
        ----------
        given : mapping
            See `geofold.app.live.actions`.

        Raises
        ------
        GeofoldError
            If the action is not valid, or names something that there is not.
        """
        action = require_action(given)
        if action["do"] == "step":
            for _ in range(action["count"]):
                self.step(action["depth"])
            return
        values = {key: value for key, value in action.items() if key != "do"}
        with one_thread():
            getattr(self, "_" + action["do"].replace(" ", "_"))(**values)
            self.chain.hold(self.restraints.held_torsions(self.chain.domain))
        self._still = 0
        self.script.add(action)

    def step(self, depth: int | None = None) -> StepInfo:
        """Make one step of at most `depth` corrections, or as many as fit into the time limit, and record it."""
        before = self.chain.state.conformation
        with one_thread():
            info, limit = self.chain.step(self.restraints.goal(self.chain.domain, self.hand), depth)
        if self.restraints.flips:
            self.restraints = self.restraints.after_step(self.chain.angles)
        after = self.chain.state.conformation
        moved = float((after.xyz - before.xyz).abs().max())
        self._still = self._still + 1 if moved < RESTING_SHIFT else 0
        self._record(info, (after.angle - before.angle)[0].cpu().numpy())
        self.script.add({"do": "step", "count": 1, "depth": limit})
        return info

    def outcome(self) -> StreamOutcome:
        """Return the outcome of the session so far, for `MovingSegment.result`."""
        return self.recording.outcome(self.reached, self.chain.predictor, self.chain.gate)

    def result(self, *, energy: bool = True) -> Result:
        """Return the result of the session so far, as `constrain` does; the session can be continued.

        Parameters
        ----------
        energy : bool
            Evaluate the force field before and after.
        """
        return self.segment.result("live", self.outcome(), energy=energy, contacts=self.restraints.bands)

    def _record(self, info: StepInfo | None, turned: Floats) -> None:
        self.number += 1
        residue = self.chain.domain.tree.residue - self.segment.first
        self.recording.add(self.chain.in_first_frame(self.xyz), info, residue, turned)
        self._reported.report(self.number, self.xyz)

    def _snapshot(self) -> Snapshot:
        chain = self.chain
        angle = chain.state.conformation.angle[0].cpu().numpy()
        return Snapshot(chain.epoch, chain.root, chain.movable, angle, self.restraints)

    def _restore(self, snapshot: Snapshot) -> None:
        epoch = self.chain.epoch
        self.chain.restore(snapshot.epoch, snapshot.root, snapshot.xyz, snapshot.angle)
        self.hand, self.restraints = None, snapshot.restraints
        if snapshot.epoch != epoch:
            self._count_from_now(snapshot.root, snapshot.angle)
        self._record(None, np.zeros(0))

    def _count_from_now(self, root: int | None, angle: Floats) -> None:
        """Let targets count from the present conformation, whose increments (n,) were in the order of a root's tree."""
        tree = self.chain.tree(root)
        torsions = zip(tree.residue.tolist(), tree.kind, strict=True)
        self.restraints = self.restraints.relative_to(dict(zip(torsions, angle.tolist(), strict=True)))

    def _restrain(self, restraints: Restraints) -> None:
        self.history.record(self._snapshot())
        self.restraints = restraints

    def _residue(self, text: str) -> int:
        residue = find_residue(self.segment.structure, text)
        if not self.segment.first <= residue <= self.segment.last:
            ends = [self.segment.structure.residues[k].label for k in (self.segment.first, self.segment.last)]
            raise ActionError(f"residue {text}, which does not move", f"one from {ends[0]} to {ends[1]}", "choose one")
        return residue

    def _torsion(self, residue: str, kind: str) -> Torsion:
        k = self._residue(residue)
        kinds = [name for place, name in self.chain.angles if place == k]
        if kind not in kinds:
            raise ActionError(f"torsion {kind} of {residue}", ", ".join(kinds) or "one that can turn", "choose one")
        return k, kind

    def _grab(self, atom: str) -> None:
        label, _, name = atom.partition("@")
        residue, structure = self._residue(label), self.segment.structure
        index = structure.atom(residue, name, self.chain.domain.tree.conformer)
        if index is None:
            names = ", ".join(str(structure.name[a]) for a in structure.residues[residue].atoms[:30])
            raise ActionError(f"atom {atom}", f"one of {names}", "name one of them, as in A:5@CA")
        self._take_hold(residue, [index])

    def _grab_residue(self, residue: str) -> None:
        k, conformer = self._residue(residue), self.chain.domain.tree.conformer
        atoms = (self.segment.structure.atom(k, name, conformer) for name in ("CA", "N", "C"))
        self._take_hold(k, [a for a in atoms if a is not None])

    def _take_hold(self, residue: int, atoms: list[int]) -> None:
        root = self.chain.root_opposite(residue)
        moving = set(self.chain.tree(root).atoms.tolist())
        mobile = [a for a in atoms if a in moving]
        if not mobile:
            label = atom_label(self.segment.structure, atoms[0])
            raise ActionError(f"atom {label}, which cannot move", "an atom that a torsion moves", "take another one")
        before = self._snapshot()
        self.history.record(before)
        if root != self.chain.root:
            self.chain.set_root(root)
            self._count_from_now(before.root, before.angle)
        self.hand = Hand.at(mobile, self.xyz[mobile])

    def _drag(self, to: list[float]) -> None:
        if self.hand is None:
            raise ActionError("drag without a hold", "an atom that is held", "grab one first")
        self.hand = self.hand.moved_to(0.1 * np.array(to, dtype=float))

    def _release(self) -> None:
        self.hand = None

    def _band(self, contact: str) -> None:
        bands = self.segment.parse([*(c.text for c in self.restraints.bands), contact])
        self._restrain(replace(self.restraints, bands=bands))

    def _unband(self, contact: str) -> None:
        left = tuple(c for c in self.restraints.bands if c.text != contact.strip())
        if len(left) == len(self.restraints.bands):
            listed = ", ".join(c.text for c in self.restraints.bands) or "none"
            raise ActionError(f"band {contact}", f"one of {listed}", "write it as in the list")
        self._restrain(replace(self.restraints, bands=left))

    def _freeze(self, residue: str) -> None:
        self._restrain(replace(self.restraints, frozen=self.restraints.frozen | {self._residue(residue)}))

    def _thaw(self, residue: str) -> None:
        self._restrain(replace(self.restraints, frozen=self.restraints.frozen - {self._residue(residue)}))

    def _hold(self, residue: str, torsion: str) -> None:
        self._restrain(replace(self.restraints, held=self.restraints.held | {self._torsion(residue, torsion)}))

    def _free(self, residue: str, torsion: str) -> None:
        self._restrain(replace(self.restraints, held=self.restraints.held - {self._torsion(residue, torsion)}))

    def _flip(self, residue: str) -> None:
        k, angles = self._residue(residue), self.chain.angles
        psi, phi = (k, "psi"), (k + 1, "phi")
        if psi not in angles or phi not in angles:
            raise ActionError(
                f"the peptide after {residue}, which cannot turn",
                "a residue followed by another one of the segment that is not a proline",
                "choose another one",
            )
        flips = {psi: angles[psi] + math.pi, phi: angles[phi] - math.pi}
        self._restrain(replace(self.restraints, flips=flips, turning=FLIP_STEPS))

    def _region(self, residue: str, region: str) -> None:
        k = self._residue(residue)
        plain = self.restraints.without_targets(k)
        if region == ANY:
            self._restrain(plain)
            return
        now, angles = self.chain.phi_psi(k), self.chain.angles
        if now is None:
            raise ActionError(f"residue {residue} without phi and psi", "one between two others", "choose another one")
        targets = {
            (k, kind): angles[k, kind] + float(wrap(np.array(math.radians(centre) - value)))
            for kind, centre, value in zip(("phi", "psi"), REGIONS[region], now, strict=True)
            if (k, kind) in angles
        }
        regions = {**plain.regions, k: region}
        self._restrain(replace(plain, regions=regions, targets={**plain.targets, **targets}))

    def _take(self, of: str, turn: list[float]) -> None:
        before = self._snapshot()
        self.chain.take(of, turn)
        self.history.record(before)
        self.hand = None
        self._record(None, np.zeros(0))

    def _undo(self) -> None:
        self._restore(self.history.undo(self._snapshot()))

    def _redo(self) -> None:
        self._restore(self.history.redo(self._snapshot()))

    def _mark(self, name: str) -> None:
        self.history.mark(name, self._snapshot())

    def _return(self, name: str) -> None:
        snapshot = self.history.marked(name)
        self.history.record(self._snapshot())
        self._restore(snapshot)

    def _pause(self) -> None:
        self.paused = True

    def _resume(self) -> None:
        self.paused = False

"""The chain of a session: its domain, its controller, and its state, moved by steps or set to a conformation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geofold.app.live.restraints import Torsion, index_of
from geofold.app.steering.segment import Floats, MovingSegment
from geofold.core.controller import Controller
from geofold.core.gate import CappedGate
from geofold.core.state import ControllerState, StepInfo, affordable_depth
from geofold.errors import ActionError
from geofold.geometry import frames_by_normal
from geofold.molecule.kinematics.forward import positions
from geofold.molecule.kinematics.inverse import reclose
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.topology.bond_walk import TorsionTree
from geofold.molecule.topology.torsion_tree import torsion_tree

BUDGET = 5.0
"""Soft time limit tau_max (ms) of a step."""


class LiveChain:
    """A moving segment with its controller.

    A free chain, a structure of its own, is rooted at the end that is further from the atom that is pulled, so that
    every atom can be pulled. All other segments keep their root.

    Parameters
    ----------
    segment : MovingSegment

    Attributes
    ----------
    segment : MovingSegment
    domain : PeptideDomain
        Domain of the present step.
    epoch : int
        Number of the domain; total increments belong to one domain.
    root : int or None
        Residue that stays in place; None at the start.
    """

    def __init__(self, segment: MovingSegment) -> None:
        self.segment = segment
        self.domain = segment.domain()
        self._base: Floats = segment.structure.xyz
        self._parts: Controller = segment.controller(self.domain)
        self._state: ControllerState = self._parts.init(self.domain, segment.start(self.domain))
        self.root: int | None = None
        self.epoch = self._epochs = 0
        self._trees: dict[int | None, TorsionTree] = {None: self.domain.tree}
        structure = segment.structure
        inside = structure.atoms_within(segment.first, segment.last)
        others = np.unique(structure.residue_of[~inside])
        self._free = segment.loop is None and all(structure.is_water(int(k)) for k in others)
        self._movable = np.flatnonzero(inside) if self._free else self.domain.tree.atoms

    @property
    def atoms(self) -> np.ndarray:
        """Atoms (m,) of the structure that the local coordinates belong to."""
        atoms: np.ndarray = self.domain.decoder.kinematics.atoms.cpu().numpy()
        return atoms

    @property
    def state(self) -> PeptideState:
        """State of the domain."""
        state: PeptideState = self._state.domain
        return state

    @property
    def gate(self) -> str:
        """Name of the gate."""
        return self._parts.gate.name

    @property
    def predictor(self) -> str:
        """Name of the backbone that proposes the moves."""
        return self._parts.backbone.name

    @property
    def local(self) -> Floats:
        """Coordinates (m, 3) of the segment (nm)."""
        xyz: Floats = self.state.conformation.xyz[0].cpu().numpy()
        return xyz

    @property
    def xyz(self) -> Floats:
        """Coordinates (n_atoms, 3) of the whole structure (nm)."""
        # the neighbours that close a loop are local atoms too, but stay as they are in the file
        moving = np.isin(self.atoms, self.domain.tree.atoms)
        xyz = self._base.copy()
        xyz[self.atoms[moving]] = self.local[moving]
        return xyz

    @property
    def movable(self) -> Floats:
        """Coordinates (p, 3) of every atom that may move (nm), in the order of the structure."""
        moved: Floats = self.xyz[self._movable]
        return moved

    @property
    def angles(self) -> dict[Torsion, float]:
        """Total increments (radian) of the torsions since the start of the epoch."""
        values = self.state.conformation.angle[0].tolist()
        return {torsion: values[n] for torsion, n in index_of(self.domain).items()}

    def phi_psi(self, residue: int) -> tuple[float, float] | None:
        """Phi and psi (radian) of a residue; None at an end of the chain."""
        term = self.domain.angles
        rows = (term.residue + self.segment.first == residue).nonzero().flatten().tolist()
        if not rows:
            return None
        phi, psi = (float(values[0, rows[0]]) for values in term.at(self.state.conformation.angle))
        return phi, psi

    def step(self, goal: PeptideGoal, depth: int | None) -> tuple[StepInfo, int]:
        """Make a step of at most `depth` corrections, and return that number too.

        Parameters
        ----------
        goal : PeptideGoal
        depth : int or None
            None: as many as fit into the time limit, and at least one.
        """
        largest = self._parts.gate.largest
        limit = max(1, affordable_depth(self._state.pace, BUDGET, largest)) if depth is None else min(depth, largest)
        parts = replace(self._parts, gate=CappedGate(self._parts.gate, limit))
        self._state, info = parts.step(self.domain, self._state, goal)
        return info, limit

    def hold(self, held: frozenset[int]) -> None:
        """Let only the torsions turn that are not held."""
        if held == self.domain.held:
            return
        self.domain = replace(self.domain, held=held)
        now = self.state.conformation
        conformation = self.domain.decoder.at(now.xyz, now.angle, self.domain.mobility())
        self._state = self._state._replace(domain=PeptideState(conformation, self.state.pairs))

    def root_opposite(self, residue: int) -> int | None:
        """Root that the chain needs for a pull at a residue: of a free chain, the end that is further away."""
        if not self._free:
            return self.root
        first, last = self.segment.first, self.segment.last
        return last if residue <= (first + last) / 2 else first

    def tree(self, root: int | None) -> TorsionTree:
        """Torsion tree of the chain with a root."""
        if root not in self._trees:
            segment = self.segment
            self._trees[root] = torsion_tree(
                segment.structure, segment.first, segment.last, altloc=segment.options.altloc, root=root
            )
        return self._trees[root]

    def set_root(self, root: int | None) -> None:
        """Root the chain at another residue, which begins an epoch."""
        if root != self.root:
            self._begin_epoch(self.xyz, root)

    def restore(self, epoch: int, root: int | None, movable: Floats, angle: Floats) -> None:
        """Return to a conformation.

        Parameters
        ----------
        epoch : int
            Epoch of the increments; if it is over, another one begins.
        root : int or None
            Root of that epoch.
        movable : (p, 3)
            Coordinates as `movable` returns them (nm).
        angle : (n,)
            Total increments (radian).
        """
        xyz = self.segment.structure.xyz.copy()
        xyz[self._movable] = movable
        if epoch != self.epoch:
            self._begin_epoch(xyz, root)
            return
        like = self.state.conformation
        local = torch.as_tensor(xyz[self.atoms]).to(like.xyz)[None]
        if not self._free:  # anchors as they were, to the last bit
            placed = torch.as_tensor(np.isin(self.atoms, self.domain.tree.atoms))
            local = torch.where(placed[None, :, None], local, like.xyz)
        self._adopt(local, torch.as_tensor(angle).to(like.angle)[None])

    def take(self, name: str, turn: list[float]) -> None:
        """Turn the torsions by increments (radian) all at once; a loop is closed again.

        Raises
        ------
        ActionError
            If their number is wrong, or the loop stays open.
        """
        decoder, tree, now = self.domain.decoder, self.domain.tree, self.state.conformation
        if len(turn) != len(tree):
            raise ActionError(f"{len(turn)} torsions of {name}", f"{len(tree)} torsions", "correct it")
        theta = now.angle.new_tensor([turn])
        if decoder.closure.rows:
            moving = set(tree.atoms.tolist())
            backbone = backbone_atoms(self.segment.structure, tree.first, tree.last, tree.conformer)
            rows = decoder.kinematics.find_rows([atom for atom in backbone if atom in moving])
            target = positions(decoder.kinematics, now.xyz, theta)[:, rows]
            rotatable = torch.as_tensor(tree.backbone).to(theta.device)
            theta, closed = reclose(decoder.closure, decoder.kinematics, now.xyz, theta, rotatable, rows, target)
            if not bool(closed.all()):
                raise ActionError(f"torsions of {name} that leave the loop open", "a closed loop", "take another model")
        self._adopt(positions(decoder.kinematics, now.xyz, theta), now.angle + theta)

    def in_first_frame(self, xyz: Floats) -> Floats:
        """Move coordinates (n_atoms, 3) of a free chain as a body, its middle residue to where the input has it."""
        if not self._free:
            return xyz
        middle = (self.segment.first + self.segment.last) // 2
        names = ("CA", "N", "C")
        found = (self.segment.structure.atom(middle, name, self.domain.tree.conformer) for name in names)
        rows = [atom for atom in found if atom is not None]
        start, now = (frames_by_normal(*place[rows]) for place in (self.segment.structure.xyz, xyz))
        inside = self.segment.structure.atoms_within(self.segment.first, self.segment.last)
        moved = xyz.copy()
        centre, target = xyz[rows[0]], self.segment.structure.xyz[rows[0]]
        moved[inside] = (xyz[inside] - centre) @ now @ start.T + target
        return moved

    def _begin_epoch(self, xyz: Floats, root: int | None) -> None:
        """Build domain and controller from coordinates (n_atoms, 3) in nm; no torsion is held."""
        self._epochs += 1
        self.epoch, self.root = self._epochs, root
        self.domain, self._base = self.segment.domain(xyz, root), xyz
        self._parts = self.segment.controller(self.domain)
        self._state = self._parts.init(self.domain, self.domain.start(xyz))

    def _adopt(self, xyz: torch.Tensor, angle: torch.Tensor) -> None:
        """Set local coordinates (1, m, 3) and total increments (1, n); the controller forgets its past."""
        conformation = self.domain.decoder.at(xyz, angle, self.domain.mobility())
        state = PeptideState(conformation, self.domain.sterics.pairs(xyz))
        pace = self._state.pace
        self._state = self._parts.init(self.domain, state)._replace(pace=pace)

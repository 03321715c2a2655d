"""Candidates of one loop: drawn by the prior and closed, crossed with one another, led by the loop model, scored.

A candidate is the backbone of the loop with its CB atoms, hung between fixed anchors; side chains come later. What
stands around it is there with all its atoms.

Glossary: ``K`` candidates, ``n`` residues of the loop, ``m`` their atoms (N, CA, C, O, and CB of each but glycine), in
the order of the structure. Coordinates in nm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from geofold.errors import BuildError
from geofold.geometry import dihedral, wrap
from geofold.learn.loop_score.features import LoopEnvironment
from geofold.learn.loop_score.model import LoopScore
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.modelling.controllers import guided, polished
from geofold.modelling.options import TORSION_CAP
from geofold.molecule.energy.loop_score_input import surroundings
from geofold.molecule.energy.loop_score_term import PotentialTerm
from geofold.molecule.energy.ramachandran import OUTLIER, class_of, verdict
from geofold.molecule.energy.ramachandran import score as ramachandran
from geofold.molecule.io.edit import NewResidue, with_residues
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.loop.domain import LoopDomain, LoopState
from geofold.molecule.loop.ideal_segment import Bridge
from geofold.molecule.loop.predictor import LoopSense
from geofold.molecule.loop.torsion_sampling import drawn_torsions
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.sidechains.rotamer_library import SAME_AS
from geofold.molecule.structure import Floats, Structure

TRIED = (32, 480)
"""Draws of which one has to close: a few first."""
CROSSED_BY = (5.0, 12.0, 25.0)
"""Degrees: standard deviations by which torsions of a cross may differ from its parents'."""
DISTURBED = (0.3, 1.0)
"""Shares of its residues whose torsions do."""


@dataclass(frozen=True, eq=False)
class LoopCandidates:
    """Where candidates of a loop come from. Build with `LoopCandidates.of`.

    Attributes
    ----------
    origin : Structure
        Without the loop, or with what makes room for it.
    build : Build
    bridge : Bridge
    structure : Structure
        With the backbone of the loop in it, in one of its candidates.
    sighted : bool
        Whether the loop model leads; else corrections alone do.
    price : float
        Of its cis bonds, in the potential's unit: what the prior has against them, in nat.
    """

    origin: Structure
    build: Build
    bridge: Bridge
    structure: Structure
    altloc: str | None = None
    sighted: bool = True
    price: float = 0.0

    @classmethod
    def of(
        cls, origin: Structure, build: Build, *, altloc: str | None = None, seed: int = 0, sighted: bool = True
    ) -> LoopCandidates:  # fmt: skip
        """Of a loop that is to be built, or built anew.

        Raises
        ------
        BuildError
            If its residues cannot reach from one anchor to the other.
        """
        bridge = Bridge.of(origin, build, altloc)
        apart, most = bridge.reach
        given = f"{build.label}: {10 * apart:.1f} A from C to N across the gap for {len(build.names)} residues"
        if apart > most:
            raise BuildError(given, f"at most {10 * most:.1f} A", "give more residues, or other anchors")
        noise = np.random.default_rng([seed, 1])
        for count in TRIED:
            drawn, odds = drawn_torsions(origin, build, shipped_prior()[0], count, noise)
            delta, closed = bridge.close(bridge.increments(drawn))
            if bool(closed.any()):
                names, rows = bridge.places(delta[closed][:1])
                new = _residues(build, names, rows[0])
                whole = with_residues(origin, build.before, build.removed, new)
                return cls(origin, build, bridge, whole, altloc, sighted, -odds)
        raise BuildError(
            f"{given}: none of {sum(TRIED)} draws closes it", "residues that can turn to meet both anchors",
            "take a neighbour on each side along, which is built anew",
        )  # fmt: skip

    @property
    def span(self) -> tuple[int, int]:
        """First and last residue of the loop in `structure`."""
        return self.build.before + 1, self.build.before + len(self.build.names)

    @cached_property
    def atoms(self) -> np.ndarray:
        """The loop's atoms of `structure`, (m,) int."""
        first, last = self.span
        return np.flatnonzero((self.structure.residue_of >= first) & (self.structure.residue_of <= last))

    @cached_property
    def domain(self) -> LoopDomain:
        """Of the loop without side chains."""
        domain = LoopDomain.of(self.structure, *self.span, cap=TORSION_CAP, altloc=self.altloc)
        if not self.sighted:
            return domain
        return replace(domain, sense=LoopSense.of(self.structure, domain.fold))

    @cached_property
    def around(self) -> LoopEnvironment:
        """What the potential sees: all residues with a backbone, the loop among them."""
        return surroundings(self.structure, *self.span, self.structure.steering(self.altloc))

    def drawn(self, count: int, noise: np.random.Generator) -> Floats:
        """Those of so many draws that close, and the one that stands in `structure`, (K, m, 3)."""
        drawn = self.closed(drawn_torsions(self.origin, self.build, shipped_prior()[0], count, noise)[0])
        return np.concatenate([self.structure.xyz[None, self.atoms], drawn])

    def closed(self, torsions: Floats) -> Floats:
        """Those that close (K, m, 3), of phi and psi (K', n + 1, 2) of the loop and of the residue behind it."""
        delta, closed = self.bridge.close(self.bridge.increments(torsions))
        if not bool(closed.any()):
            return np.empty((0, len(self.atoms), 3))
        return self.bridge.places(delta[closed])[1]

    def torsions(self, rows: Floats) -> Floats:
        """phi and psi (K, n + 1, 2) in radian of candidates (K, m, 3), as `closed` takes them."""
        xyz, count = self.backbone(rows), len(rows)
        steering = self.origin.steering(self.altloc)

        def anchor(k: int, *names: str) -> list[Floats]:
            places = [self.origin.xyz[self.origin.atom(k, name, steering)] for name in names]
            return [np.broadcast_to(place, (count, 1, 3)) for place in places]

        (carbon,), (n, ca, c) = anchor(self.build.before, "C"), anchor(self.build.after, "N", "CA", "C")
        all_n, all_ca, all_c = (
            np.concatenate([xyz[:, :, k], end], 1) for k, end in enumerate((n, ca, c))
        )  # fmt: skip
        before = np.concatenate([carbon, xyz[:, :, 2]], 1)
        phi = dihedral(before, all_n, all_ca, all_c)
        psi = dihedral(all_n[:, :-1], all_ca[:, :-1], all_c[:, :-1], all_n[:, 1:])
        # psi of the residue behind is its own affair
        return np.stack([phi, np.pad(psi, ((0, 0), (0, 1)))], -1)

    def crossed(self, rows: Floats, count: int, noise: np.random.Generator) -> Floats:
        """Candidates (K, m, 3) of torsions that begin as one row's, go on as another's, and are disturbed."""
        known, n = self.torsions(rows), len(self.build.names)
        one, other = noise.integers(len(rows), size=(2, count))
        behind = np.arange(n + 1) >= noise.integers(1, n, size=(count, 1)) if n > 1 else np.zeros((count, n + 1), bool)
        torsions = np.where(behind[..., None], known[other], known[one])
        size = np.radians(noise.choice(CROSSED_BY, size=(count, 1, 1)))
        turned = noise.random((count, n + 1, 1)) < noise.choice(DISTURBED, size=(count, 1, 1))
        torsions = torsions + size * turned * noise.standard_normal(torsions.shape)
        return self.closed(wrap(torsions))

    def led(self, rows: Floats, *, seed: int = 0) -> tuple[Floats, Floats]:
        """Candidates (K, m, 3) streamed under the loop model, its gate and the corrector, and what they cost then."""
        domain = self.domain
        way = guided(domain, state_of_rows(domain, self.structure, rows), seed=seed)
        state, _, _ = deque(way, maxlen=1).pop()
        return self._ended(state)

    def polished(self, rows: Floats, score: LoopScore, *, seed: int = 0) -> tuple[Floats, Floats]:
        """Candidates (K, m, 3) after natural steps down a potential, and what they cost then (clashes, outliers)."""
        term = PotentialTerm.of(self.structure, self.domain.fold, score)
        domain = replace(self.domain, potential=term)
        return self._ended(polished(domain, state_of_rows(domain, self.structure, rows), seed=seed))

    def _ended(self, state: LoopState) -> tuple[Floats, Floats]:
        """Candidates (K, m, 3) of a state, and what they cost."""
        xyz = np.repeat(self.structure.xyz[None], len(state.fold.xyz), 0)
        xyz[:, self.domain.fold.kin.atoms.numpy()] = state.fold.xyz.numpy()
        with torch.no_grad():
            return xyz[:, self.atoms], np.asarray(self.domain.worth(state).numpy())

    def worth(self, rows: Floats) -> Floats:
        """Clashes and outliers (K,) of candidates as the loop domain prices them."""
        with torch.no_grad():
            return np.asarray(self.domain.worth(state_of_rows(self.domain, self.structure, rows)).numpy())

    def spoiled(self, rows: Floats) -> np.ndarray:
        """Whether a candidate makes an outlier of the residue behind the loop, (K,) bool: its phi never turns again."""
        steering, k = self.origin.steering(self.altloc), self.build.after
        residues = self.origin.residues
        if k + 1 >= len(residues) or not self.origin.bonded(k, k + 1):
            return np.zeros(len(rows), dtype=bool)
        n, ca, c, following = (
            self.origin.xyz[self.origin.atom(place, name, steering)]
            for place, name in ((k, "N"), (k, "CA"), (k, "C"), (k + 1, "N"))
        )
        phi, psi = dihedral(self.backbone(rows)[:, -1, 2], n, ca, c), dihedral(n, ca, c, following)
        kind = class_of(residues[k].resname, residues[k + 1].resname, np.pi)
        return np.asarray(verdict(ramachandran(phi, psi, kind), kind) == OUTLIER)

    def scores(self, rows: Floats, score: LoopScore) -> Floats:
        """What the potential says of candidates, (K,)."""
        return np.asarray(score.scores(torch.as_tensor(10 * self.backbone(rows)), self.around).numpy())

    def backbone(self, rows: Floats) -> Floats:
        """N, CA, C and O (K, n, 4, 3) of candidates (K, m, 3)."""
        return rows[:, self._backbone].reshape(len(rows), -1, 4, 3)

    @cached_property
    def _backbone(self) -> np.ndarray:
        atoms = backbone_atoms(self.structure, *self.span, self.structure.steering(self.altloc))
        return np.searchsorted(self.atoms, np.array(atoms))


def rebuilt(structure: Structure, first: int, last: int) -> Build:
    """A plan to build residues that are there anew."""
    own = structure.residues[first : last + 1]
    return Build(
        own[0].chain, first - 1, last + 1, tuple(range(first, last + 1)), tuple((r.resnum, r.icode) for r in own),
        tuple(SAME_AS.get(r.resname, r.resname) for r in own), "the file",
    )  # fmt: skip


def _residues(build: Build, names: list[tuple[str, ...]], row: Floats) -> list[NewResidue]:
    """New residues of their backbones (m, 3)."""
    ends = np.cumsum([len(own) for own in names])[:-1]
    return [
        NewResidue(name, number, own, tuple(atom[0] for atom in own), places)
        for name, number, own, places in zip(build.names, build.numbers, names, np.split(row, ends), strict=True)
    ]  # fmt: skip

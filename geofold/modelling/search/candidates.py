"""Conformations of one loop: sampled from the torsion prior, closed, recombined, guided, scored.

A candidate is the backbone of the loop with its CB atoms, between fixed anchors and with ideal bonds and angles; side
chains are added later. Its environment has all its atoms.

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
from geofold.learn.judge.pretrained import shipped_judge
from geofold.learn.judge.scoring import EmbeddedEnvironment, embed_surroundings
from geofold.learn.loop_score.features import LoopEnvironment
from geofold.learn.loop_score.model import LoopScore
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.modelling.controllers import minimise, run_guided
from geofold.modelling.search.segment_candidates import SegmentCandidates
from geofold.molecule.density.maps import DensityMap
from geofold.molecule.energy.loop_score_input import make_loop_environment
from geofold.molecule.energy.loop_score_term import LoopScoreTerm
from geofold.molecule.io.edit import with_residues
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.ideal_segment import IdealSegment
from geofold.molecule.loop.predictor import LoopFeatures
from geofold.molecule.loop.state import LoopState
from geofold.molecule.loop.torsion_sampling import sample_torsions
from geofold.molecule.structure import Floats, Structure

CLOSURE_DRAWS = (32, 480)
"""Sizes of the batches that are drawn until a conformation closes."""
MUTATION_SIZES = (5.0, 12.0, 25.0)
"""Standard deviations (degrees) of the torsions of offspring around their parents'."""
MUTATION_SHARES = (0.3, 1.0)
"""Shares of the residues of offspring whose torsions are mutated."""


@dataclass(frozen=True, eq=False)
class LoopCandidates(SegmentCandidates):
    """A loop whose conformations are sampled. Create with `LoopCandidates.of`.

    Attributes
    ----------
    origin : Structure
        Structure without the loop, or with the residues that it replaces.
    build : BuildPlan
        Residues of the loop and where they go.
    segment : IdealSegment
        The loop with ideal geometry, and its closure.
    structure : Structure
        Structure with the backbone of the loop in one of its conformations.
    altloc : str or None
        Conformer of the environment.
    predicts : bool
        Whether the loop model predicts in guided sampling; otherwise only corrections act.
    cis_penalty : float
        Log-odds of the torsion prior against the cis peptide bonds of the plan (nat).
    density : DensityMap or None
        Map that candidates are fitted to.
    """

    origin: Structure
    build: BuildPlan
    segment: IdealSegment
    structure: Structure
    altloc: str | None = None
    predicts: bool = True
    cis_penalty: float = 0.0
    density: DensityMap | None = None

    @classmethod
    def of(
        cls,
        origin: Structure,
        build: BuildPlan,
        *,
        altloc: str | None = None,
        seed: int = 0,
        predicts: bool = True,
        density: DensityMap | None = None,
    ) -> LoopCandidates:
        """Return a loop that is to be built or rebuilt.

        Parameters
        ----------
        origin : Structure
        build : BuildPlan
        altloc : str, optional
            Conformer of the environment.
        seed : int
        predicts : bool
            Whether the loop model predicts in guided sampling.
        density : DensityMap, optional
            Map that candidates are fitted to.

        Raises
        ------
        BuildError
            If its residues cannot reach from one anchor to the other, or no draw closes.
        """
        segment = IdealSegment.of(origin, build, altloc)
        distance, longest = segment.reach
        given = f"{build.label}: {10 * distance:.1f} A from C to N across the gap for {len(build.names)} residues"
        if distance > longest:
            raise BuildError(given, f"at most {10 * longest:.1f} A", "give more residues, or other anchors")
        noise = np.random.default_rng([seed, 1])
        for count in CLOSURE_DRAWS:
            torsions, log_odds = sample_torsions(origin, build, shipped_prior()[0], count, noise)
            delta, closed = segment.close(segment.increments(torsions))
            if bool(closed.any()):
                names, rows = segment.coordinates(delta[closed][:1])
                residues = build.residues(names, rows[0])
                structure = with_residues(origin, build.before, build.removed, residues)
                return cls(origin, build, segment, structure, altloc, predicts, -log_odds, density)
        raise BuildError(
            f"{given}: none of {sum(CLOSURE_DRAWS)} samples closes it",
            "residues that can turn to meet both anchors",
            "extend the range by one residue on each side (they will be rebuilt)",
        )

    @cached_property
    def domain(self) -> LoopDomain:
        """Domain of the loop without side chains."""
        domain = super().domain
        if not self.predicts:
            return domain
        return replace(domain, features=LoopFeatures.of(self.structure, domain.decoder))

    @cached_property
    def environment(self) -> LoopEnvironment:
        """Input of the learned potential: all residues with a backbone, the loop among them."""
        return make_loop_environment(self.structure, *self.span, self.structure.conformer(self.altloc))

    def draw(self, count: int, noise: np.random.Generator) -> Floats:
        """Return the closed conformations out of `count` draws, and the one in `structure`, (K, m, 3)."""
        drawn = self.close(sample_torsions(self.origin, self.build, shipped_prior()[0], count, noise)[0])
        return np.concatenate([self.structure.xyz[None, self.atoms], drawn])

    def close(self, torsions: Floats) -> Floats:
        """Conformations (K, m, 3) of those torsions that close.

        Parameters
        ----------
        torsions : (K', n + 1, 2)
            phi and psi (radian) of the loop and of the residue after it.
        """
        delta, closed = self.segment.close(self.segment.increments(torsions))
        if not bool(closed.any()):
            return np.empty((0, len(self.atoms), 3))
        return self.segment.coordinates(delta[closed])[1]

    def fit(self, torsions: Floats, backbone: Floats) -> Floats:
        """Fit closed conformations (K, m, 3) to given backbones as nearly as ideal geometry allows.

        Parameters
        ----------
        torsions : (K', n + 1, 2)
            phi and psi (radian) to begin with.
        backbone : (K', n, 4, 3)
            N, CA, C and O (nm).
        """
        delta, closed = self.segment.fit(self.segment.increments(torsions), torch.as_tensor(backbone))
        if not bool(closed.any()):
            return np.empty((0, len(self.atoms), 3))
        return self.segment.coordinates(delta[closed])[1]

    def torsions(self, rows: Floats) -> Floats:
        """Return phi and psi (K, n + 1, 2) in radian of candidates (K, m, 3), as `close` takes them."""
        xyz, count = self.backbone(rows), len(rows)
        conformer = self.origin.conformer(self.altloc)

        def anchor(k: int, *names: str) -> list[Floats]:
            points = [self.origin.xyz[self.origin.atom(k, name, conformer)] for name in names]
            return [np.broadcast_to(point, (count, 1, 3)) for point in points]

        (carbon,), (n, ca, c) = anchor(self.build.before, "C"), anchor(self.build.after, "N", "CA", "C")
        all_n, all_ca, all_c = (np.concatenate([xyz[:, :, k], end], 1) for k, end in enumerate((n, ca, c)))
        before = np.concatenate([carbon, xyz[:, :, 2]], 1)
        phi = dihedral(before, all_n, all_ca, all_c)
        psi = dihedral(all_n[:, :-1], all_ca[:, :-1], all_c[:, :-1], all_n[:, 1:])
        # psi of the residue after the loop is not constrained
        return np.stack([phi, np.pad(psi, ((0, 0), (0, 1)))], -1)

    def cross(self, rows: Floats, count: int, noise: np.random.Generator) -> Floats:
        """Offspring by one-point crossover of torsions and mutation, those that close.

        Parameters
        ----------
        rows : (K, m, 3)
            Parents (nm).
        count : int
            Number of offspring before closure.
        noise : numpy.random.Generator
        """
        known, n = self.torsions(rows), len(self.build.names)
        first, second = noise.integers(len(rows), size=(2, count))
        if n > 1:
            from_second = np.arange(n + 1) >= noise.integers(1, n, size=(count, 1))
        else:
            from_second = np.zeros((count, n + 1), bool)
        torsions = np.where(from_second[..., None], known[second], known[first])
        size = np.radians(noise.choice(MUTATION_SIZES, size=(count, 1, 1)))
        mutated = noise.random((count, n + 1, 1)) < noise.choice(MUTATION_SHARES, size=(count, 1, 1))
        torsions = torsions + size * mutated * noise.standard_normal(torsions.shape)
        return self.close(wrap(torsions))

    def guide(self, rows: Floats, *, seed: int = 0) -> tuple[Floats, Floats]:
        """Candidates (K, m, 3) after a stream under loop model, gate and corrector, and their cost (K,)."""
        domain = self.domain
        steps = run_guided(domain, state_of_rows(domain, self.structure, rows), seed=seed)
        state, _, _ = deque(steps, maxlen=1).pop()
        return self._end(state)

    def minimise(self, rows: Floats, score: LoopScore, *, seed: int = 0) -> tuple[Floats, Floats]:
        """Candidates (K, m, 3) after natural steps down a learned potential, and their cost (K,)."""
        term = LoopScoreTerm.of(self.structure, self.domain.decoder, score)
        domain = replace(self.domain, potential=term)
        return self._end(minimise(domain, state_of_rows(domain, self.structure, rows), seed=seed))

    def _end(self, state: LoopState) -> tuple[Floats, Floats]:
        """Candidates (K, m, 3) of a state, and their cost (K,)."""
        xyz = np.repeat(self.structure.xyz[None], len(state.conformation.xyz), 0)
        xyz[:, self.domain.decoder.kinematics.atoms.numpy()] = state.conformation.xyz.numpy()
        with torch.no_grad():
            return xyz[:, self.atoms], np.asarray(self.domain.cost(state).numpy())

    def potential(self, rows: Floats, score: LoopScore) -> Floats:
        """Learned potential (K,) of candidates (K, m, 3)."""
        return self.potential_of_backbone(self.backbone(rows), score)

    def potential_of_backbone(self, backbone: Floats, score: LoopScore) -> Floats:
        """Learned potential (K,) of backbones (K, n, 4, 3) in nm."""
        return np.asarray(score.scores(torch.as_tensor(10 * backbone), self.environment).numpy())

    def judge(self, rows: Floats) -> Floats:
        """Energy (K,) of candidates (K, m, 3) by the judge, which reads the environment once."""
        return self.judge_of_backbone(self.backbone(rows))

    def judge_of_backbone(self, backbone: Floats) -> Floats:
        """Energy (K,) by the judge of backbones (K, n, 4, 3) in nm."""
        return np.asarray(self._judge.energy(torch.as_tensor(10 * backbone)).double().numpy())

    @cached_property
    def _judge(self) -> EmbeddedEnvironment:
        with torch.no_grad():
            return embed_surroundings(shipped_judge()[0], self.environment)

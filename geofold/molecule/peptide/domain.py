"""Peptide constraints as a domain: a whole chain whose torsions bring residues together, without clashes.

Glossary: ``B`` rows, ``c`` contacts. Contacts belong to the goal, so they may arrive, change or vanish from
one step to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from geofold.core.domain import Loss, LossWithGradient, Prediction
from geofold.kernels.library import usable
from geofold.molecule.energy.clash_cost import DISTANCE_OFFSET
from geofold.molecule.energy.openmm_gradient import OpenMMPotential
from geofold.molecule.energy.ramachandran_term import RamachandranTerm
from geofold.molecule.energy.sterics import PairList, Sterics
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.kinematics.torsion_domain import TorsionDomain
from geofold.molecule.peptide.compiled_loss import evaluate_terms
from geofold.molecule.peptide.compiled_loss import stiff_directions as compiled_stiff_directions
from geofold.molecule.peptide.contact_tensors import (
    ContactBounds,
    contact_bounds,
    max_violation,
    stiff_contact_directions,
)
from geofold.molecule.peptide.contacts import Contact, contact_cost, contact_slope
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.peptide.torsion_targets import torsion_cost, with_torsion_slope
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree

MAX_CACHED_GOALS = 64
"""Largest number of contact sets whose tensors are cached."""


@dataclass(frozen=True)
class PeptideDomain(TorsionDomain[PeptideState]):
    """One chain or loop of a structure, everything else fixed. Build with `PeptideDomain.of`."""

    sterics: Sterics
    angles: RamachandranTerm
    fixed_atoms: dict[int, Tensor]
    side_chains: bool
    force_field: OpenMMPotential | None = None
    features: PeptideFeatures | None = None
    held: frozenset[int] = frozenset()
    bounds_cache: dict[tuple[Contact, ...], ContactBounds] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        structure: Structure,
        first: int,
        last: int,
        *,
        cap: float = math.radians(10.0),
        side_chains: bool = True,
        altloc: str | None = None,
        device: str = "cpu",
        root: int | None = None,
    ) -> PeptideDomain:
        """Domain of the residues `first` to `last`; `side_chains` lets chi torsions turn too.

        Parameters
        ----------
        structure : Structure
            Complete structure.
        first, last : int
            First and last residue (inclusive indices).
        cap : float
            Largest rotation of a torsion per step (radian).
        side_chains : bool
            Whether chi torsions are rotatable too.
        altloc : str or None
            Conformer that moves; None for the main one.
        device : str
            Device of the tensors.
        root : int, optional
            Residue of a whole chain that stays in place; see `torsion_tree`.
        """
        tree = torsion_tree(structure, first, last, altloc=altloc, root=root)
        decoder = TorsionDecoder.of(structure, tree, cap=cap, device=device)
        sterics = Sterics.of(structure, tree, decoder.kinematics, 0.38 * (last - first + 2))
        angles = RamachandranTerm.of(structure, tree, decoder.weight)
        # a contact may name an atom that does not move
        fixed = np.setdiff1d(np.flatnonzero(tree.conformer), decoder.kinematics.atoms.cpu().numpy())
        places = torch.as_tensor(structure.xyz[fixed], dtype=decoder.weight.dtype, device=device)
        fixed_atoms = dict(zip(fixed.tolist(), places, strict=True))
        return cls(decoder, sterics, angles, fixed_atoms, side_chains)

    def start(self, xyz: np.ndarray, batch: int = 1) -> PeptideState:
        """State of the coordinates (n_atoms, 3) in nm of the whole structure."""
        conformation = self.decoder.start(xyz, self.mobility(), batch)
        return PeptideState(conformation, self.sterics.pairs(conformation.xyz))

    def mobility(self) -> Tensor:
        """Mobility (n,) of the torsions: 1 for rotatable, 0 for fixed ones (those in `held`, or all chi torsions)."""
        allowed = self.tree.backbone | np.full(len(self.tree), self.side_chains)
        allowed[list(self.held)] = False
        return torch.as_tensor(allowed, dtype=self.decoder.weight.dtype, device=self.decoder.weight.device)

    def observe(self, state: PeptideState, goal: PeptideGoal | None) -> Tensor:
        """Return the features of the policy; without them the total increments, enough for `NoMotion`."""
        return state.conformation.angle if self.features is None else self.features.observe(self, state, goal)

    def loss(self, prediction: Prediction, state: PeptideState, goal: PeptideGoal) -> Loss:
        """Contact errors, soft sterics and Ramachandran penalty."""
        theta, xyz = self.decoder.split(prediction.mean)
        terms = self._terms(xyz, state.conformation.angle + theta, state.pairs, goal)
        if self.force_field is not None and goal.energy > 0:
            terms["energy"] = goal.energy * self.force_field.of_atoms(xyz, self.decoder.kinematics.atoms.cpu().numpy())
        return Loss(torch.stack(list(terms.values())).sum(0), terms, violation=self._violation(xyz, goal))

    def cost(self, xyz: Tensor, angle: Tensor, pairs: PairList, goal: PeptideGoal) -> Tensor:
        """Loss (B,) of coordinates (B, m, 3) and total increments (B, n), without the force field.

        Parameters
        ----------
        xyz : (B, m, 3)
            Local coordinates (nm).
        angle : (B, n)
            Total increments (radian).
        pairs : PairList
            Neighbour list.
        goal : PeptideGoal
            Contacts and weights.
        """
        return torch.stack(list(self._terms(xyz, angle, pairs, goal).values())).sum(0)

    def _terms(self, xyz: Tensor, angle: Tensor, pairs: PairList, goal: PeptideGoal) -> dict[str, Tensor]:
        cost = self.sterics.cost(self.sterics.overlaps(xyz, pairs)[0])
        targets = {"torsions": torsion_cost(angle, goal.torsions)} if goal.torsions else {}
        return {
            "contacts": goal.contact * self._contact_cost(xyz, goal),
            "sterics": goal.sterics * cost.sum(-1),
            "ramachandran": goal.ramachandran * self.angles.penalty(angle).sum(-1),
        } | targets

    def loss_and_gradient(self, prediction: Prediction, state: PeptideState, goal: PeptideGoal) -> LossWithGradient:
        """Evaluate `loss` with its gradient in closed form, which only visits overlapping pairs."""
        bounds = self.contact_bounds(goal.contacts) if goal.contacts else None
        weights, n = (goal.contact, goal.sterics, goal.ramachandran), len(self.tree)
        theta, xyz = self.decoder.split(prediction.mean)
        pairs = self.sterics.update_pairs(xyz, state.pairs)
        if usable(prediction.mean, state.conformation.angle):
            contacts = bounds.c_struct if bounds is not None else None
            total, terms, violation, gradient = evaluate_terms(
                self.sterics, self.angles, prediction.mean, state.conformation.angle, pairs, contacts, weights
            )

            def slope() -> Tensor:
                return gradient
        else:
            terms, violation, slope = self._evaluate_terms(
                prediction.mean, state.conformation.angle, pairs, bounds, weights
            )
            total = torch.stack(list(terms.values())).sum(0)

        def stiff_directions() -> Tensor | None:
            if bounds is None:
                return None
            if usable(prediction.mean):
                return compiled_stiff_directions(bounds.c_struct, prediction.mean, n, goal.contact)
            return stiff_contact_directions(bounds, self._contact_vectors(xyz, bounds), goal.contact, n, xyz.shape[1])

        if goal.torsions:
            angle = state.conformation.angle + theta
            terms["torsions"] = torsion_cost(angle, goal.torsions)
            total = total + terms["torsions"]
            slope = with_torsion_slope(slope, angle, goal.torsions)
        if self.force_field is None or goal.energy <= 0:
            return LossWithGradient(Loss(total, terms, violation=violation), slope, stiff_directions)
        energy, force = self.force_field.energy_and_gradient(xyz, self.decoder.kinematics.atoms.cpu().numpy())
        terms = terms | {"energy": goal.energy * energy}
        by_energy = torch.nn.functional.pad(goal.energy * force.flatten(1), (theta.shape[1], 0))
        return LossWithGradient(
            Loss(total + terms["energy"], terms, violation=violation), lambda: slope() + by_energy, stiff_directions
        )

    def _evaluate_terms(
        self,
        mean: Tensor,
        angle: Tensor,
        pairs: PairList,
        bounds: ContactBounds | None,
        weights: tuple[float, float, float],
    ) -> tuple[dict[str, Tensor], Tensor | None, Callable[[], Tensor]]:
        """Weighted terms and violation (B,), and a function that returns the gradient (B, k) of their sum."""
        theta, xyz = self.decoder.split(mean)
        local, attraction, violation = xyz.shape[1], xyz.new_zeros(len(xyz)), None
        clashes, _ = self.sterics.clashes(xyz, pairs)
        strain, strain_slope = self.angles.penalty_and_slope(angle + theta)
        if bounds is not None:
            ends = self._contact_vectors(xyz, bounds)
            gap = (ends.square().sum(-1) + DISTANCE_OFFSET).sqrt()
            excess = (gap - bounds.aim) * bounds.sign
            attraction = contact_cost(excess).sum(-1)
            violation = max_violation(gap, bounds)
        contact, overlap, ramachandran = weights
        terms = {
            "contacts": contact * attraction,
            "sterics": overlap * clashes.total(clashes.cost()),
            "ramachandran": ramachandran * strain.sum(-1),
        }

        def slope() -> Tensor:
            by_atom = overlap * clashes.gradient(None, self.sterics.local_row, local)
            if bounds is not None:
                pull = contact * bounds.sign * contact_slope(excess) / gap
                pair = pull[..., None] * ends
                wide = torch.nn.functional.pad(by_atom, (0, 0, 0, len(bounds.fixed_xyz)))
                by_atom = wide.index_add_(1, bounds.i, pair).index_add_(1, bounds.j, pair, alpha=-1)[:, :local]
            return torch.cat([ramachandran * strain_slope(), by_atom.flatten(1)], -1)

        return terms, violation, slope

    def commit(self, prediction: Prediction, state: PeptideState) -> PeptideState:
        """Apply the move, and rebuild the neighbour list if atoms moved beyond its skin."""
        conformation = self.decoder.commit(prediction, state.conformation, state.conformation.mobility)
        return PeptideState(conformation, self.sterics.update_pairs(conformation.xyz, state.pairs))

    def select(self, state: PeptideState, rows: Tensor) -> PeptideState:
        """Return the state with its rows rearranged; the neighbour list serves all rows."""
        return PeptideState(self.decoder.select(state.conformation, rows), state.pairs.select(rows))

    def contact_errors(self, xyz: Tensor, contacts: tuple[Contact, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms (B, c, 2, 3) of contacts, how far their bounds are violated (B, c; negative where kept), signs (c,)."""
        bounds = self.contact_bounds(contacts)
        all_xyz = torch.cat([xyz, bounds.fixed_xyz.expand(len(xyz), -1, -1)], dim=1)
        place = torch.stack([all_xyz[:, bounds.i], all_xyz[:, bounds.j]], 2)
        gap = (place[:, :, 0] - place[:, :, 1]).norm(dim=-1)
        return place, (gap - bounds.bound) * bounds.sign, bounds.sign

    def distances(self, xyz: Tensor, contacts: tuple[Contact, ...]) -> Tensor:
        """Distances (B, c) in nm of the contacts' atoms in local coordinates (B, m, 3)."""
        if not contacts:
            return xyz.new_zeros(len(xyz), 0)
        return (self._contact_vectors(xyz, self.contact_bounds(contacts)).square().sum(-1) + DISTANCE_OFFSET).sqrt()

    def reached(self, state: PeptideState, goal: PeptideGoal) -> bool:
        """Whether one row is clean: every contact kept, no severe overlap, no Ramachandran outlier (METHOD 4)."""
        distance = self.distances(state.conformation.xyz, goal.contacts)[0].tolist()
        if not all(c.satisfied(d) for c, d in zip(goal.contacts, distance, strict=True)):
            return False
        severe = int(self.sterics.count_severe(state.conformation.xyz, state.pairs)[0])
        return severe == 0 and self.angles.count_outliers(state.conformation.angle)[0] == 0

    def _contact_vectors(self, xyz: Tensor, bounds: ContactBounds) -> Tensor:
        """Vectors (B, c, 3) from the second to the first atom of each contact."""
        all_xyz = torch.cat([xyz, bounds.fixed_xyz.expand(len(xyz), -1, -1)], dim=1) if len(bounds.fixed_xyz) else xyz
        return all_xyz[:, bounds.i] - all_xyz[:, bounds.j]

    def _violation(self, xyz: Tensor, goal: PeptideGoal) -> Tensor | None:
        """Largest violation of a contact in nm, (B,)."""
        if not goal.contacts:
            return None
        return max_violation(self.distances(xyz, goal.contacts), self.contact_bounds(goal.contacts))

    def contact_bounds(self, contacts: tuple[Contact, ...]) -> ContactBounds:
        """Contacts as tensors, cached because goals rarely change; the cache is bounded because streams have no end."""
        if contacts not in self.bounds_cache:
            if len(self.bounds_cache) >= MAX_CACHED_GOALS:
                self.bounds_cache.clear()
            self.bounds_cache[contacts] = contact_bounds(
                contacts, self.decoder.kinematics, self.fixed_atoms, self.decoder.weight
            )
        return self.bounds_cache[contacts]

    def _contact_cost(self, xyz: Tensor, goal: PeptideGoal) -> Tensor:
        if not goal.contacts:
            return xyz.new_zeros(len(xyz))
        bounds = self.contact_bounds(goal.contacts)
        excess = (self.distances(xyz, goal.contacts) - bounds.aim) * bounds.sign
        return contact_cost(excess).sum(-1)

"""Loop repair as a domain: a closed segment, processed residue by residue in repeated sweeps.

Each step is centred on one residue (the cursor). Torsions near the cursor follow the latent most, and the gate uses
the loss of the residues there; corrections have to decrease the loss of the entire loop. A residue without conflict
costs one evaluation, a clashing one receives corrections.

Glossary: ``B`` rows, ``n`` torsions, ``L`` residues of the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from geofold.core.domain import Loss, LossWithGradient, Prediction
from geofold.kernels.library import usable
from geofold.molecule.density.term import DensityTerm
from geofold.molecule.energy.compiled_terms import add_clashes, add_ramachandran
from geofold.molecule.energy.loop_score_term import LoopScoreTerm
from geofold.molecule.energy.openmm_gradient import OpenMMPotential
from geofold.molecule.energy.ramachandran_term import RamachandranTerm
from geofold.molecule.energy.sterics import PairList, Sterics
from geofold.molecule.kinematics.decoder import TorsionDecoder, focus_mobility
from geofold.molecule.kinematics.torsion_domain import TorsionDomain
from geofold.molecule.loop.predictor import LoopFeatures
from geofold.molecule.loop.state import LoopGoal, LoopState
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.molecule.vdw_radii import SEVERE_OVERLAP


@dataclass(frozen=True)
class LoopDomain(TorsionDomain[LoopState]):
    """Domain of one loop; build it with `LoopDomain.of`.

    Attributes
    ----------
    sterics : Sterics
        Heavy-atom pairs of the loop and its surroundings.
    angles : RamachandranTerm
        Phi and psi of the loop and their Ramachandran penalty.
    residue_of : (n_atoms,) int
        Residue index of each atom of the structure.
    goal : LoopGoal
        Weights and options of the loss.
    force_field : OpenMMPotential or None
        Force field in the loss.
    potential : LoopScoreTerm or None
        Learned loop potential in the loss.
    features : LoopFeatures or None
        Features of the loop model, prepended to the observation.
    density : DensityTerm or None
        Density map in the loss.
    """

    sterics: Sterics
    angles: RamachandranTerm
    residue_of: np.ndarray
    goal: LoopGoal = field(default_factory=LoopGoal)
    force_field: OpenMMPotential | None = None
    potential: LoopScoreTerm | None = None
    features: LoopFeatures | None = None
    density: DensityTerm | None = None

    @classmethod
    def of(
        cls,
        structure: Structure,
        first: int,
        last: int,
        *,
        goal: LoopGoal | None = None,
        cap: float = math.radians(10.0),
        altloc: str | None = None,
        device: str = "cpu",
    ) -> LoopDomain:
        """Domain of residues `first` to `last` (inclusive indices) of a structure.

        Parameters
        ----------
        structure : Structure
            Complete structure.
        first, last : int
            First and last residue (inclusive indices).
        goal : LoopGoal, optional
            Weights and options of the loss.
        cap : float
            Largest rotation of a torsion per step (radian).
        altloc : str or None
            Conformer that moves; None for the main one.
        device : str
            Device of the tensors.
        """
        tree = torsion_tree(structure, first, last, altloc=altloc, anchor_phi=True)
        decoder = TorsionDecoder.of(structure, tree, cap=cap, device=device)
        # No atom of a closed loop is further from its anchors than half the contour length plus a side chain.
        reach = 1.0 + 0.19 * (last - first + 1) if tree.closed else 1.0 + 0.38 * (last - first + 1)
        sterics = Sterics.of(structure, tree, decoder.kinematics, reach)
        return cls(
            decoder,
            sterics,
            RamachandranTerm.of(structure, tree, decoder.weight),
            structure.residue_of,
            goal or LoopGoal(),
        )

    @property
    def length(self) -> int:
        """Number of residues in the loop."""
        return self.tree.last - self.tree.first + 1

    def start(self, xyz: np.ndarray, batch: int = 1) -> LoopState:
        """Return the initial state for coordinates (n_atoms, 3) in nm of the complete structure."""
        conformation = self.decoder.start(xyz, self.mobility(0), batch)
        return LoopState(conformation, self.sterics.pairs(conformation.xyz), 0)

    def resume(self, state: LoopState) -> LoopState:
        """Adopt a state of a domain with a different goal."""
        conformation = self.decoder.at(state.conformation.xyz, state.conformation.angle, self.mobility(state.cursor))
        return LoopState(conformation, state.pairs, state.cursor)

    def mobility(self, cursor: int) -> Tensor:
        """Mobility (n,) of each torsion in a step at the cursor: the fraction of the latent that it follows."""
        bump = focus_mobility(self.tree, self.tree.first + cursor, self.goal.width, self.goal.floor)
        # a linked side chain (a disulfide) would pin the backbone if its torsions were fixed
        linked = np.isin(self.tree.residue, [int(self.residue_of[a]) for link in self.tree.links for a in link])
        allowed = self.tree.backbone | linked | self.goal.side_chains
        return torch.as_tensor(bump * allowed, dtype=self.decoder.weight.dtype, device=self.decoder.weight.device)

    def observe(self, state: LoopState, goal: LoopGoal | None) -> Tensor:
        """Total increments and cursor position, preceded by the features of the loop model if `features` is set."""
        if self.features is not None:
            return self.features.observe(state.conformation, state.cursor)
        place = state.conformation.angle.new_full(
            (len(state.conformation.angle), 1), state.cursor / max(self.length - 1, 1)
        )
        return torch.cat([state.conformation.angle, place], dim=-1)

    def loss(self, prediction: Prediction, state: LoopState, goal: LoopGoal) -> Loss:
        """Soft sterics and Ramachandran penalty of the loop; the difficulty is their share around the cursor."""
        theta, xyz = self.decoder.split(prediction.mean)
        overlap, pairs = self.sterics.overlaps(xyz, state.pairs)
        clash = _weight(goal, overlap)[:, None] * self.sterics.cost(overlap)
        strain = goal.ramachandran * self.angles.penalty(state.conformation.angle + theta)
        share = self._per_residue(clash.detach(), pairs, strain.detach())
        terms = {"sterics": clash.sum(-1), "ramachandran": strain.sum(-1)} | self._energies(xyz, theta, state, goal)
        worst = torch.relu(overlap.detach() - SEVERE_OVERLAP)
        violation = worst.amax(-1) if worst.shape[1] else worst.new_zeros(len(worst))
        return Loss(torch.stack(list(terms.values())).sum(0), terms, self._around(share, state), violation)

    def loss_and_gradient(self, prediction: Prediction, state: LoopState, goal: LoopGoal) -> LossWithGradient:
        """Evaluate `loss` with its gradient in closed form, which only visits overlapping pairs."""
        theta, xyz = self.decoder.split(prediction.mean)
        if usable(prediction.mean, state.conformation.angle):
            loss, gradient = self._compiled_loss(prediction.mean, state, goal)
            return self._with_energies(loss, lambda: gradient, theta, xyz, state, goal)
        clashes, _ = self.sterics.clashes(xyz, state.pairs)
        strain, strain_slope = self.angles.penalty_and_slope(state.conformation.angle + theta)
        strain = goal.ramachandran * strain
        weight = _weight(goal, xyz)[clashes.row]
        pair_cost = weight * clashes.cost()
        share = strain.new_zeros(len(strain) * (self.length + 1)).index_add_(
            0, clashes.row * (self.length + 1) + self._owner[clashes.i], pair_cost
        )
        share.index_add_(0, clashes.row * (self.length + 1) + self._owner[clashes.j], pair_cost)
        share = share.view(len(strain), -1)[:, : self.length].index_add(1, self.angles.residue, strain)
        terms = {"sterics": clashes.total(pair_cost), "ramachandran": strain.sum(-1)}

        def slope() -> Tensor:
            by_atom = clashes.gradient(weight, self.sterics.local_row, xyz.shape[1])
            return torch.cat([goal.ramachandran * strain_slope(), by_atom.flatten(1)], -1)

        total = terms["sterics"] + terms["ramachandran"]
        loss = Loss(total, terms, self._around(share, state), clashes.worst())
        return self._with_energies(loss, slope, theta, xyz, state, goal)

    def _compiled_loss(self, mean: Tensor, state: LoopState, goal: LoopGoal) -> tuple[Loss, Tensor]:
        """Sterics and Ramachandran penalty with their gradient (B, k), by kernels."""
        theta, xyz = self.decoder.split(mean)
        pairs, gradient = self.sterics.update_pairs(xyz, state.pairs), torch.zeros_like(mean)
        share, (sterics, strain) = mean.new_zeros(len(mean), self.length), mean.new_empty(2, len(mean))
        by_atom, angle = gradient[:, theta.shape[1] :], state.conformation.angle
        worst = add_clashes(
            self.sterics, xyz, pairs, _weight(goal, mean), by_atom, sterics, owner=self._owner, share=share
        )
        add_ramachandran(self.angles, angle, theta, goal.ramachandran, gradient, strain, share=share)
        terms = {"sterics": sterics, "ramachandran": strain}
        return Loss(sterics + strain, terms, self._around(share, state), worst), gradient

    def _with_energies(
        self,
        loss: Loss,
        slope: Callable[[], Tensor],
        theta: Tensor,
        xyz: Tensor,
        state: LoopState,
        goal: LoopGoal,
    ) -> LossWithGradient:
        """Add the force-field, learned and density terms to which the goal assigns a weight."""
        if not (goal.energy > 0 or goal.potential > 0 or goal.density > 0):
            return LossWithGradient(loss, slope)
        leaf = torch.cat([theta, xyz.flatten(1)], -1)
        with torch.enable_grad():
            turned, moved = self.decoder.split(leaf.requires_grad_(True))
            energies = self._energies(moved, turned, state, goal)
            if not energies:
                return LossWithGradient(loss, slope)
            added = torch.stack(list(energies.values())).sum(0)
            summed = added.sum()
        terms = loss.terms | {name: part.detach() for name, part in energies.items()}
        total = Loss(loss.total + added.detach(), terms, loss.difficulty, loss.violation)
        return LossWithGradient(total, lambda: slope() + torch.autograd.grad(summed, leaf)[0])

    def _energies(self, xyz: Tensor, theta: Tensor, state: LoopState, goal: LoopGoal) -> dict[str, Tensor]:
        """Force-field, learned and density terms (B,) to which the goal assigns a weight."""
        terms: dict[str, Tensor] = {}
        if self.force_field is not None and goal.energy > 0:
            terms["energy"] = goal.energy * self.force_field.of_atoms(xyz, self.decoder.kinematics.atoms.cpu().numpy())
        if self.potential is not None and goal.potential > 0:
            terms["potential"] = goal.potential * self.potential.cost(xyz)
        if self.density is not None and goal.density > 0:
            terms["density"] = goal.density * self.density.cost(xyz)
        return terms

    def _around(self, share: Tensor, state: LoopState) -> Tensor:
        """Sum (B,) of the shares (B, L) of the residues, weighted by a Gaussian around the cursor."""
        offset = torch.arange(self.length, device=share.device) - state.cursor
        return (share * torch.exp(-0.5 * offset.to(share).square())).sum(-1)

    @cached_property
    def _owner(self) -> Tensor:
        """Residue (w,) of each atom of the sterics, L for the fixed ones."""
        residue = self.sterics.residue
        return torch.cat([residue, residue.new_full((len(self.sterics.fixed),), self.length)])

    def commit(self, prediction: Prediction, state: LoopState) -> LoopState:
        """Apply the move, advance the cursor, and rebuild the neighbour list if atoms moved beyond its skin."""
        cursor = (state.cursor + 1) % self.length
        conformation = self.decoder.commit(prediction, state.conformation, self.mobility(cursor))
        pairs = self.sterics.update_pairs(conformation.xyz, state.pairs)
        return LoopState(conformation, pairs, cursor)

    def select(self, state: LoopState, rows: Tensor) -> LoopState:
        """Rearrange the rows of a state; the pairs of the neighbour list are common to all rows."""
        return LoopState(self.decoder.select(state.conformation, rows), state.pairs.select(rows), state.cursor)

    def cost(self, state: LoopState) -> Tensor:
        """Loss (B,) of a state with unit weights, independent of the current goal."""
        overlap, _ = self.sterics.overlaps(state.conformation.xyz, state.pairs)
        return self.sterics.cost(overlap).sum(-1) + self.angles.penalty(state.conformation.angle).sum(-1)

    def count_defects(self, state: LoopState) -> list[int]:
        """Severe overlaps and Ramachandran outliers of each row."""
        severe = self.sterics.count_severe(state.conformation.xyz, state.pairs).tolist()
        return [int(a + b) for a, b in zip(severe, self.angles.count_outliers(state.conformation.angle), strict=True)]

    def clean(self, state: LoopState) -> list[bool]:
        """Whether each row has neither a severe overlap nor a Ramachandran outlier."""
        return [not count for count in self.count_defects(state)]

    def residue_costs(self, state: LoopState) -> Tensor:
        """Share (B, L) of each residue in the loss with unit weights."""
        overlap, pairs = self.sterics.overlaps(state.conformation.xyz, state.pairs)
        return self._per_residue(self.sterics.cost(overlap), pairs, self.angles.penalty(state.conformation.angle))

    def _per_residue(self, clash: Tensor, pairs: PairList, strain: Tensor) -> Tensor:
        share = clash.new_zeros(len(clash), self.length)
        share = share.index_add(1, self.sterics.residue[pairs.i], clash)
        inner = pairs.j < len(self.sterics.local)
        second = self.sterics.residue[pairs.j[inner]]
        return share.index_add(1, second, clash[:, inner]).index_add(1, self.angles.residue, strain)


def _weight(goal: LoopGoal, like: Tensor) -> Tensor:
    """Weight of the clashes in each row, (B,); weights per row are repeated to the batch size."""
    weights = like.new_tensor(goal.sterics).reshape(-1)
    return weights.repeat(len(like) // len(weights))

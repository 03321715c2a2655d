"""OpenMM's energy as a differentiable torch function of the moving atoms.

Units: nm, kJ/mol.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geofold.errors import ForceFieldError
from geofold.geometry import frames_by_normal
from geofold.kernels.library import available
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.compiled_terms import born_energy, born_solvation
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.subsystem import COVALENT, subsystem

Solvation = Callable[[Tensor], tuple[Tensor, Tensor]]
COINCIDE = 1e-4
"""Distance (nm) below which two fixed atoms coincide; their residues are excluded from the subsystem."""


class OpenMMPotential:
    """Force field of the surroundings of the moving atoms, as a torch function of their coordinates.

    The subsystem contains the particles within `reach` of the moving ones, and the torsion terms with at least one
    moving particle. Bond and angle terms, which are constant while only torsions change, and the constant energy of the
    fixed rest are omitted. Screening by distant atoms is approximate; reported energies use the complete system.

    Parameters
    ----------
    model : EnergyModel
        Model of the complete protein.
    xyz : (n_atoms, 3) float
        Current coordinates of the structure, nm.
    moving : (n_atoms,) bool
        Moving atoms of the structure.
    reach : float
        Cutoff of the subsystem, nm; forces at 0.8 differ from those at 1.2 by 0.2 %, at less than half the cost.

    Raises
    ------
    ForceFieldError
        If no moving atom is part of the energy model, or the force field has a class of force that `subsystem` does
        not copy.
    """

    def __init__(
        self, model: EnergyModel, xyz: NDArray[np.float64], moving: NDArray[np.bool_], reach: float = 0.8
    ) -> None:
        import openmm
        from scipy.spatial import cKDTree

        self.model = model
        placed = model.positions(xyz)
        source = model.completed.source
        on = np.zeros(len(source), dtype=bool)
        on[source >= 0] = moving[source[source >= 0]]
        if len(model.added_particles):
            on[model.added_particles[:, 0]] |= on[model.added_particles[:, 1:]].any(1)
        if not on.any():
            raise ForceFieldError(
                "none of the moving residues is part of the energy",
                f"residues that {model.force_field.name} has parameters for, bonded to others",
                "choose another range, or run with --no-energy",
            )
        near = np.isfinite(cKDTree(placed[on]).query(placed, distance_upper_bound=reach)[0])
        # complete residues, so that groups stay neutral
        residue = model.completed.residue
        near = np.isin(residue, np.unique(residue[near]))
        fixed = np.flatnonzero(near & ~on)
        pairs = cKDTree(placed[fixed]).query_pairs(COINCIDE, output_type="ndarray")
        near &= on | ~np.isin(residue, residue[fixed[np.unique(pairs)]])
        self.kept = np.flatnonzero(near)
        self._on, self._placed = on, placed
        system = subsystem(model.parameters.terms, self.kept, on, [1.0] * len(self.kept), omitted=COVALENT)
        used = platform()
        self._solvation = _take_born(system, double=used.getName() == "Reference") if available() else None
        self._context = openmm.Context(system, openmm.VerletIntegrator(0.001), used)

    def of_particles(self, particles: Tensor) -> Tensor:
        """Energy (B,) in kJ/mol of particle coordinates (B, p, 3) in nm; the gradient is minus OpenMM's force."""
        return _OpenMMEnergy.apply(particles, self._context, self.kept, self._solvation)

    def of_atoms(self, local: Tensor, atoms: NDArray[np.int64]) -> Tensor:
        """Energy (B,) of local coordinates (B, m, 3) of the structure's `atoms` (m,), with all other atoms fixed."""
        return self.of_particles(self.particles(local, atoms))

    def energy_and_gradient(self, local: Tensor, atoms: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Energy (B,) as in `of_atoms`, and its gradient (B, m, 3) in kJ/mol/nm."""
        leaf = local.detach().requires_grad_(True)
        with torch.enable_grad():
            energy = self.of_atoms(leaf, atoms)
            (gradient,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.detach(), gradient

    def particles(self, local: Tensor, atoms: NDArray[np.int64]) -> Tensor:
        """Particle coordinates (B, p, 3), with added hydrogens moved by their frames, differentiable."""
        row = {int(a): k for k, a in enumerate(atoms)}
        pairs = [(p, row[int(a)]) for p, a in enumerate(self.model.completed.source) if int(a) in row]
        target = torch.tensor([p for p, _ in pairs], device=local.device)
        origin = torch.tensor([k for _, k in pairs], device=local.device)
        base = torch.as_tensor(self._placed, dtype=local.dtype, device=local.device).expand(len(local), -1, -1)
        placed = base.index_copy(1, target, local[:, origin])
        added_particles = (
            self.model.added_particles[self._on[self.model.added_particles[:, 0]]]
            if len(self.model.added_particles)
            else self.model.added_particles
        )
        if len(added_particles):
            before, after = (
                frames_by_normal(*(whole[:, added_particles[:, k]] for k in (1, 2, 3))) for whole in (base, placed)
            )
            lever = (base[:, added_particles[:, 0]] - base[:, added_particles[:, 1]])[..., None]
            moved = placed[:, added_particles[:, 1]] + (after @ (before.transpose(-1, -2) @ lever))[..., 0]
            placed = placed.index_copy(1, torch.as_tensor(added_particles[:, 0], device=local.device), moved)
        return placed


class _OpenMMEnergy(torch.autograd.Function):
    """Energy in the forward pass, negative force in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, particles: Tensor, context: Any, particle_rows: NDArray[np.int64], solvation: Solvation | None
    ) -> Tensor:
        import openmm.unit

        energies, gradient = [], torch.zeros_like(particles)
        worst = torch.finfo(particles.dtype).max ** 0.5
        for row, points in enumerate(particles.detach().cpu().numpy()):
            context.setPositions(points[particle_rows])
            state = context.getState(getEnergy=True, getForces=True)
            energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
            force = state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoule_per_mole / openmm.unit.nanometer)
            if not (energy < worst and np.isfinite(force).all()):
                energies.append(worst)  # coincident atoms: largest energy, undefined gradient
                continue
            slope = -torch.as_tensor(np.asarray(force), dtype=particles.dtype, device=particles.device)
            if solvation is not None:
                added, descent = solvation(torch.as_tensor(points[particle_rows], dtype=torch.float64)[None])
                energy, slope = energy + float(added), slope + descent[0].to(slope)
            energies.append(energy)
            gradient[row, particle_rows] = slope
        ctx.save_for_backward(gradient)
        return torch.tensor(energies, dtype=particles.dtype, device=particles.device)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return grads[0][:, None, None] * gradient, None, None, None


def _take_born(system: Any, *, double: bool) -> Solvation | None:
    """Take the GBSAOBCForce out of a System, on which OpenMM's CPU platform spends nine tenths of its time.

    Parameters
    ----------
    system : openmm.System
    double : bool
        Whether to evaluate it in double precision.
    """
    for index, force in enumerate(system.getForces()):
        if type(force).__name__ == "GBSAOBCForce":
            born = born_solvation(force)
            system.removeForce(index)
            return partial(born_energy, born, double=double)
    return None

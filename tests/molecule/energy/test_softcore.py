"""The soft-core rung: its limits, its gradient, and what it says of a real loop."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from geofold import resources
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.softcore import (
    BOND_DEPTH,
    BOND_LENGTH,
    CHI_AMPLITUDE,
    COULOMB,
    CUTOFF,
    DIELECTRIC,
    SOFT_CHARGE,
    SoftCore,
)
from geofold.molecule.loop.domain import LoopDomain, LoopGoal
from geofold.molecule.structure import Structure, read


@cache
def loop() -> tuple[Structure, LoopDomain, SoftCore]:
    structure = read(resources.find("structures", "1ubi.pdb"))
    domain = LoopDomain.of(structure, 44, 55)
    model = EnergyModel.of(structure, structure.steering_mask)
    return structure, domain, SoftCore.of(structure, domain.tree, domain.sterics, model)


def test_without_softness_it_is_lennard_jones_and_coulomb_pair_by_pair() -> None:
    structure, domain, soft = loop()
    hard = replace(soft, softness=0.0)
    state = domain.start(structure.xyz)
    terms = hard.energy(state.fold.xyz, state.fold.angle, state.pairs)
    atoms = domain.sterics.atoms
    want = {"lennard_jones": 0.0, "coulomb": 0.0}
    for i in range(len(domain.sterics.local)):
        for j in np.flatnonzero(~domain.sterics.excluded[i]):
            r = float(np.linalg.norm(structure.xyz[atoms[i]] - structure.xyz[atoms[j]]))
            if r >= CUTOFF:
                continue
            fade = (1 - (r / CUTOFF) ** 2) ** 2
            sigma = float(hard.sigma[i] + hard.sigma[j]) / 2
            epsilon = float(hard.epsilon[i] * hard.epsilon[j]) ** 0.5
            want["lennard_jones"] += fade * 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6)
            charges = float(hard.charge[i] * hard.charge[j])
            want["coulomb"] += fade * COULOMB * charges / (DIELECTRIC * (r**2 + SOFT_CHARGE**2))
    for name, value in want.items():
        assert abs(float(terms[name][0]) - value) < 1e-6 * max(1.0, abs(value))


def test_united_charges_are_whole_residues() -> None:
    """Hydrogens' charges go to their heavy atoms, so that a residue keeps its formal charge."""
    structure, domain, soft = loop()
    charge = dict(zip(domain.sterics.atoms.tolist(), soft.charge.tolist(), strict=True))
    wanted = {"LYS": 1.0, "GLU": -1.0, "ASP": -1.0, "ARG": 1.0, "GLN": 0.0, "GLY": 0.0, "LEU": 0.0, "PHE": 0.0}
    seen = set()
    for k in range(46, 54):
        residue = structure.residues[k]
        if residue.resname in wanted:
            total = sum(charge[int(a)] for a in residue.atoms)
            assert abs(total - wanted[residue.resname]) < 1e-6
            seen.add(residue.resname)
    assert len(seen) >= 4


def test_gradient_by_finite_differences() -> None:
    structure, domain, soft = loop()
    state = domain.start(structure.xyz)
    still = state.fold.xyz.new_zeros(1, domain.latent_dim)

    def total(z: torch.Tensor) -> torch.Tensor:
        theta, xyz = domain.fold.split(domain.decode(z, state).mean)
        return torch.stack(list(soft.energy(xyz, state.fold.angle + theta, state.pairs).values())).sum()

    z = (still + 0.01).requires_grad_(True)
    (gradient,) = torch.autograd.grad(total(z), z)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    step = 1e-5
    with torch.no_grad():
        slope = (total(z + step * direction) - total(z - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-5)


def test_stays_finite_where_atoms_coincide() -> None:
    structure, domain, soft = loop()
    state = domain.start(structure.xyz)
    collapsed = torch.zeros_like(state.fold.xyz).requires_grad_(True)
    total = torch.stack(list(soft.energy(collapsed, state.fold.angle, state.pairs).values())).sum()
    (gradient,) = torch.autograd.grad(total, collapsed)
    assert total.isfinite() and gradient.isfinite().all()


def test_the_native_loop_is_better_than_a_disturbed_one() -> None:
    structure, domain, soft = loop()
    state = domain.start(structure.xyz)
    native = sum(float(t[0]) for t in soft.energy(state.fold.xyz, state.fold.angle, state.pairs).values())
    noise = torch.Generator().manual_seed(1)
    for _ in range(5):
        z = 0.5 * torch.randn(1, domain.latent_dim, generator=noise, dtype=torch.float64)
        theta, xyz = domain.fold.split(domain.decode(z, state).mean)
        other = soft.energy(xyz, state.fold.angle + theta, state.pairs)
        assert native < sum(float(t[0]) for t in other.values())


def test_hydrogen_bond_well_and_torsion_barrier() -> None:
    ratio = torch.tensor(1.0)
    assert float(BOND_DEPTH * (5 * ratio**6 - 6 * ratio**5)) == -BOND_DEPTH
    assert 0.27 < BOND_LENGTH < 0.31
    structure, domain, soft = loop()
    state = domain.start(structure.xyz)
    terms = soft.energy(state.fold.xyz, state.fold.angle, state.pairs)
    assert float(terms["hydrogen_bonds"][0]) < -BOND_DEPTH / 2
    count = float(soft.chi.sum())
    assert 0 <= float(terms["torsions"][0]) <= 2 * CHI_AMPLITUDE * count
    # native side chains stand near their staggered minima
    assert float(terms["torsions"][0]) < 0.6 * CHI_AMPLITUDE * count


def test_steers_a_stream() -> None:
    from geofold.core.gate import FixedGate
    from geofold.modelling.options import RunOptions
    from geofold.modelling.repair.loop import controller

    structure, domain, soft = loop()
    goal = LoopGoal(side_chains=True, floor=1.0, soft_core=0.05)
    with_force_field = replace(domain, soft=soft, goal=goal)
    parts = replace(controller(RunOptions()), gate=FixedGate(1))
    state = parts.init(with_force_field, with_force_field.start(structure.xyz))
    losses = []
    for _ in range(8):
        state, info = parts.step(with_force_field, state, goal)
        losses.append(float(info.loss_after[0]))
    assert losses[-1] < losses[0] and losses == sorted(losses, reverse=True)

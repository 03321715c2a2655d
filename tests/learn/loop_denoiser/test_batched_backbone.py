"""Closed moves of many loops at once, compared with geometry and numerical derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geofold.geometry import wrap
from geofold.learn.loop_denoiser.batched_backbone import (
    FLANK,
    BackboneBatch,
    closure_jacobian,
    loop_rmsd,
    loop_torsions,
    move_closed,
    pseudo_beta,
    rotate_torsions,
)
from geofold.learn.loop_denoiser.perturbation import perturb
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.resources import find

LENGTH = 9


@pytest.fixture(scope="module")
def loops() -> BackboneBatch:
    """Windows of ubiquitin."""
    structure = read(find("structures", "1ubi.pdb"))
    rows = []
    for start in range(0, 50, 7):
        residues = range(start, start + LENGTH + 2 * FLANK)
        atoms = [[structure.atom(k, n, structure.conformer_mask) for n in ("N", "CA", "C", "O")] for k in residues]
        rows.append(10 * structure.xyz[np.array(atoms)])
    xyz = torch.as_tensor(np.array(rows))
    count = len(xyz)
    letters = torch.zeros(count, LENGTH + 2 * FLANK, dtype=torch.long)
    free = torch.ones(count, 2 * LENGTH, dtype=torch.bool)
    free[:, 4] = False
    return BackboneBatch(xyz, letters, letters >= 0, free, xyz.new_zeros(count, 0, 3), xyz.new_zeros(count, 0))


def bonds(xyz: torch.Tensor) -> torch.Tensor:
    chain = xyz[:, :, :3].flatten(1, 2)
    return (chain[:, 1:] - chain[:, :-1]).norm(dim=-1)


def angles(xyz: torch.Tensor) -> torch.Tensor:
    chain = xyz[:, :, :3].flatten(1, 2)
    one, two = chain[:, :-2] - chain[:, 1:-1], chain[:, 2:] - chain[:, 1:-1]
    return torch.acos((one * two).sum(-1) / one.norm(dim=-1) / two.norm(dim=-1))


def test_rotations_change_torsions_by_their_angles(loops: BackboneBatch) -> None:
    theta = 0.1 * torch.randn(len(loops.xyz), 2 * LENGTH, generator=torch.Generator().manual_seed(0)).double()
    moved, end = rotate_torsions(loops.xyz, theta)
    # the last psi is measured to the next residue, which only moves in `end`
    moved[:, -FLANK, :3] = end
    torch.testing.assert_close(wrap(loop_torsions(moved) - loop_torsions(loops.xyz)), theta, atol=1e-9, rtol=0)
    torch.testing.assert_close(bonds(moved)[:, : -3 * FLANK + 3], bonds(loops.xyz)[:, : -3 * FLANK + 3])


def test_the_closure_jacobian_is_the_derivative_of_the_end(loops: BackboneBatch) -> None:
    slope = closure_jacobian(loops.xyz, torch.ones_like(loops.free))
    zero = torch.zeros(len(loops.xyz), 2 * LENGTH, dtype=torch.float64)
    expected = torch.func.jacfwd(lambda t: rotate_torsions(loops.xyz, t)[1].flatten(1))(zero)
    torch.testing.assert_close(slope, torch.stack([expected[b, :, b] for b in range(len(zero))]), atol=1e-9, rtol=0)


def test_moves_are_closed_and_keep_bonds_angles_and_fixed_torsions(loops: BackboneBatch) -> None:
    noise = torch.Generator().manual_seed(1)
    state = loops
    for _ in range(20):
        state, increments = move_closed(state, 0.3 * torch.randn(len(loops.xyz), 2 * LENGTH, generator=noise).double())
        assert float(increments[:, 4].abs().max()) == 0.0
    assert float(loop_rmsd(state.xyz, loops.xyz).min()) > 0.2
    assert float((bonds(state.xyz) - bonds(loops.xyz)).abs().max()) < 0.01
    assert float((angles(state.xyz) - angles(loops.xyz)).abs().max()) < math.radians(1.0)
    torch.testing.assert_close(state.xyz[:, :FLANK], loops.xyz[:, :FLANK], rtol=0, atol=0)
    torch.testing.assert_close(state.xyz[:, -FLANK:], loops.xyz[:, -FLANK:], rtol=0, atol=0)


def test_perturbations_reach_their_target_and_depend_on_the_seed_alone(loops: BackboneBatch) -> None:
    target = torch.full((len(loops.xyz),), 1.5, dtype=torch.float64)
    one, two = (perturb(loops, target, torch.Generator().manual_seed(3)).xyz for _ in range(2))
    assert torch.equal(one, two)
    far = loop_rmsd(one, loops.xyz)
    assert float(far.max()) < 3.0 and int((far > 1.4).sum()) >= len(far) // 2


def test_pseudo_beta_is_where_cb_is() -> None:
    built = peptide("AFWKL")
    rows = [[built.atom(k, n, built.conformer_mask) for n in ("N", "CA", "C", "O", "CB")] for k in range(5)]
    xyz = torch.as_tensor(10 * built.xyz[np.array(rows)])
    assert float((pseudo_beta(xyz[:, :4]) - xyz[:, 4]).norm(dim=-1).max()) < 0.15

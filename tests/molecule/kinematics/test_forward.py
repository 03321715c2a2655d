"""Moving atoms by turning torsions: only the torsions turn, and the derivatives are those of the motion."""

from __future__ import annotations

from functools import cache

import mdtraj
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.geometry import dihedral_of_points
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.differential import acceleration, jacobian
from geofold.molecule.kinematics.forward import Kinematics, frames, positions
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree
from geofold.resources import find

# name, first, last: rooted at the N side (closed stretch), at the C side (N-terminal tail), at the N side
# (C-terminal tail), and in the middle (whole chains, one with hydrogens, a disulfide and an amide cap)
TAILS = [("1ubi.pdb", 0, 25), ("1ubi.pdb", 50, 75), ("1ubi.pdb", 0, 75), ("1yjp.cif", 0, 6), ("1a1p.pdb", 0, 12)]
STRETCHES = [("1ubi.pdb", 30, 45), ("1lpbA.pdb", 50, 60), *TAILS]


@cache
def build(name: str, first: int, last: int) -> tuple[Structure, TorsionTree, Kinematics]:
    structure = read(find("structures", name))
    tree = torsion_tree(structure, first, last)
    return structure, tree, Kinematics.of(tree)


def local(structure: Structure, kinematics: Kinematics, batch: int = 1) -> torch.Tensor:
    return torch.as_tensor(structure.xyz)[kinematics.atoms].expand(batch, -1, -1).clone()


def random_turns(tree: TorsionTree, seed: int, size: float = np.pi, batch: int = 1) -> torch.Tensor:
    draw = np.random.default_rng(seed).uniform(-size, size, (batch, len(tree)))
    return torch.as_tensor(draw)


def moved_structure(structure: Structure, kinematics: Kinematics, delta: torch.Tensor) -> np.ndarray:
    xyz = structure.xyz.copy()
    xyz[kinematics.atoms.numpy()] = positions(kinematics, local(structure, kinematics), delta)[0].numpy()
    return xyz


def one_by_one(structure: Structure, tree: TorsionTree, delta: np.ndarray) -> np.ndarray:
    """Reference: torsion after torsion, root last, each turning what lies beyond it about where its bond is now."""
    xyz = structure.xyz.copy()
    for j in range(len(tree)):
        axis = xyz[tree.far[j]] - xyz[tree.near[j]]
        axis /= np.linalg.norm(axis)
        beyond = tree.atoms[tree.influence[tree.body, j]]
        p = xyz[beyond] - xyz[tree.far[j]]
        c, s = np.cos(delta[j]), np.sin(delta[j])
        xyz[beyond] = xyz[tree.far[j]] + p * c + np.cross(axis, p) * s + np.outer(p @ axis, axis) * (1 - c)
    return xyz


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_no_turn_returns_the_input_to_the_last_bit(stretch):
    structure, tree, kinematics = build(*stretch)
    still = positions(kinematics, local(structure, kinematics, 2), torch.zeros(2, len(tree), dtype=torch.float64))
    assert torch.equal(still, local(structure, kinematics, 2))
    single = positions(kinematics, local(structure, kinematics).float(), torch.zeros(1, len(tree)))
    assert torch.equal(single, local(structure, kinematics).float())


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_pointer_jumping_equals_turning_one_by_one(stretch):
    structure, tree, kinematics = build(*stretch)
    delta = random_turns(tree, 1)
    np.testing.assert_allclose(
        moved_structure(structure, kinematics, delta), one_by_one(structure, tree, delta[0].numpy()), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("stretch", TAILS, ids=str)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-3, np.pi))
def test_bonds_angles_and_chirality_stay(stretch, seed, size):
    structure, tree, kinematics = build(*stretch)
    after = moved_structure(structure, kinematics, random_turns(tree, seed, size))
    pairs, centres = [], []
    broken = {frozenset(link) for link in tree.links}  # closure keeps these, free motion does not
    for atom, bonded in enumerate(tree.adjacency):
        kept = [b for b in bonded if frozenset((atom, b)) not in broken]
        pairs += [(atom, b) for b in kept] + [(a, b) for a in kept for b in kept if a < b]
        centres += [(atom, *kept[:3])] if len(kept) >= 3 else []
    i, j = np.array(pairs).T

    def distances(xyz: np.ndarray) -> np.ndarray:
        return np.linalg.norm(xyz[i] - xyz[j], axis=1)

    def volumes(xyz: np.ndarray) -> np.ndarray:
        a, b, c, d = (xyz[np.array(centres)[:, k]] for k in range(4))
        return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a)

    np.testing.assert_allclose(distances(after), distances(structure.xyz), rtol=0, atol=1e-11)
    np.testing.assert_allclose(volumes(after), volumes(structure.xyz), rtol=0, atol=1e-12)
    assert np.abs(after - structure.xyz).max() > 1e-6


@pytest.mark.parametrize("stretch", [s for s in TAILS if s[0] == "1ubi.pdb"], ids=str)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_mdtraj_reads_every_dihedral_as_before_plus_increment(stretch, seed):
    structure, tree, kinematics = build(*stretch)
    delta = random_turns(tree, seed)[0].numpy()
    topology = mdtraj.load(str(find("structures", stretch[0]))).topology
    after = moved_structure(structure, kinematics, torch.as_tensor(delta)[None])
    both = mdtraj.Trajectory(np.stack([structure.xyz, after]), topology)
    axis = {frozenset((int(a), int(b))): j for j, (a, b) in enumerate(zip(tree.near, tree.far, strict=True))}
    turned: set[int] = set()
    for measure in ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4"):
        quadruples, angle = getattr(mdtraj, f"compute_{measure}")(both)
        wanted = np.zeros(len(quadruples))
        for row, (_, a, b, _) in enumerate(quadruples):
            j = axis.get(frozenset((int(a), int(b))))
            if j is not None:
                assert tree.kind[j] == measure
                wanted[row] = delta[j]
                turned.add(j)
        gap = np.angle(np.exp(1j * (angle[1] - angle[0] - wanted)))
        assert np.abs(gap).max() < 2e-3, measure  # mdtraj computes in single precision
    ends = {j for j in range(len(tree)) if (tree.kind[j], tree.residue[j]) in (("phi", 0), ("psi", 75))}
    assert turned | ends == set(range(len(tree)))


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_dihedrals_in_double_precision(stretch):
    """Any path of four atoms about a turning bond, whatever the side of the root; closed ones end at the anchor."""
    structure, tree, kinematics = build(*stretch)
    delta = random_turns(tree, 7)
    after = moved_structure(structure, kinematics, delta)
    inside = set(tree.atoms.tolist()) | set(tree.near.tolist())
    checked = 0
    for j, (near, far) in enumerate(zip(tree.near.tolist(), tree.far.tolist(), strict=True)):
        ends = [[x for x in tree.adjacency[a] if x != b] for a, b in ((near, far), (far, near))]
        root_side = [a for a in ends[0] if not (tree.closed and a in inside and structure.residue_of[a] > tree.last)]
        beyond = [b for b in ends[1] if b in inside and {far, b} not in map(set, tree.links)]
        for a in [x for x in root_side if {near, x} not in map(set, tree.links)]:
            for b in beyond:
                quad = np.array([a, near, far, b])
                change = float(
                    dihedral_of_points(torch.as_tensor(after[quad]))
                    - dihedral_of_points(torch.as_tensor(structure.xyz[quad]))
                )
                assert abs(np.angle(np.exp(1j * (change - float(delta[0, j]))))) < 1e-9
                checked += 1
    assert checked >= len(tree) - 2


@pytest.mark.parametrize("stretch", [("1ubi.pdb", 30, 36), ("1yjp.cif", 0, 6), ("1a1p.pdb", 0, 12)], ids=str)
@pytest.mark.parametrize("size", [0.0, 0.8])
def test_jacobian_and_acceleration(stretch, size):
    structure, tree, kinematics = build(*stretch)
    xyz = local(structure, kinematics, 2)
    xyz[1] += 0.3
    delta, rate = random_turns(tree, 3, size, 2), random_turns(tree, 4, 1.0, 2)
    frame, moved = frames(kinematics, xyz, delta), positions(kinematics, xyz, delta)
    analytic = jacobian(kinematics, frame, xyz, moved)
    exact = torch.func.vmap(torch.func.jacfwd(lambda d, x: positions(kinematics, x[None], d[None])[0]))(delta, xyz)
    torch.testing.assert_close(analytic, exact, rtol=0, atol=1e-11)
    h = 1e-4
    ahead, behind = positions(kinematics, xyz, delta + h * rate), positions(kinematics, xyz, delta - h * rate)
    slope = (analytic @ rate[:, None, :, None])[..., 0]
    torch.testing.assert_close(slope, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-6)
    bend = acceleration(kinematics, frame, xyz, moved, rate, kinematics.body)
    torch.testing.assert_close(bend, (ahead - 2 * moved + behind) / h**2, rtol=1e-5, atol=1e-5)
    rows = torch.tensor([0, len(kinematics.atoms) // 2, len(kinematics.atoms) - 1])
    assert torch.equal(jacobian(kinematics, frame, xyz, moved[:, rows], rows), analytic[:, rows])


def test_reverse_mode_gradient():
    structure, tree, kinematics = build("1yjp.cif", 0, 6)
    xyz, delta = local(structure, kinematics), random_turns(tree, 5, 0.5).requires_grad_(True)
    weight = torch.randn(xyz.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = positions(kinematics, xyz, delta)
    (gradient,) = torch.autograd.grad((moved * weight).sum(), delta)
    columns = jacobian(kinematics, frames(kinematics, xyz, delta.detach()), xyz, moved.detach())
    torch.testing.assert_close(gradient, torch.einsum("bmcn,bmc->bn", columns, weight), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("stretch", [("1ubi.pdb", 30, 45), ("1ubi.pdb", 0, 75)], ids=str)
def test_a_batch_of_one_equals_a_row_of_a_batch(stretch):
    structure, tree, kinematics = build(*stretch)
    xyz = local(structure, kinematics, 4) + torch.arange(4, dtype=torch.float64)[:, None, None]
    delta = random_turns(tree, 11, batch=4)
    together = positions(kinematics, xyz, delta)
    for row in range(4):
        alone = positions(kinematics, xyz[row : row + 1], delta[row : row + 1])[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-13)


def test_atoms_that_no_turned_torsion_carries_keep_their_bits():
    structure, tree, kinematics = build("1ubi.pdb", 30, 45)
    delta = random_turns(tree, 2)
    delta[:, : len(tree) // 2] = 0.0
    after = positions(kinematics, local(structure, kinematics), delta)
    carried = torch.zeros(len(kinematics.atoms), dtype=torch.bool)
    carried |= (kinematics.influence[kinematics.body] * (delta[0] != 0)).any(-1)
    assert (
        torch.equal(after[:, ~carried], local(structure, kinematics)[:, ~carried])
        and carried.any()
        and not carried.all()
    )


def test_inputs_are_not_mutated():
    structure, tree, kinematics = build("1yjp.cif", 0, 6)
    xyz, delta = local(structure, kinematics), random_turns(tree, 2)
    copies = xyz.clone(), delta.clone()
    positions(kinematics, xyz, delta)
    assert torch.equal(xyz, copies[0]) and torch.equal(delta, copies[1])

"""Loop closure: what is closed stays closed, what cannot be closed is called so."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.molecule.io.read import read
from geofold.molecule.kinematics.forward import Kinematics, frames, positions, transform_atoms
from geofold.molecule.kinematics.loop_closure import Closure, Tangent, close, tangent
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree
from geofold.resources import find

LOOPS = [("1ubi.pdb", 43, 43 + length - 1, None) for length in (4, 5, 6, 8, 12, 20, 30)]
BRIDGED = [("1ajj.pdb", 5, 11, None), ("1bx8.pdb", 3, 10, None), ("1ejg.pdb", 24, 33, "A"), ("1ejg.pdb", 1, 41, "A")]
CAP = np.radians(10)


@cache
def build(name: str, first: int, last: int, altloc: str | None) -> tuple[Structure, TorsionTree, Kinematics, Closure]:
    structure = read(find("structures", name))
    tree = torsion_tree(structure, first, last, altloc=altloc)
    kinematics = Kinematics.of(tree)
    return structure, tree, kinematics, Closure.of(tree, kinematics)


def local(structure: Structure, kinematics: Kinematics, batch: int = 1) -> torch.Tensor:
    return torch.as_tensor(structure.xyz)[kinematics.atoms].expand(batch, -1, -1).clone()


def backbone(tree: TorsionTree) -> torch.Tensor:
    return torch.as_tensor(tree.backbone.astype(float))


def increments(tree: TorsionTree, space: Tangent, seed: int, size: float = CAP, batch: int = 1) -> torch.Tensor:
    """Random tangent increments, the largest torsion turning by `size`."""
    free = torch.as_tensor(np.random.default_rng(seed).normal(size=(batch, len(tree))))
    delta = space.project(free * backbone(tree))
    return delta * size / delta.abs().amax(-1, keepdim=True).clamp_min(1e-12)


def anchors(structure: Structure, tree: TorsionTree, kinematics: Kinematics, theta: torch.Tensor) -> torch.Tensor:
    """How far each anchor atom would be carried, (B, 3) in nm."""
    xyz = local(structure, kinematics, len(theta))
    rows = kinematics.local_rows(tree.anchor)
    end = frames(kinematics, xyz, theta)[:, tree.end, None]
    return ((end[..., :3, :3] @ xyz[:, rows, :, None])[..., 0] + end[..., :3, 3] - xyz[:, rows]).norm(dim=-1)


@pytest.mark.parametrize("loop", LOOPS, ids=str)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-4, CAP))
def test_loops_close(loop, seed, size):
    structure, tree, kinematics, closure = build(*loop)
    xyz = local(structure, kinematics)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    delta = increments(tree, space, seed, size)
    with torch.no_grad():
        theta, closed = close(closure, kinematics, xyz, delta, space)
    assert closed.all()
    assert float(closure.residual(kinematics, xyz, theta).abs().max()) < 1e-8
    assert float(anchors(structure, tree, kinematics, theta).max()) < 1e-7
    moved = positions(kinematics, xyz, theta)[0].numpy()
    carbon, nitrogen = structure.atom(tree.last, "C", tree.conformer), tree.anchor[0]
    row = int(kinematics.local_rows([carbon])[0])
    before = np.linalg.norm(structure.xyz[carbon] - structure.xyz[nitrogen])
    assert abs(np.linalg.norm(moved[row] - structure.xyz[nitrogen]) - before) < 1e-7
    assert float(theta.abs().max()) > 0.1 * size


def test_a_zero_increment_stays_zero():
    for loop in (*LOOPS, *BRIDGED):
        structure, tree, kinematics, closure = build(*loop)
        xyz = local(structure, kinematics)
        zero = torch.zeros(1, len(tree), dtype=torch.float64)
        theta, closed = close(closure, kinematics, xyz, zero, tangent(closure, kinematics, xyz, backbone(tree)))
        assert closed.all() and torch.equal(positions(kinematics, xyz, theta), xyz)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.5, np.pi))
def test_what_cannot_close_is_called_open(seed, size):
    """Increments far beyond the cap: whatever Newton finds, `closed` is true only if every anchor atom is back."""
    structure, tree, kinematics, closure = build("1ubi.pdb", 43, 50, None)
    xyz = local(structure, kinematics, 4)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    with torch.no_grad():
        theta, closed = close(closure, kinematics, xyz, increments(tree, space, seed, size, 4), space)
    off = anchors(structure, tree, kinematics, theta).amax(-1)
    assert torch.equal(closed, closed & (off < 1e-7))


def test_some_large_increments_do_not_close():
    structure, tree, kinematics, closure = build("1ubi.pdb", 43, 46, None)
    xyz = local(structure, kinematics, 64)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    with torch.no_grad():
        closed = close(closure, kinematics, xyz, increments(tree, space, 0, 2.5, 64), space)[1]
    assert not closed.all()


@pytest.mark.parametrize("loop", [*LOOPS, *BRIDGED], ids=str)
def test_tangent_projector(loop):
    """Idempotent, symmetric, kills the closure velocity, and leaves as many directions as it says."""
    structure, tree, kinematics, closure = build(*loop)
    xyz, on = local(structure, kinematics), backbone(tree)
    space = tangent(closure, kinematics, xyz, on)
    eye = torch.eye(len(tree), dtype=torch.float64)
    projector = space.project(eye)  # rows of the identity as a batch of increments
    torch.testing.assert_close(projector @ projector, projector, rtol=0, atol=1e-11)
    torch.testing.assert_close(projector, projector.T, rtol=0, atol=1e-11)
    rows = closure.jacobian(kinematics, xyz, frames(kinematics, xyz, torch.zeros(1, len(tree), dtype=torch.float64)))[0]
    assert float((rows * on @ projector).abs().max()) < 1e-6 * float(rows.abs().max())
    assert int(space.freedom) == round(float(torch.trace(projector[:, on > 0][on > 0])))
    if loop in LOOPS:
        assert int(space.freedom) == int(on.sum()) - 6 and closure.rows == 6


@pytest.mark.parametrize("floor", [0.1, 0.5, 1.0])
def test_freedom_counts_torsions_not_their_reach(floor):
    """Torsions that follow the latent by half are half as fast, not half as many."""
    structure, tree, kinematics, closure = build("1ubi.pdb", 43, 50, None)
    space = tangent(closure, kinematics, local(structure, kinematics), floor * backbone(tree))
    assert int(space.freedom) == int(tree.backbone.sum()) - 6


@pytest.mark.parametrize("first,last", [(5, 7), (43, 45), (17, 19), (36, 38)])
def test_three_residues_have_no_freedom(first, last):
    """Two of these hold prolines, so they are held by more rows than they have torsions."""
    structure, tree, kinematics, closure = build("1ubi.pdb", first, last, None)
    xyz = local(structure, kinematics)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    assert int(space.freedom) == 0
    free = torch.ones(1, len(tree), dtype=torch.float64) * backbone(tree)
    assert float(space.project(free).abs().max()) < 1e-6
    with torch.no_grad():
        theta, closed = close(closure, kinematics, xyz, space.project(free), space)
    assert closed.all() and float(theta.abs().max()) < 1e-6


@pytest.mark.parametrize("loop", [LOOPS[2], *BRIDGED], ids=str)
def test_residual_derivatives(loop):
    """Jacobian at the closed loop, and the second derivative along a line, against finite differences."""
    structure, tree, kinematics, closure = build(*loop)
    xyz = local(structure, kinematics)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    with torch.enable_grad():  # two more Newton steps
        theta = close(closure, kinematics, xyz, increments(tree, space, 3, 0.05), space)[0]
    frame = frames(kinematics, xyz, theta)
    rate = torch.as_tensor(np.random.default_rng(1).normal(size=(1, len(tree))))
    h = 1e-4
    ahead, here, behind = (closure.residual(kinematics, xyz, theta + s * rate) for s in (h, 0.0, -h))
    rows = closure.jacobian(kinematics, xyz, frame)
    torch.testing.assert_close((rows @ rate[..., None])[..., 0], (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-6)
    bend = closure.acceleration(kinematics, xyz, frame, rate)
    torch.testing.assert_close(bend, (ahead - 2 * here + behind) / h**2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loop", [LOOPS[1], LOOPS[4], *BRIDGED[:3]], ids=str)
def test_implicit_derivative(loop):
    structure, tree, kinematics, closure = build(*loop)
    xyz = local(structure, kinematics)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    delta = increments(tree, space, 5, 0.06)
    v = torch.as_tensor(np.random.default_rng(2).normal(size=delta.shape)) * backbone(tree)

    def closed(d: torch.Tensor) -> torch.Tensor:
        return close(closure, kinematics, xyz, d, space)[0]

    h = 1e-4
    ahead, here, behind = (closed(delta + s * v) for s in (h, 0.0, -h))
    value, slope = torch.func.jvp(closed, (delta,), (v,))
    torch.testing.assert_close(value, here, rtol=0, atol=1e-11)
    torch.testing.assert_close(slope, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-6)
    bend = torch.func.jvp(lambda d: torch.func.jvp(closed, (d,), (v,))[1], (delta,), (v,))[1]
    torch.testing.assert_close(bend, (ahead - 2 * here + behind) / h**2, rtol=1e-4, atol=1e-4)
    leaf = delta.clone().requires_grad_(True)
    weight = torch.as_tensor(np.random.default_rng(3).normal(size=delta.shape))
    (pulled,) = torch.autograd.grad((closed(leaf) * weight).sum(), leaf)
    torch.testing.assert_close((pulled * v).sum(), (slope * weight).sum())


@pytest.mark.parametrize("loop", BRIDGED, ids=str)
@pytest.mark.parametrize("chi", [False, True], ids=["backbone", "side chains too"])
@pytest.mark.parametrize("seed", range(3))
def test_disulfides_keep_bond_and_both_angles(loop, chi, seed):
    structure, tree, kinematics, closure = build(*loop)
    xyz = local(structure, kinematics)
    on = torch.ones(len(tree), dtype=torch.float64) if chi else backbone(tree)
    space = tangent(closure, kinematics, xyz, on)
    free = torch.as_tensor(np.random.default_rng(seed).normal(size=(1, len(tree)))) * on
    delta = space.project(free)
    delta = delta * 0.05 / delta.abs().max()
    with torch.no_grad():
        theta, closed = close(closure, kinematics, xyz, delta, space)
    assert closed.all() and float(theta.abs().max()) > 0.01
    after = structure.xyz.copy()
    after[kinematics.atoms.numpy()] = positions(kinematics, xyz, theta)[0].numpy()
    assert tree.links
    for i, j in tree.links:
        for centre, other in ((i, j), (j, i)):
            for atom in [other, *tree.adjacency[centre]]:
                pair = [atom, other] if atom != other else [centre, other]
                before, now = (np.linalg.norm(x[pair[0]] - x[pair[1]]) for x in (structure.xyz, after))
                names = [f"{structure.residue_of[a]}.{structure.name[a]}" for a in pair]
                assert abs(now - before) < 1e-6, names
    for atom, bonded in enumerate(tree.adjacency):
        for other in bonded:
            before, now = (np.linalg.norm(x[atom] - x[other]) for x in (structure.xyz, after))
            assert abs(now - before) < 1e-6, (atom, other)


def test_a_row_of_a_batch_closes_like_a_batch_of_one():
    """To the closing tolerance: rows that need more Newton steps polish the others."""
    structure, tree, kinematics, closure = build(*LOOPS[4])
    xyz = local(structure, kinematics, 5)
    space = tangent(closure, kinematics, xyz, backbone(tree))
    delta = increments(tree, space, 9, batch=5) * torch.linspace(0.01, 1, 5, dtype=torch.float64)[:, None]
    delta[3] *= 30  # this one stays open
    with torch.no_grad():
        theta, closed = close(closure, kinematics, xyz, delta, space)
        for row in range(5):
            own = Tangent(space.normal[row : row + 1], space.freedom[row : row + 1])
            single, shut = close(closure, kinematics, xyz[:1], delta[row : row + 1], own)
            assert bool(shut) == bool(closed[row])
            if shut:
                torch.testing.assert_close(theta[row : row + 1], single, rtol=0, atol=1e-6)


def test_carried_atoms_agree_with_positions():
    structure, tree, kinematics, _ = build(*LOOPS[3])
    xyz = local(structure, kinematics)
    delta = torch.full((1, len(tree)), 0.1, dtype=torch.float64)
    rows = torch.arange(0, len(kinematics.atoms), 7)
    assert torch.equal(
        transform_atoms(kinematics, frames(kinematics, xyz, delta), xyz, rows),
        positions(kinematics, xyz, delta)[:, rows],
    )

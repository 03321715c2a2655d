"""Soft sterics against all pairs of the structure, counted one by one."""

from __future__ import annotations

import dataclasses
import tracemalloc
from functools import cache

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path

from geofold.app.report.measure import overlaps
from geofold.molecule import structure as structures
from geofold.molecule.energy import sterics as module
from geofold.molecule.energy.clash_cost import OVERLAP_TOLERANCE, SCREEN_MARGIN, screen
from geofold.molecule.energy.sterics import MAX_CONTACT, SKIN, Sterics
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.forward import Kinematics, positions
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import bond_list
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree
from geofold.molecule.vdw_radii import (
    BONDI_RADIUS,
    EXCLUDED_BONDS,
    POLAR,
    POLAR_ALLOWANCE,
    SEVERE_OVERLAP,
    radius_of,
)
from geofold.resources import find

STRETCHES = [("1ubi.pdb", 43, 52), ("1ubi.pdb", 60, 75), ("1ajj.pdb", 5, 11)]
STRETCHES += [("1lpbA.pdb", 50, 60), ("2erl.pdb", 5, 15)]


@cache
def build(name: str, first: int, last: int) -> tuple[Structure, TorsionTree, Kinematics, Sterics]:
    structure = read(find("structures", name))
    tree = torsion_tree(structure, first, last)
    kinematics = Kinematics.of(tree)
    return structure, tree, kinematics, Sterics.of(structure, tree, kinematics, 1.0 + 0.38 * (last - first + 1))


def start(structure: Structure, kinematics: Kinematics, batch: int = 1) -> torch.Tensor:
    return torch.as_tensor(structure.xyz)[kinematics.atoms].expand(batch, -1, -1).clone()


def turned(structure: Structure, tree: TorsionTree, kinematics: Kinematics, seed: int, size: float) -> torch.Tensor:
    delta = np.random.default_rng(seed).uniform(-size, size, (1, len(tree)))
    return positions(kinematics, start(structure, kinematics), torch.as_tensor(delta))


Overlaps = dict[frozenset[int], float]


def reference(structure: Structure, tree: TorsionTree, kinematics: Kinematics, moved: torch.Tensor) -> Overlaps:
    """Every positive overlap (nm) of a moving atom, by brute force over the whole structure."""
    xyz = structure.xyz.copy()
    xyz[kinematics.atoms.numpy()] = moved.numpy()
    n = len(structure)
    i, j = np.array(bond_list(structure, tree.conformer)).T
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
    near = shortest_path(graph, directed=False, unweighted=True) <= EXCLUDED_BONDS
    body = np.full(n, -1)
    body[tree.atoms] = tree.body
    counts = tree.conformer & (np.char.str_len(structure.element) > 0) & ~np.isin(structure.element, ["H", "D"])
    counts &= ~np.array([structure.is_water(k) for k in range(len(structure.residues))])[structure.residue_of]
    radius = np.array([radius_of(str(e)) for e in structure.element])
    polar = np.isin(structure.element, list(POLAR))
    contact = radius[:, None] + radius - POLAR_ALLOWANCE * (polar[:, None] & polar)
    overlap = contact - np.linalg.norm(xyz[:, None] - xyz, axis=-1)
    wanted = counts[:, None] & counts & ~near & (body[:, None] != body) & (overlap > 0)
    pairs = zip(*np.nonzero(np.triu(wanted, 1)), strict=True)
    return {frozenset((int(a), int(b))): float(overlap[a, b]) for a, b in pairs}


def listed(sterics: Sterics, overlap: torch.Tensor, pairs) -> Overlaps:
    rows = torch.nonzero(overlap > 0)[:, 0].tolist()
    found = [frozenset((int(sterics.atoms[pairs.i[p]]), int(sterics.atoms[pairs.j[p]]))) for p in rows]
    assert len(set(found)) == len(found)
    return dict(zip(found, overlap[rows].tolist(), strict=True))


def same(one: Overlaps, other: Overlaps) -> None:
    edge = {k for k in one.keys() ^ other.keys() if max(one.get(k, 0), other.get(k, 0)) < 1e-9}
    assert one.keys() - edge == other.keys() - edge
    for key in one.keys() & other.keys():
        assert abs(one[key] - other[key]) < 1e-7


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@pytest.mark.parametrize("size", [0.0, 0.01, 0.05, 0.5, 3.0])
def test_overlaps_equal_all_pairs(stretch, size):
    """The list is built at the input and used far from it: beyond the skin it has to be renewed."""
    structure, tree, kinematics, sterics = build(*stretch)
    old = sterics.pairs(start(structure, kinematics))
    moved = turned(structure, tree, kinematics, 1, size)
    overlap, used = sterics.overlaps(moved, old)
    want = reference(structure, tree, kinematics, moved[0])
    same(listed(sterics, overlap[0], used), want)
    assert int(sterics.count_severe(moved, old)) == sum(value >= SEVERE_OVERLAP for value in want.values())
    far = float((moved - start(structure, kinematics))[:, sterics.local].norm(dim=-1).max()) > SKIN / 2
    assert (far and old.reference is not None) == (used is not old)
    assert size < 1 or (far and len(want) > 10)


@pytest.mark.parametrize("stretch", STRETCHES[:2], ids=str)
def test_one_list_serves_all_rows(stretch):
    structure, tree, kinematics, sterics = build(*stretch)
    rows = torch.cat(
        [turned(structure, tree, kinematics, seed, size) for seed, size in ((1, 0.02), (2, 1.0), (3, 3.0))]
    )
    overlap, used = sterics.overlaps(rows, sterics.pairs(start(structure, kinematics, 3)))
    for row in range(3):
        same(listed(sterics, overlap[row], used), reference(structure, tree, kinematics, rows[row]))
        alone, _ = sterics.overlaps(rows[row : row + 1], sterics.pairs(rows[row : row + 1]))
        torch.testing.assert_close(sterics.cost(alone).sum(-1), sterics.cost(overlap[row : row + 1]).sum(-1))


def test_list_does_not_grow_with_the_protein():
    """Pairs lie within contact and skin of each other, so their number is that of neighbours, not of atoms."""
    structure, _, kinematics, sterics = build("1ubi.pdb", 43, 52)
    xyz = start(structure, kinematics)
    pairs = sterics.pairs(xyz)
    overlap = sterics.overlaps(xyz, pairs)[0]
    assert float((pairs.distance - overlap).max()) <= MAX_CONTACT + SKIN + 1e-9
    assert not sterics.excluded[pairs.i, pairs.j].any()


def strand(residues: int) -> Structure:
    """An extended chain of alanines, all bonded, as mmCIF: it is longer than the columns of a PDB file hold."""
    items = "group_PDB id type_symbol auth_atom_id auth_asym_id auth_seq_id auth_comp_id Cartn_x Cartn_y Cartn_z"
    places = {"N": (0, 0, 0), "CA": (1.46, 0, 0), "C": (2.0, 1.42, 0), "O": (1.3, 2.4, 0), "CB": (1.9, -0.7, 1.2)}
    rows = [
        f"ATOM {5 * k + i} {name[0]} {name} A {k + 1} ALA {x + 3.2 * k:.3f} {y + 1.99 * k:.3f} {z:.3f}\n"
        for k in range(residues) for i, (name, (x, y, z)) in enumerate(places.items(), 1)
    ]  # fmt: skip
    return read(("data_x\nloop_\n" + "".join(f"_atom_site.{i}\n" for i in items.split()) + "".join(rows)).encode())


def peak_of_overlaps(residues: int) -> int:
    structure = strand(residues)
    tree = torsion_tree(structure, 0, residues - 1)
    assert len(tree.atoms) > 4.9 * residues
    tracemalloc.start()
    overlaps(structure, tree, structure.xyz)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_long_chain_takes_memory_linear_in_its_length() -> None:
    small, large = peak_of_overlaps(250), peak_of_overlaps(1000)
    assert large < 7 * small  # a table of pairs takes sixteen times as much
    assert large < 5000 * 5000 / 2


def test_pairs_sorted_or_marked_in_a_table_are_the_same(monkeypatch) -> None:
    structure, tree, kinematics, sterics = build("1ubi.pdb", 43, 52)
    rows = torch.cat(
        [turned(structure, tree, kinematics, seed, size) for seed, size in ((1, 0.02), (2, 1.0), (3, 3.0))]
    )
    one = sterics.pairs(rows)
    monkeypatch.setattr(module, "MAX_TABLE_ENTRIES", 0)
    for mine, other in zip(one, sterics.pairs(rows), strict=True):
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(other))


@pytest.mark.parametrize("stretch", STRETCHES[:3], ids=str)
def test_gradient_against_finite_differences(stretch):
    structure, tree, kinematics, sterics = build(*stretch)
    begin = turned(structure, tree, kinematics, 5, 0.3)
    pairs = sterics.pairs(begin)

    def cost(xyz: torch.Tensor) -> torch.Tensor:
        return sterics.cost(sterics.overlaps(xyz, pairs)[0]).sum()

    leaf = begin.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cost(leaf), leaf)
    direction = torch.as_tensor(np.random.default_rng(0).normal(size=begin.shape))
    h = 1e-6
    slope = (cost(begin + h * direction) - cost(begin - h * direction)) / (2 * h)
    assert float(slope.abs()) > 1
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-4, atol=1e-4)
    assert gradient.isfinite().all()


def test_coinciding_atoms_have_a_finite_gradient():
    structure, _, kinematics, sterics = build("1ubi.pdb", 43, 52)
    xyz = start(structure, kinematics)
    pairs = sterics.pairs(xyz)
    inner = torch.nonzero(pairs.j < len(sterics.local))[0, 0]
    xyz[0, sterics.local[pairs.i[inner]]] = xyz[0, sterics.local[pairs.j[inner]]]
    leaf = xyz.requires_grad_(True)
    (gradient,) = torch.autograd.grad(sterics.cost(sterics.overlaps(leaf, pairs)[0]).sum(), leaf)
    assert gradient.isfinite().all()


def test_cost_is_zero_where_natives_are_one_at_a_clash_and_linear_when_deep():
    _, _, _, sterics = build("1ubi.pdb", 43, 52)
    overlap = torch.linspace(-0.3, 0.35, 651, dtype=torch.float64)
    cost = sterics.cost(overlap)
    assert not cost[overlap <= OVERLAP_TOLERANCE].any() and (cost[overlap > OVERLAP_TOLERANCE + 1e-12] > 0).all()
    assert float(sterics.cost(torch.tensor(SEVERE_OVERLAP))) == pytest.approx(1, abs=0.02)
    assert (cost.diff() >= 0).all() and (cost.diff().diff() >= -1e-12).all()
    assert float(cost[-1] / cost[-101]) < 0.35**2 / 0.25**2  # slower than quadratic


def test_no_two_radii_reach_beyond_the_contact_distance():
    assert 2 * max(BONDI_RADIUS.values()) <= MAX_CONTACT


@pytest.mark.parametrize("name", sorted(structures.WATER))
def test_waters_by_any_name_are_left_out(name):
    structure = read(find("structures", "1ubi.pdb"))
    water = np.array([structure.is_water(k) for k in range(len(structure.residues))])
    assert water.any()
    called = dataclasses.replace(
        structure, resname=np.where(water[structure.residue_of], name, structure.resname),
        residues=tuple(
            dataclasses.replace(r, resname=name) if w else r for r, w in zip(structure.residues, water, strict=True)
        ),
    )  # fmt: skip
    tree = torsion_tree(called, 43, 52)
    sterics = Sterics.of(called, tree, Kinematics.of(tree), 3.0)
    assert not water[called.residue_of[sterics.atoms]].any()


def test_hydrogens_and_other_conformers_are_left_out():
    structure, tree, _, sterics = build("2erl.pdb", 5, 15)
    assert not np.isin(structure.element[sterics.atoms], ["H", "D"]).any()
    assert tree.conformer[sterics.atoms].all() and len(set(sterics.atoms.tolist())) == len(sterics.atoms)


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@pytest.mark.parametrize("every", [False, True], ids=["neighbours", "all pairs"])
@pytest.mark.parametrize("batch", [1, 7])
def test_clashes_cost_what_all_pairs_cost(stretch, every, batch):
    """Along the neighbour list and by the screen of all pairs, small and large: the same sums, the same gradient."""
    structure, tree, kinematics, sterics = build(*stretch)
    pairs = sterics.pairs(start(structure, kinematics))
    if every:
        i, j = np.nonzero(~sterics.excluded)
        pairs = sterics._pair_list(i, j, None)
    moved = torch.cat([turned(structure, tree, kinematics, seed, 0.3) for seed in range(batch)])
    truth = moved.clone().requires_grad_(True)
    overlap, used = sterics.overlaps(truth, pairs)
    slow = sterics.cost(overlap).sum(-1)
    slow.sum().backward()
    clashes, _ = sterics.clashes(moved, pairs)
    torch.testing.assert_close(clashes.total(clashes.cost()), slow.detach(), rtol=1e-12, atol=1e-12)
    gradient = clashes.gradient(None, sterics.local_row, moved.shape[1])
    torch.testing.assert_close(gradient, truth.grad, rtol=1e-9, atol=1e-9)
    doubled = clashes.gradient(torch.full_like(clashes.distance, 2.0), sterics.local_row, moved.shape[1])
    torch.testing.assert_close(doubled, 2 * gradient)
    assert float(slow.max()) > 0
    worst = torch.relu(overlap.detach() - SEVERE_OVERLAP).amax(-1)
    torch.testing.assert_close(clashes.worst(), worst, rtol=0, atol=1e-12)
    assert used.inner == int((used.j < len(sterics.local)).sum())


@pytest.mark.parametrize("batch", [1, 40])
def test_screen_misses_nothing_at_the_threshold(batch):
    """Random points: exactly the pairs below the limit, and those that single precision cannot tell from it."""
    noise = torch.Generator().manual_seed(3)
    points = 2.0 * torch.rand(batch, 60, 3, generator=noise, dtype=torch.float64) + 5.0
    limit = 0.2 * torch.rand(40, 60, generator=noise, dtype=torch.float64) - 0.02
    square = (points[:, :40, None] - points[:, None]).square().sum(-1)
    found = torch.zeros(batch, 40, 60, dtype=torch.bool)
    found[screen(points, 40, (limit + SCREEN_MARGIN).to(torch.float32))] = True
    assert found[square < limit].all()
    assert not found[square > limit + 2 * SCREEN_MARGIN].any()
    assert int(found.sum()) > 50

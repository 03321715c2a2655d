"""Natural steps of side chains: they are derivatives of turns, and lead away from overlaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geofold import resources
from geofold.molecule.io.read import read
from geofold.molecule.loop.detection import overlaps
from geofold.molecule.sidechains.chi_minimisation import SideChains, relax_chi
from geofold.molecule.sidechains.repacking import find_repackable
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.bonds import adjacency_list, bond_list
from geofold.molecule.vdw_radii import SEVERE_OVERLAP

INSIDE = range(20, 50)


def chains_of(name: str) -> tuple[Structure, SideChains]:
    structure = read(resources.find("structures", name))
    conformer = structure.conformer_mask
    turning = [k for k in find_repackable(structure, conformer) if k in INSIDE]
    adjacency = adjacency_list(bond_list(structure, conformer), len(structure))
    return structure, SideChains.of(structure, turning, conformer, adjacency)


def severe(structure: Structure, xyz: Floats) -> tuple[int, float]:
    """Overlaps, and how deep (A) all of them are."""
    _, depth = overlaps(replace(structure, xyz=xyz))
    deep = depth[depth >= 10 * SEVERE_OVERLAP]
    return len(deep), float(deep.sum())


def test_the_motion_is_the_derivative_of_turns() -> None:
    structure, chains = chains_of("1ubi.pdb")
    start = chains.rotate(structure.xyz, np.random.default_rng(0).normal(0, 0.3, len(chains.axis)))
    motion, step = chains.jacobian(start, chains.moving), 1e-6
    for k in range(len(chains.axis)):
        delta = np.zeros(len(chains.axis))
        delta[k] = step
        moved = (chains.rotate(start, delta) - chains.rotate(start, -delta))[chains.moving] / (2 * step)
        assert np.abs(moved - motion[:, k]).max() < 1e-7


def test_turns_add_up_and_turn_nothing_but_side_chains() -> None:
    structure, chains = chains_of("1ubi.pdb")
    delta = np.random.default_rng(1).normal(0, 0.5, len(chains.axis))
    there = chains.rotate(structure.xyz, delta)
    # all at once is one after the other, from the outermost inwards
    one_by_one = structure.xyz
    for k in np.argsort(-chains.depth, kind="stable"):
        one_by_one = chains.rotate(one_by_one, np.where(np.arange(len(delta)) == k, delta, 0.0))
    assert np.abs(there - one_by_one).max() < 1e-12
    rest = ~chains.moved_atoms.any(0)
    assert np.array_equal(there[rest], structure.xyz[rest])
    assert not np.isin(structure.name[~rest], ["N", "CA", "C", "O", "CB"]).any()


@pytest.mark.parametrize("seed", range(4))
def test_steps_lead_away_from_overlaps_that_turns_made(seed: int) -> None:
    structure, chains = chains_of("1ubi.pdb")
    bent = chains.rotate(structure.xyz, np.random.default_rng(seed).normal(0, 0.35, len(chains.axis)))
    before, after = severe(structure, bent), severe(structure, relax_chi(chains, bent))
    assert before[0] > 2 and after[0] <= before[0] / 2 and after[1] < before[1]
    assert np.array_equal(relax_chi(chains, bent), relax_chi(chains, bent))


def test_what_overlaps_nothing_stays_to_the_last_bit() -> None:
    structure, chains = chains_of("1ubi.pdb")
    owner, conformer = structure.residue_of, structure.conformer_mask
    near = set(owner[chains.overlaps(structure.xyz)[0].ravel()].tolist())
    turning = [k for k in find_repackable(structure, conformer) if k in INSIDE and k not in near]
    free = SideChains.of(structure, turning, conformer, chains.adjacency)
    assert len(free.axis) > 10 and relax_chi(free, structure.xyz) is structure.xyz
    nobody = SideChains.of(structure, [], structure.conformer_mask, chains.adjacency)
    assert relax_chi(nobody, structure.xyz) is structure.xyz

"""Rivals of the loop benchmark build or repair the requested loop and change nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from geofold import resources
from geofold.bench.common.annealing import Schedule, find_guarded_torsions
from geofold.bench.loop.rivals import pdbfixer as pdbfixer_loop
from geofold.bench.loop.rivals import promod3 as promod3_loop
from geofold.bench.loop.rivals.modelled_loop import ModelledLoop, Stopwatch, insert_loop
from geofold.bench.loop.rivals.openmm_anneal import anneal_in_place
from geofold.errors import BuildError, OptionError
from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.residues import BACKBONE
from geofold.molecule.structure import Structure

FIRST, LAST = 8, 12
MIDDLE = (3, 4, 5, 6)
SHORT = Schedule(hot_steps=20, cooling_steps=40, stages=2, rounds=1)


@pytest.fixture(scope="module")
def native() -> Structure:
    return read(resources.find("structures", "1ajj.pdb"))


@pytest.fixture(scope="module")
def build(native: Structure) -> BuildPlan:
    """A loop that is present in the input and is replaced."""
    residues = native.residues[FIRST : LAST + 1]
    numbers, names = tuple((r.resnum, r.icode) for r in residues), tuple(r.resname for r in residues)
    return BuildPlan(residues[0].chain, FIRST - 1, LAST + 1, tuple(range(FIRST, LAST + 1)), numbers, names, "given")


@pytest.fixture(scope="module")
def perturbed(native: Structure) -> Structure:
    """The native with loop atoms displaced by 0.03 nm."""
    noise = np.random.default_rng(3).normal(0.0, 0.03, native.xyz.shape)
    return replace(native, xyz=native.xyz + noise * inside(native)[:, None])


def inside(structure: Structure) -> np.ndarray:
    return (structure.residue_of >= FIRST) & (structure.residue_of <= LAST)


def require_whole(native: Structure, build: BuildPlan, loop: ModelledLoop) -> None:
    """Check that other atoms are identical and that the loop is connected and has all of its heavy atoms."""
    result = loop.structure
    assert (loop.first, loop.last) == (FIRST, LAST)
    assert np.array_equal(result.xyz[~inside(result)], native.xyz[~inside(native)])
    residues = result.residues[FIRST : LAST + 1]
    assert (
        tuple((r.resnum, r.icode) for r in residues) == build.numbers
        and tuple(r.resname for r in residues) == build.names
    )
    assert all(set(BACKBONE) <= set(result.name[r.atoms].tolist()) for r in residues)
    assert all(result.bonded(k, k + 1) for k in range(FIRST - 1, LAST + 1))
    heavy = [set(native.name[r.atoms[native.element[r.atoms] != "H"]].tolist()) for r in native.residues]
    assert [set(result.name[r.atoms].tolist()) for r in residues] == heavy[FIRST : LAST + 1]
    assert loop.seconds > 0 and loop.cpu_seconds > 0


def angles(xyz: np.ndarray, rows: Iterable[list[int]]) -> np.ndarray:
    return dihedral_of_points(torch.as_tensor(xyz[np.array(list(rows))])).numpy()


def test_pdbfixer_ignores_the_coordinates_of_the_input_loop(
    native: Structure, perturbed: Structure, build: BuildPlan
) -> None:
    first, second = (pdbfixer_loop.build_missing(start, build, seed=2) for start in (native, perturbed))
    require_whole(native, build, first)
    assert np.array_equal(first.structure.xyz, second.structure.xyz)


@pytest.fixture(scope="module")
def promod3() -> None:
    try:
        promod3_loop.find_python(promod3_loop.PYTHONS)
    except OptionError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("promod3")
def test_promod3_keeps_the_psi_before_the_loop(native: Structure, build: BuildPlan) -> None:
    first, second = (promod3_loop.build_missing(native, build, seed=2, trajectories=2, steps=100) for _ in range(2))
    require_whole(native, build, first)
    assert np.array_equal(first.structure.xyz, second.structure.xyz)
    result = first.structure
    n, ca, c, o = (result.atom(FIRST - 1, name, result.conformer_mask) for name in BACKBONE)
    rows = [[n, ca, c, o], [n, ca, c, result.atom(FIRST, "N", result.conformer_mask)]]
    difference = np.subtract(*angles(result.xyz, rows))
    assert abs(abs(np.degrees(difference)) - 180.0) % 360.0 < 5.0


@pytest.mark.usefixtures("promod3")
def test_a_failure_of_promod3_is_one_line(native: Structure, build: BuildPlan) -> None:
    with pytest.raises(BuildError, match="ProMod3 cannot build"):
        promod3_loop.build_missing(native, build, trajectories=0)


def test_the_task_of_promod3_does_not_contain_the_loop(
    native: Structure, perturbed: Structure, build: BuildPlan
) -> None:
    first, second = (promod3_loop.make_task(start, build, start.conformer_mask) for start in (native, perturbed))
    assert first == second
    assert first["sequence"][1:-1] == build.sequence and len(first["letters"]) == 2
    residues = first["stretches"][first["stretch"]]
    assert residues["sequence"][first["before"] - 1 :].startswith(first["sequence"])
    given_numbers = [number for number, _, _ in residues["residues"]]
    assert not set(given_numbers) & set(range(first["before"] + 1, first["before"] + 1 + len(build.names)))


def test_missing_promod3_is_reported_with_a_remedy(
    native: Structure, build: BuildPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promod3_loop, "PYTHONS", ("/nowhere/python3",))
    with pytest.raises(OptionError, match=r"expected a Python with promod3 .*; apt-get install .*promod3"):
        promod3_loop.build_missing(native, build)


def test_a_loop_without_its_backbone_is_refused(native: Structure, build: BuildPlan) -> None:
    bare = [[("CA", "C", np.zeros(3))]] * len(build.names)
    with pytest.raises(BuildError, match="did not return all residues"):
        insert_loop(native, build, bare, Stopwatch(), "a program")


@pytest.fixture(scope="module")
def chain() -> Structure:
    """A peptide with the middle displaced by 0.03 nm."""
    result = peptide("GSAVKTETLG")
    noise = np.random.default_rng(3).normal(0.0, 0.03, result.xyz.shape)
    return replace(result, xyz=result.xyz + noise * np.isin(result.residue_of, MIDDLE)[:, None])


def test_annealing_descends_and_keeps_omegas_and_centres(chain: Structure) -> None:
    first, second = (anneal_in_place(chain, MIDDLE[0], MIDDLE[-1], seed=2, schedule=SHORT) for _ in range(2))
    assert first.reached and first.stages == 1 and np.array_equal(first.xyz, second.xyz)
    moving = np.isin(chain.residue_of, MIDDLE)
    assert np.array_equal(first.xyz[~moving], chain.xyz[~moving])
    assert (first.xyz[moving] != chain.xyz[moving]).any(1).all()
    model = EnergyModel.of(chain, chain.conformer_mask)
    assert model.energy(first.xyz) < model.energy(chain.xyz) - 100.0
    rows = list(find_guarded_torsions(chain, chain.conformer_mask))
    assert (np.cos(angles(first.xyz, rows) - angles(chain.xyz, rows)) > 0).all()


def test_annealing_returns_an_impossible_start(chain: Structure) -> None:
    xyz = chain.xyz.copy()
    xyz[chain.atom(MIDDLE[1], "CA", chain.conformer_mask)] = xyz[0]
    result = anneal_in_place(replace(chain, xyz=xyz), MIDDLE[0], MIDDLE[-1], schedule=SHORT)
    assert not result.reached and np.array_equal(result.xyz, xyz)

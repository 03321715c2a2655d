"""Outside rivals of the loop benchmark: they do the loop that is asked for, and touch nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from geofold import resources
from geofold.bench.loop.rivals import pdbfixer as pdbfixer_loop
from geofold.bench.loop.rivals import promod3 as promod3_loop
from geofold.bench.loop.rivals.modelled_loop import ModelledLoop, Stopwatch, inserted
from geofold.bench.loop.rivals.openmm_anneal import anneal_in_place
from geofold.bench.peptide.agents.openmm_anneal import Schedule, guarded
from geofold.errors import BuildError, OptionError
from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.ideal_peptide import peptide
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.selection import BACKBONE
from geofold.molecule.structure import Structure, read

FIRST, LAST = 8, 12
MIDDLE = (3, 4, 5, 6)
SHORT = Schedule(hot_steps=20, cooling_steps=40, stages=2, rounds=1)


@pytest.fixture(scope="module")
def native() -> Structure:
    return read(resources.find("structures", "1ajj.pdb"))


@pytest.fixture(scope="module")
def build(native: Structure) -> Build:
    """A loop that is there and makes room."""
    own = native.residues[FIRST : LAST + 1]
    numbers, names = tuple((r.resnum, r.icode) for r in own), tuple(r.resname for r in own)
    return Build(own[0].chain, FIRST - 1, LAST + 1, tuple(range(FIRST, LAST + 1)), numbers, names, "given")


@pytest.fixture(scope="module")
def shaken(native: Structure) -> Structure:
    """The loop's atoms off by 0.03 nm."""
    noise = np.random.default_rng(3).normal(0.0, 0.03, native.xyz.shape)
    return replace(native, xyz=native.xyz + noise * inside(native)[:, None])


def inside(structure: Structure) -> np.ndarray:
    return (structure.residue_of >= FIRST) & (structure.residue_of <= LAST)


def require_whole(native: Structure, build: Build, loop: ModelledLoop) -> None:
    """Everything else to the bit, all residues in a chain, with the backbone and nothing but heavy atoms."""
    made = loop.structure
    assert (loop.first, loop.last) == (FIRST, LAST)
    assert np.array_equal(made.xyz[~inside(made)], native.xyz[~inside(native)])
    own = made.residues[FIRST : LAST + 1]
    assert tuple((r.resnum, r.icode) for r in own) == build.numbers and tuple(r.resname for r in own) == build.names
    assert all(set(BACKBONE) <= set(made.name[r.atoms].tolist()) for r in own)
    assert all(made.bonded(k, k + 1) for k in range(FIRST - 1, LAST + 1))
    heavy = [set(native.name[r.atoms[native.element[r.atoms] != "H"]].tolist()) for r in native.residues]
    assert [set(made.name[r.atoms].tolist()) for r in own] == heavy[FIRST : LAST + 1]
    assert loop.seconds > 0 and loop.cpu_seconds > 0


def angles(xyz: np.ndarray, rows: Iterable[list[int]]) -> np.ndarray:
    return dihedral_of_points(torch.as_tensor(xyz[np.array(list(rows))])).numpy()


def test_pdbfixer_builds_the_loop_whatever_stood_there(native: Structure, shaken: Structure, build: Build) -> None:
    one, two = (pdbfixer_loop.build_missing(start, build, seed=2) for start in (native, shaken))
    require_whole(native, build, one)
    assert np.array_equal(one.structure.xyz, two.structure.xyz)


@pytest.fixture(scope="module")
def promod3() -> None:
    try:
        promod3_loop.interpreter(promod3_loop.PYTHONS)
    except OptionError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("promod3")
def test_promod3_builds_the_loop_and_keeps_the_psi_before_it(native: Structure, build: Build) -> None:
    one, two = (promod3_loop.build_missing(native, build, seed=2, trajectories=2, steps=100) for _ in range(2))
    require_whole(native, build, one)
    assert np.array_equal(one.structure.xyz, two.structure.xyz)
    made = one.structure
    n, ca, c, o = (made.atom(FIRST - 1, name, made.steering_mask) for name in BACKBONE)
    rows = [[n, ca, c, o], [n, ca, c, made.atom(FIRST, "N", made.steering_mask)]]
    apart = np.subtract(*angles(made.xyz, rows))
    assert abs(abs(np.degrees(apart)) - 180.0) % 360.0 < 5.0


@pytest.mark.usefixtures("promod3")
def test_promod3_says_in_a_line_that_it_gives_up(native: Structure, build: Build) -> None:
    with pytest.raises(BuildError, match="ProMod3 cannot build"):
        promod3_loop.build_missing(native, build, trajectories=0)


def test_promod3_is_told_nothing_of_the_loop(native: Structure, shaken: Structure, build: Build) -> None:
    one, two = (promod3_loop.task_of(start, build, start.steering_mask) for start in (native, shaken))
    assert one == two
    assert one["sequence"][1:-1] == build.sequence and len(one["letters"]) == 2
    own = one["stretches"][one["stretch"]]
    assert own["sequence"][one["before"] - 1 :].startswith(one["sequence"])
    known = [number for number, _, _ in own["residues"]]
    assert not set(known) & set(range(one["before"] + 1, one["before"] + 1 + len(build.names)))


def test_without_promod3_one_line_says_what_to_do(
    native: Structure, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promod3_loop, "PYTHONS", ("/nowhere/python3",))
    with pytest.raises(OptionError, match=r"expected a Python with promod3 .*; apt-get install .*promod3"):
        promod3_loop.build_missing(native, build)


def test_a_loop_without_its_backbone_is_refused(native: Structure, build: Build) -> None:
    bare = [[("CA", "C", np.zeros(3))]] * len(build.names)
    with pytest.raises(BuildError, match="without some of its residues or backbone atoms"):
        inserted(native, build, bare, Stopwatch(), "somebody")


@pytest.fixture(scope="module")
def chain() -> Structure:
    """A peptide whose middle is off by 0.03 nm."""
    made = peptide("GSAVKTETLG")
    noise = np.random.default_rng(3).normal(0.0, 0.03, made.xyz.shape)
    return replace(made, xyz=made.xyz + noise * np.isin(made.residue_of, MIDDLE)[:, None])


def test_annealing_descends_and_keeps_omegas_and_centres(chain: Structure) -> None:
    one, two = (anneal_in_place(chain, MIDDLE[0], MIDDLE[-1], seed=2, schedule=SHORT) for _ in range(2))
    assert one.reached and one.stages == 1 and np.array_equal(one.xyz, two.xyz)
    moving = np.isin(chain.residue_of, MIDDLE)
    assert np.array_equal(one.xyz[~moving], chain.xyz[~moving])
    assert (one.xyz[moving] != chain.xyz[moving]).any(1).all()
    model = EnergyModel.of(chain, chain.steering_mask)
    assert model.energy(one.xyz) < model.energy(chain.xyz) - 100.0
    rows = list(guarded(chain, chain.steering_mask))
    assert (np.cos(angles(one.xyz, rows) - angles(chain.xyz, rows)) > 0).all()


def test_annealing_gives_an_impossible_start_back(chain: Structure) -> None:
    xyz = chain.xyz.copy()
    xyz[chain.atom(MIDDLE[1], "CA", chain.steering_mask)] = xyz[0]
    result = anneal_in_place(replace(chain, xyz=xyz), MIDDLE[0], MIDDLE[-1], schedule=SHORT)
    assert not result.reached and np.array_equal(result.xyz, xyz)

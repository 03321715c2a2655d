"""End-point rivals of the peptide benchmark reach contacts without damage; reference ensembles are valid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geofold.app.report.audit import audit
from geofold.app.report.metrics import measure
from geofold.bench.common.annealing import Schedule
from geofold.bench.peptide import reference_ensemble as peptide_reference
from geofold.bench.peptide.agents.lbfgs import interpolate_torsions, walk_to_contact
from geofold.bench.peptide.agents.openmm_anneal import anneal_to_contact
from geofold.bench.peptide.reference_ensemble import (
    Ensemble,
    from_arrays,
    make_ensemble,
    nearest_rmsd,
    relax_side_chains,
    relaxed_energy,
    to_arrays,
)
from geofold.errors import ContactError
from geofold.modelling.options import TORSION_CAP
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.datasets.peptide_demonstrations import build_peptide, state_at
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide import lbfgs as peptide_search
from geofold.molecule.peptide.annealing import AnnealingSchedule, anneal
from geofold.molecule.peptide.contacts import Contact, parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree

SEQUENCE = "GTPAIQTL"
WANTED = "A:2-A:6<6.0"
SHORT = Schedule(hot_steps=40, cooling_steps=40, stages=4, rounds=2, tolerance=30.0)


@pytest.fixture(scope="module")
def chain() -> Structure:
    return peptide(SEQUENCE)


@pytest.fixture(scope="module")
def domain() -> PeptideDomain:
    return build_peptide(SEQUENCE)[1]


@pytest.fixture(scope="module")
def contact(chain: Structure) -> Contact:
    return parse_contact(chain, WANTED)


def distance(xyz: np.ndarray, contact: Contact) -> float:
    return float(np.linalg.norm(xyz[contact.i] - xyz[contact.j]))


def damage(chain: Structure, xyz: np.ndarray) -> dict[str, float]:
    tree = torsion_tree(chain, 0, len(chain.residues) - 1)
    numbers = tuple(measure(chain, [tree], x, None) for x in (chain.xyz, xyz))
    return {check.name: check.value for check in audit(chain, [tree], chain.xyz, xyz, numbers)}


def whole(chain: Structure, domain: PeptideDomain, local: np.ndarray) -> np.ndarray:
    xyz = chain.xyz.copy()
    xyz[domain.decoder.kinematics.atoms.numpy()] = local
    return xyz


def test_annealing_reaches_its_contact_without_damage(chain: Structure, contact: Contact) -> None:
    assert not contact.satisfied(distance(chain.xyz, contact))
    first, second = (anneal_to_contact(chain, (contact,), seed=3, schedule=SHORT) for _ in range(2))
    assert first.reached and contact.satisfied(distance(first.xyz, contact)) and first.seconds > 0
    assert np.array_equal(first.xyz, second.xyz) and first.stages == second.stages
    result = damage(chain, first.xyz)
    assert result["cis_peptide_bonds_made"] == 0 and result["chiralities_changed"] == 0
    other = anneal_to_contact(chain, (contact,), seed=4, schedule=SHORT)
    assert not np.array_equal(first.xyz, other.xyz)


def test_annealing_keeps_a_cis_bond_cis() -> None:
    turned = [(-120.0, 130.0, 180.0)] * 8
    turned[4] = (-75.0, 150.0, 0.0)
    chain = peptide("GAVGPSAG", turned)
    result = anneal_to_contact(chain, (parse_contact(chain, "A:2-A:7<8.0"),), schedule=SHORT)
    assert result.reached and damage(chain, result.xyz)["cis_peptide_bonds_made"] == 0
    tree = torsion_tree(chain, 0, 7)
    assert measure(chain, [tree], result.xyz, None)["cis_peptide_bonds"] == 1


def test_annealing_reports_an_unreachable_contact(chain: Structure, contact: Contact) -> None:
    far = replace(contact, upper=False, bound=9.0)
    result = anneal_to_contact(chain, (far,), schedule=SHORT._replace(rounds=1))
    assert not result.reached and result.stages == 1 and np.isfinite(result.xyz).all()
    with pytest.raises(ContactError):
        anneal_to_contact(chain, (replace(contact, j=len(chain.xyz)),), schedule=SHORT)


def test_lbfgs_walks_to_its_contact_within_the_cap(chain: Structure, domain: PeptideDomain, contact: Contact) -> None:
    first, second = (walk_to_contact(chain, domain, contact, seed=1) for _ in range(2))
    assert first.reached and np.array_equal(first.frames, second.frames) and first.starts == second.starts
    assert first.steps == len(first.angle) - 1 > 0 and first.evaluations > 0
    turns = np.abs(np.diff(first.angle, axis=0)).max(axis=1)
    assert (turns <= TORSION_CAP * (1 + 1e-9)).all() and turns.min() * first.steps > TORSION_CAP * (first.steps - 1)
    np.testing.assert_allclose(first.frames[0], chain.xyz[domain.decoder.kinematics.atoms.numpy()], atol=1e-12)
    end = whole(chain, domain, first.frames[-1])
    assert contact.satisfied(distance(end, contact))
    result = damage(chain, end)
    assert all(value <= 0.1 for name, value in result.items()), result
    # frames on the path agree with their torsions
    between = state_at(domain, chain.xyz, torch.as_tensor(first.angle[1:2])).conformation.xyz[0].numpy()
    np.testing.assert_allclose(first.frames[1], between, atol=1e-12)


def test_lbfgs_restarts_when_it_is_stuck(
    chain: Structure, domain: PeptideDomain, contact: Contact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peptide_search, "BOX", 0.5)
    result = walk_to_contact(chain, domain, contact, seed=1)
    assert result.reached and 1 < result.starts <= result.steps + 1
    monkeypatch.setattr(peptide_search, "MAX_STARTS", 1)
    assert not walk_to_contact(chain, domain, contact, seed=1).reached


def test_interpolation_takes_the_shorter_turn() -> None:
    way = interpolate_torsions(np.array([np.radians(350.0), np.radians(25.0), 0.0]))
    np.testing.assert_allclose(np.degrees(way[-1]), [-10.0, 25.0, 0.0], atol=1e-9)
    assert len(way) == 4 and not way[0].any()
    assert interpolate_torsions(np.zeros(3)).shape == (1, 3)


def test_relaxation_moves_side_chains_only_and_lowers_the_energy(chain: Structure, domain: PeptideDomain) -> None:
    angle = torch.as_tensor(0.3 * np.random.default_rng(2).standard_normal((1, len(domain.tree))))
    local = state_at(domain, chain.xyz, angle).conformation.xyz[0].numpy()
    rest = relax_side_chains(chain, domain, local, seed=5)
    before, after = whole(chain, domain, local), whole(chain, domain, rest.xyz)
    backbone = np.isin(chain.name, ("N", "CA", "C", "O", "OXT"))
    np.testing.assert_array_equal(after[backbone], before[backbone])
    np.testing.assert_allclose(after[chain.name == "CB"], before[chain.name == "CB"], atol=1e-12)
    assert np.abs(after - before).max() > 0.01 and not rest.turn[domain.tree.backbone].any()
    repeated = state_at(domain, chain.xyz, angle + torch.as_tensor(rest.turn)).conformation.xyz[0].numpy()
    np.testing.assert_allclose(repeated, rest.xyz, atol=1e-9)
    model = EnergyModel.of(replace(chain, xyz=before), domain.tree.conformer, seed=5)
    assert rest.energy < model.energy(before) and rest.energy <= model.energy(after)
    assert relaxed_energy(chain, domain, local, seed=5) == rest.energy


def test_members_satisfy_the_contact_and_are_distinct(
    chain: Structure, domain: PeptideDomain, contact: Contact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        peptide_reference, "ANNEALING", AnnealingSchedule(rows=10, iterations=200, start_deviation=1.0, turn_weight=0.0)
    )
    monkeypatch.setattr(peptide_reference, "ENSEMBLE_SIZE", 3)
    monkeypatch.setattr(peptide_reference, "MAX_RELAXED", 5)
    members = make_ensemble(chain, domain, contact, seed=1)
    assert members.complete and members.ca.shape == (3, len(SEQUENCE), 3)
    state = state_at(domain, chain.xyz, torch.as_tensor(members.turn))
    assert all(contact.satisfied(float(d)) for d in domain.distances(state.conformation.xyz, (contact,))[:, 0])
    assert not domain.sterics.count_severe(state.conformation.xyz, state.pairs).any() and not any(
        domain.angles.count_outliers(state.conformation.angle)
    )
    assert (np.diff(members.energy) >= 0).all()
    for k, first in enumerate(members.ca):
        assert nearest_rmsd(first, np.delete(members.ca, k, axis=0)) > 10 * peptide_reference.MIN_RMSD
    path = whole(chain, domain, state.conformation.xyz[0].numpy())
    alpha = [chain.atom(k, "CA", chain.conformer_mask) for k in range(len(SEQUENCE))]
    np.testing.assert_allclose(members.ca[0], path[alpha], atol=1e-9)
    # without energies: the same candidates, not relaxed
    plain = make_ensemble(chain, domain, contact, seed=1, energies=False)
    assert plain.complete and np.isnan(plain.energy).all()
    np.testing.assert_array_equal(plain.ca, make_ensemble(chain, domain, contact, seed=1, energies=False).ca)


def test_an_incomplete_ensemble_is_marked(
    chain: Structure, domain: PeptideDomain, contact: Contact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        peptide_reference, "ANNEALING", AnnealingSchedule(rows=2, iterations=40, start_deviation=0.1, turn_weight=0.0)
    )
    few = make_ensemble(chain, domain, contact, seed=1, energies=False)
    assert not few.complete and len(few.turn) == len(few.ca) == len(few.energy) <= 4
    empty = make_ensemble(chain, domain, replace(contact, bound=0.05), seed=1)
    assert len(empty.turn) == 0 and np.isnan(nearest_rmsd(np.zeros((8, 3)), empty.ca))


def test_ensembles_survive_a_file(tmp_path) -> None:
    noise = np.random.default_rng(0)
    ensemble = Ensemble(noise.standard_normal((2, 5)), noise.standard_normal((2, 8, 3)), np.array([-2.0, np.nan]))
    np.savez(tmp_path / "one.npz", **to_arrays(ensemble))
    repeated = from_arrays(dict(np.load(tmp_path / "one.npz")))
    for name in ("turn", "ca", "energy"):
        np.testing.assert_array_equal(getattr(repeated, name), getattr(ensemble, name))


def test_rmsd_of_a_rotated_copy_is_zero() -> None:
    noise = np.random.default_rng(1)
    ca = noise.standard_normal((9, 3))
    turned = Rotation.random(random_state=2).apply(ca) + np.array([1.0, -2.0, 3.0])
    assert nearest_rmsd(ca, np.stack([noise.standard_normal((9, 3)), turned])) < 1e-6
    # a mirror image is no copy, and the unit is Angstrom
    assert nearest_rmsd(ca, (ca * [1.0, 1.0, -1.0])[None]) > 0.1
    cube = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]) / np.sqrt(3)
    np.testing.assert_allclose(nearest_rmsd(cube, 1.2 * cube[None]), 2.0)


def test_annealing_uses_the_settings_of_its_course(chain: Structure, domain: PeptideDomain, contact: Contact) -> None:
    start, goal = domain.start(chain.xyz), goal_of((contact,))
    turn = anneal(
        domain, start, goal, AnnealingSchedule(rows=3, iterations=5, start_deviation=2.0, turn_weight=0.0), seed=1
    )
    assert turn.shape == (3, len(domain.tree)) and float(turn[1:].std()) > 1.0

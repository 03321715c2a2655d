"""OpenMM's minimiser as a rival: it reaches contacts, keeps fixed atoms and handles impossible starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geofold import resources
from geofold.bench.common.openmm_min import minimise_loop, minimise_to_contact
from geofold.errors import ContactError
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.peptide.contacts import Contact, parse_contact
from geofold.molecule.structure import Structure

FIRST, LAST = 46, 51


def distance(xyz: np.ndarray, contact: Contact) -> float:
    return float(np.linalg.norm(xyz[contact.i] - xyz[contact.j]))


@pytest.fixture(scope="module")
def ubiquitin() -> Structure:
    return read(resources.find("structures", "1ubi.pdb"))


@pytest.fixture(scope="module")
def perturbed(ubiquitin: Structure) -> Structure:
    """Residues of a loop displaced by 0.04 nm: stretched bonds and overlaps, far above the native energy."""
    inside = (ubiquitin.residue_of >= FIRST) & (ubiquitin.residue_of <= LAST)
    noise = np.random.default_rng(3).normal(0.0, 0.04, ubiquitin.xyz.shape)
    return replace(ubiquitin, xyz=ubiquitin.xyz + noise * inside[:, None])


def test_peptide_reaches_its_contact_and_lowers_the_energy_of_strain() -> None:
    chain = peptide("GSAVKQETLG")
    contact = parse_contact(chain, "A:2-A:9<6.0")
    assert not contact.satisfied(distance(chain.xyz, contact))
    result = minimise_to_contact(chain, (contact,))
    assert result.reached and contact.satisfied(distance(result.xyz, contact))
    assert result.xyz.shape == chain.xyz.shape and np.isfinite(result.xyz).all()
    assert result.seconds > 0 and result.stages >= 1
    model = EnergyModel.of(chain, chain.conformer())
    # all atoms are free, so folding must not cost more than the extended start's own strain
    assert model.energy(result.xyz) < model.energy(chain.xyz)
    bonded = [(chain.atom(k, "C", chain.conformer()), chain.atom(k + 1, "N", chain.conformer())) for k in range(9)]
    lengths = [np.linalg.norm(result.xyz[c] - result.xyz[n]) for c, n in bonded]
    assert np.all(np.abs(np.array(lengths) - 0.1335) < 0.008)


def test_lower_and_upper_bounds_hold_together() -> None:
    chain = peptide("GSAVKQETLG")
    contacts = (parse_contact(chain, "A:3-A:8<6.0"), parse_contact(chain, "A:1@CA-A:10@CA>12.0"))
    result = minimise_to_contact(chain, contacts)
    assert result.reached and all(c.satisfied(distance(result.xyz, c)) for c in contacts)


def test_same_input_same_coordinates() -> None:
    chain = peptide("AVKQETLA")
    contact = parse_contact(chain, "A:2-A:7<6.0")
    first, second = (minimise_to_contact(chain, (contact,), seed=4) for _ in range(2))
    assert np.array_equal(first.xyz, second.xyz) and first.stages == second.stages


def test_unreachable_contact_is_reported_as_such() -> None:
    chain = peptide("AVKQETLA")
    contact = replace(parse_contact(chain, "A:1-A:8>8.0"), bound=9.0)
    result = minimise_to_contact(chain, (contact,))
    assert not result.reached and np.isfinite(result.xyz).all()


def test_contact_with_a_water_is_refused(ubiquitin: Structure) -> None:
    water = next(int(r.atoms[0]) for r in ubiquitin.residues if r.resname == "HOH")
    with pytest.raises(ContactError):
        minimise_to_contact(ubiquitin, (Contact(0, water, 0.6, True, "A:1-A:99<6.0"),))


def test_loop_energy_decreases_and_other_atoms_stay_identical(perturbed: Structure) -> None:
    result = minimise_loop(perturbed, FIRST, LAST)
    inside = (perturbed.residue_of >= FIRST) & (perturbed.residue_of <= LAST)
    assert result.reached and np.isfinite(result.xyz).all()
    assert np.array_equal(result.xyz[~inside], perturbed.xyz[~inside])
    assert (result.xyz[inside] != perturbed.xyz[inside]).any(1).all()
    model = EnergyModel.of(perturbed, perturbed.conformer())
    assert model.energy(result.xyz) < model.energy(perturbed.xyz) - 1000.0


@pytest.mark.parametrize("gap", [0.0, 1e-3])
def test_coincident_atoms_leave_the_start_unchanged(ubiquitin: Structure, gap: float) -> None:
    xyz = ubiquitin.xyz.copy()
    mask = ubiquitin.conformer_mask
    xyz[ubiquitin.atom(48, "CA", mask)] = xyz[ubiquitin.atom(20, "CA", mask)] + gap
    start = replace(ubiquitin, xyz=xyz)
    result = minimise_loop(start, FIRST, LAST)
    assert np.isfinite(result.xyz).all()
    assert result.reached == (gap > 0)
    assert np.array_equal(result.xyz, xyz) == (gap == 0)

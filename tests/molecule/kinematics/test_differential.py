"""Linear maps on the tree against the Jacobian that they spare, and closed-form losses against automatic ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geofold.core.domain import Prediction
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.differential import DifferentialKinematics, acceleration, jacobian, moved_axes
from geofold.molecule.kinematics.forward import Kinematics, frames, transform_atoms
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopGoal
from geofold.molecule.peptide import contacts
from geofold.molecule.peptide.contacts import CONTACT_MARGIN, parse_contact
from geofold.molecule.peptide.domain import MAX_CACHED_GOALS, PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.resources import find

STRETCHES = [("1ubi.pdb", 43, 52), ("1ubi.pdb", 0, 25), ("1ajj.pdb", 5, 11), ("1yjp.cif", 0, 6)]


def motion(name: str, first: int, last: int, batch: int):
    structure = read(find("structures", name))
    tree = torsion_tree(structure, first, last)
    kinematics = Kinematics.of(tree)
    xyz = torch.as_tensor(structure.xyz)[kinematics.atoms].expand(batch, -1, -1)
    noise = torch.Generator().manual_seed(1)
    frame = frames(kinematics, xyz, 0.3 * torch.randn(batch, len(tree), generator=noise, dtype=torch.float64))
    moved = transform_atoms(kinematics, frame, xyz)
    torsion_axes = moved_axes(kinematics, frame, xyz)
    return kinematics, frame, xyz, moved, DifferentialKinematics(kinematics, torsion_axes, moved), noise


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_maps_equal_products_with_the_jacobian(stretch, batch):
    """Small and large batches take different ways through the frames."""
    kinematics, frame, xyz, moved, maps, noise = motion(*stretch, batch)
    n, m = len(kinematics.near), len(kinematics.atoms)
    full = jacobian(kinematics, frame, xyz, moved)
    rate = torch.randn(2, batch, n, generator=noise, dtype=torch.float64)
    force = torch.randn(2, batch, m, 3, generator=noise, dtype=torch.float64)
    torch.testing.assert_close(maps.velocities(rate), torch.einsum("bmcn,pbn->pbmc", full, rate), rtol=0, atol=1e-10)
    torch.testing.assert_close(maps.torques(force), torch.einsum("bmcn,pbmc->pbn", full, force), rtol=0, atol=1e-9)
    weight = torch.rand(batch, m, generator=noise, dtype=torch.float64)
    want = torch.einsum("bmci,bm,bmcj->bij", full, weight, full)
    torch.testing.assert_close(maps.gram(weight), want, rtol=0, atol=1e-9 * float(want.abs().max()))
    bent = acceleration(kinematics, frame, xyz, moved, rate[0], kinematics.body)
    torch.testing.assert_close(maps.acceleration(rate[0]), bent, rtol=0, atol=1e-9 * float(bent.abs().max()))


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_many_rows_turn_like_few(stretch):
    kinematics, _, xyz, _, _, noise = motion(*stretch, 20)
    delta = torch.randn(20, len(kinematics.near), generator=noise, dtype=torch.float64)
    many = transform_atoms(kinematics, frames(kinematics, xyz, delta), xyz)
    few = torch.cat([transform_atoms(kinematics, frames(kinematics, xyz[:1], d[None]), xyz[:1]) for d in delta])
    torch.testing.assert_close(many, few, rtol=0, atol=1e-12)
    still = transform_atoms(kinematics, frames(kinematics, xyz, torch.zeros_like(delta)), xyz)
    assert torch.equal(still, xyz)


def peptide_case():
    structure = peptide("AEGKTWYNSVPL")
    domain = PeptideDomain.of(structure, 0, 11)
    wanted = tuple(parse_contact(structure, text) for text in ("A:2-A:10<6.0", "A:1@CA-A:12@CA>30.0"))
    return domain, domain.start(structure.xyz, 4), PeptideGoal(wanted, contact=20.0, sterics=0.7, ramachandran=1.3)


def free_case():
    domain, state, goal = peptide_case()
    return domain, state, replace(goal, contacts=())


def loop_case():
    structure = read(find("structures", "1ubi_bent.pdb"))
    domain = LoopDomain.of(structure, 44, 55)
    return domain, domain.start(structure.xyz, 4), LoopGoal(sterics=(1.0, 0.5, 0.1, 0.01), ramachandran=1.3)


CASES = {"peptide": peptide_case, "peptide without contacts": free_case, "loop": loop_case}


@pytest.mark.parametrize("case", CASES)
def test_closed_form_loss_equals_the_plain_one(case):
    domain, state, goal = CASES[case]()
    noise = torch.Generator().manual_seed(0)
    for size in (0.0, 0.3, 3.0):
        z = size * torch.randn(4, domain.latent_dim, generator=noise, dtype=torch.float64)
        with torch.no_grad():
            seen = domain.decode(z, state)
            fast = domain.loss_and_gradient(seen, state, goal)
        mean = seen.mean.clone().requires_grad_(True)
        plain = domain.loss(Prediction(mean, seen.precision, seen.valid), state, goal)
        (gradient,) = torch.autograd.grad(plain.total.sum(), mean)
        torch.testing.assert_close(fast.loss.total, plain.total.detach(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(fast.gradient(), gradient, rtol=1e-9, atol=1e-8)
        assert list(fast.loss.terms) == list(plain.terms)
        for name, term in plain.terms.items():
            torch.testing.assert_close(fast.loss.terms[name], term.detach(), rtol=1e-10, atol=1e-10)
        for one, other in ((fast.loss.difficulty, plain.difficulty), (fast.loss.violation, plain.violation)):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                torch.testing.assert_close(one, other.detach(), rtol=1e-9, atol=1e-10)


def test_stiff_directions_are_the_curvature_of_the_contacts():
    """Along the distance itself: what the direction of a contact sees of a move, squared, is the second derivative."""
    domain, state, goal = peptide_case()
    noise = torch.Generator().manual_seed(1)
    z = 0.3 * torch.randn(4, domain.latent_dim, generator=noise, dtype=torch.float64)
    with torch.no_grad():
        seen = domain.decode(z, state)
        rows = domain.loss_and_gradient(seen, state, goal).stiff_directions()
    assert rows.shape == (len(goal.contacts), 4, seen.mean.shape[1])
    xyz = domain.decoder.split(seen.mean)[1]
    gap = domain.distances(xyz, goal.contacts)
    for c, contact in enumerate(goal.contacts):
        distance = gap[:, c].clone().requires_grad_(True)
        excess = (distance - contact.bound + (CONTACT_MARGIN if contact.upper else -CONTACT_MARGIN)) * (
            1 if contact.upper else -1
        )
        price = goal.contact * contacts.contact_cost(excess[:, None]).sum()
        (slope,) = torch.autograd.grad(price, distance, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), distance)
        moved = seen.mean.clone().requires_grad_(True)
        apart = domain.distances(domain.decoder.split(moved)[1], goal.contacts)[:, c]
        (unit,) = torch.autograd.grad(apart.sum(), moved)
        far = (excess > 0).detach()
        told = (rows[c] * unit).sum(-1).square()
        torch.testing.assert_close(told[far], (4 * bend.detach())[far], rtol=1e-6, atol=1e-6)
        assert bool((rows[c][~far & (excess < -contacts.STIFF_BAND)] == 0).all())


def test_without_contacts_nothing_is_stiff():
    domain, state, goal = free_case()
    z = torch.zeros(4, domain.latent_dim, dtype=torch.float64)
    with torch.no_grad():
        assert domain.loss_and_gradient(domain.decode(z, state), state, goal).stiff_directions() is None


@pytest.mark.parametrize("case", CASES)
def test_a_state_can_be_doubled(case):
    domain, state, goal = CASES[case]()
    rows = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    twice = domain.select(state, rows)
    z = 0.2 * torch.ones(4, domain.latent_dim, dtype=torch.float64) * torch.arange(4)[:, None]
    with torch.no_grad():
        one = domain.loss(domain.decode(z, state), state, goal).total
        both = domain.loss(domain.decode(z[rows], twice), twice, goal).total
    torch.testing.assert_close(both, one[rows])


def test_goals_that_change_for_ever_are_not_all_remembered():
    domain, state, goal = peptide_case()
    for k in range(3 * MAX_CACHED_GOALS):
        bounds = tuple(replace(c, bound=c.bound + 1e-4 * k) for c in goal.contacts)
        domain.distances(state.conformation.xyz, bounds)
    assert len(domain.bounds_cache) <= MAX_CACHED_GOALS

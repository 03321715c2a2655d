"""Kernels of the losses of peptides and loops against their plain references."""

from __future__ import annotations

import pytest
import torch

from geofold.kernels.library import library, plain
from geofold.molecule.energy.amber import FORCE_FIELDS
from geofold.molecule.energy.compiled_terms import born_energy, born_solvation
from geofold.molecule.energy.openmm_energy import EnergyModel, force_of
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopGoal
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal
from geofold.molecule.vdw_radii import SEVERE_OVERLAP
from geofold.resources import find

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler here")
CONTACTS = ("A:1-A:6<6.0", "A:2-A:5>8.0", "A:1-A:5<30.0", "A:1@CA-A:6@CA>1.0")


def agree(domain, state, goal, steps: int = 6) -> list[float]:
    """Compare the losses of a stream of random moves, and return the overlaps' share of the plain one."""
    noise = torch.Generator().manual_seed(5)
    seen = []
    with torch.no_grad():
        for _ in range(steps):
            z = torch.randn(len(state.conformation.xyz), domain.latent_dim, generator=noise, dtype=torch.float64)
            prediction = domain.decode(z, state)
            fast = domain.loss_and_gradient(prediction, state, goal)
            rows = [fast.loss.total, fast.gradient(), *fast.loss.terms.values()]
            rows += [part for part in (fast.loss.difficulty, fast.loss.violation) if part is not None]
            rows += [fast.stiff_directions()] if fast.stiff_directions and goal.contacts else []
            with plain():
                slow = domain.loss_and_gradient(prediction, state, goal)
                want = [slow.loss.total, slow.gradient(), *slow.loss.terms.values()]
                want += [part for part in (slow.loss.difficulty, slow.loss.violation) if part is not None]
                want += [slow.stiff_directions()] if slow.stiff_directions and goal.contacts else []
            assert fast.loss.terms.keys() == slow.loss.terms.keys() and len(rows) == len(want)
            for one, other in zip(rows, want, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
            seen.append(float(slow.loss.terms["sterics"].max()))
            state = domain.commit(prediction, state)
    return seen


@pytest.mark.parametrize("contacts", [(), CONTACTS[:1], CONTACTS], ids=len)
def test_the_loss_of_a_peptide_is_the_plain_one(contacts: tuple[str, ...]) -> None:
    structure = peptide("AEGKTW")
    domain = PeptideDomain.of(structure, 0, 5, cap=3.0)
    goal = PeptideGoal(tuple(parse_contact(structure, text) for text in contacts), contact=3.0, sterics=0.7)
    assert max(agree(domain, domain.start(structure.xyz, 3), goal)) > 0, "the problem has no overlap to compare"


@pytest.mark.parametrize("file, first, last", [("1ubi.pdb", 43, 52), ("1ajj.pdb", 0, 8)])
def test_the_loss_of_a_loop_is_the_plain_one(file: str, first: int, last: int) -> None:
    structure = read(find("structures", file))
    goal = LoopGoal(sterics=(0.5, 2.0), ramachandran=0.3, side_chains=True, floor=1.0)
    domain = LoopDomain.of(structure, first, last, cap=0.3, goal=goal)
    state = domain.start(structure.xyz, 2)
    assert max(agree(domain, state, goal)) > 0, "the problem has no overlap to compare"


def test_a_complete_table_with_fixed_atoms_gives_the_plain_loss() -> None:
    structure = read(find("structures", "1ubi.pdb"))
    domain = PeptideDomain.of(structure, 74, 75, cap=3.0)
    state = domain.start(structure.xyz)
    assert state.pairs.reference is None and len(domain.sterics.fixed)
    agree(domain, state, PeptideGoal(()))


def test_the_largest_violation_is_that_of_the_worst_overlap() -> None:
    structure = read(find("structures", "1ubi.pdb"))
    domain = LoopDomain.of(structure, 43, 52, cap=3.0)
    state = domain.start(structure.xyz)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for size in (0.0, 3.0):
            z = size * torch.randn(1, domain.latent_dim, generator=noise, dtype=torch.float64)
            prediction = domain.decode(z, state)
            overlap, _ = domain.sterics.overlaps(domain.decoder.split(prediction.mean)[1], state.pairs)
            worst = float(domain.loss_and_gradient(prediction, state, domain.goal).loss.violation)
            assert worst == pytest.approx(max(float(overlap.max()) - SEVERE_OVERLAP, 0.0), abs=1e-12)


@pytest.mark.parametrize("name", ["amber14", "amber99sbildn"])
def test_the_born_solvent_is_that_of_openmm(name: str) -> None:
    import openmm

    structure = read(find("structures", "1ajj.pdb"))
    model = EnergyModel.of(structure, structure.conformer(None), force_field=FORCE_FIELDS[name])
    noise = torch.Generator().manual_seed(1)
    xyz = torch.as_tensor(model.completed.xyz) + 0.01 * torch.randn(2, *model.completed.xyz.shape, generator=noise)
    force = force_of(model.system, openmm.GBSAOBCForce)
    force.setSurfaceAreaEnergy(3.0)
    system = openmm.System()
    for _ in range(xyz.shape[1]):
        system.addParticle(1.0)
    system.addForce(openmm.XmlSerializer.clone(force))
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    energy, gradient = born_energy(born_solvation(force), xyz, double=True)
    single = born_energy(born_solvation(force), xyz)
    for row, points in enumerate(xyz):
        context.setPositions(points.numpy())
        state = context.getState(getEnergy=True, getForces=True)
        want = state.getPotentialEnergy()._value
        slope = -torch.as_tensor(state.getForces(asNumpy=True)._value)
        assert float(energy[row]) == pytest.approx(want, rel=1e-10)
        torch.testing.assert_close(gradient[row], slope, rtol=1e-10, atol=1e-10 * float(slope.abs().max()))
        assert float(single[0][row]) == pytest.approx(want, rel=1e-5)
        torch.testing.assert_close(single[1][row], slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))

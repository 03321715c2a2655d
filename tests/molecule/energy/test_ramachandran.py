"""Ramachandran scores against cctbx, and the invariants of the smooth landscape."""

from __future__ import annotations

import warnings

import mdtraj as md
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geofold.molecule.energy import ramachandran as rama
from geofold.molecule.energy.ramachandran_density import CORE_PERCENTILE, RamachandranDensity
from geofold.resources import find

# Made with cctbx-base 2025.11: RamachandranEval().evaluate(name, (phi, psi)), degrees, one value each from
# favoured, allowed and outlier territory, and one at the seam of the map.
CCTBX = {
    "general": [(-71.94, 134.48, 0.4600860802), (-178.1, 115.64, 0.000795083948), (106.94, -11.54, 0.0001253079598),
                (-180.0, 179.5, 0.00537011875)],
    "ile_val": [(-88.25, -19.77, 0.0759779845), (-147.06, 14.81, 0.001449219656), (-158.67, -40.45, 0.0002591480173),
                (-180.0, 179.5, 6.2793775e-05)],
    "pre_pro": [(-132.62, 124.23, 0.1883257127), (32.5, 66.13, 0.01108159014), (-52.05, 6.88, 5.116293e-07),
                (-180.0, 179.5, 0.00276117375)],
    "gly": [(95.49, 147.3, 0.2241990168), (-149.17, -94.75, 0.0013076049850000012), (-29.19, 113.49, 0.0003879146009),
            (180.0, -180.0, 0.48804349999999996)],
    "trans_pro": [(-60.23, -36.62, 0.8746229184), (-103.35, 149.57, 0.002035231036), (-89.0, -90.51, 3.01368e-05),
                  (180.0, -180.0, 0.0)],
    "cis_pro": [(-112.5, 24.14, 0.02429939075), (-103.01, 129.11, 0.010157220787), (-58.08, -65.52, 0.000273673),
                (180.0, -180.0, 0.0)],
}  # fmt: skip

# Made with mmtbx.validation.ramalyze of cctbx-base 2025.11: favoured, allowed, outliers over all models of the file.
RAMALYZE = {
    "1ubi.pdb": (74, 0, 0),
    "1orc.pdb": (61, 1, 0),
    "2erl.pdb": (35, 3, 0),
    "1dx5I.pdb": (107, 7, 2),
    "1lpbA.pdb": (78, 3, 2),
    "1pdoA.pdb": (126, 0, 1),
    "1pwc.pdb": (336, 6, 1),
}
KINDS = range(len(rama.CLASSES))
DENSITY = RamachandranDensity()


def load(name: str) -> md.Trajectory:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return md.load(str(find("structures", name)))


def random_angles(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    phi, psi = (torch.rand(2, *shape, generator=generator, dtype=torch.float64) * 2 - 1) * torch.pi
    return phi, psi, torch.arange(shape[-1]) % len(rama.CLASSES)


@pytest.mark.parametrize("name", rama.CLASSES)
def test_score_is_that_of_cctbx(name):
    phi, psi, expected = np.array(CCTBX[name]).T
    cls = rama.CLASSES.index(name)
    got = rama.percentile(np.deg2rad(phi), np.deg2rad(psi), cls)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-12)
    assert rama.classify(got, cls)[:3].tolist() == [rama.FAVOURED, rama.ALLOWED, rama.OUTLIER]


@given(
    phi=st.floats(-10, 10), psi=st.floats(-10, 10), turns=st.integers(-3, 3), cls=st.integers(0, len(rama.CLASSES) - 1)
)
def test_score_is_periodic_and_a_share(phi, psi, turns, cls):
    here = rama.percentile(phi, psi, cls)
    assert 0.0 <= here <= 1.0
    np.testing.assert_allclose(rama.percentile(phi + 2 * np.pi * turns, psi - 2 * np.pi * turns, cls), here, atol=1e-10)


def test_thresholds_include_their_value():
    below = np.nextafter(rama.ALLOWED_PERCENTILE, 0.0)
    kinds = np.array(KINDS)
    assert (rama.classify(np.full(6, 0.02), kinds) == rama.FAVOURED).all()
    assert (rama.classify(rama.ALLOWED_PERCENTILE, kinds) == rama.ALLOWED).all()
    assert (rama.classify(below, kinds) == rama.OUTLIER).all()
    assert rama.classify(rama.percentile(np.nan, 1.0, 0), 0) == rama.UNDEFINED


@pytest.mark.parametrize(
    ("resname", "after", "omega", "expected"),
    [
        ("GLY", "PRO", 3.1, "gly"),
        ("PRO", "PRO", 3.1, "trans_pro"),
        ("PRO", None, np.deg2rad(-89.0), "cis_pro"),
        ("PRO", None, np.deg2rad(91.0), "trans_pro"),
        ("PRO", None, np.nan, "trans_pro"),
        ("PRO", None, None, "trans_pro"),
        ("ILE", "PRO", 3.1, "pre_pro"),
        ("MSE", "PRO", 3.1, "pre_pro"),
        ("VAL", "GLY", 3.1, "ile_val"),
        ("ile", None, None, "ile_val"),
        ("MSE", "ALA", 3.1, "general"),
    ],
)
def test_classes_follow_molprobity(resname, after, omega, expected):
    assert rama.CLASSES[rama.ramachandran_class(resname, after, omega)] == expected


@pytest.mark.parametrize("name", RAMALYZE)
def test_counts_are_those_of_ramalyze(name):
    trajectory = load(name)
    phi, psi, omega = rama.phi_psi_omega(trajectory)
    cls = rama.ramachandran_classes(trajectory.topology, omega[0])
    judged = rama.classify(rama.percentile(phi, psi, cls), cls)
    assert tuple(np.bincount(judged[judged >= 0], minlength=3)) == RAMALYZE[name]
    assert np.mean(judged[judged >= 0] == rama.FAVOURED) > 0.9


def test_dihedrals_align_with_residues_and_stop_at_a_gap():
    whole = load("1ubi.pdb")
    whole = whole.atom_slice(whole.topology.select("protein"))
    kept = [atom.index for atom in whole.topology.atoms if atom.residue.index != 30]
    broken = whole.atom_slice(kept)
    full, cut = rama.phi_psi_omega(whole), rama.phi_psi_omega(broken)
    for before, after in zip(full, cut, strict=True):
        assert before.shape == (1, 76) and after.shape == (1, 75)
    assert np.isnan(full.phi[0]).nonzero()[0].tolist() == [0]
    assert np.isnan(full.psi[0]).nonzero()[0].tolist() == [75]
    assert np.isnan(full.omega[0]).nonzero()[0].tolist() == [0]
    assert np.isnan(cut.phi[0]).nonzero()[0].tolist() == [0, 30]
    assert np.isnan(cut.psi[0]).nonzero()[0].tolist() == [29, 74]
    assert np.isnan(cut.omega[0]).nonzero()[0].tolist() == [0, 30]
    np.testing.assert_array_equal(cut.phi[0, 31:], full.phi[0, 32:])
    assert (np.abs(full.omega[0, 1:]) > 2.8).all()
    # By hand, from the atoms of proline 19: the order of the four atoms and the owner of each angle.
    position = {atom.name: whole.xyz[0, atom.index] for atom in whole.topology.residue(18).atoms}
    bonds = [
        whole.xyz[0, whole.topology.select("resid 17 and name C")[0]], position["N"], position["CA"], position["C"]
    ]  # fmt: skip
    a, b, c = np.diff(np.array(bonds, dtype=float), axis=0)
    phi = np.arctan2(np.linalg.norm(b) * a @ np.cross(b, c), np.cross(a, b) @ np.cross(b, c))
    np.testing.assert_allclose(full.phi[0, 18], phi, atol=1e-5)


def test_no_protein_means_no_dihedrals():
    trajectory = load("1ubi.pdb")
    water = trajectory.atom_slice(trajectory.topology.select("water"))
    assert all(np.isnan(angles).all() and angles.shape == (1, 81) for angles in rama.phi_psi_omega(water))


@pytest.mark.parametrize("method", ["log_density", "penalty"])
def test_gradients_are_those_of_finite_differences(method):
    function = getattr(DENSITY, method)
    phi, psi, cls = random_angles(30)
    inputs = (phi.requires_grad_(), psi.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: function(x, y, cls), inputs, eps=1e-6, atol=1e-6)
    assert torch.autograd.gradgradcheck(lambda x, y: function(x, y, cls), inputs, eps=1e-6, atol=1e-4)


def test_landscape_is_c2_across_cells_and_the_seam():
    # Knots lie at odd degrees; the seam of the map at 181 degrees is one of them.
    knots = torch.deg2rad(torch.tensor([-179.0, 181.0, 31.0, -95.0], dtype=torch.float64))
    psi, cls = torch.full_like(knots, 0.7), torch.zeros(4, dtype=torch.long)

    def curvature(phi):
        slope = torch.func.grad(lambda p: DENSITY.log_density(p, psi, cls).sum())
        return torch.func.jvp(slope, (phi,), (torch.ones_like(phi),))

    for left, right in zip(curvature(knots - 1e-9), curvature(knots + 1e-9), strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-5)


def test_landscape_is_periodic_and_batched_row_by_row():
    phi, psi, cls = random_angles(5, 12)
    batch = DENSITY.log_density(phi, psi, cls)
    assert batch.shape == (5, 12)
    torch.testing.assert_close(DENSITY.log_density(phi[3], psi[3], cls), batch[3], atol=0, rtol=0)
    shifted = DENSITY.log_density(phi + 2 * torch.pi, psi - 4 * torch.pi, cls)
    torch.testing.assert_close(shifted, batch, atol=1e-9, rtol=0)


def test_works_under_functional_transforms():
    phi, psi, cls = random_angles(4, 6)
    direction = random_angles(4, 6, seed=1)[0]

    def energy(x):
        return DENSITY.penalty(x, psi[0], cls).sum() - DENSITY.log_density(x, psi[0], cls).sum()

    slopes = torch.func.vmap(torch.func.grad(energy))(phi)
    _, pull = torch.func.vjp(energy, phi[2])
    torch.testing.assert_close(pull(torch.tensor(1.0, dtype=torch.float64))[0], slopes[2])

    def along(x):
        return torch.func.jvp(energy, (x,), (direction[2],))[1]

    slope, curvature = torch.func.jvp(along, (phi[2],), (direction[2],))
    torch.testing.assert_close(slope, (slopes[2] * direction[2]).sum())
    step = 1e-5
    numeric = (along(phi[2] + step * direction[2]) - along(phi[2] - step * direction[2])) / (2 * step)
    torch.testing.assert_close(curvature, numeric, atol=1e-4, rtol=1e-4)


def test_ascent_leads_into_favoured_territory():
    axis = torch.deg2rad(torch.arange(-180.0, 180.0, 10.0, dtype=torch.float64))
    phi, psi = (grid.reshape(-1, 1).repeat(1, 6) for grid in torch.meshgrid(axis, axis, indexing="ij"))
    cls = torch.arange(6)
    arrived = np.zeros(phi.shape, dtype=bool)
    for _ in range(90):
        arrived |= rama.classify(rama.percentile(phi.numpy(), psi.numpy(), cls.numpy()), cls.numpy()) == rama.FAVOURED
        _, pull = torch.func.vjp(lambda x, y: DENSITY.log_density(x, y, cls), phi, psi)
        slope = torch.stack(pull(torch.ones_like(phi)))
        length = slope.norm(dim=0)
        phi, psi = torch.stack((phi, psi)) + np.deg2rad(3.0) * slope / length.clamp_min(1e-12)
    assert (arrived.mean(axis=0) >= 0.97).all(), dict(zip(rama.CLASSES, arrived.mean(axis=0), strict=True))


def test_slope_is_useful_outside_favoured_territory():
    phi, psi, cls = random_angles(3000, 6)
    _, pull = torch.func.vjp(lambda x, y: DENSITY.log_density(x, y, cls), phi, psi)
    slope = torch.stack(pull(torch.ones_like(phi))).norm(dim=0).numpy()
    outside = rama.percentile(phi.numpy(), psi.numpy(), cls.numpy()) < rama.FAVOURED_PERCENTILE
    # Per radian. Minima and passes have none, as on every periodic map; they may take up 2 % of the area.
    assert [np.quantile(slope[outside[:, k], k], 0.02) > 1.0 for k in KINDS] == [True] * 6


@pytest.mark.parametrize("funnel", [True, False])
@pytest.mark.parametrize("cls", KINDS)
def test_penalty_separates_core_from_outliers(cls, funnel):
    density = RamachandranDensity(funnel=funnel)
    phi, psi, _ = random_angles(20000, 1, seed=cls)
    kind = torch.tensor([cls])
    share = rama.percentile(phi.numpy(), psi.numpy(), cls)
    judged = rama.classify(share, cls)
    penalty = density.penalty(phi, psi, kind).numpy()
    assert (penalty[judged == rama.OUTLIER] >= 1.0).all()
    assert (penalty[share >= CORE_PERCENTILE] == 0.0).all()
    assert (penalty[judged == rama.FAVOURED] < 0.1).all()
    falling = np.argsort(-density.log_density(phi, psi, kind).numpy().ravel())
    assert (np.diff(penalty.ravel()[falling]) >= 0.0).all()
    assert min((judged == v).sum() for v in (0, 1, 2)) > 50


def test_plain_landscape_keeps_the_order_of_the_percentiles():
    plain = RamachandranDensity(funnel=False)
    phi, psi, cls = random_angles(5000, 6)
    share = rama.percentile(phi.numpy(), psi.numpy(), cls.numpy())
    inside = share > 0.01
    value = plain.log_density(phi, psi, cls).numpy()
    assert np.corrcoef(np.log(share[inside]), value[inside])[0, 1] > 0.99
    assert (DENSITY.log_density(phi, psi, cls).numpy() <= value + 0.5).mean() > 0.99


def test_float32_follows_float64():
    single = RamachandranDensity(dtype=torch.float32)
    phi, psi, cls = random_angles(50, 6)
    low = single.log_density(phi.float(), psi.float(), cls)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), DENSITY.log_density(phi, psi, cls), atol=2e-3, rtol=0)


def test_closed_form_slopes_are_those_of_the_penalty():
    """Value and derivatives by few operations against automatic differentiation, over the seam and beyond a turn."""
    noise = torch.Generator().manual_seed(5)
    angles = 8.0 * torch.rand(50, 2, len(rama.CLASSES), generator=noise, dtype=torch.float64) - 4.0
    kind = torch.arange(len(rama.CLASSES))
    leaf = angles.clone().requires_grad_(True)
    plain = DENSITY.penalty(leaf[:, 0], leaf[:, 1], kind)
    (gradient,) = torch.autograd.grad(plain.sum(), leaf)
    value, slopes = DENSITY.penalty_and_slopes(DENSITY.to_knots(angles), DENSITY.map_offset(kind), kind)
    torch.testing.assert_close(value, plain.detach(), rtol=1e-12, atol=1e-12)
    by_angle = DENSITY.to_knots(slopes(), total=False)
    torch.testing.assert_close(by_angle, gradient, rtol=1e-9, atol=1e-11)
    assert float(value.max()) > 1

"""Points and angles: arrays and tensors agree, and both formulas of a dihedral and of a frame do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from geofold.core import tangent
from geofold.geometry import (
    dihedral,
    dihedral_of_points,
    frames,
    frames_by_normal,
    pairwise_rmsd,
    rmsd,
    superposed_rmsd,
    wrap,
)

POINTS = np.random.default_rng(0).standard_normal((50, 4, 3))
TENSORS = torch.as_tensor(POINTS)


def test_wrapped_angles_are_equivalent_and_in_the_interval():
    angle = np.linspace(-20.0, 20.0, 1001)
    wrapped = wrap(angle)
    assert ((wrapped >= -np.pi) & (wrapped < np.pi)).all()
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angle), atol=1e-12)
    assert np.array_equal(wrap(torch.as_tensor(angle)).numpy(), wrapped)
    assert wrap(float(angle[3])) == wrapped[3]


def test_wrapping_on_the_torus_leaves_small_angles_unchanged_to_the_last_bit():
    angle = 1e-3 * torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(tangent.wrap(angle), angle)
    assert not torch.equal(wrap(angle), angle), "the plain formula rounds"
    torch.testing.assert_close(wrap(angle), angle, rtol=0, atol=1e-15)


def test_a_dihedral_is_the_angle_by_which_its_last_point_was_turned():
    for angle in (-3.0, -0.4, 0.0, 1.1, 3.0):
        d = np.array([1.0 + math.cos(angle), math.sin(angle), 0.0])
        a, b, c = np.array([2.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
        # looking from b to c, a clockwise turn of the far bond is positive
        assert float(dihedral(a, b, c, d)) == pytest.approx(-angle)


def test_dihedrals_of_arrays_tensors_and_both_formulas_agree():
    expected = dihedral(*POINTS.swapaxes(0, 1))
    np.testing.assert_allclose(dihedral(*TENSORS.unbind(1)).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(dihedral_of_points(TENSORS).numpy(), expected, atol=1e-12)
    assert np.isfinite(dihedral(*np.zeros((4, 1, 3)))).all()


def test_frames_are_right_handed_and_both_formulas_agree():
    origin, axis, plane = POINTS.swapaxes(0, 1)[:3]
    rows = frames(axis - origin, plane - origin)
    np.testing.assert_allclose(rows @ rows.swapaxes(1, 2), np.broadcast_to(np.eye(3), rows.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rows), 1.0)
    local = (rows @ (plane - origin)[..., None])[..., 0]
    assert np.abs(local[:, 2]).max() < 1e-12 and (local[:, 1] > 0).all()
    columns = frames_by_normal(origin, axis, plane)
    np.testing.assert_allclose(columns.swapaxes(1, 2), rows, atol=1e-9)
    tensors = TENSORS.unbind(1)[:3]
    np.testing.assert_allclose(frames(tensors[1] - tensors[0], tensors[2] - tensors[0]).numpy(), rows, atol=1e-12)
    np.testing.assert_allclose(frames_by_normal(*tensors).numpy(), columns, atol=1e-12)


def test_deviations_of_arrays_and_tensors_agree():
    one, other = POINTS[:20].reshape(4, 5, 4, 3), POINTS[20:40].reshape(4, 5, 4, 3)
    expected = np.sqrt(np.square(one - other).sum((1, 2, 3)) / 20)
    np.testing.assert_allclose(rmsd(one, other, (1, 2)), expected)
    np.testing.assert_allclose(rmsd(torch.as_tensor(one), torch.as_tensor(other), (1, 2)).numpy(), expected)
    assert float(rmsd(one[0], other[0])) == pytest.approx(expected[0])
    pairs = pairwise_rmsd(one, other)
    assert pairs.shape == (4, 4)
    np.testing.assert_allclose(np.diag(pairs), expected)
    np.testing.assert_allclose(pairwise_rmsd(torch.as_tensor(one), torch.as_tensor(other)).numpy(), pairs)
    np.testing.assert_allclose(pairwise_rmsd(one, other, 10), 10 * pairs)


def test_superposition_removes_a_rigid_motion():
    turned = POINTS[:, 0] @ Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix().T + [4.0, -2.0, 7.0]
    assert superposed_rmsd(POINTS[:, 0], turned) < 1e-6
    assert superposed_rmsd(POINTS[:, 0], POINTS[:, 0] * [1.0, 1.0, -1.0]) > 0.1

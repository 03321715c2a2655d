"""Where a protein is in trouble: bent loops stand out, intact proteins are left in peace."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.molecule.io.read import read
from geofold.molecule.loop.detection import (
    SMOOTHING_WIDTH,
    WINDOW_LENGTH,
    WINDOW_STRIDE,
    AnomalyScore,
    anomaly_threshold,
    concatenate_windows,
    find_anomalous_segments,
    moving_mean,
    overlaps,
    score_anomalies,
    surprise,
    window_positions,
    window_surprise,
)
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.loop.predictor import extract_backbone
from geofold.molecule.structure import Structure
from geofold.resources import find

FIRST, LAST = 44, 55
SPANS = [(0, 75)]


@pytest.fixture(scope="module")
def native() -> Structure:
    return read(find("structures", "1ubi.pdb"))


@pytest.fixture(scope="module")
def bent(native) -> Structure:
    return replace(native, xyz=perturb_loop(native, FIRST, LAST, seed=3, target=3.0))


def test_windows_cover_the_inside_of_a_span() -> None:
    for last in (7, 20, 33, 75):
        found = window_positions(0, last)
        covered = {k for first, length in found for k in range(first, first + length)}
        assert covered == set(range(1, last))
        assert all(length <= WINDOW_LENGTH for _, length in found)
        assert all(b - a <= WINDOW_STRIDE for (a, _), (b, _) in pairwise(found))
    assert window_positions(0, 3) == []


@torch.no_grad()
def test_windows_in_a_batch_say_what_they_say_alone(native) -> None:
    model = shipped_loop_model()[0]
    rows = [extract_backbone(native, first, first + 11, native.conformer_mask) for first in (5, 20, 40)]
    together = window_surprise(concatenate_windows(rows), model)
    apart = torch.cat([window_surprise(row, model) for row in rows])
    torch.testing.assert_close(together, apart, atol=1e-3, rtol=0)


def test_a_perturbed_loop_is_anomalous(native, bent) -> None:
    model, card = shipped_loop_model()
    one, other = score_anomalies(native, SPANS, model), score_anomalies(bent, SPANS, model)
    inside = np.arange(FIRST, LAST + 1)
    rest = np.setdiff1d(np.arange(2, 74), np.arange(FIRST - 3, LAST + 4))
    assert other.surprise[inside].mean() > other.surprise[rest].mean() + 1.0
    assert find_anomalous_segments(one, SPANS, card["trouble"]) == []
    found = find_anomalous_segments(other, SPANS, card["trouble"])
    assert len(found) == 1 and abs(found[0][0] - FIRST) <= 3 and abs(found[0][1] - LAST) <= 3


def test_surprise_does_not_depend_on_the_frame(native) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn = turn * np.sign(np.linalg.det(turn))
    other = replace(native, xyz=native.xyz @ turn.T + 1.0)
    model = shipped_loop_model()[0]
    np.testing.assert_allclose(surprise(native, SPANS, model), surprise(other, SPANS, model), atol=1e-4)


def test_overlaps_are_those_of_pairs(native) -> None:
    none = np.full(len(native.residues), np.nan)
    calm = AnomalyScore(none, *overlaps(native)).overlap
    moved = native.xyz.copy()
    one, other = native.atom(10, "CB", native.conformer_mask), native.atom(40, "CB", native.conformer_mask)
    moved[one] = moved[other] + [0.1, 0.0, 0.0]
    found = AnomalyScore(none, *overlaps(replace(native, xyz=moved)))
    assert found.overlap[10] > calm[10] + 1.5 and found.overlap[40] > calm[40] + 1.5
    assert found.overlap.sum() == pytest.approx(2 * found.depth.sum())
    assert found.without(8, 12).overlap[40] <= calm[40] + 1e-9


def told(bad: slice) -> AnomalyScore:
    surprise = np.full(40, -1.0)
    surprise[:3], surprise[bad] = np.nan, 3.0
    return AnomalyScore(surprise, np.zeros((0, 2), dtype=np.int64), np.zeros(0))


def test_segments_contain_the_anomalous_residues() -> None:
    one = told(slice(10, 17))
    assert find_anomalous_segments(one, [(0, 39)], 1.0) == [(9, 17)]
    assert find_anomalous_segments(one, [(0, 12), (13, 39)], 1.0) == [(8, 11), (14, 17)]
    one.surprise[19:24] = 3.0
    assert find_anomalous_segments(one, [(0, 39)], 1.0) == [(9, 24)], "stretches that meet are one"
    assert anomaly_threshold([one, one], []) == pytest.approx(float(one.difficulty(SMOOTHING_WIDTH).max()))
    louder = one._replace(surprise=one.surprise + 2.0)
    level = anomaly_threshold([one, one], [(louder, 8, 12), (louder, 10, 16)])
    assert level == pytest.approx(float(louder.difficulty(SMOOTHING_WIDTH)[8:13].max())), (
        "as high as the bent loops allow"
    )
    assert np.isnan(moving_mean(one.surprise, 5)[0]) and moving_mean(one.surprise, 5)[13] == 3.0
    assert find_anomalous_segments(told(slice(0, 0)), [(0, 39)], 1.0) == []


@pytest.mark.parametrize("width", [3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 30])
def test_means_over_the_residues_around_also_of_few(count: int, width: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    values[np.random.default_rng(1).random(count) < 0.2] = np.nan
    means = moving_mean(values, width)
    assert len(means) == count
    for k in range(count):
        around = values[max(k - width // 2, 0) : k + width // 2 + 1]
        known = around[np.isfinite(around)]
        wanted = known.mean() if len(known) > width / 2 else np.nan
        assert means[k] == pytest.approx(wanted, nan_ok=True)


def test_residues_that_only_overlap_with_a_segment_are_not_reported() -> None:
    one = told(slice(10, 17))
    struck = one._replace(pairs=np.array([[13, 30], [14, 30], [15, 31]]), depth=np.full(3, 30.0))
    assert struck.difficulty(SMOOTHING_WIDTH)[30] > 1.0
    ((first, last),) = find_anomalous_segments(struck, [(0, 39)], 1.0)
    assert first == 9 and last in (17, 18), "and not 30"

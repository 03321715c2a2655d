"""The prior's benchmark: runs, classes, histograms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from geofold.bench.models import torsion_prior as learning_prior
from geofold.bench.models.torsion_prior import run_lengths
from geofold.learn.data.chains import AMINO_ACIDS


def test_runs_are_counted_within_rows() -> None:
    angles = np.full((12, 2, 3), np.pi)
    angles[3:7, 0, :2] = np.radians([-60.0, -40.0])
    angles[9:11, 0, :2] = np.radians([-60.0, -40.0])
    angles[1:4, 1, :2] = np.radians([-120.0, 130.0])
    assert sorted(run_lengths(angles, "helix").tolist()) == [2, 4]
    assert 3 in run_lengths(angles, "strand").tolist()


def test_prior_and_samples_of_a_small_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    np.savez(
        tmp_path / "backbones.npz",
        dxyz=noise.integers(-120, 120, (600, 4, 3)).astype(np.int16),
        aa=noise.integers(0, len(AMINO_ACIDS), 600).astype(np.uint8),
        start=np.array([0, 300]),
        length=np.array([300, 300]),
        split=np.array([0, 2], np.uint8),
    )
    learning_prior.run(str(tmp_path / "out"), data=str(tmp_path), quick=True, seed=0)
    metrics = json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"]
    # random walks: the prior is as surprised as it should be, and its own samples still look like proteins
    assert metrics["prior.nll"] > metrics["histogram.nll"] - 0.5
    assert metrics["samples.favoured"] > metrics["nature.favoured"]
    assert (tmp_path / "out" / "runs.png").stat().st_size > 5000

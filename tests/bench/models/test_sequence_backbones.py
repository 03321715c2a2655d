"""The backbone benchmark on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.backbone.attention import Cache
from geofold.backbone.registry import build_backbone
from geofold.bench.models import sequence_backbones as backbones
from geofold.bench.models.sequence_backbones import PARAMETERS, fit_width, make_aged_state, train_and_score
from geofold.bench.models.sequence_tasks import SelectiveCopying
from geofold.errors import OptionError


@pytest.mark.parametrize("name", ["selective", "transformer", "transformer_window", "rnn"])
def test_budgets_of_parameters_are_alike(name: str) -> None:
    count = sum(p.numel() for p in fit_width(name, SelectiveCopying()).parameters())
    assert abs(count - PARAMETERS) < 0.25 * PARAMETERS


@torch.no_grad()
def test_an_aged_cache_has_the_length_of_its_context() -> None:
    state = make_aged_state(build_backbone("striped_hyena", backbones.FEATURES, backbones.LATENT, width=16), 1000)
    caches = [layer for layer in state.layers if isinstance(layer, Cache)]
    assert caches and all(cache.keys.shape[1] == 1000 and int(cache.n_steps[0]) == 1000 for cache in caches)


def test_training_learns_a_small_task() -> None:
    task = SelectiveCopying(symbols=2, size=8, copied=1)
    assert train_and_score("rnn", task, 3.0)["score"] > 0.9


def test_run_needs_data_and_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="without --data"):
        backbones.run(str(tmp_path), data=None, quick=True, limit=None)
    length = 300
    np.savez(
        tmp_path / "backbones.npz",
        dxyz=np.random.default_rng(0).integers(-150, 150, (2 * length, 4, 3)).astype(np.int16),
        aa=np.zeros(2 * length, np.uint8),
        start=np.array([0, length]),
        length=np.array([length, length]),
        split=np.array([0, 1], np.uint8),
    )
    monkeypatch.setattr(backbones, "BACKBONE_NAMES", ("rnn", "transformer"))
    monkeypatch.setattr(backbones, "QUICK_BUDGET", 0.2)
    monkeypatch.setattr(backbones, "QUICK_LENGTH", 64)
    out = tmp_path / "out"
    backbones.run(str(out), data=str(tmp_path), quick=True, limit=None)
    metrics = json.loads((out / "summary.json").read_text())["metrics"]
    assert metrics["rnn.bytes_growth"] == 1.0 and metrics["transformer.bytes_growth"] > 3
    assert metrics["lag.memory_minus_legs"] < 1e-10
    assert all((out / name).stat().st_size > 5000 for name in ("streaming.png", "memory.png"))
    before = (out / "records.jsonl").read_text()
    backbones.run(str(out), data=str(tmp_path), quick=True, limit=None)
    assert (out / "records.jsonl").read_text() == before, "a finished run is not run again"

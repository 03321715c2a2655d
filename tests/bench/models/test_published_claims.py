"""The benchmark of published claims on a small scale, and what it relies on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from geofold.bench.models import published_claims
from geofold.bench.models.lag_figures import WARPS, resolution_errors
from geofold.bench.models.published_claims import MEMORIES, random_memory, train_on_digits
from geofold.bench.models.sequence_tasks import AssociativeRecall, RecallOverGaps, SequentialDigits

pytest.importorskip("sklearn")


def test_random_memories_grow_or_have_the_scales_of_legs() -> None:
    torch.manual_seed(0)
    drawn = torch.linalg.eigvals(random_memory(16, stable=False)[0])
    assert float(drawn.real.min()) < 0 < float(drawn.real.max()), "dc/ds = -A c grows along some directions"
    values = torch.linalg.eigvals(random_memory(16, stable=True)[0])
    assert float(values.real.min()) > -1e-9 and float(values.abs().max()) == pytest.approx(16)


@pytest.mark.parametrize("name", MEMORIES)
def test_the_same_seed_trains_the_same_model(name: str) -> None:
    one, other = (train_on_digits(name, 1, 2)["accuracy"] for _ in range(2))
    assert one == other


def test_digits_are_images_with_their_labels() -> None:
    """The nearest image of the training split has the same label, nearly always; both splits hold all digits."""
    known, asked = (SequentialDigits().batch(split, 0, rows) for split, rows in (("train", 1500), ("valid", 200)))
    distances = torch.cdist(asked.inputs[..., 0].T, known.inputs[..., 0].T)
    assert float((known.targets[-1, distances.argmin(1)] == asked.targets[-1]).float().mean()) > 0.9
    assert float(distances.min()) > 0, "no image is in both splits"
    assert set(asked.targets[-1].tolist()) == set(range(10)) and asked.counts.sum(0).eq(1).all()


def test_a_gap_moves_the_questions_and_nothing_else() -> None:
    near, far = (AssociativeRecall(symbols=16, size=4, gap=gap).batch("valid", 3, 5) for gap in (0, 20))
    torch.testing.assert_close(near.inputs, torch.cat([far.inputs[:8], far.inputs[28:]]))
    torch.testing.assert_close(near.targets[8:], far.targets[28:])
    assert bool((far.inputs[8:28].argmax(-1) == 16).all()) and not bool(far.counts[:28].any())
    lengths = [len(RecallOverGaps(gaps=(0, 20)).batch("train", number, 2).inputs) for number in range(3)]
    assert lengths == [16, 36, 16]


def test_several_resolutions_are_never_far_from_the_best_warp() -> None:
    errors, memories = resolution_errors()
    for age in ("newest", "recent", "old", "oldest"):
        best = min(errors[f"warp.{name}.{age}"] for name in WARPS)
        assert errors[f"warp.multi_resolution.{age}"] < 2 * best
    assert all(max(errors[f"warp.{name}.{age}"] for age in ("newest", "oldest")) > 0.4 for name in ("fast", "slow"))
    assert memories.keys() == WARPS.keys()


def test_run_writes_tables_and_figures_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_claims, "QUICK_LENGTHS", (16, 32))
    monkeypatch.setattr(published_claims, "RECALL_MODELS", {"transformer": 1, "transformer_longer": 2})
    monkeypatch.setattr(published_claims, "MEMORIES", {name: MEMORIES[name] for name in ("legs", "random")})
    monkeypatch.setattr(published_claims, "GAPS", (0, 24))
    published_claims.run(str(tmp_path), quick=True, seeds=2)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert (
        metrics["selective.growth_16"] == 1.0
        and metrics["transformer.bytes_32"] > 1.9 * metrics["transformer.bytes_16"]
    )
    assert metrics["digits.legs.accuracy_lowest"] <= metrics["digits.legs.accuracy"]
    assert {"recall.transformer_longer.gap_24_median", "ratio.training_32", "warp.slow.oldest"} <= metrics.keys()
    assert len(list(tmp_path.glob("lag_*.png"))) == 4
    records = (tmp_path / "records.jsonl").read_text()
    published_claims.run(str(tmp_path), quick=True, seeds=2)
    assert (tmp_path / "records.jsonl").read_text() == records, "a finished run is not run again"
    published_claims.run(str(tmp_path / "costs"), quick=True, seeds=0)
    table = (tmp_path / "costs" / "table.md").read_text()
    assert "CPU s of a training pass" in table and "accuracy" not in table and "recall" not in table

"""Lessons: the oracle's plans lead to the target at full pace, and a predictor is trained the same after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.cli import main
from geofold.core.checks import check_backbone
from geofold.learn import maze_predictor as maze_training
from geofold.learn.maze_predictor import (
    PREDICTORS,
    Demonstrations,
    build_predictor,
    load_predictor,
    train_predictor,
    weights_name,
)
from geofold.maze.demonstrations import OraclePlanner, demonstrate
from geofold.maze.domain import PLAN_MOVES
from geofold.maze.features import N_FEATURES, N_RAYS, decode_features, featurise
from geofold.maze.worlds.fields import STEP_LENGTH
from geofold.maze.worlds.world import make_world


@pytest.fixture(scope="module")
def shown() -> Demonstrations:
    parts = [demonstrate(number) for number in range(2)]
    return Demonstrations(
        *(
            torch.cat(part).float() if part[0].is_floating_point() else torch.cat(part)
            for part in zip(*parts, strict=True)
        )
    )


@pytest.mark.parametrize("layout", ["world", "corridors"])
def test_plans_lead_to_the_target_at_full_pace(layout: str) -> None:
    world = make_world(3, layout)
    guide, relief = OraclePlanner(world), world.relief
    at = torch.as_tensor(guide.places(np.random.default_rng(0), 12))
    target, scene = torch.as_tensor(world.targets[0]), torch.zeros(12, dtype=torch.long)
    oracle = world.oracle()
    field = oracle.distance_field(world.targets[0])
    far = torch.tensor([oracle.distance_at(field, place) for place in at.numpy()]) / STEP_LENGTH
    taken = torch.zeros(12)
    for _ in range(256):
        plan = guide.plan(at)
        rise = relief.height(torch.stack([at, at + STEP_LENGTH * plan[:, 0]], 1), scene).diff(dim=1)[:, 0] / STEP_LENGTH
        assert ((plan[:, 0].square().sum(-1) + rise.square()).sqrt() <= 1.05).all()
        taken += (at - target).norm(dim=-1) > STEP_LENGTH
        at = at + STEP_LENGTH * plan[:, 0]
    assert ((at - target).norm(dim=-1) < STEP_LENGTH).all()
    # a way that keeps clear of barriers is longer than the shortest, but not by much
    assert (taken <= 1.2 * far + 3).all()


def test_lessons_are_what_a_predictor_reads_and_says(shown: Demonstrations) -> None:
    assert shown.features.shape == (32, 64, N_FEATURES) and shown.plan.shape == (32, 64, 2 * PLAN_MOVES)
    assert shown.known[:, 0].all() and shown.features.isfinite().all()
    again = demonstrate(0)
    assert torch.equal(again.features.float(), shown.features[:16]) and not torch.equal(*shown.plan.split(16))


def test_features_can_be_read_again() -> None:
    from geofold.maze.worlds.fields import Fields

    fields, scene = Fields.of([make_world(1)]), torch.zeros(1, dtype=torch.long)
    at = torch.as_tensor(make_world(1).start)[None]
    aim, slope = at + torch.tensor([[0.3, 0.4]]) * STEP_LENGTH, torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    x = featurise(fields, at, scene, aim, aim + 0.2, torch.zeros_like(at), slope)
    seen = decode_features(x)
    assert torch.allclose(seen.aim, torch.tensor([[0.3, 0.4]], dtype=torch.float64)) and torch.allclose(
        seen.slope, slope
    )
    there = at + STEP_LENGTH * torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert seen.gap.shape == (1, N_RAYS)
    assert float(seen.gap[0, 0]) == pytest.approx(float(fields.distance(there[None], scene)) / STEP_LENGTH, abs=1e-6)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_predictors_are_backbones_that_learn(kind: str, shown: Demonstrations) -> None:
    model = build_predictor(kind, N_FEATURES, 2 * PLAN_MOVES)
    check_backbone(model.double().requires_grad_(False), batch=2, features=N_FEATURES, dim=2 * PLAN_MOVES)
    assert not torch.equal(
        build_predictor(kind, N_FEATURES, 16, seed=1).enter.weight, build_predictor(kind, N_FEATURES, 16).enter.weight
    )


def test_a_killed_run_ends_in_the_same_weights(tmp_path: Path, shown: Demonstrations, monkeypatch) -> None:
    monkeypatch.setattr(maze_training, "BATCH_SIZE", 4)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_predictor(shown, whole, kind="transformer", steps=6)
    train_predictor(shown, cut, kind="transformer", steps=6, stop=3)
    assert not (cut / weights_name("transformer")).exists()
    train_predictor(shown, cut, kind="transformer", steps=6)
    one, other = (load_predictor(folder / weights_name("transformer"))[0].state_dict() for folder in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_from_the_command_line(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(maze_training, "BATCH_SIZE", 2)
    args = ["train", "maze", "--out", str(tmp_path), "--worlds", "2", "--steps", "2"]
    assert main(args) == 0
    assert "after 2 batches, 2 worlds" in capsys.readouterr().out
    card = json.loads((tmp_path / "selective" / "maze_selective.json").read_text())
    assert card["command"].startswith("geofold train maze --worlds 2") and card["ways"] == 32
    before = (tmp_path / "selective" / "maze_selective.safetensors").read_bytes()
    assert main(args) == 0
    assert (tmp_path / "selective" / "maze_selective.safetensors").read_bytes() == before
    assert main([*args, "--backbone", "hyena"]) == 2
    assert "selective_window" in capsys.readouterr().err

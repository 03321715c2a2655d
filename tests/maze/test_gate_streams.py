"""Streams on which the gate of the maze is trained: a step lost costs one, and the command ends in a gate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from geofold.app.train import gate_maze
from geofold.cli import main
from geofold.core.gate import FixedGate
from geofold.learn.pretrained import MAZE_GATE_WEIGHTS, load_gate
from geofold.maze import gate_streams
from geofold.maze.episode import maze_controller
from geofold.maze.gate_streams import MARGIN_STEPS, STREAM_STEPS, maze_cases
from geofold.maze.worlds.arcs import walk
from geofold.maze.worlds.fields import STEP_LENGTH


def test_a_stream_cannot_arrive_and_every_step_lost_counts() -> None:
    cases = list(maze_cases(3, lambda gate: maze_controller(gate=gate), FixedGate(1), seed=5))
    assert cases
    for case in cases:
        origin = case.state.domain.origin
        before = case.task_loss(case.state.domain)
        assert float(before) >= STREAM_STEPS + MARGIN_STEPS - 1e-9
        angle = torch.linspace(0, 2 * torch.pi, 17, dtype=torch.float64)[:-1]
        rows = torch.zeros(16, dtype=torch.long)
        tangent = STEP_LENGTH * torch.stack([angle.cos(), angle.sin()], -1)
        at, slope = origin.position[rows], origin.slope[rows]
        tangent = tangent / (1 + (tangent * slope / STEP_LENGTH).sum(-1, keepdim=True).square()).sqrt()
        move = walk(case.domain.fields.relief, at, tangent, slope, rows)
        places = case.state.domain._replace(
            origin=origin._replace(position=at + move), bumps=case.state.domain.bumps[rows]
        )
        gained = before - case.task_loss(places)
        # a step brings an agent nearer by a step at most; distances are those through the centres of cells
        assert gained.max() < 1.8 and gained.max() > 0.3 and gained.min() < 0
        bumped = places._replace(bumps=places.bumps + 2)
        assert torch.allclose(case.task_loss(bumped), case.task_loss(places) + 2)


def test_streams_depend_on_nothing_but_number_and_seed() -> None:
    first, again, other = (
        [
            case.state.domain.origin.position
            for case in maze_cases(2, lambda gate: maze_controller(), FixedGate(1), seed=s)
        ]
        for s in (5, 5, 6)
    )
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.allclose(first[0], other[0])


def test_from_the_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(gate_streams, "STREAM_STEPS", 6)
    monkeypatch.setattr(gate_maze, "PENALTIES", (0.1, 1.0))
    args = ["train", "gate", "--domain", "maze", "--out", str(tmp_path), "--cases", "2"]
    assert main(args) == 0
    assert "mean K" in capsys.readouterr().out
    card = json.loads((tmp_path / "maze_gate.json").read_text())
    assert card["command"] == "geofold train gate --domain maze --cases 2 --seed 0" and len(card["front"]) == 3
    gate = load_gate(tmp_path / MAZE_GATE_WEIGHTS)
    assert gate.largest == 4 and not any(bool(part.isnan().any()) for part in gate.weights.values())
    before = (tmp_path / MAZE_GATE_WEIGHTS).read_bytes()
    assert main(args) == 0 and (tmp_path / MAZE_GATE_WEIGHTS).read_bytes() == before

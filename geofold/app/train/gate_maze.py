"""Train the gate of the maze, on streams through random mazes with the state-space predictor frozen."""

from __future__ import annotations

import math
from collections.abc import Iterator

from geofold import resources
from geofold.app.train.gate import VALIDATION_SEED, GateTask
from geofold.core.controller import Controller
from geofold.core.gate import Gate
from geofold.learn.gate import GateCase
from geofold.learn.maze_predictor import shipped_predictor, weights_name
from geofold.learn.pretrained import MAZE_GATE_WEIGHTS
from geofold.learn.weights import load_card
from geofold.maze.episode import maze_controller, threshold_gate
from geofold.maze.gate_streams import maze_cases

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""lambda: steps of a stream of forty that a correction at every step must save."""
TOLERANCE = 1.0
"""Steps of a stream of forty by which the chosen gate may be slower than the best one."""


def maze_task() -> GateTask:
    """Gate of the maze, on streams through worlds and corridors."""

    def cases(validation: bool, count: int, gate: Gate, seed: int) -> Iterator[GateCase]:
        return maze_cases(count, parts, gate, seed=seed + VALIDATION_SEED * validation)

    def parts(gate: Gate) -> Controller:
        return maze_controller(shipped_predictor(), gate=gate)

    digest = load_card(resources.find("maze", weights_name("selective")))["sha256"]
    return GateTask(
        name="gate of the maze",
        weights=MAZE_GATE_WEIGHTS,
        cases=cases,
        first=threshold_gate(),
        still=math.inf,
        penalties=PENALTIES,
        command="geofold train gate --domain maze",
        sources={"predictor_sha256": digest},
        source="random mazes",
        tolerance=TOLERANCE,
    )

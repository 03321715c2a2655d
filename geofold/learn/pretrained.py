"""Gates and the metric that are trained on frozen predictors, read from their files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from geofold import resources
from geofold.core.gate import LearnedGate
from geofold.core.learned_metric import LearnedMetric
from geofold.errors import InputFileError
from geofold.learn.weights import load_card

GATE_WEIGHTS, PEPTIDE_GATE_WEIGHTS = "gate.safetensors", "peptide_gate.safetensors"
MAZE_GATE_WEIGHTS, METRIC_WEIGHTS = "maze_gate.safetensors", "metric.safetensors"


@cache
def shipped_gate(name: str = GATE_WEIGHTS) -> LearnedGate:
    """Gate that ships with the package: that of the loop domain, or another one by its file name."""
    return load_gate(resources.find(name))


def load_gate(path: str | Path) -> LearnedGate:
    """Read a gate from its weights file.

    Raises
    ------
    InputFileError
        If the file is missing, truncated, changed, or holds something else.
    """
    load_card(path)
    try:
        return LearnedGate.of(load_file(path))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputFileError(f"{path} holds no gate ({error})", "weights of a gate", "train again") from None


@cache
def shipped_metric() -> LearnedMetric:
    """Learned metric G_psi of the peptide domain that ships with the package."""
    return load_metric(resources.find(METRIC_WEIGHTS))


def load_metric(path: str | Path) -> LearnedMetric:
    """Read a learned metric from its weights file.

    Raises
    ------
    InputFileError
        If the file is missing, truncated, changed, or holds something else.
    """
    card = load_card(path)
    try:
        return LearnedMetric(**load_file(path), damping=card["damping"])
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError):
        raise InputFileError(f"{path} holds no metric", "weights of a metric", "train again") from None

"""Training the rivals of the peptide policy: the same lessons, the same time on one core."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from geofold import resources
from geofold.app.train.peptide import PATHS
from geofold.bench.common.records import table_of
from geofold.bench.peptide.agents import greedy_mlp
from geofold.bench.peptide.agents import se3_transformer as se3
from geofold.errors import OptionError
from geofold.learn.peptide_policy.training import train_peptide
from geofold.molecule.datasets.peptide_demonstrations import contacts_from_arrays, make_demonstration

RIVALS: dict[str, tuple[Callable[..., nn.Module], str, int]] = {
    "greedy_mlp": (greedy_mlp.GreedyMlp, greedy_mlp.WEIGHTS, 3000),
    "se3": (se3.Se3Policy, se3.WEIGHTS, 900),
}
"""Model, file, and batches: the SE(3)-Transformer's fit into the time of the policy's three thousand."""
QUICK = 20


def require_rivals() -> None:
    """Weights of all rivals of the peptide benchmark; see `require`."""
    for _, weights, _ in RIVALS.values():
        require(weights, "geofold bench rivals")


def require(weights: str, command: str) -> None:
    """A file of weights in the package's `rivals` folder.

    Raises
    ------
    OptionError
        If it is missing; `command` trains it.
    """
    try:
        resources.find("rivals", weights)
    except FileNotFoundError:
        raise OptionError(
            f"a benchmark without the weights of the rival {weights.split('.')[0]}",
            f"geofold/data/rivals/{weights} with its card", f"train it with {command}, and put it there",
        ) from None  # fmt: skip


def run(out: str, *, data: str | None, quick: bool, seed: int) -> None:
    """Train each rival on the demonstrations in a folder of `geofold train peptide`.

    Raises
    ------
    OptionError
        Without demonstrations.
    """
    files = sorted(Path(data or "").glob("demonstrations/*.npz")) if data else []
    if not files:
        raise OptionError(
            f"no demonstrations in {data or 'no folder'}", "the folder of a finished `geofold train peptide`",
            "add --data FOLDER",
        )  # fmt: skip
    torch.set_num_threads(1)
    demos = [demo for path in files for demo in contacts_from_arrays(dict(np.load(path)))]
    lessons = [make_demonstration(demo, seed=PATHS * k + way) for k, demo in enumerate(demos) for way in range(PATHS)]
    rows = []
    for name, (build, weights, steps) in RIVALS.items():
        policy: Any = build(seed=seed)
        steps = QUICK if quick else steps
        judged = train_peptide(
            lessons.__getitem__, len(lessons), Path(out) / name, steps=steps, seed=seed, policy=policy, weights=weights,
            card={"model": name, "demonstrations": len(demos), "ways": PATHS, "command": "geofold bench rivals"},
            progress=lambda step, loss, valid, name=name: print(f"{name} {step}: {loss:.3f}, {valid:.3f}", flush=True),  # type: ignore[misc]
        )  # fmt: skip
        card = json.loads((Path(out) / name / weights).with_suffix(".json").read_text(encoding="utf-8"))
        rows.append([name, str(steps), f"{judged:.3f}", str(card["parameters"])])
    table = table_of(["rival", "batches", "nat a torsion, held out", "parameters"], rows)
    (Path(out) / "table.md").write_text(table, encoding="utf-8")

"""Train the rivals of the peptide policy: the same demonstrations, the same time on one core."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from geofold.app.train.peptide import PATHS
from geofold.bench.common.data import require_weights
from geofold.bench.common.records import table_of
from geofold.bench.peptide.agents import greedy_mlp
from geofold.bench.peptide.agents import se3_transformer as se3
from geofold.errors import OptionError
from geofold.learn.peptide_policy.training import train_peptide
from geofold.modelling.threads import use_one_thread
from geofold.molecule.datasets.peptide_demonstrations import contacts_from_arrays, make_demonstration

RIVALS: dict[str, tuple[Callable[..., nn.Module], str, int]] = {
    "greedy_mlp": (greedy_mlp.GreedyMlp, greedy_mlp.WEIGHTS, 3000),
    "se3": (se3.Se3Policy, se3.WEIGHTS, 900),
}
"""Model, file and number of batches; the SE(3)-Transformer gets as many as fit into the time of the policy."""
QUICK = 20


def require_rivals() -> None:
    """Check that the weights of all rivals are there; raises `OptionError` if not (see `require_weights`)."""
    for _, weights, _ in RIVALS.values():
        require_weights(weights, "geofold bench rivals")


def run(out: str, *, data: str | None, quick: bool, seed: int) -> None:
    """Train each rival on the demonstrations in a folder of `geofold train peptide`.

    Parameters
    ----------
    out : str
        Folder of the weights, with a subfolder for each rival.
    data : str or None
        Folder of the demonstrations.
    quick : bool
        Train for twenty batches only.
    seed : int
        Seed of weights and batches.

    Raises
    ------
    OptionError
        If there are no demonstrations.
    """
    files = sorted(Path(data or "").glob("demonstrations/*.npz")) if data else []
    if not files:
        raise OptionError(
            f"no demonstrations in {data or 'no folder'}",
            "the folder of a finished `geofold train peptide`",
            "add --data FOLDER",
        )
    use_one_thread()
    demonstrated = [demo for path in files for demo in contacts_from_arrays(dict(np.load(path)))]
    demonstrations = [
        make_demonstration(demo, seed=PATHS * k + way) for k, demo in enumerate(demonstrated) for way in range(PATHS)
    ]
    rows = []
    for name, (build, weights, steps) in RIVALS.items():
        policy: Any = build(seed=seed)
        steps = QUICK if quick else steps
        validation = train_peptide(
            demonstrations.__getitem__,
            len(demonstrations),
            Path(out) / name,
            steps=steps,
            seed=seed,
            policy=policy,
            weights=weights,
            card={"model": name, "demonstrations": len(demonstrated), "ways": PATHS, "command": "geofold bench rivals"},
            progress=lambda step, loss, valid, name=name: print(f"{name} {step}: {loss:.3f}, {valid:.3f}", flush=True),  # type: ignore[misc]
        )
        card = json.loads((Path(out) / name / weights).with_suffix(".json").read_text(encoding="utf-8"))
        rows.append([name, str(steps), f"{validation:.3f}", str(card["parameters"])])
    table = table_of(["rival", "batches", "nat a torsion, held out", "parameters"], rows)
    (Path(out) / "table.md").write_text(table, encoding="utf-8")

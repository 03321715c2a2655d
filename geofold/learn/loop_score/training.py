"""How the potential of loops is trained: of many candidates of one loop, the nearer to the native one the better.

Scores of the candidates of a loop are read as probabilities, softmax(-score), and held against softmax(-RMSD / T)
(ListNet: Cao et al., ICML 2007). So only differences within a loop count, and the near ones most.

Glossary: ``K`` candidates, ``L`` residues, ``N`` residues of everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import pairwise_rmsd
from geofold.learn.loop_score.confidence import (
    CONSENSUS_WEIGHT,
    Confidence,
    confidence_features,
    consensus_distance,
    fit_confidence,
)
from geofold.learn.loop_score.model import WEIGHTS, LoopEnvironment, LoopScore, load_score
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import load_weights, save_weights

STEPS = 2000
RATE = 2e-3
DECAY = 0.05
"""Of the weights (AdamW)."""
BATCH_LOOPS, BATCH_CANDIDATES = 4, 48
"""Of a batch, and of each of its loops."""
NEAREST_SHARE, NEAREST_POOL = 1 / 4, 48
"""Share of the candidates that are drawn from the nearest ones, and how many those are."""
RMSD_TEMPERATURE = 0.7
"""A: T of the RMSD's softmax."""
SAMPLED, PERTURBED, GUIDED, EVOLVED, CROSSOVER, SEARCH_END = range(6)
"""Kinds of candidates: drawn by the prior; the native's torsions disturbed; led by the loop model and polished; bred as
an earlier potential liked; crosses near the native; what a search by the potential itself ended with."""
SEARCHED_KINDS, SEARCHED_WEIGHT = (GUIDED, EVOLVED), 3.0
"""Kinds that a search by the potential has to tell apart, and how much likelier than others they are in a lesson."""
MIN_CANDIDATES = 60
"""Candidates without which a loop is left out."""
MIN_SEARCHES = 12
"""Searches of validation loops from which a confidence is fitted."""
LENGTH_CLASSES = (8, 12)
"""Lengths whose figures the card tells: shorter, between, and from the second on."""


class Decoys(NamedTuple):
    """Candidates of one loop.

    xyz : (K, L, 4, 3) float32, N, CA, C, O in A; rmsd : (K,) to the native backbone, A; kind : (K,) int.
    """

    xyz: Tensor
    rmsd: Tensor
    kind: Tensor
    around: LoopEnvironment


def choose_candidates(decoys: Decoys, noise: np.random.Generator) -> Tensor:
    """Candidates of a lesson: some of the nearest, and others at random, more of those that a potential liked."""
    order = decoys.rmsd.argsort().numpy()
    near = noise.choice(order[:NEAREST_POOL], min(round(NEAREST_SHARE * BATCH_CANDIDATES), len(order)), replace=False)
    rest = np.setdiff1d(order, near)
    share = np.where(np.isin(decoys.kind.numpy()[rest], SEARCHED_KINDS), SEARCHED_WEIGHT, 1.0)
    count = min(BATCH_CANDIDATES - len(near), len(rest))
    others = noise.choice(rest, count, replace=False, p=share / share.sum())
    return torch.as_tensor(np.concatenate([near, others]))


def ranking_loss(score: LoopScore, decoys: Decoys, rows: Tensor) -> Tensor:
    """Kullback-Leibler divergence, nat, of what the scores say from what the RMSDs say."""
    wanted = torch.log_softmax(-decoys.rmsd[rows] / RMSD_TEMPERATURE, 0)
    said = torch.log_softmax(-score(decoys.xyz[rows], decoys.around), 0)
    return (wanted.exp() * (wanted - said)).sum()


def train_score(
    learnt: Sequence[Decoys], judged: Sequence[Decoys], folder: str | Path, *, steps: int = STEPS, seed: int = 0,
    begun: Path | None = None, told: ProgressCallback | None = None, stop: int | None = None, **options: Any,
) -> float:  # fmt: skip
    """Train one network on the decoys of training loops, judge on others; returns the last validation loss.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    begun
        Weights to go on from, at half the rate; none: from scratch.
    """
    score = LoopScore(seed=seed, **options)
    if begun is not None:
        load_weights(begun, score)
    held = [(decoys, choose_candidates(decoys, np.random.default_rng([seed, k]))) for k, decoys in enumerate(judged)]

    def losses(number: int) -> Iterator[Tensor]:
        noise = np.random.default_rng([seed, 1, number])
        batch = [learnt[int(k)] for k in noise.integers(len(learnt), size=BATCH_LOOPS)]
        score.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1_000_003 * seed + number)  # which channels are silent
            loss = torch.stack(
                [ranking_loss(score, decoys, choose_candidates(decoys, noise)) for decoys in batch]
            ).mean()
        yield loss

    def validate() -> float:
        score.eval()
        return float(np.mean([float(ranking_loss(score, decoys, rows)) for decoys, rows in held]))

    schedule = Schedule(steps, rate=RATE if begun is None else RATE / 2, decay=DECAY)
    curve = train(score, losses, validate, folder, schedule, told, stop=stop)
    write_curve(folder, curve, "divergence (nat a loop)")
    if curve[-1][0] == steps:
        told_of = {"seed": seed, "steps": steps, "loops": len(learnt), "valid_loss": curve[-1][2]}
        card = {"options": score.options} | told_of
        save_weights(Path(folder) / WEIGHTS, score.state_dict(), card)
    return curve[-1][2]


def save_score(
    path: str | Path, parts: Sequence[Path], judged: Sequence[Decoys], ends: Sequence[Decoys], card: dict[str, Any]
) -> float:  # fmt: skip
    """Put trained networks together as one potential, with a card that tells what it is worth; returns its loss.

    Parameters
    ----------
    judged, ends
        Decoys of validation loops, and what searches by this potential ended with for others.
    """
    score = LoopScore.together([load_score(one)[0] for one in parts])
    losses = [
        ranking_loss(score, decoys, choose_candidates(decoys, np.random.default_rng(k)))
        for k, decoys in enumerate(judged)
    ]
    value = float(torch.stack(losses).mean()) if losses else math.nan
    whole = {
        "model": "potential of loops", "options": score.options, "valid_loss": value,
        "parameters": sum(p.numel() for p in score.parameters()),
    }  # fmt: skip
    told, sure = summarise_ranking(score, [*judged, *ends]), fit_search_confidence(score, ends)
    told |= {} if sure is None else {"confidence": sure.as_dict()}
    save_weights(path, score.state_dict(), whole | told | card)
    return value


def summarise_ranking(score: LoopScore, judged: Sequence[Decoys]) -> dict[str, Any]:
    """Medians over loops of some length, of drawn and of led candidates: RMSD of the best by score, of the nearest."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for decoys in judged:
        length = decoys.xyz.shape[1]
        size = (
            f"to_{LENGTH_CLASSES[0]}"
            if length <= LENGTH_CLASSES[0]
            else f"from_{LENGTH_CLASSES[1]}"
            if length >= LENGTH_CLASSES[1]
            else "between"
        )
        for kind, name in ((SAMPLED, "drawn"), (GUIDED, "led"), (SEARCH_END, "searched")):
            rows = decoys.kind == kind
            if bool(rows.any()):
                value, rmsd = score.scores(decoys.xyz[rows], decoys.around), decoys.rmsd[rows]
                best = float(rmsd[value.argmin()])
                found.setdefault(f"{name}_{size}", []).append((best, float(rmsd.min()), float(rmsd.median())))
    names = ("best_by_score", "nearest", "median")
    return {
        f"valid_{key}": dict(zip(names, np.round(np.median(values, 0), 3).tolist(), strict=True))
        for key, values in sorted(found.items())
    }  # fmt: skip


def fit_search_confidence(score: LoopScore, judged: Sequence[Decoys]) -> Confidence | None:
    """How far searches end from the native, by what they end with; None with fewer than `ENOUGH` of them."""
    told, rmsd = [], []
    for decoys in judged:
        rows = decoys.kind == SEARCH_END
        if bool(rows.any()):
            xyz, value = decoys.xyz[rows], score.scores(decoys.xyz[rows], decoys.around).double()
            apart = pairwise_rmsd(xyz.double(), xyz.double()).numpy()
            best = int((value.numpy() + CONSENSUS_WEIGHT * consensus_distance(value.numpy(), apart)).argmin())
            told.append(confidence_features(value.numpy(), apart[best], float(value[best]), xyz.shape[1]))
            rmsd.append(float(decoys.rmsd[rows][best]))
    return fit_confidence(told, rmsd) if len(told) >= MIN_SEARCHES else None


def split_ensemble(score: LoopScore, folder: Path) -> list[Path]:
    """Weights of a potential's networks, each in a file of its own."""
    files = []
    for number, reader in enumerate(score.readers):
        one = LoopScore(**score.options | {"members": 1})
        one.readers[0].load_state_dict(reader.state_dict())
        files.append(_kept(one, folder, number))
    return files


def average_rounds(rounds: Sequence[Sequence[Path]], folder: Path) -> list[Path]:
    """Each network's mean over rounds that went on from one another, as weights and card.

    What one round forgets while it learns from where the last was led astray, the mean keeps (Wortsman et al., Model
    soups, ICML 2022).
    """
    files = []
    for number, parts in enumerate(zip(*rounds, strict=True)):
        every = [load_score(part)[0] for part in parts]
        score, states = LoopScore(**every[0].options), [one.state_dict() for one in every]
        score.load_state_dict({name: torch.stack([own[name] for own in states]).mean(0) for name in states[0]})
        files.append(_kept(score, folder, number))
    return files


def _kept(score: LoopScore, folder: Path, number: int) -> Path:
    """File of the weights of one network among several."""
    path = folder / f"member_{number}" / WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, score.state_dict(), {"options": score.options})
    return path


def decoys_to_arrays(decoys: Decoys) -> dict[str, np.ndarray]:
    """As arrays."""
    around = decoys.around
    return {
        "xyz": decoys.xyz.numpy(), "rmsd": decoys.rmsd.numpy(), "kind": decoys.kind.numpy(),
        "around": around.xyz.numpy(), "letters": around.letters.numpy(), "number": around.number.numpy(),
        "first": np.array(around.first),
    }  # fmt: skip


def decoys_from_arrays(parts: dict[str, np.ndarray]) -> Decoys:
    """From arrays."""
    xyz, rmsd, kind, around, letters, number = (
        torch.as_tensor(parts[name]) for name in ("xyz", "rmsd", "kind", "around", "letters", "number")
    )
    return Decoys(xyz, rmsd, kind, LoopEnvironment(around, letters, number, int(parts["first"]), xyz.shape[1]))

"""Training of the judge to rank candidates of a loop: the nearer to the native, the lower the energy.

The energies of the candidates of a loop are read as probabilities, softmax(-energy), and compared with
softmax(-RMSD / T) (ListNet: Cao et al., ICML 2007), at two temperatures: a low one that separates near-native
candidates, and a higher one that also orders the rest. The cross-entropy of the loop's amino acids on its near-native
candidates is kept as a second objective, so that the network does not forget inverse folding.

Glossary: ``K`` candidates, ``L`` residues of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.pretrained import load_network, save_network
from geofold.learn.judge.scoring import embed_surroundings
from geofold.learn.loop_score.decoys import Decoys
from geofold.learn.loop_score.features import LoopEnvironment
from geofold.learn.loop_score.training import choose_candidates
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve

STEPS = 2400
RATE, EVERY = 5e-4, 200
"""Largest learning rate, and batches between checkpoints."""
BATCH_LOOPS = 2
TEMPERATURES = (0.35, 0.7)
"""T (A) of the softmax of RMSD."""
NATIVE_RMSD, FOLDING_WEIGHT = 1.0, 0.1
"""RMSD (A) below which a candidate's sequence is predicted too, and the weight of that cross-entropy."""
NOISE = (0.0, 0.15)
"""Range (A) of the standard deviation of the noise on the coordinates of a loop's environment and candidates."""


def ranking_loss(network: InverseFolding, decoys: Decoys, rows: Tensor) -> Tensor:
    """Divergence (nat) of the distribution by energy from that by RMSD over some candidates, and the folding loss.

    Parameters
    ----------
    network : InverseFolding
    decoys : Decoys
        Candidates of one loop.
    rows : Tensor, shape=(K,)
        Candidates to compare.
    """
    environment = embed_surroundings(network, decoys.around)
    predictions = environment.predict(decoys.xyz[rows].to(environment.states))
    predicted = torch.log_softmax(-predictions.rank.sum(-1), 0)
    rmsd = decoys.rmsd[rows].to(predicted)
    targets = [torch.log_softmax(-rmsd / temperature, 0) for temperature in TEMPERATURES]
    loss = torch.stack([(target.exp() * (target - predicted)).sum() for target in targets]).mean()
    near = rmsd < NATIVE_RMSD
    if bool(near.any()):
        logits = predictions.conditional[near].flatten(0, 1)
        loss = loss + FOLDING_WEIGHT * cross_entropy(logits, environment.loop.repeat(int(near.sum())))
    return loss


def train_ranking(
    training: Sequence[Decoys],
    validation: Sequence[Decoys],
    init_weights: str | Path,
    folder: str | Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: str = "cpu",
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    card: dict[str, Any] | None = None,
) -> float:
    """Train a pretrained judge on decoys; returns the last validation loss (nat per loop).

    The folder gets checkpoint, curve (CSV and PNG), weights and card. An interrupted run resumes to the same weights.

    Parameters
    ----------
    training, validation : sequence of Decoys
        Decoys of training and of validation loops.
    init_weights : str or Path
        Pretrained weights; see `geofold.learn.judge.pretraining.pretrain`.
    folder : str or Path
        Output folder.
    steps, seed : int
        Number of batches, and seed of the batches and of their noise.
    device : str
        Torch device.
    progress, stop
        See `geofold.learn.training_loop.train`.
    card : dict, optional
        Further entries of the card.
    """
    network, earlier = load_network(init_weights, device)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    sources = [np.random.default_rng([seed, 2, k]) for k in range(len(validation))]
    held_out = [(loop, choose_candidates(loop, noise)) for loop, noise in zip(validation, sources, strict=True)]

    def losses(number: int) -> Iterator[Tensor]:
        noise = np.random.default_rng([seed, 1, number])
        batch = [training[int(k)] for k in noise.integers(len(training), size=BATCH_LOOPS)]
        terms = [ranking_loss(network, _with_noise(loop, noise), choose_candidates(loop, noise)) for loop in batch]
        yield torch.stack(terms).mean()

    def validate() -> float:
        return float(np.mean([float(ranking_loss(network, decoys, rows)) for decoys, rows in held_out]))

    curve = train(network, losses, validate, folder, Schedule(steps, RATE, every=EVERY), progress, stop=stop)
    write_curve(folder, curve, "divergence (nat per loop)")
    if curve[-1][0] == steps:
        pretraining = {key: value for key, value in earlier.items() if key not in ("model", "options", "parameters")}
        entries = {"seed": seed, "steps": steps, "loops": len(training), "valid_loss": curve[-1][2]}
        save_network(folder, network, entries | (card or {}) | {"pretraining": pretraining})
    return curve[-1][2]


def _with_noise(decoys: Decoys, noise: np.random.Generator) -> Decoys:
    """Add noise to the coordinates of candidates and of their environment."""
    size = noise.uniform(*NOISE)

    def shift(xyz: Tensor) -> Tensor:
        return xyz + torch.as_tensor(size * noise.standard_normal(xyz.shape)).to(xyz)

    around = decoys.around
    moved = LoopEnvironment(shift(around.xyz), around.letters, around.number, around.first, around.length)
    return decoys._replace(xyz=shift(decoys.xyz), around=moved)

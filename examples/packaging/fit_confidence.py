"""Fit the confidence of loop models to recorded searches: fit_confidence.py DATA SET=FOLDER ...

The folders are those of `geofold bench loop --decompose --set SET --data DATA --out FOLDER`, with SET among the sets of
validation loops. The first choice of each search is compared with the native loop. The fit goes into the card of the
potential (geofold/data/score.json), and its coverage by length is printed.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from geofold import resources
from geofold.bench.loop.decomposition import terms_of_pool
from geofold.bench.loop.pools import loop_of_episode, read_pools
from geofold.bench.loop.sets import episodes
from geofold.errors import InputFileError
from geofold.files import write_atomically
from geofold.geometry import pairwise_rmsd
from geofold.learn.loop_score.confidence import Confidence, confidence_features, fit_confidence
from geofold.learn.loop_score.model import WEIGHTS

MAX_EPISODES = 100


def choices_of(set_name: str, data: str, folder: Path) -> list[tuple[np.ndarray, float]]:
    """Features of the first choice of each search in a folder, and its RMSD (A) from the native."""
    known = {episode.name: episode for episode in episodes(set_name, data, MAX_EPISODES)}
    found = []
    for pool in read_pools(sorted((folder / "pools").glob("*.npz"))):
        backbone, rmsd = pool.rows["pool"], pool.rmsd("pool")
        terms = terms_of_pool(loop_of_episode(known[pool.name]), backbone)
        first, score = int(terms["total"].argmin()), terms["potential"]
        apart = pairwise_rmsd(backbone[first][None], backbone, 10)[0]
        found.append((confidence_features(score, apart, float(score[first]), backbone.shape[1]), float(rmsd[first])))
    return found


def coverage_by_length(fit: Confidence, choices: list[tuple[np.ndarray, float]]) -> dict[int, tuple[float, int]]:
    """Fraction of loops within the 68 % interval, and their number, by length."""
    inside: dict[int, list[bool]] = defaultdict(list)
    for features, rmsd in choices:
        _, low, high = fit.predict_rmsd(features)
        inside[round(float(np.exp(features[1])))].append(low <= rmsd <= high)
    return {length: (float(np.mean(part)), len(part)) for length, part in sorted(inside.items())}


def main(arguments: list[str]) -> None:
    """Fit, print, and write the card."""
    if len(arguments) < 2 or not all("=" in part for part in arguments[1:]):
        raise InputFileError(" ".join(arguments) or "no argument", "DATA SET=FOLDER ...", "see the first lines")
    data, folders = arguments[0], dict(part.split("=", 1) for part in arguments[1:])
    parts = {name: choices_of(name, data, Path(folder)) for name, folder in folders.items()}
    choices = [choice for part in parts.values() for choice in part]
    fit = fit_confidence(*zip(*choices, strict=True))
    path = resources.find(WEIGHTS).with_suffix(".json")
    card = json.loads(path.read_text(encoding="utf-8"))
    for name, confidence in (("before", Confidence.of(card)), ("after", fit)):
        if confidence is not None:
            print(name, coverage_by_length(confidence, choices))
    card["confidence"] = fit.as_dict() | {"sets": {name: len(part) for name, part in parts.items()}}
    text = json.dumps(card, indent=2) + "\n"
    write_atomically(path, lambda name: Path(name).write_text(text, encoding="utf-8"))
    print(f"{path}: {len(choices)} loops")


if __name__ == "__main__":
    main(sys.argv[1:])

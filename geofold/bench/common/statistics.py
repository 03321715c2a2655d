"""Statistics of paired benchmark records: means with 95 % intervals, Wilcoxon's signed-rank test, rank statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.bench.common.records import Records

BOOTSTRAP_DRAWS = 2000
"""Number of resamples of a bootstrap interval."""


def mean_and_half_width(values: Iterable[float]) -> tuple[float, float]:
    """Mean and half of its 95 % confidence interval (normal approximation); the latter is 0 for a single value."""
    x = np.asarray(list(values), dtype=float)
    return float(x.mean()), float(1.96 * x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else 0.0


def wilcoxon_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of paired differences (n,); 1 if all of them are zero."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def bootstrap_interval(
    values: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], float],
    *,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a statistic of values (n, ...), resampled along their first axis.

    Parameters
    ----------
    values : (n, ...)
    statistic : callable
    draws : int
        Number of resamples.
    seed : int
        Seed of the resampling.
    """
    rows = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile([statistic(values[row]) for row in rows], (2.5, 97.5))
    return float(low), float(high)


def compare_paired(records: Records, agent: str, reference: str, key: str) -> tuple[float, float, float]:
    """Compare a number of two agents episode by episode.

    Parameters
    ----------
    records : Records
        Must hold the same episodes for both agents.
    agent, reference : str
        Names of the agents; differences are `agent` minus `reference`.
    key : str
        Name of the number.

    Returns
    -------
    difference : float
        Median of the differences.
    p : float
        See `wilcoxon_p`.
    share : float
        Fraction of episodes in which `agent` has the smaller number.
    """
    values = {row["episode"]: row[key] for row in records.of(reference)}
    differences = np.array([row[key] - values[row["episode"]] for row in records.of(agent)])
    return float(np.median(differences)), wilcoxon_p(differences), float((differences < 0).mean())


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Area under the ROC curve: fraction of pairs in which the positive has the higher score."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))


def mean_per_episode(rows: Iterable[Mapping[str, Any]], key: str) -> dict[str, float]:
    """Mean of a number over the seeds of each episode ('panel/episode/seed'); episodes without it are left out."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.get(key) is not None:
            values["/".join(str(row["episode"]).split("/")[:2])].append(float(row[key]))
    return {episode: float(np.mean(numbers)) for episode, numbers in values.items()}


def compare_means(values: Mapping[str, float], reference: Mapping[str, float]) -> tuple[float, float]:
    """Mean difference from a reference over shared episodes and its p (`wilcoxon_p`); NaN and 1 without any."""
    differences = np.array([values[e] - reference[e] for e in sorted(values.keys() & reference.keys())])
    if not len(differences):
        return float("nan"), 1.0
    return float(differences.mean()), wilcoxon_p(differences)

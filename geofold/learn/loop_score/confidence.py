"""Predict the RMSD of a loop model to the native from statistics of the search that found it.

If many low-scoring candidates of a search are far apart, the best of them is a guess; if they agree, it is reliable. A
linear model of the logarithm of the RMSD is fitted to a few such statistics, on loops outside the training set of the
potential; its residuals give the width of the interval, which is larger where the candidates are far apart and where
the side chains around were repacked.

Glossary: ``K`` candidates of a search, ``E`` models, ``F`` features, ``L`` residues. Scores are lower for better
candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

Floats = NDArray[np.float64]
SPREAD_TEMPERATURE = 0.5
"""Score difference at which the weight of a candidate in the spread falls to 1 / e."""
OTHER_LOOP_RMSD = 1.5
"""RMSD (A) from which a candidate counts as another conformation."""
MAX_LEAD = 3.0
"""Largest lead (score) over all other conformations; larger ones are not distinguished."""
RIDGE = 1.0
SPREAD = 2
"""Index of the logarithm of the spread among the features."""
MIN_RMSD = 0.1
"""Lower bound (A) of a predicted RMSD, and of the spread at a residue."""
LEVEL = 0.68
TAIL_FREEDOM = 3
TAIL_SCALE = float(stdtrit(TAIL_FREEDOM, ndtr(1.0)))
"""Quantile of Student's distribution that has the probability of one standard deviation."""
SMALL_RESIDUAL = 0.05
"""Residual of the logarithm below which all count alike when widths are compared."""


def spread_weights(score: Floats, model_score: float) -> Floats:
    """Weights (K,) of the candidates of a search in the spread around a model; they add up to 1.

    Parameters
    ----------
    score : (K,)
        Scores of the candidates.
    model_score : float
        Score of the model itself.
    """
    lowest = min(score.min(initial=model_score), model_score)
    weight = np.exp(-np.clip((score - lowest) / SPREAD_TEMPERATURE, 0.0, 60.0))
    return np.asarray(weight / weight.sum()) if len(score) else weight


def residue_errors(score: Floats, squared_distance: Floats, model_score: float, expected_rmsd: float) -> Floats:
    """Return the expected error (A) of each residue: the spread of the candidates, scaled to the expected RMSD.

    With the weights w of `spread_weights`, the spread at residue i is s_i^2 = sum_k w_k d_ki^2 + `MIN_RMSD`^2, and the
    error is e_i = R s_i / sqrt(mean_j s_j^2): its mean square is the square of the expected RMSD R. In 14 searches for
    loops of 12 and 16 residues of validation proteins, its rank correlation with the distance from the native is 0.70
    on average (0.23 at least), and they differ by a factor of 1.7 (exp of the mean of abs(log)), given the actual RMSD;
    by 2.5 if all residues had the same error. The temperature of the weights hardly matters between 0.25 and 4.

    Parameters
    ----------
    score : (K,)
        Scores of the candidates.
    squared_distance : (K, L)
        Mean squared distance (square A) of the backbone atoms of each residue between candidate and model.
    model_score : float
        Score of the model itself.
    expected_rmsd : float
        Expected RMSD (A) of the model to the native; see `Confidence.predict_rmsd`.

    Returns
    -------
    (L,)
    """
    spread = spread_weights(score, model_score) @ squared_distance + MIN_RMSD**2
    return np.asarray(expected_rmsd * np.sqrt(spread / spread.mean()))


def confidence_features(score: Floats, rmsd: Floats, model_score: float, length: int) -> Floats:
    """Features of one model of a search: 1, log length, log spread, lead, score per residue.

    Parameters
    ----------
    score : (K,)
        Scores of the candidates.
    rmsd : (K,)
        RMSD (A) of the candidates from the model.
    model_score : float
        Score of the model itself.
    length : int
        Residues of the loop.

    Returns
    -------
    (F,)
    """
    spread = float(spread_weights(score, model_score) @ rmsd)
    distant = score[rmsd > OTHER_LOOP_RMSD]
    lead = float(np.clip(distant.min() - model_score, -MAX_LEAD, MAX_LEAD)) if len(distant) else MAX_LEAD
    return np.array([1.0, np.log(length), np.log(MIN_RMSD + spread), lead, model_score / length])


@dataclass(frozen=True)
class Confidence:
    """The fitted model.

    Attributes
    ----------
    weight : tuple of float
        Coefficients (F,) of the features, for the logarithm of RMSD / A.
    low, high : float
        Shifts of the logarithm to the ends of the 68 % interval.
    loops : int
        Number of loops that it was fitted to.
    largest : float
        Largest RMSD (A) in the fit: none larger is expected, because the logarithm of the RMSD does not grow without
        end with that of the spread.
    repacked_width : float
        Factor of the shifts for a loop whose surrounding side chains were repacked with it.
    spread_width : float
        Power of the spread, relative to `usual_spread`, that is a factor of the shifts.
    usual_spread : float
        Geometric mean of the spread in the fit (A).
    """

    weight: tuple[float, ...]
    low: float
    high: float
    loops: int
    largest: float = float("inf")
    repacked_width: float = 1.0
    spread_width: float = 0.0
    usual_spread: float = 1.0

    def predict_rmsd(self, features: Floats, repacked: bool = False) -> tuple[float, float, float]:
        """Median of the expected RMSD (A) and the ends of its 68 % interval.

        Parameters
        ----------
        features : (F,)
            See `confidence_features`.
        repacked : bool
            Whether side chains around the loop were repacked with it.
        """
        uncapped = float(np.dot(self.weight, features))
        middle = min(uncapped, float(np.log(self.largest)))
        width = float(np.exp(self.spread_width * (features[SPREAD] - np.log(self.usual_spread))))
        width *= self.repacked_width if repacked else 1.0
        # beyond what was seen, only the upper end says how far the candidates are apart
        low, high = middle + width * self.low, uncapped + width * self.high
        return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of a card."""
        return asdict(self) | {"weight": [round(w, 6) for w in self.weight]}

    @classmethod
    def of(cls, card: dict[str, Any]) -> Confidence | None:
        """Read the entry of a card; None if it has none."""
        entry = card.get("confidence")
        if entry is None:
            return None
        return cls(
            weight=tuple(entry["weight"]),
            low=entry["low"],
            high=entry["high"],
            loops=entry["loops"],
            largest=entry.get("largest", float("inf")),
            repacked_width=entry.get("repacked_width", 1.0),
            spread_width=entry.get("spread_width", 0.0),
            usual_spread=entry.get("usual_spread", 1.0),
        )


def probability_within(interval: tuple[float, float, float], limit: float) -> float:
    """Probability that the RMSD is at most a limit.

    On either side of its median, the logarithm of the RMSD has Student's distribution with `TAIL_FREEDOM` degrees of
    freedom and the width that the interval has there: of 105 validation loops, eleven are more than two widths from the
    median, where a normal distribution has five.

    Parameters
    ----------
    interval : (float, float, float)
        Median of the expected RMSD (A) and the ends of its 68 % interval; see `Confidence.predict_rmsd`.
    limit : float
        RMSD (A).
    """
    median, low, high = np.log(np.maximum(interval, 1e-9))
    distance = np.log(limit) - median
    width = max((high - median) if distance > 0 else (median - low), 1e-9)
    return float(stdtr(TAIL_FREEDOM, TAIL_SCALE * distance / width))


def fit_confidence(
    features: Sequence[Floats], rmsd: Sequence[float], repacked: Sequence[bool] | None = None
) -> Confidence:
    """Fit by ridge regression; the interval holds 68 % of the leave-one-out residuals.

    The logarithm of the size of these residuals is fitted in turn, to the spread and to whether the surroundings were
    repacked.

    Parameters
    ----------
    features : sequence of (F,)
        Features of the models of some loops.
    rmsd : sequence of float
        Their RMSD (A) to the native.
    repacked : sequence of bool, optional
        Whether side chains around them were repacked; none if not given.
    """
    around = np.zeros(len(rmsd)) if repacked is None else np.array(repacked, dtype=float)
    x, y = np.array(features), np.log(np.maximum(rmsd, MIN_RMSD))
    weight, inverse = _ridge(x, y)
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    residual = (y - x @ weight) / np.maximum(1 - leverage, 1e-6)  # leave-one-out, in closed form
    spread = x[:, SPREAD] - x[:, SPREAD].mean()
    (_, power, shift), _ = _ridge(
        np.stack([np.ones(len(y)), spread, around], 1), np.log(np.abs(residual) + SMALL_RESIDUAL)
    )
    low, high = np.quantile(residual / np.exp(power * spread + shift * around), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Confidence(
        tuple(float(w) for w in weight),
        float(low),
        float(high),
        len(y),
        largest=float(np.exp(y.max())),
        repacked_width=float(np.exp(shift)),
        spread_width=float(power),
        usual_spread=float(np.exp(x[:, SPREAD].mean())),
    )


def _ridge(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Coefficients (F,) of a ridge regression, whose first feature is one, and the inverse (F, F) of its matrix."""
    inverse = np.asarray(np.linalg.inv(x.T @ x + RIDGE * np.diag([0.0, *np.ones(x.shape[1] - 1)])), dtype=float)
    return inverse @ (x.T @ y), inverse

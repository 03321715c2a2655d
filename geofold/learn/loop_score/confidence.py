"""How far a modelled loop is from the native one, told before anybody knows: by how a search ended.

Where many candidates that lie apart are liked about as well, the best of them is a guess; where the liked ones lie
together, it hardly is. A linear model of the logarithm of the RMSD on a few such numbers is fitted on loops that the
potential was not trained on; what it misses there is the width of what it tells.

Glossary: ``K`` candidates of a search, ``F`` numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SPREAD_TEMPERATURE = 0.5
"""Of the potential's unit: how much worse a candidate may be liked and still count."""
CONSENSUS_TEMPERATURE, CONSENSUS_WEIGHT = 1.0, 0.5
"""The same, of those that have a say in where the loop is, and what an Angstrom away from there is worth. In 30
searches for loops of 8-16 residues of validation proteins the first choice is 2.53 A off in the mean without that,
2.50 A with it (median 1.50 A either way), 2.52 and 2.56 A where it is worth 1 and 2 (`geofold train score` keeps such
searches)."""
ELSEWHERE = 1.5
"""A: from which a candidate is another loop."""
WIDEST = 3.0
"""Of the potential's unit: a lead over all other loops that needs no telling apart from a larger one."""
RIDGE = 1.0
FLOOR = 0.1
"""A: nearer than this nobody can tell."""
LEVEL = 0.68
NAMES = ("one", "log_length", "spread", "lead", "share")


def consensus_distance(value: Floats, apart: Floats) -> Floats:
    """How far (A) ends are from what the candidates of a search agree on, (E,): the mean of their distances, those that
    are liked counting most.

    Parameters
    ----------
    value : (K,)
        Of the candidates, lower is better.
    apart : (E, K)
        RMSD (A) of the ends from them.
    """
    if not len(value):
        return np.zeros(len(apart))
    weight = np.exp(-(value - value.min()) / CONSENSUS_TEMPERATURE)
    return np.asarray(apart @ (weight / weight.sum()))


def confidence_features(value: Floats, apart: Floats, own: float, length: int) -> Floats:
    """What a search says of one of its ends, (F,).

    Parameters
    ----------
    value : (K,)
        Of the candidates, lower is better.
    apart : (K,)
        RMSD (A) of the candidates from the end.
    own
        The end's own value.
    length
        Residues of the loop.
    """
    weight = np.exp(-np.clip((value - min(value.min(initial=own), own)) / SPREAD_TEMPERATURE, 0.0, 60.0))
    spread = float((weight * apart).sum() / weight.sum()) if len(value) else 0.0
    others = value[apart > ELSEWHERE]
    lead = float(np.clip(others.min() - own, -WIDEST, WIDEST)) if len(others) else WIDEST
    return np.array([1.0, np.log(length), np.log(FLOOR + spread), lead, own / length])


@dataclass(frozen=True)
class Confidence:
    """The fitted model.

    Attributes
    ----------
    weight : tuple of float
        Of the numbers, for the logarithm of RMSD / A.
    low, high : float
        What is to be added for the ends of the 68 % interval.
    loops : int
        That it was fitted on.
    """

    weight: tuple[float, ...]
    low: float
    high: float
    loops: int

    def rmsd(self, told: Floats) -> tuple[float, float, float]:
        """Expected (median) RMSD in A, and the ends of its 68 % interval."""
        middle = float(np.dot(self.weight, told))
        return tuple(float(np.exp(middle + shift)) for shift in (0.0, self.low, self.high))  # type: ignore[return-value]

    def as_dict(self) -> dict[str, Any]:
        """For a card."""
        return asdict(self) | {"weight": [round(w, 6) for w in self.weight]}

    @classmethod
    def of(cls, card: dict[str, Any]) -> Confidence | None:
        """From a card; None where it has none."""
        kept = card.get("confidence")
        return None if kept is None else cls(tuple(kept["weight"]), kept["low"], kept["high"], kept["loops"])


def fit_confidence(told: Sequence[Floats], rmsd: Sequence[float]) -> Confidence:
    """Ridge regression; the interval by what each loop is missed by when it is left out (68 % of them inside)."""
    x, y = np.array(told), np.log(np.maximum(rmsd, FLOOR))
    penalty = RIDGE * np.diag([0.0, *np.ones(x.shape[1] - 1)])
    gram = x.T @ x + penalty
    weight = np.linalg.solve(gram, x.T @ y)
    leverage = np.einsum("ij,jk,ik->i", x, np.linalg.inv(gram), x)
    missed = (y - x @ weight) / np.maximum(1 - leverage, 1e-6)  # leave-one-out, in closed form
    low, high = np.quantile(missed, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Confidence(tuple(float(w) for w in weight), float(low), float(high), len(y))

"""A residue that geofold modelled, as files record it."""

from __future__ import annotations

from typing import NamedTuple

ResidueKey = tuple[str, int, str]
"""Chain, residue number and insertion code."""


class ModelledResidue(NamedTuple):
    """Name of a modelled residue, and the expected error (A) of its backbone; None if it is unknown."""

    name: str
    error: float | None

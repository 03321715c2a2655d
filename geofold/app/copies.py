"""Copies of loops in the report of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geofold.app.result import Result
from geofold.modelling.repair.copies import compare_copies
from geofold.molecule.loop.copies import CopyPair


def with_copies_reported(result: Result, pairs: Sequence[CopyPair], left: Sequence[str]) -> Result:
    """Return a result whose report compares loops with their copies.

    Parameters
    ----------
    result : Result
    pairs : sequence of CopyPair
        Residues of the result's structure.
    left : sequence of str
        Copies that were not modelled, and why.
    """
    section = {"compared": compare_copies(result.structure, result.xyz, pairs, result.altloc), "left": list(left)}
    return replace(result, report=result.report | {"copies": section})

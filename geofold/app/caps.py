"""Caps in the report of a run."""

from __future__ import annotations

from dataclasses import replace

from geofold.app.report.audit import Check
from geofold.app.report.provenance import described
from geofold.app.result import Result
from geofold.molecule.caps.capping import CappedStructure
from geofold.molecule.structure import Structure


def overlap_check(capped: CappedStructure) -> Check:
    """Check of the audit that no cap overlaps severely with another atom."""
    return Check("caps_with_severe_overlaps", float(capped.severe_overlaps), 0.0)


def with_caps_reported(result: Result, original: Structure, capped: CappedStructure) -> Result:
    """Return a result whose report has the caps, and the input as it was without them.

    Parameters
    ----------
    result : Result
        Of the capped structure.
    original : Structure
        The input.
    capped : CappedStructure
    """
    check = overlap_check(capped)
    audit = result.report["audit"]
    report = result.report | {
        "input": described(original),
        "caps": capped.report(),
        "audit": {"passed": audit["passed"] and check.passed, "checks": [*audit["checks"], check.as_dict()]},
    }
    others = tuple(with_caps_reported(other, original, capped) for other in result.others)
    return replace(result, report=report, others=others)

"""Chain breaks and missing chain ends: their positions, the missing residues, and the command that builds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geofold.errors import BuildError, GeofoldError
from geofold.molecule.loop.build_plan import sequence_of
from geofold.molecule.loop.build_request import LONGEST, SHORTEST, plan_build
from geofold.molecule.loop.chain_end_request import LONGEST_END
from geofold.molecule.numbering import with_insertion_codes
from geofold.molecule.selection import Number, ResidueRange
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import Gap, find_gaps, find_missing_ends

ALL, ENDS = "all", "ends"
"""Arguments of `repair --build` for every gap, and for every chain end."""


def breaks(structure: Structure) -> list[dict[str, Any]]:
    """List the breaks between the segments of each chain.

    Returns
    -------
    list of dict
        `after` and `before` (flanking residues), `distance_angstrom` (C to N), `missing` (number of residues by the
        file's sequence, otherwise by the residue numbers), `numbers_left` (unused residue numbers), `sequence` and
        `sequence_from` (None if the file has no sequence), `build` (argument of `repair --build`) or, if that is
        None, `not_built_because`.
    """
    return [_as_dict(structure, gap) for gap in find_gaps(structure)]


def missing_ends(structure: Structure) -> list[dict[str, Any]]:
    """List the chain ends beyond which the file's sequence has residues.

    Returns
    -------
    list of dict
        `at` (last residue that is present), `side` ('before' or 'after' it), `missing` (number of residues),
        `sequence`, `sequence_from`, `build` (argument of `repair --build`) or, if that is None, `not_built_because`.
    """
    listed = []
    for end in find_missing_ends(structure):
        count = len(end.names)
        near = tuple(end.numbers)[-LONGEST_END:] if end.side == "before" else tuple(end.numbers)[:LONGEST_END]
        span = str(ResidueRange(structure.residues[end.anchor].chain, near[0], near[-1]))
        reason = f"{count} residues: up to {LONGEST_END} can be built, {span}" if count > LONGEST_END else None
        try:
            plan_build(structure, span)
        except GeofoldError as error:
            reason = reason or str(error)
        listed.append(
            {
                "at": structure.residues[end.anchor].label,
                "side": end.side,
                "missing": count,
                "sequence": sequence_of(end.names),
                "sequence_from": end.source,
                "build": span if reason is None else None,
                "not_built_because": reason,
            }
        )
    return listed


def expand_builds(structure: Structure, texts: Sequence[str]) -> list[str]:
    """Arguments of `repair --build`, with ``all`` and ``ends`` replaced by those of gaps and chain ends.

    Raises
    ------
    BuildError
        If there is no gap with a known sequence, or no chain end that can be built.
    """
    known = list[str]()
    if ALL in texts:
        gaps = breaks(structure)
        known = [gap["build"] for gap in gaps if why_not_built(gap) is None]
        if not known:
            reasons = [f"{gap['after']} to {gap['before']}: {why_not_built(gap)}" for gap in gaps]
            raise BuildError(
                f"{structure.source} has no gap that can be built ({'; '.join(reasons) or 'no chain breaks'})",
                "a gap whose sequence the file contains",
                "give the range and its sequence: --build A:45-56=SEQUENCE",
            )
    if ENDS in texts:
        ends = missing_ends(structure)
        if not (free := [end["build"] for end in ends if end["build"] is not None]):
            reasons = [f"{end['side']} {end['at']}: {end['not_built_because']}" for end in ends]
            raise BuildError(
                f"{structure.source} has no chain end that can be built ({'; '.join(reasons) or 'none is missing'})",
                f"up to {LONGEST_END} missing residues whose sequence the file contains",
                "give the range and its sequence: --build A:1-8=SEQUENCE",
            )
        known += free
    return [*(text for text in texts if text not in (ALL, ENDS, *known)), *known]


def why_not_built(gap: dict[str, Any]) -> str | None:
    """Reason why a gap of `breaks` cannot be built without further input; None if it can."""
    if gap["build"] is None:
        return str(gap["not_built_because"])
    return "its sequence is not known" if gap["sequence"] is None else None


def _as_dict(structure: Structure, gap: Gap) -> dict[str, Any]:
    distance = structure.peptide_distance(gap.before, gap.after)
    build, reason = _build(structure, gap)
    return {
        "after": structure.residues[gap.before].label,
        "before": structure.residues[gap.after].label,
        "distance_angstrom": None if distance is None else round(10 * distance, 2),
        "missing": len(gap.numbers if gap.names is None else gap.names),
        "numbers_left": len(gap.numbers),
        "sequence": None if gap.names is None else sequence_of(gap.names),
        "sequence_from": gap.source or None,
        "build": build,
        "not_built_because": reason,
    }


def _build(structure: Structure, gap: Gap) -> tuple[str | None, str | None]:
    """Return a validated argument of `repair --build` for a gap, or the reason why the gap cannot be built."""
    free = _numbers(structure, gap)
    count, first, last = len(free), gap.before, gap.after
    if count > LONGEST:
        return None, f"{count} residues are too many: {SHORTEST} to {LONGEST} can be built"
    numbers = list(free)
    while count < SHORTEST:  # too few torsions to meet both anchors: rebuild the neighbours, too
        ends = last + 1 < len(structure.residues) and structure.bonded(last, last + 1)
        if not (first > 0 and structure.bonded(first - 1, first) and ends):
            return None, f"{count} residues are too few, and a neighbour to build along with them is the chain's end"
        numbers = [_number(structure, first), *numbers, _number(structure, last)]
        count, first, last = count + 2, first - 1, last + 1
    span = str(ResidueRange(structure.residues[gap.before].chain, numbers[0], numbers[-1]))
    if gap.names is None:
        return f"{span}=SEQUENCE", None
    try:
        plan_build(structure, span)
    except GeofoldError as error:
        return None, str(error)
    return span, None


def _numbers(structure: Structure, gap: Gap) -> Sequence[Number]:
    """Numbers for the residues of a gap: the unused ones or, if these are too few, insertion codes."""
    count = len(gap.numbers if gap.names is None else gap.names)
    if len(gap.numbers) >= count:
        return gap.numbers if len(gap.numbers) == count else gap.numbers[:count]
    number, icode = _number(structure, gap.before)
    return with_insertion_codes(number, 1, count) if not icode else gap.numbers


def _number(structure: Structure, k: int) -> Number:
    return structure.residues[k].resnum, structure.residues[k].icode

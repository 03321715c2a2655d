"""prepmd: missing loops without MODELLER and its licence key.

`fix_missing_residues` has the signature of `prepmd.model.fix_missing_residues`, so either may be called in its place.
Existing residues stay where they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geofold as gf


def fix_missing_residues(
    code: str,
    fastafile: str | None,
    alignmentout: str | None,
    inmodel: str,
    outmodel: str,
    wdir: str,
    **options: Any,
) -> None:
    """Build every gap whose sequence the file records (SEQRES, or mmCIF's records).

    Parameters
    ----------
    code : str
        Name of the structure in the report.
    fastafile : str or None
        Refused unless empty: the sequence is the one recorded in the file.
    alignmentout : str or None
        Not written; no alignment is needed.
    inmodel, outmodel : str
        Structures in the same format, PDB or mmCIF.
    wdir : str
        Folder for the report, `CODE_geofold.json`; made if it does not exist.
    **options
        Of `geofold.repair`, such as `seed` or `repack_shell`.

    Raises
    ------
    ValueError
        If a sequence file is given, or the result fails its audit.
    geofold.errors.GeofoldError
        If there is no gap that can be built; the message says why.
    """
    if fastafile:
        raise ValueError(f"{fastafile}: geofold takes the sequence from {inmodel}; leave the sequence file out")
    result = gf.repair(inmodel, build="all", name=code, **options)
    report = Path(wdir) / f"{code}_geofold.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(result.report, indent=2), encoding="utf-8")
    if not result.passed:
        raise ValueError(f"the model of {code} fails its audit; see {report}")
    result.save(outmodel)

"""Entries with several gaps, each built by one call of `repair` with `build="all"`, as a user would.

Most gaps of deposited structures are where the map shows nothing, so that there is no native to compare with: what is
measured is how many gaps are built, in what state, and at what cost.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from geofold.app import api
from geofold.app.report.chain_breaks import ALL, breaks, why_not_built
from geofold.app.report.metrics import short_values
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.timing import timer
from geofold.errors import GeofoldError, OptionError
from geofold.molecule.io.read import read

AGENT = "geofold"
SUFFIXES = (".pdb", ".ent", ".cif", ".gz")
WORKERS = 2
Numbers = dict[str, Any]


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Build the gaps of every structure in a folder, then write table and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of the structures.
    quick : bool
        Run the first structure only.
    limit : int or None
        Number of structures.
    seed : int
        Seed of every run.

    Raises
    ------
    OptionError
        If there is no folder, or no structure in it.
    """
    began, records = time.time(), Records(out)
    folder = Path(data or "")
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES) if data and folder.is_dir() else []
    if not paths:
        raise OptionError(f"data {data}", "a folder with structures in PDB or mmCIF", "give one with --data")
    count = limit or (1 if quick else None)
    jobs = [(path, seed) for path in paths[:count] if not records.has(path.name, AGENT)]
    gather(records, "gaps", build_gaps, jobs, WORKERS)
    summarise(records, quick=count is not None, began=began)


def build_gaps(path: Path, seed: int) -> list[tuple[str, str, Numbers]]:
    """Build all gaps of a structure that can be built; a refusal is a result.

    Parameters
    ----------
    path : Path
    seed : int
    """
    structure = read(path.read_bytes(), name=path.name)
    gaps = breaks(structure)
    numbers: Numbers = {
        "residues": len(structure.residues),
        "gaps": len(gaps),
        "missing": [gap["missing"] for gap in gaps],
        "left": {f"{gap['after']} to {gap['before']}": why for gap in gaps if (why := why_not_built(gap))},
    }
    try:
        with timer() as timing:
            result = api.repair(structure, build=ALL, seed=seed)
    except GeofoldError as error:
        return [(path.name, AGENT, numbers | {"failed": str(error).splitlines()[0]})]
    numbers |= timing | {
        "built": sum(len(build["sequence"]) for build in result.report["built"]),
        "loops": [build["residues"] for build in result.report["built"]],
        "after": short_values(result.report["after"]),
        "audit": result.passed,
        "failed_checks": [check["name"] for check in result.report["audit"]["checks"] if not check["passed"]],
    }
    return [(path.name, AGENT, numbers)]


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table and summary of the records.

    Parameters
    ----------
    records : Records
        All records of the run.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    rows = records.of(AGENT)
    done = [row for row in rows if "failed" not in row]
    gaps = sum(len(row["loops"]) for row in done)
    cpu = [row["cpu_seconds"] / max(len(row["loops"]), 1) for row in done]
    metrics = {
        "entries": len(rows),
        "gaps": sum(row["gaps"] for row in rows),
        "gaps_left": sum(len(row["left"]) for row in rows),
        "loops_built": gaps,
        "residues_built": sum(row["built"] for row in done),
        "entries_failed": len(rows) - len(done),
        "audit_passed": np.mean([row.get("audit", False) for row in rows]),
        "overlaps": sum(row["after"]["overlaps"] for row in done),
        "outliers": sum(row["after"]["outliers"] for row in done),
        "cis": sum(row["after"]["cis"] for row in done),
        "cpu_seconds_per_gap": np.median(cpu) if cpu else 0.0,
    }
    body = [
        [
            row["episode"],
            str(row["residues"]),
            ", ".join(map(str, row["missing"])),
            *(
                [row["failed"], *"-----"]
                if "failed" in row
                else [
                    ", ".join(row["loops"]),
                    *(str(row["after"][name]) for name in ("overlaps", "outliers", "cis")),
                    "passed" if row["audit"] else ", ".join(row["failed_checks"]),
                    f"{row['cpu_seconds']:.0f}",
                ]
            ),
        ]
        for row in rows
    ]
    columns = ["entry", "residues", "missing in its gaps", "built", "overlaps", "outliers", "cis", "audit", "CPU s"]
    table = table_of(columns, body)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note="entries with gaps, build all")

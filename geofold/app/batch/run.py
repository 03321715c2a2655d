"""Many jobs side by side: a table of them in, a table of results out, and a killed run goes on where it was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geofold.app.batch.columns import COLUMNS
from geofold.app.batch.jobs import Job, digest, read_jobs
from geofold.app.batch.results import FIELDS, Results
from geofold.app.batch.workers import Workers
from geofold.errors import GeofoldError, OptionError
from geofold.files import remove_leftovers, write_all
from geofold.molecule.io.content import read_bytes
from geofold.paths import require_apart

PASSED, FAILED, ERROR = "passed", "failed audit", "error"
"""What becomes of a job: written and good, written but failing its audit, or not written for the reason told."""
Told = Callable[[int, int, dict[str, Any] | None], None]
"""Called with jobs done, jobs in all, and the row that has just come in."""
_ALONE = threading.Lock()
"""One job at a time in a process: the number of torch's threads is the process's own, and bits hang on it."""


def batch(
    command: str, jobs: str | os.PathLike[str], *, workers: int | None = None, scheduler: str | None = None,
    slurm: bool = False, memory: str = "4GB", walltime: str = "04:00:00", sbatch: tuple[str, ...] = (),
    results: str | os.PathLike[str] | None = None, progress: Told | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run the jobs of a CSV, one a row; those that an earlier run finished are not run again.

    A script calls it under ``if __name__ == "__main__":``, since workers are processes that import the script.

    Parameters
    ----------
    command : 'repair' or 'constrain'
        What every row asks for.
    jobs : path
        The CSV (columns: ``geofold batch repair --help``). Its paths are relative to where it lies.
    workers : int, optional
        Processes of this machine (by default one for each core), or Slurm jobs.
    scheduler : str, optional
        Address of a running dask scheduler whose workers to use instead: ``"tcp://host:8786"``.
    slurm : bool
        Let Slurm start the workers instead, each with `memory` and `walltime` and the directives `sbatch`
        (``"partition=short"``).
    results : path, optional
        Table of results; by default ``JOBS.results.csv`` beside the jobs. The same as JSON lines beside it.
    progress
        See `Told`.

    Returns
    -------
    list of dict
        A row for each job, in their order, as the table has them.

    Raises
    ------
    GeofoldError
        For a table, or options, that cannot be used; what is wrong with a single input is told in its row.
    """
    if command not in COLUMNS:
        raise OptionError(f"batch {command}", " or ".join(COLUMNS), "choose one of them")
    asked = Workers(workers, scheduler, slurm, memory, walltime, tuple(sbatch))
    asked.require()
    table = Results(os.fspath(results) if results is not None else str(Path(jobs).with_suffix(".results.csv")))
    require_apart(table.paths, {"table of jobs": os.fspath(jobs)})
    todo = read_jobs(command, os.fspath(jobs), (*table.paths, table.lock))
    with table.held():
        return _run(todo, table, asked, progress if progress is not None else lambda *_: None)


def _run(todo: list[Job], table: Results, asked: Workers, tell: Told) -> list[dict[str, Any]]:
    """The jobs that no earlier run finished, and the whole table when all are done."""
    done, missing = _finished(todo, table.read())
    table.write(done)
    tell(len(done), len(todo), None)
    if missing:
        with asked.started(len(missing)) as crew:
            for job, row in crew.run(run_job, missing):
                if isinstance(row, Exception):
                    row = _row(job) | {"status": ERROR, "message": _lost(row)}
                table.add(row)
                done.append(row)
                tell(len(done), len(todo), row)
    table.write(done)
    return sorted(done, key=lambda row: int(row["row"]))


def run_job(job: Job) -> dict[str, Any]:
    """What the command does, in a worker: files written, and what to say of it as a row.

    Nothing that goes wrong goes further than its row.
    """
    from geofold.app import api

    row = _row(job)
    options, name = job.options, job.cells.get("input")
    with _ALONE:
        try:
            for path in job.targets.every():
                remove_leftovers(path)
            content = None if job.input is None else read_bytes(job.input, str(name))
            row["job_sha256"] = job.fingerprint(content)
            if job.command == "repair":
                result = api.repair(content, **options, name=name)
            else:
                result = api.constrain(content, job.cells["contact"], **options, name=name)
            write_all(job.targets.contents(result))
        except GeofoldError as error:
            return row | {"status": ERROR, "message": str(error)}
        except Exception as error:  # a fault of ours must not take the other jobs with it
            return row | {"status": ERROR, "message": _unforeseen(error)}
    return row | _told(result) | {"output_sha256": digest(job.path("output"))}


def _finished(jobs: list[Job], recorded: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Job]]:
    """Rows of jobs that need not be run, as they are numbered now, and the jobs that have to be."""
    known = {row["job_sha256"]: row for row in recorded if row["status"] in (PASSED, FAILED)}
    done, missing = [], []
    for job in jobs:
        row = known.get(job.fingerprint()) if known else None
        if row is not None and _still_there(job, row):
            done.append(row | {"row": job.row})
        else:
            missing.append(job)
    return done, missing


def _still_there(job: Job, row: dict[str, Any]) -> bool:
    targets = job.targets
    files = [*targets.given(), *targets.further(row["models"])]
    return all(map(os.path.isfile, files)) and digest(job.path("output")) == row["output_sha256"]


def _row(job: Job) -> dict[str, Any]:
    """A row of which only the question is known."""
    cells = job.cells
    request = cells.get("loop") or cells.get("build") or cells.get("contact") or ["auto"]
    return dict.fromkeys(FIELDS) | {
        "row": job.row, "input": cells.get("input", cells.get("sequence")), "output": cells["output"],
        "request": "; ".join(request), "seed": cells.get("seed", 0), "message": "",
    }  # fmt: skip


def _told(result: Any) -> dict[str, Any]:
    """The numbers of a result."""
    report = result.report
    before, after = report["before"], report["after"]
    failed = [check["name"] for check in report["audit"]["checks"] if not check["passed"]]
    return {
        "status": PASSED if result.passed else FAILED, "message": f"audit: FAILED: {', '.join(failed)}" * bool(failed),
        "models": len(result.models),
        "severe_overlaps_before": before.get("severe_overlaps"), "severe_overlaps_after": after["severe_overlaps"],
        "ramachandran_outliers_before": before.get("ramachandran", {}).get("outliers"),
        "ramachandran_outliers_after": after["ramachandran"]["outliers"],
        "energy_kj_mol_before": before.get("energy_kj_mol"), "energy_kj_mol_after": after.get("energy_kj_mol"),
        "max_displacement_angstrom": report["moved"]["max_displacement_angstrom"],
    }  # fmt: skip


def _unforeseen(error: Exception) -> str:
    return " ".join(f"unforeseen {type(error).__name__}: {error}".split())


def _lost(error: Exception) -> str:
    """A job that took its worker with it, or that no worker could run."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "the job's worker died; expected memory and time enough for it; see the worker's log, or run it alone"
    return _unforeseen(error)

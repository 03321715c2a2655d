"""Parallel jobs from a table, with a table of results; a killed run resumes with the jobs that are missing."""

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
from geofold.app.report.metrics import METRICS
from geofold.errors import GeofoldError, OptionError
from geofold.files import remove_leftovers, write_all
from geofold.modelling.option_table import AUTO
from geofold.molecule.io.content import read_bytes
from geofold.paths import require_apart

PASSED, FAILED, ERROR = "passed", "failed audit", "error"
"""Status of a job: written and passed, written but failed its audit, or not written because of an error."""
BatchProgress = Callable[[int, int, dict[str, Any] | None], None]
"""Progress callback: number of finished jobs, number of all jobs, and the row that was just added (None at start)."""
_ALONE = threading.Lock()
"""Lock that admits one job at a time to a process: the number of torch threads, on which bits depend, is global."""


def batch(
    command: str,
    jobs: str | os.PathLike[str],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    slurm: bool = False,
    memory: str = "4GB",
    walltime: str = "04:00:00",
    sbatch: tuple[str, ...] = (),
    results: str | os.PathLike[str] | None = None,
    progress: BatchProgress | None = None,
) -> list[dict[str, Any]]:
    """Run the jobs of a CSV, one per row; jobs that an earlier run finished are not run again.

    Call it under ``if __name__ == "__main__":`` in a script, since workers are processes that import the script.

    Parameters
    ----------
    command : 'repair' or 'constrain'
        The command to run for every row.
    jobs : path
        The CSV (columns: ``geofold batch repair --help``). Its paths are relative to its folder.
    workers : int, optional
        Number of local processes (default: one per core), or of Slurm jobs.
    scheduler : str, optional
        Address of a running dask scheduler whose workers to use instead: ``"tcp://host:8786"``.
    slurm : bool
        Start the workers as Slurm jobs instead.
    memory, walltime : str
        Memory and time limit of each Slurm job.
    sbatch : tuple of str
        Further directives for Slurm, such as ``"partition=short"``.
    results : path, optional
        Table of results (default: ``JOBS.results.csv`` next to the jobs). A copy in JSON Lines goes next to it.
    progress : callable, optional
        See `BatchProgress`.

    Returns
    -------
    list of dict
        The rows of the table of results, in the order of the jobs.

    Raises
    ------
    GeofoldError
        For a table or options that cannot be used; the error of a single job is in its row.
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


def _run(todo: list[Job], table: Results, asked: Workers, progress: BatchProgress) -> list[dict[str, Any]]:
    """Run the jobs that no earlier run finished, then write the sorted table."""
    done, missing = _finished(todo, table.read())
    table.write(done)
    progress(len(done), len(todo), None)
    if missing:
        with asked.started(len(missing)) as crew:
            for job, row in crew.run(run_job, missing):
                if isinstance(row, Exception):
                    row = _row(job) | {"status": ERROR, "message": _lost(row)}
                table.add(row)
                done.append(row)
                progress(len(done), len(todo), row)
    table.write(done)
    return sorted(done, key=lambda row: int(row["row"]))


def run_job(job: Job) -> dict[str, Any]:
    """Run one job in a worker: write its files and return its row. Errors are recorded in the row, never raised."""
    from geofold.app import api

    row = _row(job)
    options, name = job.options, job.cells.get("input")
    with _ALONE:
        try:
            for path in job.targets.all_paths():
                remove_leftovers(path)
            content = None if job.input is None else read_bytes(job.input, str(name))
            row["job_sha256"] = job.fingerprint(content)
            job.targets.require_format(content, name)
            if job.command == "repair":
                result = api.repair(content, **{"repack_shell": AUTO} | options, name=name)
            else:
                result = api.constrain(content, job.cells["contact"], **options, name=name)
            write_all(job.targets.contents(result))
        except GeofoldError as error:
            return row | {"status": ERROR, "message": str(error)}
        except Exception as error:  # a bug must not stop the other jobs
            return row | {"status": ERROR, "message": _unforeseen(error)}
    return row | _measured(result) | {"output_sha256": digest(job.path("output"))}


def _finished(jobs: list[Job], recorded: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Job]]:
    """Split the jobs into rows of finished jobs, renumbered as in the present table, and jobs to run."""
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
    files = [*targets.requested_paths(), *targets.further_paths(row["models"])]
    return all(map(os.path.isfile, files)) and digest(job.path("output")) == row["output_sha256"]


def _row(job: Job) -> dict[str, Any]:
    """Row of a job without its results."""
    cells = job.cells
    request = cells.get("loop") or cells.get("build") or cells.get("contact") or ["auto"]
    return dict.fromkeys(FIELDS) | {
        "row": job.row,
        "input": cells.get("input", cells.get("sequence")),
        "output": cells["output"],
        "request": "; ".join(request),
        "seed": cells.get("seed", 0),
        "message": "",
    }


def _measured(result: Any) -> dict[str, Any]:
    """Status and measurements of a result, as columns of its row."""
    report = result.report
    failed = [check["name"] for check in report["audit"]["checks"] if not check["passed"]]
    return {
        "status": PASSED if result.passed else FAILED,
        "message": f"audit: FAILED: {', '.join(failed)}" * bool(failed),
        "models": len(result.models),
        **{f"{metric.name}_before": metric.value(report["before"]) for metric in METRICS},
        **{f"{metric.name}_after": metric.value(report["after"]) for metric in METRICS},
        "max_displacement_angstrom": report["moved"]["max_displacement_angstrom"],
    }


def _unforeseen(error: Exception) -> str:
    return " ".join(f"unforeseen {type(error).__name__}: {error}".split())


def _lost(error: Exception) -> str:
    """Message for a job whose worker died, or that could not be run by any worker."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return "the job's worker died; expected enough memory and time; see the worker's log, or run the job alone"
    return _unforeseen(error)

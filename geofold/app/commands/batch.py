"""The commands `batch repair` and `batch constrain`. Heavy libraries are imported inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from geofold.app.batch.columns import described
from geofold.app.commands.console import user_errors
from geofold.streams import say
from geofold.terminal import printable

batch_app = typer.Typer(no_args_is_help=True, help="Run many jobs from a CSV in parallel; a killed run resumes.")

HELP = """{what}: one job per row, in parallel. A finished job is not run again; a bad input does not stop the others.

\b
Columns (in any order and case; only the ones you need; paths are relative to the CSV):
{columns}

Results: JOBS.results.csv and, as JSON Lines, JOBS.results.jsonl, with a row for each finished job. Exit status: 0 all
passed; 1 some failed their audit or could not be run; 2 bad usage, nothing run; 130 interrupted.
"""

Jobs = Annotated[str, typer.Argument(metavar="JOBS.csv", help="The jobs, one per row, after a header.")]
Count = Annotated[
    int | None, typer.Option("--workers", help="Number of processes (default: one per core), or of Slurm jobs.")
]
Scheduler = Annotated[str | None, typer.Option(help="Use the workers of a running dask scheduler: tcp://HOST:8786.")]
Slurm = Annotated[bool, typer.Option("--slurm", help="Run the workers as Slurm jobs, one core each.")]
Memory = Annotated[str, typer.Option(help="Memory of a Slurm job.")]
Walltime = Annotated[str, typer.Option(help="Time limit of a Slurm job.")]
Sbatch = Annotated[
    list[str] | None, typer.Option("--sbatch", help="Directive for Slurm, such as partition=short. May be repeated.")
]
Table = Annotated[str | None, typer.Option("--results", help="Output file of the table of results, a .csv.")]


def _command(name: str) -> Callable[..., None]:
    """Make the command that runs a table of `repair` or `constrain` jobs."""

    def run(
        jobs: Jobs,
        workers: Count = None,
        scheduler: Scheduler = None,
        slurm: Slurm = False,
        memory: Memory = "4GB",
        walltime: Walltime = "04:00:00",
        sbatch: Sbatch = None,
        results: Table = None,
    ) -> None:
        with user_errors():
            from geofold.app.batch.run import batch

            try:
                with _progress_bar() as update:
                    rows = batch(
                        name,
                        jobs,
                        workers=workers,
                        scheduler=scheduler,
                        slurm=slurm,
                        memory=memory,
                        walltime=walltime,
                        sbatch=tuple(sbatch or ()),
                        results=results,
                        progress=update,
                    )
            except KeyboardInterrupt:
                say("geofold: interrupted; run the same command again to resume", err=True)
                raise typer.Exit(130) from None
            _print_summary(name, jobs, rows)

    return run


for _name, _what in (("repair", "Repair or build loops"), ("constrain", "Constrain peptides")):
    batch_app.command(_name, help=HELP.format(what=_what, columns=described(_name)))(_command(_name))


def _print_summary(name: str, jobs: str, rows: list[dict[str, Any]]) -> None:
    """Print the failed jobs and the counts; exit with status 1 unless all passed."""
    from geofold.app.batch.run import ERROR, FAILED, PASSED

    for row in rows:
        if row["message"]:
            say(f"row {row['row']}: {printable(row['message'])}", err=True)
    count = {status: sum(row["status"] == status for row in rows) for status in (PASSED, FAILED, ERROR)}
    say(
        f"batch {name} of {printable(jobs)}: {len(rows)} job{'' if len(rows) == 1 else 's'}, {count[PASSED]} passed, "
        f"{count[FAILED]} failed their audit, {count[ERROR]} could not be run",
        err=True,
    )
    if count[PASSED] < len(rows):
        raise typer.Exit(1)


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """Show a progress bar of jobs on standard error, unless that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("jobs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("jobs", total=None, last="")

        def update(done: int, total: int, row: dict[str, Any] | None) -> None:
            last = "" if row is None else printable(f"{row['output']}: {row['status']}")
            bar.update(task, completed=done, total=total, last=last)

        yield update

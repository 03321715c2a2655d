"""The commands that run a table of jobs. Heavy libraries are imported inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from geofold.app.batch.columns import described
from geofold.app.commands.console import told
from geofold.streams import say
from geofold.terminal import printable

batch_app = typer.Typer(no_args_is_help=True, help="Many jobs side by side, from a CSV; a killed run goes on.")

HELP = """{what}: one job a row, side by side. A finished job is not run again, a bad input stops no other.

\b
Columns (order and case do not matter; leave out what you do not need; paths are relative to the CSV):
{columns}

Results: JOBS.results.csv and, as JSON lines, JOBS.results.jsonl, a row for each job as it ends. Exit status: 0 all
done and passed; 1 some failed their audit or could not be read; 2 bad usage, nothing run; 130 interrupted.
"""

Jobs = Annotated[str, typer.Argument(metavar="JOBS.csv", help="The jobs, a row each, under a header.")]
Count = Annotated[int | None, typer.Option("--workers", help="Processes (default: one a core), or Slurm jobs.")]
Scheduler = Annotated[str | None, typer.Option(help="Use the workers of a running dask scheduler: tcp://HOST:8786.")]
Slurm = Annotated[bool, typer.Option("--slurm", help="Let Slurm start the workers, one core each.")]
Memory = Annotated[str, typer.Option(help="Of a Slurm job.")]
Walltime = Annotated[str, typer.Option(help="Of a Slurm job.")]
Sbatch = Annotated[
    list[str] | None, typer.Option("--sbatch", help="Directive for Slurm, such as partition=short. May be repeated.")
]
Table = Annotated[str | None, typer.Option("--results", help="Where the table of results goes, a .csv.")]


def _command(name: str) -> Callable[..., None]:
    """Command that runs a table of jobs of a kind."""

    def run(
        jobs: Jobs, workers: Count = None, scheduler: Scheduler = None, slurm: Slurm = False, memory: Memory = "4GB",
        walltime: Walltime = "04:00:00", sbatch: Sbatch = None, results: Table = None,
    ) -> None:  # fmt: skip
        with told():
            from geofold.app.batch.run import batch

            try:
                with _bar() as tell:
                    rows = batch(
                        name, jobs, workers=workers, scheduler=scheduler, slurm=slurm, memory=memory,
                        walltime=walltime, sbatch=tuple(sbatch or ()), results=results, progress=tell,
                    )  # fmt: skip
            except KeyboardInterrupt:
                say("geofold: interrupted; the same command goes on with what is missing", err=True)
                raise typer.Exit(130) from None
            _summed_up(name, jobs, rows)

    return run


for _name, _what in (("repair", "Repair or build loops"), ("constrain", "Constrain peptides")):
    batch_app.command(_name, help=HELP.format(what=_what, columns=described(_name)))(_command(_name))


def _summed_up(name: str, jobs: str, rows: list[dict[str, Any]]) -> None:
    """Say what did not go well and how many did; exit status 1 where not all passed."""
    from geofold.app.batch.run import ERROR, FAILED, PASSED

    for row in rows:
        if row["message"]:
            say(f"row {row['row']}: {printable(row['message'])}", err=True)
    count = {status: sum(row["status"] == status for row in rows) for status in (PASSED, FAILED, ERROR)}
    say(
        f"batch {name} of {printable(jobs)}: {len(rows)} jobs, {count[PASSED]} passed, "
        f"{count[FAILED]} failed their audit, {count[ERROR]} could not be run", err=True,
    )  # fmt: skip
    if count[PASSED] < len(rows):
        raise typer.Exit(1)


@contextmanager
def _bar() -> Iterator[Any]:
    """A bar of jobs on standard error; silence where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[last]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("jobs", total=None, last="")

        def tell(done: int, total: int, row: dict[str, Any] | None) -> None:
            last = "" if row is None else printable(f"{row['output']}: {row['status']}")
            bar.update(task, completed=done, total=total, last=last)

        yield tell

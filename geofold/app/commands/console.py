"""Error messages and progress display of all commands."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from geofold.app.interrupts import Interrupts
from geofold.errors import GeofoldError
from geofold.streams import say
from geofold.terminal import printable

INTERRUPTED = "geofold: interrupted; nothing was written"


@contextmanager
def user_errors() -> Iterator[None]:
    """Exit with one line and status 2 on a `GeofoldError`, and with status 130 on Ctrl-C."""
    with Interrupts() as interrupts:
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, typer.Exit):
                raise
            if interrupts.came or isinstance(error, KeyboardInterrupt):
                say(INTERRUPTED, err=True)
                raise typer.Exit(130) from None
            if not isinstance(error, GeofoldError):
                raise
            say(f"geofold: {error}", err=True)
            raise typer.Exit(error.exit_status) from None


@contextmanager
def console_progress(verbose: bool) -> Iterator[Callable[[str, int, int, float], None] | None]:
    """Show progress on standard error and yield the callback, or None if nothing is shown.

    With `verbose`, every step is a line. Otherwise a terminal gets a bar, at once, and anything else gets nothing.
    """
    if verbose:
        yield lambda name, done, total, loss: say(f"{name}: step {done} of {total}{_loss_text(loss, ', ')}", err=True)
        return
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        starting = bar.add_task("starting", total=None, loss="")  # PyTorch and OpenMM take a second or two to load
        tasks: dict[str, Any] = {}

        def update(name: str, done: int, total: int, loss: float) -> None:
            if name not in tasks:
                bar.update(starting, visible=False)
                for task in tasks.values():  # a stage may end early; once the next begins, it is done
                    bar.update(task, completed=bar.tasks[task].total)
                tasks[name] = bar.add_task(printable(name), total=total, loss="")
            bar.update(tasks[name], completed=done, total=max(done, total), loss=_loss_text(loss))

        yield update


def _loss_text(loss: float, separator: str = "") -> str:
    """Format a loss; empty if it is not finite, as before the first step."""
    return f"{separator}loss {loss:.3f}" if math.isfinite(loss) else ""

"""What every command does with a mistake of its user, and how it tells how far it is."""

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
def told() -> Iterator[None]:
    """Mistakes of the user in one line and status 2; Ctrl-C with status 130."""
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
def told_along(verbose: bool) -> Iterator[Callable[[str, int, int, float], None] | None]:
    """A bar on standard error, from the first moment on; a trace with -v; silence when that is no terminal."""
    if verbose:
        yield lambda name, done, most, loss: say(f"{name}: step {done} of {most}{_of(loss, ', ')}", err=True)
        return
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        starting = bar.add_task("starting", total=None, told="")  # PyTorch and OpenMM take a second or two to load
        tasks: dict[str, Any] = {}

        def tell(name: str, done: int, most: int, loss: float) -> None:
            if name not in tasks:
                bar.update(starting, visible=False)
                tasks[name] = bar.add_task(printable(name), total=most, told="")
            bar.update(tasks[name], completed=done, told=_of(loss))

        yield tell


def _of(loss: float, before: str = "") -> str:
    """A loss in words; nothing where there is none yet."""
    return f"{before}loss {loss:.3f}" if math.isfinite(loss) else ""

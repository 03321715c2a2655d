"""What every command does with a mistake of its user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from geofold.errors import GeofoldError


@contextmanager
def told() -> Iterator[None]:
    """Mistakes of the user in one line and status 2; Ctrl-C with status 130."""
    try:
        yield
    except GeofoldError as error:
        typer.echo(f"geofold: {error}", err=True)
        raise typer.Exit(error.exit_status) from None
    except KeyboardInterrupt:
        typer.echo("geofold: interrupted; nothing was written", err=True)
        raise typer.Exit(130) from None

"""The command `view`. Heavy libraries are imported inside."""

from __future__ import annotations

from typing import Annotated

import typer

from geofold.app.commands.console import user_errors
from geofold.app.commands.options import Offline
from geofold.paths import require_outputs


def view(
    source: Annotated[str, typer.Argument(metavar="T.pdb", help="A structure or a multi-model trajectory.")],
    output: Annotated[str, typer.Option("-o", "--output", help="Output file of the page.")],
    report: Annotated[str | None, typer.Option(help="The run's report, for the tables.")] = None,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy/--no-energy",
            help="Evaluate the force field of the report (amber14 without one) in each frame, for a curve.",
        ),
    ] = True,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Also draw this structure (another model, the native) and its RMSD by residue; repeatable."),
    ] = None,
    offline: Offline = False,
) -> None:
    """Write a viewer page of a trajectory."""
    with user_errors():
        from geofold.files import encoded, write_all

        inputs = {"trajectory": source} | ({} if report is None else {"report": report})
        inputs |= {f"structure {number}": path for number, path in enumerate(compare or [], 1)}
        from geofold.app.outputs import require_page_name

        require_page_name(output)
        require_outputs([output], inputs)
        from geofold.app.viewer import from_file as viewing
        from geofold.molecule.io.content import content_of

        page = viewing.page_of_file(
            content_of(source), source, report, offline=offline, energy=energy, compare=compare or ()
        )
        write_all({output: encoded(page)})

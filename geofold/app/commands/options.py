"""Command-line options, made from the table of options."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from geofold.modelling.option_table import Option, find_option

METAVARS = {
    "loop": "RANGE", "build": "RANGE", "contact": "CONTACT", "sequence": "SEQUENCE", "altloc": "LETTER",
    "candidate": "FILE", "budget": "SECONDS", "step_budget": "MILLISECONDS", "resolution": "ANGSTROM",
}  # fmt: skip
METAVARS_BY_KIND = {Path: "FILE", int: "NUMBER", float: "NUMBER", str: "NAME"}
"""Names of the values of options in help texts, by option and by kind of value."""


def option(name: str, command: str | None = None, note: str = "") -> Any:
    """Make the typer option of a row of the table.

    Parameters
    ----------
    name : str
        Name in the table.
    command : str, optional
        Its command, if commands differ in the help text.
    note : str
        Addition to the help text that holds on the command line only.
    """
    row = find_option(name, command)
    text = f"{row.help[:-1]} {note}." if note else row.help
    if row.kind is list:
        text += " May be repeated."
    if row.words:
        return typer.Option(
            *row.flags, help=text, parser=partial(_parse, row), metavar=f"{row.kind.__name__}|auto".upper()
        )
    return typer.Option(*row.flags, help=text, metavar=METAVARS.get(row.name) or METAVARS_BY_KIND.get(row.kind))


def _parse(row: Option, text: Any) -> Any:
    """Value of an option that takes a number or a word."""
    try:
        return row.read(str(text))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not {row.expected}") from None


Output = Annotated[str, option("output", note="('-': standard output)")]
Trajectory = Annotated[str | None, option("trajectory")]
Report = Annotated[str | None, option("report")]
View = Annotated[str | None, option("view")]
Offline = Annotated[bool, option("offline")]
Seed = Annotated[int, option("seed")]
Altloc = Annotated[str | None, option("altloc")]
Energy = Annotated[bool, option("energy")]
Field = Annotated[str, option("force_field")]
Predictor = Annotated[str, option("predictor")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print no summary.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON on standard output.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Report every step on standard error.")]

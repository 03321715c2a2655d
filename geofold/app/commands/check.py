"""The command `check`. Heavy libraries are imported inside."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from geofold.app.commands.console import user_errors
from geofold.app.commands.options import AsJson, Field, Quiet, option
from geofold.modelling.option_table import find_option
from geofold.paths import name_of, require_outputs
from geofold.streams import say


def check(
    source: Annotated[str, typer.Argument(metavar="IN.pdb", help="PDB, mmCIF or BinaryCIF; '-': standard input.")],
    report: Annotated[str | None, option("report", "check")] = None,
    altloc: Annotated[str | None, option("altloc", "check")] = None,
    energy: Annotated[bool, option("energy", "check")] = True,
    force_field: Field = "amber14",
    fasta: Annotated[str | None, option("fasta", "check")] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with status 1 for any severe overlap, Ramachandran outlier, chain break, incomplete side chain "
            "or loop that looks wrong.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List what is wrong with a structure: clashes, Ramachandran outliers, cis bonds, chain breaks, energy."""
    with user_errors():
        import json

        from geofold.app.report.check_text import check_text, find_faults
        from geofold.files import encoded, write_all
        from geofold.paths import STANDARD

        find_option("force_field").require(force_field)
        outputs = [] if report is None else [report]
        require_outputs(outputs, {"input": source})
        from geofold.molecule.io.content import content_of

        numbers = _inspect(content_of(source), name_of(source), energy, altloc, force_field, fasta)
        text = json.dumps(numbers, indent=2, ensure_ascii=False) + "\n"
        write_all(dict.fromkeys(outputs, encoded(text)))
        if as_json:
            say(text.rstrip("\n"))
        elif report != STANDARD and not quiet:
            say(check_text(numbers))
        if strict and find_faults(numbers):
            raise typer.Exit(1)


def _inspect(
    content: bytes, name: str | None, energy: bool, altloc: str | None, force_field: str, fasta: str | None
) -> dict[str, Any]:
    """Report of `geofold.check`, with the energy evaluated in a background thread while PyTorch is imported.

    Parameters
    ----------
    content : bytes
    name : str or None
        Name of the input.
    energy : bool
    altloc : str or None
    force_field : str
    fasta : str or None
        File of sequences.
    """
    from geofold.app.report.energies import BackgroundEnergy
    from geofold.app.sources import load
    from geofold.molecule.energy.amber import FORCE_FIELDS

    structure = load(content, name)
    background = BackgroundEnergy.start(structure, altloc, FORCE_FIELDS[force_field]) if energy else nullcontext()
    with background as evaluation:
        from geofold.app.report.check import inspect
        from geofold.modelling.threads import one_thread
        from geofold.molecule.topology.given_sequences import with_given_sequences

        with one_thread():
            evaluate = None if evaluation is None else evaluation.result
            return inspect(with_given_sequences(structure, fasta), energy=evaluate, altloc=altloc)

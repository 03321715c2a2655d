"""The command line. Heavy libraries are imported inside the commands, so that ``--help`` answers at once.

Exit status: 0 done; 1 done and written, but the result fails its own audit; 2 bad input or usage, nothing
written; 130 interrupted, nothing written. A standard output that cannot be written (full disk, closed pipe) gives one
line on standard error and status 2.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from geofold import __version__
from geofold.app.commands.batch import batch_app
from geofold.app.commands.check import check
from geofold.app.commands.console import INTERRUPTED, user_errors
from geofold.app.commands.doctor import doctor
from geofold.app.commands.live import live
from geofold.app.commands.maze import maze
from geofold.app.commands.options import Seed
from geofold.app.commands.repair import constrain, fix, prepare, repair
from geofold.app.commands.train import data_app, train_app
from geofold.app.commands.usage import usage_line
from geofold.app.commands.view import view
from geofold.errors import GeofoldError
from geofold.streams import finish_output, say, unprinted
from geofold.terminal import printable


def _print_version(asked: bool) -> None:
    if asked:
        say(f"geofold {__version__}")
        raise typer.Exit


UsageError: Any = typer.BadParameter.__base__
"""Base class of click's usage errors, whether typer depends on click or bundles it."""

HABITS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    no_args_is_help=True,
    context_settings=HABITS,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Move protein backbones by their torsions: repair loops, constrain peptides. "
    "The output has the format of the input: PDB, or mmCIF for mmCIF and BinaryCIF.",
)

app.command(short_help="List what is wrong with a structure.")(check)
app.command(short_help="Complete, build and repair all that looks wrong.")(fix)
app.command(short_help="Make a structure ready for OpenMM, hydrogens included.")(prepare)
app.command(short_help="Repair loops, or build missing ones.")(repair)
app.command(short_help="Bring residues of a peptide together, or apart.")(constrain)
app.command(short_help="Move a chain by hand, on a page in the browser.")(live)
app.command()(view)
app.add_typer(batch_app, name="batch", context_settings=HABITS)
app.command(short_help="List versions, threads and optional parts.")(doctor)
app.command(short_help="Run the controller through a maze: the second example.")(maze)


@app.callback()
def _show_version(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="loop, gaps, peptide, live, maze, latency, sizes, ablation, backbones or learning; rivals and tune "
            "prepare peptide; report: RESULTS.md and the claims."
        ),
    ],
    out: Annotated[
        str, typer.Option(help="Folder of raw records, table and summary; an unfinished run resumes.")
    ] = "bench-out",
    set_name: Annotated[
        str,
        typer.Option("--set", help="For loop: bent, tuning; with --data: short, valid, or a set of its MANIFEST.tsv."),
    ] = "bent",
    rival: Annotated[
        str, typer.Option(help="For loop: further baselines, separated by commas: pdbfixer,openmm,promod3.")
    ] = "",
    budget: Annotated[float | None, typer.Option(help="For loop: seconds per loop, as --budget of repair.")] = None,
    decompose: Annotated[
        bool,
        typer.Option("--decompose", help="For loop: where the search loses accuracy; keeps its candidates in OUT."),
    ] = False,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="For loop: the same table from kept candidates, by the present scores.")
    ] = False,
    part: Annotated[
        str,
        typer.Option(
            help="For learning: packer, judge, prior, backbones, controller, latent, peptide or esm. For ablation: "
            "led, budget or loop. For backbones: published. For maze: corridors, elastic or relief. For tune: relief.",
        ),
    ] = "packer",
    data: Annotated[str | None, typer.Option(help="Folder of benchmark data.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run a smaller benchmark.")] = False,
    limit: Annotated[int | None, typer.Option(help="Maximum number of episodes.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="For peptide and maze: number of seeds, each with its own episodes; for backbones: of trainings."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Measure geofold against other tools, and write the tables."""
    with user_errors():
        from geofold.bench import run

        run.run(
            name,
            out=out,
            set_name=set_name,
            data=data,
            quick=quick,
            limit=limit,
            seed=seed,
            part="decompose" if decompose or rescore else part,
            rescore=rescore,
            seeds=seeds,
            rivals=rival,
            budget=budget,
        )


app.add_typer(train_app, name="train", context_settings=HABITS)
app.add_typer(data_app, name="data", context_settings=HABITS)


def main(args: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    args : list of str, optional
        Arguments without the program's name (default: those of the process).
    """
    try:
        status = app(args=args, standalone_mode=False)
        finish_output()
    except UsageError as mistake:
        return _misused(mistake, sys.argv[1:] if args is None else args)
    except (typer.Abort, KeyboardInterrupt):
        say(INTERRUPTED, err=True)
        return 130
    except GeofoldError as error:
        say(f"geofold: {error}", err=True)
        return error.exit_status
    except (OSError, SystemExit) as error:
        unwritten = unprinted(error)
        if unwritten is None:
            raise
        say(f"geofold: {unwritten}", err=True)
        return unwritten.exit_status
    return status if isinstance(status, int) else 0


def _misused(mistake: Any, args: list[str]) -> int:
    """Report what is wrong with a command line and return the exit status."""
    if not args:
        say(mistake.format_message() or "geofold: no command given; see geofold --help", err=True)
        return 2
    say(f"geofold: {printable(usage_line(mistake, args))}", err=True)
    return 2

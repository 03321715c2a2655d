"""The command line. Heavy libraries are imported inside the commands, so that ``--help`` answers at once.

Exit status: 0 done; 1 done and written, but the result fails its own audit; 2 bad input or usage, nothing
written; 130 interrupted, nothing written. A standard output that does not take what is printed (a full disk, a pipe
whose reader is gone) is an output that cannot be written: one line on standard error and status 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from geofold.app.commands.batch import batch_app
from geofold.app.commands.console import INTERRUPTED, told, told_along
from geofold.app.commands.maze import maze
from geofold.app.commands.train import data_app, train_app
from geofold.app.inputs import content_of, name_of
from geofold.errors import GeofoldError
from geofold.paths import require_outputs
from geofold.streams import finish_output, say, unprinted
from geofold.terminal import printable

UsageError: Any = typer.BadParameter.__base__
"""Click's, whether typer imports click or carries it."""

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Move protein backbones by their torsions: repair loops, constrain peptides. PDB or mmCIF in, the same out.",
)  # fmt: skip

app.add_typer(batch_app, name="batch")
app.add_typer(data_app, name="data")
app.add_typer(train_app, name="train")
app.command()(maze)

Output = Annotated[str, typer.Option("-o", "--output", help="Where the structure goes ('-': standard output).")]
Trajectory = Annotated[str | None, typer.Option(help="Also write the path: .pdb, .dcd or .xtc.")]
Report = Annotated[str | None, typer.Option(help="Also write the numbers before and after, as JSON.")]
View = Annotated[str | None, typer.Option(help="Also write a viewer page, as HTML.")]
Offline = Annotated[bool, typer.Option("--offline", help="Put 3Dmol.js into the page (needs npm's 3dmol; see README).")]
Seed = Annotated[int, typer.Option(help="Same input, same seed: same bytes.")]
Altloc = Annotated[str | None, typer.Option(help="Conformer that moves where the backbone has several.")]
Energy = Annotated[
    bool, typer.Option("--energy/--no-energy", help="Let the force field (amber14 + OBC2) finish and judge.")
]
Predictor = Annotated[
    str, typer.Option(help="trained: with what was learned from known structures; hold-still: without, to compare.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Tell every step on standard error.")]


@app.command()
def repair(
    source: Annotated[str, typer.Argument(metavar="IN.pdb", help="PDB or mmCIF, plain or gzip; '-': standard input.")],
    output: Output,
    loop: Annotated[
        list[str] | None, typer.Option("--loop", help="Residues to repair, as in the file: A:45-56. May be repeated.")
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Find the loops in trouble instead.")] = False,
    build: Annotated[
        list[str] | None,
        typer.Option(
            "--build",
            help="Missing residues to build instead: A:45-56=SEQUENCE, or A:45-56 if the file tells the "
            "sequence (check lists them); neighbours within the range are built anew. May be repeated.",
        ),
    ] = None,
    trajectory: Trajectory = None,
    report: Report = None,
    view: View = None,
    offline: Offline = False,
    seed: Seed = 0,
    altloc: Altloc = None,
    energy: Energy = True,
    streams: Annotated[int, typer.Option(help="Conformations at once; the more, the wider the search.")] = 12,
    rounds: Annotated[int, typer.Option(help="How long it searches at most: rounds of moving and choosing.")] = 6,
    predictor: Predictor = "trained",
    models: Annotated[
        int, typer.Option(help="Models of one loop, best first: OUT.pdb, OUT.2.pdb and on; the report ranks them.")
    ] = 1,
    budget: Annotated[
        float | None,
        typer.Option(help="Seconds to search and settle, in place of --rounds; more of them, better loops."),
    ] = None,
    repack_shell: Annotated[
        float,
        typer.Option(help="Also pack side chains anew whose CB is so near to the loop (A); the report lists them."),
    ] = 0.0,
    allow_cis_pro: Annotated[
        bool, typer.Option("--allow-cis-pro", help="Loops to build: also try each of their prolines cis.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Repair bent or clashing loops, or build missing ones; every other atom stays, byte for byte."""

    def run(content: bytes, progress: Any) -> Any:
        from geofold.app import api

        return api.repair(
            content, loop or (), auto=auto, build=build or (), seed=seed, altloc=altloc, energy=energy,
            streams=streams, rounds=rounds, predictor=predictor, models=models, budget=budget,
            repack_shell=repack_shell, allow_cis_pro=allow_cis_pro, name=name_of(source), progress=progress,
        )  # fmt: skip

    _run(run, source, output, trajectory, report, view, offline, verbose, models)


@app.command()
def constrain(
    output: Output,
    contact: Annotated[
        list[str], typer.Option("--contact", help="A:3-A:10<6.0 or A:3@CA-A:10@CA>8.0. May be repeated.")
    ],
    source: Annotated[str | None, typer.Argument(metavar="[IN.pdb]", help="PDB or mmCIF; '-': standard input.")] = None,
    sequence: Annotated[str | None, typer.Option(help="Start from a peptide of this sequence instead.")] = None,
    start: Annotated[
        str, typer.Option(help="A sequence starts extended, or as prior: its torsions drawn from the torsion prior.")
    ] = "extended",
    trajectory: Trajectory = None,
    report: Report = None,
    view: View = None,
    offline: Offline = False,
    seed: Seed = 0,
    altloc: Altloc = None,
    energy: Energy = True,
    steps: Annotated[int, typer.Option(help="Streaming steps at most.")] = 128,
    predictor: Predictor = "trained",
    verbose: Verbose = False,
) -> None:
    """Bring residues of a peptide together, or keep them apart, by its torsions."""

    def run(content: bytes | None, progress: Any) -> Any:
        from geofold.app import api

        return api.constrain(
            content, contact, sequence=sequence, start=start, seed=seed, altloc=altloc, energy=energy, steps=steps,
            predictor=predictor, name=name_of(source), progress=progress,
        )  # fmt: skip

    _run(run, source, output, trajectory, report, view, offline, verbose)


@app.command()
def check(
    source: Annotated[str, typer.Argument(metavar="IN.pdb", help="PDB or mmCIF; '-': standard input.")],
    report: Report = None,
    altloc: Altloc = None,
    energy: Annotated[bool, typer.Option("--energy/--no-energy", help="Evaluate amber14 + OBC2.")] = True,
) -> None:
    """Say what is wrong with a structure: clashes, Ramachandran outliers, cis bonds, chain breaks, energy."""
    with told():
        import json

        from geofold.app.report.check_text import check_text
        from geofold.files import STANDARD, encoded, write_all

        outputs = [] if report is None else [report]
        require_outputs(outputs, {"input": source})
        found = _inspected(content_of(source), name_of(source), energy, altloc)
        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
        write_all(dict.fromkeys(outputs, encoded(text)))
        if report != STANDARD:
            say(check_text(found))


@app.command()
def view(
    source: Annotated[str, typer.Argument(metavar="T.pdb", help="A structure or a multi-model trajectory.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The page to write.")],
    report: Annotated[str | None, typer.Option(help="The report of the run, for the numbers beside it.")] = None,
    energy: Annotated[
        bool, typer.Option("--energy/--no-energy", help="Evaluate amber14 + OBC2 in each frame, for a curve.")
    ] = True,
    offline: Offline = False,
) -> None:  # fmt: skip
    """Make a viewer page of a trajectory."""
    with told():
        from geofold.files import encoded, write_all

        require_outputs([output], {"trajectory": source} | ({} if report is None else {"report": report}))
        from geofold.app.viewer import from_file as viewing

        page = viewing.page_of_file(content_of(source), source, report, offline=offline, energy=energy)
        write_all({output: encoded(page)})


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="loop, peptide, maze, latency, ablation, backbones or learning; rivals and tune prepare peptide; "
            "report: RESULTS.md."
        ),
    ],
    out: Annotated[
        str, typer.Option(help="Folder of raw records, table and summary; an unfinished run goes on.")
    ] = "bench-out",
    set_name: Annotated[
        str, typer.Option("--set", help="Loops: bent, tuning; with --data short, valid, or a set of its MANIFEST.tsv.")
    ] = "bent",
    rival: Annotated[
        str, typer.Option(help="Loops: further rivals, with commas between: pdbfixer,openmm,promod3.")
    ] = "",
    budget: Annotated[float | None, typer.Option(help="Loops: seconds for each, as of repair.")] = None,
    part: Annotated[
        str, typer.Option(help="Of learning: packer, prior, backbones, controller, peptide or esm. Of ablation: led.")
    ] = "packer",
    data: Annotated[str | None, typer.Option(help="Folder of benchmark data.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smaller run.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only so many episodes.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Of peptide and maze: seeds, each with its episodes.")] = None,
    seed: Seed = 0,
) -> None:
    """Measure geofold against other tools, and write the tables."""
    with told():
        from geofold.bench import run

        run.run(
            name, out=out, set_name=set_name, data=data, quick=quick, limit=limit, seed=seed, part=part, seeds=seeds,
            rivals=rival, budget=budget,
        )  # fmt: skip


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
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
    """Say what is wrong with a command line; returns the exit status."""
    context = mistake.ctx
    command = context.command_path if context is not None else "geofold"
    if not args:
        say(mistake.format_message() or "geofold: no command given; see geofold --help", err=True)
        return 2
    say(f"geofold: {printable(' '.join(mistake.format_message().split()))} See {command} --help", err=True)
    return 2


def _run(
    run: Callable[[Any, Any], Any], source: str | None, output: str, trajectory: str | None, report: str | None,
    view: str | None, offline: bool, verbose: bool, models: int = 1,
) -> None:  # fmt: skip
    """Read, run, write everything at once, and say in a line how it went."""
    with told():
        from geofold.app.outputs import Targets
        from geofold.app.result import summary
        from geofold.files import write_all

        targets = Targets(output, trajectory, report, view, offline, models)
        targets.require({} if source is None else {"input": source})
        content = None if source is None else content_of(source)
        with told_along(verbose) as progress:
            result = run(content, progress)
        write_all(targets.contents(result))
        say(summary(result.report), err=True)
        if not result.passed:
            raise typer.Exit(1)


def _inspected(content: bytes, name: str | None, energy: bool, altloc: str | None) -> dict[str, Any]:
    """What `geofold.check` gives, the energy evaluated while PyTorch is imported."""
    from geofold.app.report.energies import Aside

    with Aside.begun(content, altloc) if energy else nullcontext() as aside:
        from geofold.app.report.check import inspect
        from geofold.app.sources import load
        from geofold.modelling.threads import one_thread

        with one_thread():
            return inspect(load(content, name), energy=None if aside is None else aside.result, altloc=altloc)

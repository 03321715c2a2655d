"""The commands `repair` and `constrain`. Heavy libraries are imported inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer

from geofold.app.commands.console import console_progress, user_errors
from geofold.app.commands.options import (
    Altloc,
    AsJson,
    Energy,
    Field,
    Offline,
    Output,
    Predictor,
    Quiet,
    Report,
    Seed,
    Trajectory,
    Verbose,
    View,
    option,
)
from geofold.paths import name_of
from geofold.streams import say

Loops = Annotated[list[str] | None, option("loop")]
Builds = Annotated[list[str] | None, option("build")]
Contacts = Annotated[list[str], option("contact")]


class Shown(NamedTuple):
    """Printed output of a command: every step, no summary, or the report as JSON."""

    verbose: bool
    quiet: bool
    as_json: bool


def repair(
    source: Annotated[str, typer.Argument(metavar="IN.pdb", help="PDB, mmCIF or BinaryCIF; '-': standard input.")],
    output: Output,
    loop: Loops = None,
    auto: Annotated[bool, option("auto")] = False,
    build: Builds = None,
    fasta: Annotated[str | None, option("fasta")] = None,
    candidate: Annotated[list[str] | None, option("candidate")] = None,
    trajectory: Trajectory = None,
    report: Report = None,
    view: View = None,
    offline: Offline = False,
    seed: Seed = 0,
    altloc: Altloc = None,
    energy: Energy = True,
    force_field: Field = "amber14",
    streams: Annotated[int, option("streams")] = 12,
    rounds: Annotated[int, option("rounds")] = 6,
    predictor: Predictor = "trained",
    models: Annotated[int, option("models")] = 1,
    budget: Annotated[float | None, option("budget")] = None,
    repack_shell: Annotated[Any, option("repack_shell")] = None,
    allow_cis_pro: Annotated[bool, option("allow_cis_pro")] = False,
    cap: Annotated[str | None, option("cap")] = None,
    copies: Annotated[bool, option("copies")] = False,
    map: Annotated[str | None, option("map")] = None,
    resolution: Annotated[float | None, option("resolution")] = None,
    confidence_in_b: Annotated[bool, option("confidence_in_b")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Repair distorted or clashing loops, or build missing ones; all other atoms stay the same, byte for byte."""

    def run(content: bytes, progress: Any) -> Any:
        from geofold.app import api

        return api.repair(
            content,
            loop or (),
            auto=auto,
            build=build or (),
            fasta=fasta,
            candidate=candidate or (),
            seed=seed,
            altloc=altloc,
            energy=energy,
            force_field=force_field,
            streams=streams,
            rounds=rounds,
            predictor=predictor,
            models=models,
            budget=budget,
            repack_shell=repack_shell,
            allow_cis_pro=allow_cis_pro,
            cap=cap,
            copies=copies,
            map=map,
            resolution=resolution,
            confidence_in_b=confidence_in_b,
            name=name_of(source),
            progress=progress,
        )

    _run(run, source, output, trajectory, report, view, offline, Shown(verbose, quiet, as_json), models)


def fix(
    source: Annotated[str, typer.Argument(metavar="IN.pdb", help="PDB, mmCIF or BinaryCIF; '-': standard input.")],
    output: Output,
    hydrogens: Annotated[
        bool, typer.Option("--hydrogens", help="Also add the hydrogens that a force field needs at pH 7.")
    ] = False,
    ends: Annotated[
        bool, typer.Option("--ends", help="Also build chain ends of up to 15 residues whose sequence is known.")
    ] = False,
    fasta: Annotated[str | None, option("fasta")] = None,
    report: Report = None,
    view: View = None,
    offline: Offline = False,
    seed: Seed = 0,
    altloc: Altloc = None,
    energy: Energy = True,
    force_field: Field = "amber14",
    streams: Annotated[int, option("streams")] = 12,
    rounds: Annotated[int, option("rounds")] = 6,
    budget: Annotated[float | None, option("budget")] = None,
    repack_shell: Annotated[Any, option("repack_shell")] = None,
    cap: Annotated[str | None, option("cap")] = None,
    confidence_in_b: Annotated[bool, option("confidence_in_b")] = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Complete side chains, build gaps, repair loops that look wrong; a structure that is fine stays as it is."""

    def run(content: bytes, progress: Any) -> Any:
        from geofold.app.fix import fix as run_fix

        return run_fix(
            content,
            hydrogens=hydrogens,
            ends=ends,
            fasta=fasta,
            seed=seed,
            altloc=altloc,
            energy=energy,
            force_field=force_field,
            streams=streams,
            rounds=rounds,
            budget=budget,
            repack_shell=repack_shell,
            cap=cap,
            confidence_in_b=confidence_in_b,
            name=name_of(source),
            progress=progress,
        )

    _run(run, source, output, None, report, view, offline, Shown(verbose, quiet, as_json))


def prepare(
    source: Annotated[str, typer.Argument(metavar="IN.pdb", help="PDB, mmCIF or BinaryCIF; '-': standard input.")],
    output: Output,
    ph: Annotated[float, typer.Option("--ph", help="pH by which hydrogens are added.")] = 7.0,
    fasta: Annotated[str | None, option("fasta")] = None,
    report: Report = None,
    view: View = None,
    offline: Offline = False,
    seed: Seed = 0,
    altloc: Altloc = None,
    energy: Energy = True,
    force_field: Field = "amber14",
    streams: Annotated[int, option("streams")] = 12,
    rounds: Annotated[int, option("rounds")] = 6,
    budget: Annotated[float | None, option("budget")] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a structure ready for OpenMM: complete amino acids with hydrogens, gaps built, one conformer, no others."""

    def run(content: bytes, progress: Any) -> Any:
        from geofold.app.prepare import prepare as run_prepare

        return run_prepare(
            content,
            ph=ph,
            fasta=fasta,
            seed=seed,
            altloc=altloc,
            energy=energy,
            force_field=force_field,
            streams=streams,
            rounds=rounds,
            budget=budget,
            name=name_of(source),
            progress=progress,
        )

    _run(run, source, output, None, report, view, offline, Shown(verbose, quiet, as_json))


def constrain(
    output: Output,
    contact: Contacts,
    source: Annotated[
        str | None, typer.Argument(metavar="[IN.pdb]", help="PDB, mmCIF or BinaryCIF; '-': standard input.")
    ] = None,
    sequence: Annotated[str | None, option("sequence")] = None,
    start: Annotated[str, option("start")] = "extended",
    trajectory: Trajectory = None,
    report: Report = None,
    view: View = None,
    offline: Offline = False,
    seed: Seed = 0,
    altloc: Altloc = None,
    energy: Energy = True,
    force_field: Field = "amber14",
    steps: Annotated[int, option("steps")] = 128,
    step_budget: Annotated[float | None, option("step_budget")] = None,
    predictor: Predictor = "trained",
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Bring residues of a peptide together, or keep them apart, by its torsions."""

    def run(content: bytes | None, progress: Any) -> Any:
        from geofold.app import api

        return api.constrain(
            content,
            contact,
            sequence=sequence,
            start=start,
            seed=seed,
            altloc=altloc,
            energy=energy,
            force_field=force_field,
            steps=steps,
            step_budget=step_budget,
            predictor=predictor,
            name=name_of(source),
            progress=progress,
        )

    _run(run, source, output, trajectory, report, view, offline, Shown(verbose, quiet, as_json))


def _run(
    run: Callable[[Any, Any], Any],
    source: str | None,
    output: str,
    trajectory: str | None,
    report: str | None,
    view: str | None,
    offline: bool,
    shown: Shown,
    models: int = 1,
) -> None:
    """Read the input, run, write all outputs atomically and print the summary.

    Parameters
    ----------
    run : callable
        Takes the input's content (or None) and a progress callback, and returns a `Result`.
    source : str or None
        Path of the input, if there is one.
    output, trajectory, report, view : str or None
        Paths of the outputs.
    offline : bool
        Embed 3Dmol.js in the page.
    shown : Shown
        What is printed.
    models : int
        Maximum number of structures to write.
    """
    with user_errors():
        from geofold.app.outputs import Targets
        from geofold.app.report.summary import summary
        from geofold.files import write_all

        targets = Targets(output, trajectory, report, view, offline, models)
        targets.require({} if source is None else {"input": source}, as_json=shown.as_json)
        from geofold.molecule.io.content import content_of

        content = None if source is None else content_of(source)
        targets.require_format(content, name_of(source))
        with console_progress(shown.verbose) as progress:
            result = run(content, progress)
        write_all(targets.contents(result))
        if shown.as_json:
            say(result.report_text().rstrip("\n"))
        elif not shown.quiet:
            say(summary(result.report), err=True)
        if not result.passed:
            raise typer.Exit(1)

"""The command `live`. Heavy libraries are imported inside."""

from __future__ import annotations

from typing import Annotated

import typer

from geofold.app.commands.console import user_errors
from geofold.app.commands.options import Altloc, Field, Predictor, Report, Seed, option
from geofold.paths import name_of, require_outputs
from geofold.streams import say


def live(
    source: Annotated[
        str | None, typer.Argument(metavar="[IN.pdb]", help="PDB, mmCIF or BinaryCIF; '-': standard input.")
    ] = None,
    sequence: Annotated[str | None, option("sequence")] = None,
    loop: Annotated[str | None, option("loop", "live")] = None,
    contact: Annotated[list[str] | None, option("contact")] = None,
    start: Annotated[str, option("start")] = "extended",
    seed: Seed = 0,
    altloc: Altloc = None,
    predictor: Predictor = "trained",
    force_field: Field = "amber14",
    port: Annotated[int, option("port")] = 0,
    imd: Annotated[int | None, option("imd")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond this machine, anyone with the page's address can use it.")
    ] = "127.0.0.1",
    replay: Annotated[
        str | None, typer.Option(help="Repeat a saved script instead of serving a page; needs -o.")
    ] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help="With --replay: output file.")] = None,
    report: Report = None,
) -> None:
    """Move a peptide, or a loop of a protein, by hand on a page in the browser."""
    from geofold.errors import OptionError

    with user_errors():
        if replay is None:
            if output is not None or report is not None:
                raise OptionError(
                    "an output without --replay", "a script to replay", "save from the page, or add --replay"
                )
            _serve(source, sequence, loop, contact or [], start, seed, altloc, predictor, force_field, host, port, imd)
            return
        given = [name for name, value in (("IN.pdb", source), ("--sequence", sequence), ("--loop", loop)) if value]
        if given or contact:
            listed = ", ".join([*given, *(["--contact"] if contact else [])])
            raise OptionError(f"{listed} with --replay", "a script alone, which has its own start", "leave it out")
        if output is None:
            raise OptionError("--replay without an output", "the name of a file", "give one with -o")
        _replay(replay, output, report)


def _replay(script: str, output: str, report: str | None) -> None:
    from geofold.app.live.save import structure_file
    from geofold.app.live.start import replay
    from geofold.app.report.summary import summary
    from geofold.files import encoded, write_all
    from geofold.molecule.io.content import content_of

    outputs = [output] if report is None else [output, report]
    require_outputs(outputs, {"script": script})
    text = content_of(script).decode("utf-8", "replace")
    result = replay(text, name_of(script) or "standard input").result(energy=report is not None)
    contents = {output: structure_file(result, output)}
    if report is not None:
        contents[report] = encoded(result.report_text())
    write_all(contents)
    say(summary(result.report), err=True)
    if not result.passed:
        raise typer.Exit(1)


def _serve(
    source: str | None,
    sequence: str | None,
    loop: str | None,
    contacts: list[str],
    start: str,
    seed: int,
    altloc: str | None,
    predictor: str,
    force_field: str,
    host: str,
    port: int,
    imd: int | None,
) -> None:
    """Open a session and serve it until Ctrl-C.

    Parameters
    ----------
    source, sequence, loop, contacts, start, seed, altloc, predictor, force_field
        As on the command line.
    host, port, imd
        Address to listen on, and port of the IMDv3 stream.
    """
    import asyncio

    from geofold.app.live.live import port_error, require_server
    from geofold.app.live.start import open_session
    from geofold.modelling.options import RunOptions
    from geofold.modelling.threads import use_one_thread
    from geofold.molecule.io.content import content_of

    server_class = require_server()
    options = RunOptions(seed=seed, altloc=altloc, predictor=predictor, force_field=force_field)
    content = None if source is None else content_of(source)
    session = open_session(
        content, contacts, sequence=sequence, loop=loop, start=start, options=options, name=name_of(source)
    )
    use_one_thread()

    async def serve() -> None:
        server = server_class(session, host, port, imd)

        def ready() -> None:
            also = f" (and {server.imd_url})" if server.imd_url else ""
            say(f"open {server.url} in a browser{also}; Ctrl-C ends the session", err=True)

        await server.run(ready)

    try:
        asyncio.run(serve())
    except OSError as error:
        raise port_error(host, port, error) from None
    except KeyboardInterrupt:
        say("session ended", err=True)

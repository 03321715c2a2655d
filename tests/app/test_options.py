"""Command line, Python functions, batch columns, report and pages agree with the table of options."""

from __future__ import annotations

import importlib.util
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import typer.models
from app_cases import BENT, LOOP, ROOT

import geofold as gf
from geofold.app import api
from geofold.app.batch.columns import COLUMNS, described
from geofold.app.commands.check import check as check_command
from geofold.app.commands.live import live as live_command
from geofold.app.commands.repair import constrain as constrain_command
from geofold.app.commands.repair import repair as repair_command
from geofold.app.steering.steering import steer
from geofold.cli import main
from geofold.errors import OptionError
from geofold.modelling.option_table import API, AUTO, BATCH, CLI, OPTIONS, Option, find_option, options_of
from geofold.modelling.options import ROUNDS, STREAMS, RunOptions
from geofold.molecule.energy.amber import FORCE_FIELDS

COMMANDS = {"repair": repair_command, "constrain": constrain_command, "check": check_command, "live": live_command}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "repair": gf.repair,
    "constrain": gf.constrain,
    "check": gf.check,
    "steer": steer,
    "live": gf.live,
}
NO_OPTIONS = {"source", "structure", "contacts", "name", "progress", "keep"}
"""Parameters of the Python functions that are no options."""
DOCS = ROOT / "examples" / "docs"
RUN = {field.name for field in fields(RunOptions)}


def without_empty(value: object) -> object:
    """None in place of an empty tuple, which is the default of a list in Python."""
    return None if value == () else value


def documented(function: Any) -> dict[str, str]:
    """Text of each parameter in a numpydoc docstring, as one line."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    texts: dict[str, str] = {}
    for names, body in re.findall(r"^(\w[\w, ]*)(?: : .*)?\n((?:(?: {4}.*)?\n)+)", section[1] + "\n", re.MULTILINE):
        texts |= dict.fromkeys(names.split(", "), " ".join(body.split()))
    return texts


def test_rows_are_unique_and_their_defaults_are_valid() -> None:
    keys = [(row.name, command) for row in OPTIONS for command in row.commands]
    assert len(keys) == len(set(keys))
    for row in OPTIONS:
        row.require(row.default)
        assert row.help.endswith(".") and row.expected and row.places


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_has_the_table_s_names_defaults_and_help(command: str) -> None:
    rows = {row.name: row for row in options_of(command, CLI)}
    shown = {}
    for name, parameter in inspect.signature(COMMANDS[command], eval_str=True).parameters.items():
        kind, info = typing.get_args(parameter.annotation)
        if isinstance(info, typer.models.OptionInfo) and name not in (*SHOWN, *ALONE.get(command, ())):
            default = None if parameter.default is parameter.empty else parameter.default
            shown[name] = (default, kind)
            assert str(info.help).startswith(rows[name].help[:-1])
            # what typer calls the first flag is its default
            assert (info.default, *(info.param_decls or ())) == rows[name].flags
    assert shown == {name: (row.default, annotation(row, command)) for name, row in rows.items()}


SHOWN = ("verbose", "quiet", "as_json", "strict")
"""Options of what is printed and of the exit status, which only the command line has."""
ALONE = {"live": ("host", "replay", "output")}
"""Options of one command alone, which stand outside the table."""


def annotation(row: Option, command: str) -> Any:
    """Type of an option on the command line."""
    if row.words:
        return Any  # a number or a word
    kind = {list: list[str]}.get(row.kind, str if row.kind.__name__ == "Path" else row.kind)
    needed = row.name in ("output", "contact") and command != "live"
    return kind if needed or row.default is not None else kind | None


@pytest.mark.parametrize("command", FUNCTIONS)
def test_the_python_functions_have_the_table_s_names_and_defaults(command: str) -> None:
    parameters = inspect.signature(FUNCTIONS[command]).parameters
    given = {name: without_empty(p.default) for name, p in parameters.items() if name not in NO_OPTIONS}
    assert given == {row.name: row.default for row in options_of(command, API)}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_the_docstrings_have_the_table_s_help(command: str) -> None:
    texts = documented(FUNCTIONS[command])
    elsewhere = ("See `RunOptions`", "As for `constrain`")
    for row in options_of(command, API):
        text = texts[row.name]
        assert text.startswith((row.help[:-1], *elsewhere)), row.name


def test_run_options_have_the_table_s_defaults_and_help() -> None:
    texts = documented(RunOptions)
    names = {row.name for command in ("repair", "constrain") for row in options_of(command, API)}
    assert names - {field.name for field in fields(RunOptions)} == {
        "loop",
        "build",
        "auto",
        "sequence",
        "start",
        "fasta",
    }
    for field in fields(RunOptions):
        row = find_option(field.name)
        assert without_empty(field.default) == row.default
        assert texts[field.name].startswith(row.help[:-1])
    assert (find_option("streams").default, find_option("rounds").default) == (STREAMS, ROUNDS)


@pytest.mark.parametrize("row", [row for row in OPTIONS if row.limits and row.name in RUN], ids=lambda row: row.name)
def test_numbers_beyond_the_limits_are_refused_by_options_and_cells(row: Option) -> None:
    assert row.limits is not None
    for value, step in zip(row.limits, (-1, 1), strict=True):
        RunOptions(**{row.name: row.kind(value)})
        assert row.read(repr(row.kind(value))) == value
        with pytest.raises(OptionError, match=f"number from {row.limits[0]} to"):
            RunOptions(**{row.name: row.kind(value) + step})
        with pytest.raises(ValueError):
            row.read(repr(row.kind(value) + step))


@pytest.mark.parametrize("command", COLUMNS)
def test_columns_are_the_table_s(command: str) -> None:
    assert list(COLUMNS[command].values()) == list(options_of(command, BATCH))
    lines = described(command).splitlines()
    page = (DOCS / "batch.md").read_text(encoding="utf-8")
    for row, line in zip(COLUMNS[command].values(), lines, strict=True):
        assert line.split()[0] == row.name and row.help[:-1] in line and f"`{row.name}`" in page


def test_the_page_on_options_is_made_from_the_table() -> None:
    spec = importlib.util.spec_from_file_location("make_options_page", ROOT / "examples" / "make_options_page.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (DOCS / "options.md").read_text(encoding="utf-8") == script.page()


def test_the_report_lists_the_options_of_the_run() -> None:
    given = {"energy": False, "rounds": 1, "streams": 1, "seed": 2, "force_field": "amber19"}
    reported = gf.repair(str(BENT), LOOP, **given).report["options"]
    requests = {"loop", "build", "auto", "fasta"}
    assert reported == {row.name: row.default for row in options_of("repair", API) if row.name not in requests} | given


def test_a_steered_stream_reports_the_options_that_it_has() -> None:
    steering = gf.steer(sequence="AEGKTWYN", contacts=["A:1-A:8<7.0"], force_field="amber99sbildn")
    next(steering)
    report = steering.result().report
    assert set(report["options"]) == {row.name for row in options_of("steer", API)} - {"sequence", "loop", "start"}
    assert report["options"]["force_field"] == "amber99sbildn"
    assert report["after"]["force_field"] == FORCE_FIELDS["amber99sbildn"].label


@pytest.mark.parametrize(
    "words",
    [
        ("repair", str(BENT), "--loop", LOOP, "-o", "o.pdb"),
        ("constrain", "--sequence", "AEGKTWYN", "--contact", "A:1-A:8<7.0", "-o", "o.pdb"),
        ("check", str(BENT)),
        ("check", str(BENT), "--no-energy"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_an_unknown_force_field_is_refused_in_one_line(
    words: tuple[str, ...], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--force-field", "charmm"]) == 2
    message = "geofold: force-field charmm; expected amber14, amber19 or amber99sbildn; choose one of them\n"
    assert capsys.readouterr().err == message and not list(tmp_path.iterdir())


def test_unknown_force_fields_are_refused_in_python() -> None:
    for run in (
        lambda: gf.repair(str(BENT), LOOP, force_field="charmm"),
        lambda: gf.check(str(BENT), force_field="charmm"),
        lambda: gf.steer(sequence="AEGKTWYN", force_field="charmm"),
    ):
        with pytest.raises(OptionError, match="force-field charmm; expected amber14, amber19 or"):
            run()


@pytest.mark.parametrize("name", FORCE_FIELDS)
def test_check_evaluates_the_force_field_asked_for(name: str, tmp_path: Any) -> None:
    """The command evaluates it in another process, the function in this one."""
    import json

    source, out = str(ROOT / "structures" / "1yjp.cif"), tmp_path / "c.json"
    assert main(["check", source, "--force-field", name, "--report", str(out)]) == 0
    reported, measured = json.loads(out.read_text())["before"], gf.check(source, force_field=name)["before"]
    assert reported["force_field"] == measured["force_field"] == FORCE_FIELDS[name].label
    assert reported["energy_kj_mol"] == measured["energy_kj_mol"]


def test_constrain_refines_with_the_force_field_asked_for() -> None:
    def run(name: str) -> Any:
        return gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<7.0"], steps=60, force_field=name)

    first, again, other = run("amber19"), run("amber19"), run("amber14")
    assert first.passed and first.report["stream"]["status"] == ["done"]
    assert first.report["after"]["force_field"] == FORCE_FIELDS["amber19"].label
    assert first.content == again.content != other.content


def test_neighbours_may_be_repacked_by_default_only_where_geofold_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(api, "run_repair", lambda structure, requests, options, *_: chosen.append(options.repack_shell))
    gf.repair(BENT, LOOP)
    gf.repair(BENT, auto=True)
    gf.repair(BENT, build=LOOP)
    gf.repair(BENT, LOOP, repack_shell=6.0)
    gf.repair(BENT, auto=True, build=LOOP, repack_shell=0.0)
    assert chosen == [None, AUTO, AUTO, 6.0, 0.0]

"""The command line: exit status, one line per mistake, files whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_cases import BENT, LOOP, ROOT, STRUCTURES

from geofold import files
from geofold.cli import main
from geofold.errors import OutputError

QUICK = ["--no-energy", "--rounds", "1", "--streams", "1"]


def test_repair_writes_structure_report_path_and_page(tmp_path: Path) -> None:
    out, report, path, page = (str(tmp_path / name) for name in ("o.pdb", "r.json", "t.pdb", "v.html"))
    status = main(
        [
            "repair",
            str(BENT),
            "--loop",
            LOOP,
            "-o",
            out,
            "--report",
            report,
            "--trajectory",
            path,
            "--view",
            page,
            *QUICK,
        ]
    )
    assert status in (0, 1)
    assert json.loads(Path(report).read_text())["schema"] == "geofold-report/1"
    assert Path(path).read_text().count("MODEL ") > 2
    assert "<html" in Path(page).read_text()[:500].lower()
    assert main(["view", path, "--report", report, "-o", str(tmp_path / "again.html")]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.html", "o.pdb", "r.json", "t.pdb", "v.html"]


def test_status_one_when_the_audit_fails(tmp_path: Path) -> None:
    assert main(["repair", str(BENT), "--loop", "A:30-32", "-o", str(tmp_path / "o.pdb"), *QUICK]) == 1
    assert (tmp_path / "o.pdb").read_bytes() == BENT.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["repair", "absent.pdb", "--loop", LOOP], "does not exist"),
        (["repair", str(BENT), "--loop", "A:45-99"], "A:1-76"),
        (["repair", str(BENT), "--loop", "45-56"], "CHAIN:FIRST-LAST"),
        (["repair", str(BENT)], "--loop"),
        (["repair", str(BENT), "--loop", LOOP, "--streams", "0"], "streams"),
        (["repair", str(BENT), "--loop", "A:45-50", "--loop", "A:50-56"], "meet at A:50"),
        (["constrain", "--sequence", "GAXAGAGA", "--contact", "A:1-A:8<6"], "'X' at position 3"),
        (["constrain", "--sequence", "GAGAGAGA", "--contact", "A:1-A:2<6"], "residues at least 3 apart"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(
    arguments: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.pdb"
    assert main([*arguments, "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert word in said and said.count("\n") == 1 and said.startswith("geofold: ")
    assert not out.exists() and not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", str(tmp_path / "no" / "o.pdb")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", str(tmp_path)]) == 2
    same = str(tmp_path / "o.pdb")
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", same, "--report", same]) == 2


def test_a_full_disk_leaves_nothing_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.pdb").write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        files.write_all({str(tmp_path / "old.pdb"): b"new", str(tmp_path / "b.json"): b"{}"})
    assert [p.name for p in tmp_path.iterdir()] == ["old.pdb"]
    assert (tmp_path / "old.pdb").read_text() == "old"


def test_a_device_is_written_to_not_replaced() -> None:
    files.write_all({"/dev/null": b"gone"})
    assert not Path("/dev/null").is_file()


def test_interrupt_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from geofold.app import api

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "repair", interrupted)
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", str(tmp_path / "o.pdb")]) == 130
    assert not list(tmp_path.iterdir()) and "nothing was written" in capsys.readouterr().err


def test_standard_input_and_output() -> None:
    command = [sys.executable, "-m", "geofold", "repair", "-", "--loop", LOOP, "-o", "-", *QUICK]
    done = subprocess.run(command, input=BENT.read_bytes(), capture_output=True, cwd=ROOT, check=False)
    assert done.returncode in (0, 1)
    assert len(done.stdout.splitlines()) == len(BENT.read_bytes().splitlines())


@pytest.mark.parametrize("command", [[], ["check"], ["repair"]], ids=["geofold", "check", "repair"])
def test_help_needs_none_of_the_heavy_libraries(command: list[str]) -> None:
    heavy = ("torch", "openmm", "mdtraj", "pdbfixer", "Bio", "scipy")
    code = (
        f"import sys; from geofold.cli import main; main({[*command, '--help']}); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("[]")


def test_modules_load_what_they_need() -> None:
    """`check` loads no search and no controller, and neither it nor a repair loads a host library before its use."""
    hosts = ("openmm", "mdtraj", "pdbfixer", "Bio", "scipy.optimize", "scipy.stats")
    code = f"""
import sys
import geofold.app.report.check
parts = [m for m in sys.modules if m.startswith(("geofold.modelling.search", "geofold.modelling.build"))]
assert not parts and "geofold.core.controller" not in sys.modules, parts
import geofold.app.api
assert not [m for m in {hosts} if m in sys.modules], [m for m in {hosts} if m in sys.modules]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_check_reads_what_it_can(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["check", str(STRUCTURES / "1bhl.pdb"), "--no-energy", "--report", str(tmp_path / "c.json")]) == 0
    assert "chain break" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["chain_breaks"]


COMPLETE = "import sys; sys.argv[0] = 'geofold'; from geofold.cli import main; sys.exit(main())"


def test_check_computes_on_one_thread_and_gives_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from geofold.app import api
    from geofold.app.report import check as inspection

    seen: list[int] = []
    monkeypatch.setattr(inspection, "inspect", lambda *_, **__: seen.append(torch.get_num_threads()) or {})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        api.check(str(BENT), energy=False)
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def completed(words: str) -> list[str]:
    """What a bash shell is offered for the last word of a line."""
    asked = {"_GEOFOLD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], capture_output=True, text=True, cwd=ROOT, env=os.environ | asked
    )
    return done.stdout.split()


def test_a_shell_completes_commands_and_options() -> None:
    assert completed("geofold re") == ["repair"]
    assert completed("geofold batch c") == ["constrain"]
    assert completed("geofold repair x.pdb --lo") == ["--loop"]
    assert set(completed("geofold train ")) >= {"prior", "loop", "gate"}
    assert completed("geofold repair x") == []  # a file: the shell's own completion takes over


def test_completion_installs_itself_for_bash(tmp_path: Path) -> None:
    home = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    for option in ("--show-completion", "--install-completion"):
        done = subprocess.run(
            [sys.executable, "-c", COMPLETE, option, "bash"], capture_output=True, text=True, cwd=ROOT, env=home
        )
        assert done.returncode == 0 and ("_geofold_completion" in done.stdout or "installed" in done.stdout)
    assert "geofold.sh" in (tmp_path / ".bashrc").read_text()


def test_a_terminal_shows_the_start_at_once_then_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    from geofold.app.commands.console import console_progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = Terminal()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("TERM", "xterm")
    with console_progress(verbose=False) as tell:
        assert tell is not None and "starting" in said.getvalue()
        tell("A:45-56", 0, 10, math.inf)
        assert "A:45-56" in said.getvalue() and "loss" not in said.getvalue()
        tell("A:45-56", 4, 10, 0.75)
    assert "loss 0.75" in said.getvalue()

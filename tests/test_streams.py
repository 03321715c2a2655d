"""Standard streams, pipes, odd names and Ctrl-C: one line and the documented status, whatever the other end does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from app_cases import BENT, LOOP, ROOT

from geofold.cli import main

GEOFOLD = f"{sys.executable} -m geofold"
CHECK = f"{GEOFOLD} check {BENT} --no-energy"
REPAIR = f"{GEOFOLD} repair {BENT} --loop A:30-32 --no-energy"


def shell(line: str, **environment: str) -> tuple[int, bytes, str]:
    """Exit status, output and what was said of a line of bash."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, env=os.environ | environment, check=False, timeout=120
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("source", [f"<(cat {BENT})", f"/dev/stdin < <(cat {BENT})", f"- < {BENT}"])
def test_a_pipe_is_read_once(source: str) -> None:
    status, said, errors = shell(f"{GEOFOLD} check {source}")
    assert (status, errors) == (0, "") and b"76 amino acids" in said and b"kJ/mol" in said


def test_a_pipe_is_viewed_and_repaired_too(tmp_path: Path) -> None:
    status, _, errors = shell(f"{GEOFOLD} view <(cat {BENT}) -o {tmp_path}/v.html --no-energy")
    assert (status, errors) == (0, "") and (tmp_path / "v.html").stat().st_size > 5000
    status, said, _ = shell(f"{GEOFOLD} repair <(cat {BENT}) --loop A:30-32 --no-energy -o -")
    assert status == 1 and said == BENT.read_bytes()


def test_a_name_outside_utf_8_works_everywhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.pdb")
    out, report, page = (os.fsdecode(os.fsencode(tmp_path) + b"/\xff." + end) for end in (b"pdb", b"json", b"html"))
    Path(name).write_bytes(BENT.read_bytes())
    assert main(["check", name, "--no-energy", "--report", report]) == 0
    said = capfd.readouterr().out
    assert "caf\\xe9.pdb" in said and json.loads(Path(report).read_bytes())["input"]["name"] == name
    asked = ["--loop", "A:30-32", "--no-energy", "-o", out, "--report", report, "--view", page]
    assert main(["repair", name, *asked]) == 1
    assert Path(out).read_bytes() == BENT.read_bytes() and b"caf" in Path(page).read_bytes()
    assert main(["view", name, "--no-energy", "-o", page, "--report", report]) == 0
    Path(name).write_text("nothing")
    assert main(["check", name]) == 2 and "caf\\xe9.pdb is not a structure" in capfd.readouterr().err


@pytest.mark.parametrize("line", [CHECK, f"{GEOFOLD} --help", f"{REPAIR} -o -"], ids=["check", "help", "repair"])
@pytest.mark.parametrize("end", ["> /dev/full", ">&-", "| true"])
def test_a_standard_output_that_takes_nothing_is_one_line_and_status_two(line: str, end: str) -> None:
    if "help" in line and end == ">&-":
        pytest.skip("the library of the command line prints nothing where there is no standard output")
    status, _, errors = shell(f"set -o pipefail; {{ sleep 0.3; {line}; }} {end}")
    assert status == 2
    assert errors.startswith("geofold: standard output cannot be written") and errors.count("\n") == 1


def test_files_are_not_written_where_standard_output_fails(tmp_path: Path) -> None:
    assert shell(f"{REPAIR} -o - --report {tmp_path}/r.json > /dev/full")[0] == 2
    assert not list(tmp_path.iterdir())


def test_closed_descriptors_are_not_files(tmp_path: Path) -> None:
    status, _, _ = shell(f"{REPAIR} -o {tmp_path}/o.pdb >&- 2>&-")
    assert status == 1 and (tmp_path / "o.pdb").read_bytes() == BENT.read_bytes()
    status, _, errors = shell(f"{GEOFOLD} check - <&-")
    assert status == 2 and errors.startswith("geofold: standard input cannot be read") and errors.count("\n") == 1


def test_no_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    def none(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", none)
    monkeypatch.setattr(tempfile, "TemporaryFile", none)
    assert main(["check", str(BENT)]) == 0
    asked = ["repair", str(BENT), "--loop", LOOP, "-o", str(tmp_path / "o.pdb")]
    assert main([*asked, "--trajectory", str(tmp_path / "t.dcd")]) == 2
    assert not list(tmp_path.iterdir())


def seconds_to_start() -> float:
    """Time that Python needs at present until our first line runs; before that, Ctrl-C is Python's own affair."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import geofold"], cwd=ROOT, check=True)
    return time.perf_counter() - began


@pytest.mark.parametrize("seconds", [0.2, 0.5, 0.8, 1.2])
def test_ctrl_c_early_is_one_line_and_status_130(seconds: float, tmp_path: Path) -> None:
    seconds += 4 * seconds_to_start()
    asked = ["repair", str(BENT), "--loop", LOOP, "-o", str(tmp_path / "o.pdb")]
    with subprocess.Popen(
        [sys.executable, "-m", "geofold", *asked], cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        time.sleep(seconds)
        os.killpg(run.pid, signal.SIGINT)
        assert run.stderr is not None
        said = run.stderr.read()
    assert (run.returncode, said) == (130, b"geofold: interrupted; nothing was written\n")
    assert not list(tmp_path.iterdir())


def test_an_error_that_a_library_makes_of_ctrl_c_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from geofold.app.report import check as inspection

    def interrupted(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise ImportError("half of a module") from None

    monkeypatch.setattr(inspection, "inspect", interrupted)
    assert main(["check", str(BENT), "--no-energy"]) == 130
    assert capsys.readouterr().err == "geofold: interrupted; nothing was written\n"

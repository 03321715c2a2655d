"""Names and paths: an output is never an input nor another output, whatever it is called, and is refused early."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_cases import BENT, LOOP, ROOT

from geofold import files
from geofold.cli import main
from geofold.errors import JobsError, OutputError
from geofold.paths import LONGEST_NAME, identity, require_apart, require_writable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An input under three names, links that lead nowhere, and something that must not change."""
    (tmp_path / "in.pdb").write_bytes(BENT.read_bytes())
    os.link(tmp_path / "in.pdb", tmp_path / "hard.pdb")
    (tmp_path / "soft.pdb").symlink_to(tmp_path / "in.pdb")
    (tmp_path / "loop.pdb").symlink_to("loop.pdb")
    (tmp_path / "dangling.pdb").symlink_to(tmp_path / "gone" / "x.pdb")
    return tmp_path


@pytest.mark.parametrize("option", ["-o", "--report", "--view", "--trajectory"])
@pytest.mark.parametrize("name", ["in.pdb", "hard.pdb", "soft.pdb", "../{here}/in.pdb"])
def test_an_output_that_is_the_input_is_refused(
    folder: Path, option: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(folder / name.format(here=folder.name))
    outputs = ["-o", target] if option == "-o" else ["-o", str(folder / "o.pdb"), option, target]
    assert main(["repair", str(folder / "in.pdb"), "--loop", LOOP, *outputs]) == 2
    said = capsys.readouterr().err
    assert "is the input" in said and said.count("\n") == 1
    assert (folder / "in.pdb").read_bytes() == BENT.read_bytes() and not (folder / "o.pdb").exists()


@pytest.mark.parametrize("command", ["check", "view"])
def test_other_commands_spare_their_inputs_too(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = "--report" if command == "check" else "-o"
    assert main([command, str(folder / "in.pdb"), option, str(folder / "hard.pdb")]) == 2
    assert (folder / "in.pdb").read_bytes() == BENT.read_bytes()
    (folder / "r.json").write_text("{}")
    report = ["view", str(folder / "in.pdb"), "--report", str(folder / "r.json"), "-o", str(folder / "r.json")]
    assert main(report) == 2 and (folder / "r.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("loop.pdb", "symbolic links"), ("dangling.pdb", "links to"), ("a" * (LONGEST_NAME + 1), "bytes"),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}" * (LONGEST_NAME // 2 + 1), "bytes"), ("in.pdb/o.pdb", "directory"),
        ("a" * 300 + "/o.pdb", "too long"), ("", "file name"), ("no\0thing", "file name"),
    ],
    ids=["link loop", "link into an absent folder", "long", "long in UTF-8", "a file as a folder", "long folder",
         "empty", "NUL"],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_before_the_run(
    folder: Path, name: str, word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from geofold.app import api

    monkeypatch.setattr(api, "repair", lambda *_, **__: pytest.fail("the run began"))
    before = sorted(os.listdir(folder))
    target = str(folder / name) if name else ""
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", target]) == 2
    said = capsys.readouterr().err
    assert word in said and said.count("\n") == 1 and sorted(os.listdir(folder)) == before


def test_the_longest_name_that_is_accepted_can_be_written(tmp_path: Path) -> None:
    path = str(tmp_path / ("a" * LONGEST_NAME))
    require_writable(path)
    files.write_all({path: b"whole"})
    assert Path(path).read_bytes() == b"whole"


def test_names_of_further_models_are_looked_at_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.rename(folder / "in.pdb", folder / "o.2.pdb")
    asked = ["repair", str(folder / "o.2.pdb"), "--loop", LOOP, "-o", str(folder / "o.pdb"), "--models", "2"]
    assert main(asked) == 2
    assert "is the input" in capsys.readouterr().err


def test_devices_are_shared_and_standard_output_is_not(tmp_path: Path) -> None:
    require_apart(["/dev/null", "/dev/null"], {"input": "/dev/null"})
    assert identity("/dev/null") is None
    with pytest.raises(OutputError, match="twice"):
        require_apart(["-", "-"])
    with pytest.raises(OutputError, match="twice"):
        require_apart([str(tmp_path / "a"), str(tmp_path / "." / "a")])


def test_standard_output_that_is_a_file_is_that_file(tmp_path: Path) -> None:
    out = tmp_path / "out.pdb"
    with open(out, "wb") as file:
        line = [sys.executable, "-m", "geofold", "check", str(BENT), "--no-energy", "--report", str(out)]
        done = subprocess.run([*line[:3], "repair", str(BENT), "--loop", LOOP, "-o", "-", "--report", str(out)],
                              cwd=ROOT, stdout=file, stderr=subprocess.PIPE, check=False)  # fmt: skip
    assert done.returncode == 2 and b"twice" in done.stderr


def test_a_table_of_jobs_spares_its_inputs_and_itself(folder: Path) -> None:
    from geofold.app.batch.jobs import read_jobs

    jobs = folder / "jobs.csv"
    for row in ("in.pdb,hard.pdb,,A:45-56", "in.pdb,o.pdb,soft.pdb,A:45-56", "in.pdb,o.pdb,o.pdb,A:45-56",
                "in.pdb,jobs.csv,,A:45-56"):  # fmt: skip
        jobs.write_text(f"input,output,report,loop\n{row}\n")
        with pytest.raises(JobsError, match="file of"):
            read_jobs("repair", str(jobs))
    jobs.write_text("input,output,loop\nin.pdb,loop.pdb,A:45-56\n")
    with pytest.raises(JobsError, match="symbolic links"):
        read_jobs("repair", str(jobs))
    assert main(["batch", "repair", str(jobs), "--results", str(jobs)]) == 2
    assert jobs.read_text().startswith("input,output")


def test_temporary_files_of_a_killed_run_go_and_those_of_a_live_one_stay(tmp_path: Path) -> None:
    target = str(tmp_path / "o.pdb")
    program = (
        "import sys, time; from geofold import files\n"
        "with files._temporary_copy(sys.argv[1], b'half'): print('there', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, target], cwd=ROOT, stdout=subprocess.PIPE) as writing:
        assert writing.stdout is not None and writing.stdout.readline() == b"there\n"
        files.write_all({target: b"mine"})
        assert len(list(tmp_path.glob(".o.pdb.*.part"))) == 1, "another run is writing it"
        writing.kill()
    assert len(list(tmp_path.glob(".o.pdb.*.part"))) == 1
    files.write_all({target: b"again"})
    assert [path.name for path in tmp_path.iterdir()] == ["o.pdb"]

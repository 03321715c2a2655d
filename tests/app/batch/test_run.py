"""Tables of jobs: mistakes are told at once, a killed run goes on, any number of workers gives the same bytes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_cases import BENT, LOOP, ROOT
from batch_cases import ROWS, recorded, table
from draws import other_draws

import geofold as gf
from geofold.app.batch import jobs as batch_jobs
from geofold.app.batch import run as batches
from geofold.app.batch.columns import COLUMNS
from geofold.app.batch.jobs import read_jobs
from geofold.app.batch.results import Results
from geofold.bench.loop import bent_set
from geofold.cli import main
from geofold.errors import JobsError
from geofold.molecule.energy.amber import FORCE_FIELDS
from geofold.molecule.io.write import render
from geofold.resources import shipped_weights

distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")

STATUS = ["passed", "error", "passed", "error", "passed", "failed audit"]
QUICK = ["--no-energy", "--steps", "40"]


def made(folder: Path) -> dict[str, bytes]:
    """All files of a folder; of reports, whose times differ, only the names."""
    return {p.name: b"" if p.suffix == ".json" else p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def one_worker() -> Iterator[str]:
    """Address of a scheduler with one worker, in this process: nothing is imported again."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def reference(one_worker: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "reference"
    assert main(["batch", "constrain", table(folder), "--scheduler", one_worker]) == 1
    return folder


def test_one_bad_input_stops_no_other(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(reference / "jobs.results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == STATUS
    assert [row["row"] for row in rows] == ["2", "3", "4", "5", "6", "7"]
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in recorded(reference)] == rows
    assert json.loads((reference / "a.json").read_text())["contacts"][0]["satisfied"]
    assert sorted(made(reference)) == [
        "a.json", "a.pdb", "c.pdb", "e.pdb.gz", "f.pdb", "jobs.csv", "jobs.results.csv", "jobs.results.jsonl",
        "junk.pdb",
    ]  # fmt: skip


@pytest.mark.parametrize("broken", ["junk.pdb", "absent.pdb"])
def test_a_row_says_what_the_command_says(
    broken: str, reference: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reference)
    assert main(["constrain", broken, "--contact", "A:1-A:8<7.0", "-o", "x.pdb", *QUICK]) == 2
    said = capsys.readouterr().err.strip().removeprefix("geofold: ")
    assert said in [row["message"] for row in recorded(reference)]


def test_a_job_gives_what_the_command_gives(reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pdb"
    assert main(["constrain", "--sequence", "AEGKTWYN", "--contact", "A:1-A:8<7.0", "-o", str(out), *QUICK]) == 0
    assert out.read_bytes() == (reference / "a.pdb").read_bytes()


def test_two_workers_give_the_same_bytes(reference: Path, tmp_path: Path) -> None:
    rows = gf.batch("constrain", table(tmp_path / "two"), workers=2)
    assert [row["status"] for row in rows] == STATUS
    assert made(tmp_path / "two") == made(reference)


def killed_after(rows: int, command: str, jobs: str, workers: str) -> list[dict[str, object]]:
    """What is on record of a run that was killed with so many rows there; its workers go with it."""
    folder, give_up = Path(jobs).parent, time.monotonic() + 600
    line = [sys.executable, "-m", "geofold", "batch", command, jobs, "--workers", workers]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE) as run:
        while len(recorded(folder)) < rows and run.poll() is None and time.monotonic() < give_up:
            time.sleep(0.002)
        crew = psutil.Process(run.pid).children(recursive=True)
        os.kill(run.pid, signal.SIGKILL)
    assert not psutil.wait_procs(crew, timeout=60)[1]
    return recorded(folder)


def test_a_second_run_of_a_table_is_refused_while_the_first_one_writes(tmp_path: Path, capsys) -> None:
    jobs = table(tmp_path / "twice")
    before = made(tmp_path / "twice")
    results = Results(str(tmp_path / "twice" / "jobs.results.csv"))
    with results.held():
        assert main(["batch", "constrain", jobs, "--workers", "1"]) == 2
        assert set(made(tmp_path / "twice")) - set(before) == {"jobs.results.csv.lock"}
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "another run is writing" in said[0]
    assert made(tmp_path / "twice") == before
    with results.held():
        pass


def test_other_weights_are_another_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job, *_) = read_jobs("constrain", table(tmp_path / "weights"))
    before = job.fingerprint()
    assert before == job.fingerprint() and set(shipped_weights()) >= {"loop.json", "score.json", "peptide.json"}
    monkeypatch.setattr(batch_jobs, "shipped_weights", lambda: shipped_weights() | {"score.json": "another"})
    assert job.fingerprint() != before


def test_killed_half_way_and_resumed(reference: Path, one_worker: str, tmp_path: Path) -> None:
    jobs = table(tmp_path / "killed")
    before = killed_after(1, "constrain", jobs, workers="1")
    assert 0 < len(before) < len(ROWS)
    finished = {str(row["output"]) for row in before if row["status"] != "error"}
    ages = {name: (tmp_path / "killed" / name).stat().st_mtime_ns for name in finished}
    assert main(["batch", "constrain", jobs, "--scheduler", one_worker]) == 1
    assert made(tmp_path / "killed") == made(reference)
    assert ages == {name: (tmp_path / "killed" / name).stat().st_mtime_ns for name in finished}


@pytest.mark.slow
def test_twenty_proteins_killed_half_way_and_resumed(tmp_path: Path) -> None:
    """Eighteen proteins with a bent loop, two broken files; one worker at first, eight go on, two do it in one go."""
    cases = list(bent_set.make_cases(18, seed=bent_set.TUNING_SEED))
    for folder in (tmp_path / "whole", tmp_path / "killed"):
        folder.mkdir()
        rows = []
        for number, (case, native, bent) in enumerate(cases):
            name = f"{number}_{case.file}"
            (folder / name).write_bytes(render(native, bent, np.abs(bent - native.xyz).max(1) > 0))
            rows.append(f"{name},fixed_{name},{case.loop},no,1,1,hold-still,{number}.json\n")
        (folder / "broken.pdb").write_bytes(BENT.read_bytes()[:20000])  # cut short before its first atom
        (folder / "empty.pdb").touch()
        for place, name in ((4, "broken"), (11, "empty")):
            rows.insert(place, f"{name}.pdb,fixed_{name}.pdb,A:45-56,no,1,1,hold-still,{name}.json\n")
        (folder / "jobs.csv").write_text("input,output,loop,energy,streams,rounds,predictor,report\n" + "".join(rows))
    before = killed_after(10, "repair", str(tmp_path / "killed" / "jobs.csv"), workers="1")
    assert 10 <= len(before) < 20
    found = gf.batch("repair", tmp_path / "killed" / "jobs.csv", workers=8)
    assert found == gf.batch("repair", tmp_path / "whole" / "jobs.csv", workers=2)
    told = {row["input"]: row for row in found}
    assert len(told) == 20 and {name for name, row in told.items() if row["status"] == "error"} == {
        "broken.pdb", "empty.pdb"
    }  # fmt: skip
    assert made(tmp_path / "killed") == made(tmp_path / "whole")
    for name in told.keys() - {"broken.pdb", "empty.pdb"}:
        assert (tmp_path / "whole" / f"fixed_{name}").read_bytes() != (tmp_path / "whole" / name).read_bytes()


def run_again(folder: Path, rows: tuple[str, ...], worker: str) -> list[str]:
    """Outputs of the jobs that were run."""
    ran: list[str] = []

    def tell(done: int, total: int, row: dict[str, object] | None) -> None:
        assert total == len(rows) and done <= total
        ran.extend([] if row is None else [str(row["output"])])

    gf.batch("constrain", table(folder, rows), scheduler=worker, progress=tell)
    return sorted(ran)


def test_only_what_is_missing_or_changed_is_run_again(reference: Path, one_worker: str, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    shutil.copytree(reference, folder)
    assert run_again(folder, ROWS, one_worker) == ["b.pdb", "d.pdb"]  # their input may have been mended
    (folder / "c.pdb").unlink()
    (folder / "f.pdb").write_text("cut sh")
    (folder / ".f.pdb.x.part").touch()
    with open(folder / "jobs.results.jsonl", "a") as file:
        file.write('{"row": 2, "inp')  # as a kill leaves it
    longer = ROWS[4].replace("64", "65")
    moved = (ROWS[2], ROWS[0], longer, ROWS[5])
    assert run_again(folder, moved, one_worker) == ["c.pdb", "e.pdb.gz", "f.pdb"]
    assert [(row["row"], row["output"]) for row in recorded(folder)] == [
        (2, "c.pdb"), (3, "a.pdb"), (4, "e.pdb.gz"), (5, "f.pdb"),
    ]  # fmt: skip
    for name in ("c.pdb", "f.pdb"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes()
    assert not list(folder.glob(".*"))
    (folder / "a.json").unlink()
    assert run_again(folder, moved, one_worker) == ["a.pdb"]


def test_nothing_left_to_do_starts_nothing(tmp_path: Path, one_worker: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = table(tmp_path, ROWS[:1])
    assert main(["batch", "constrain", jobs, "--scheduler", one_worker]) == 0
    assert main(["batch", "constrain", jobs, "--scheduler", "tcp://127.0.0.1:1"]) == 0
    assert capsys.readouterr().err.count("1 job, 1 passed") == 2


def test_repair(tmp_path: Path, one_worker: str) -> None:
    shutil.copy(BENT, tmp_path / "bent.pdb")
    (tmp_path / "jobs.csv").write_text(
        "Input,Output,Loop,Build,Energy,Streams,Rounds,Predictor,Repack-Shell\n"
        "bent.pdb,still.pdb,A:30-32,,no,1,1,,\n"
        f"bent.pdb,moved.pdb,{LOOP},,no,1,1,hold-still,0\n"
        "bent.pdb,built.pdb,,A:45-56,no,1,1,,\n"
    )
    rows = gf.batch("repair", tmp_path / "jobs.csv", scheduler=one_worker, results=tmp_path / "table.csv")
    assert [row["status"] for row in rows][::2] == ["failed audit", "error"]
    assert (tmp_path / "still.pdb").read_bytes() == BENT.read_bytes()
    assert (tmp_path / "moved.pdb").exists() and not (tmp_path / "built.pdb").exists()
    assert (tmp_path / "table.jsonl").exists()


def test_jobs_use_the_force_field_of_their_row(tmp_path: Path, one_worker: str) -> None:
    """An empty cell is the default; the energy is that of the command with the same force field."""
    (tmp_path / "jobs.csv").write_text(
        "sequence,output,contact,steps,report,force-field\n"
        "AEGKTWYN,a.pdb,A:1-A:8<7.0,2,a.json,amber19\n"
        "AEGKTWYN,b.pdb,A:1-A:8<7.0,2,b.json,\n"
    )
    rows = gf.batch("constrain", tmp_path / "jobs.csv", scheduler=one_worker)
    for row, name in zip(rows, ("amber19", "amber14"), strict=True):
        report = json.loads((tmp_path / row["output"]).with_suffix(".json").read_text())
        assert report["options"]["force_field"] == name
        assert report["after"]["force_field"] == FORCE_FIELDS[name].label
        result = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<7.0"], steps=2, force_field=name)
        assert row["energy_kj_mol_after"] == result.report["after"]["energy_kj_mol"]


def test_one_job_six_times_next_to_a_thread_that_draws(tmp_path: Path, one_worker: str) -> None:
    """Hydrogens start where the seed says, so energies and files are those of `repair`."""
    peptide = gf.constrain(sequence="GSWTYENGKWSA", contacts=["A:3-A:9<6.0"], energy=False, steps=40)
    (tmp_path / "in.pdb").write_bytes(peptide.content)
    alone = gf.repair(tmp_path / "in.pdb", "A:5-7", rounds=1, streams=1, predictor="hold-still", seed=3, name="in.pdb")
    rows = [f"in.pdb,out{k}.pdb,A:5-7,1,1,hold-still,3\n" for k in range(6)]
    (tmp_path / "jobs.csv").write_text("input,output,loop,streams,rounds,predictor,seed\n" + "".join(rows))
    with other_draws():
        results = gf.batch("repair", tmp_path / "jobs.csv", scheduler=one_worker)
    for when in ("before", "after"):
        energy = alone.report[when]["energy_kj_mol"]
        assert [row[f"energy_kj_mol_{when}"] for row in results] == [energy] * 6
    assert {(tmp_path / f"out{k}.pdb").read_bytes() for k in range(6)} == {alone.content}


@pytest.mark.slow
def test_one_moving_job_six_times_by_two_workers(tmp_path: Path) -> None:
    peptide = gf.constrain(sequence="GSWTYENGKWSA", contacts=["A:3-A:9<6.0"], energy=False, steps=40)
    (tmp_path / "in.pdb").write_bytes(peptide.content)
    alone = gf.repair(tmp_path / "in.pdb", "A:5-8", rounds=1, streams=1, seed=3, name="in.pdb")
    assert alone.report["moved"]["max_displacement_angstrom"] > 1.0
    rows = [f"in.pdb,out{k}.pdb,A:5-8,1,1,3\n" for k in range(6)]
    (tmp_path / "jobs.csv").write_text("input,output,loop,streams,rounds,seed\n" + "".join(rows))
    gf.batch("repair", tmp_path / "jobs.csv", workers=2)
    assert {(tmp_path / f"out{k}.pdb").read_bytes() for k in range(6)} == {alone.content}


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("repair", "input,output,lop\na.pdb,o.pdb,A:1-2\n", ("row 1, column lop:", "no such column")),
        ("repair", "input;output;loop\na.pdb;o.pdb;A:1-2\n", ("row 1", "commas")),
        ("repair", "input,loop\na.pdb,A:1-2\n", ("row 1, column output:", "missing")),
        ("repair", "input,output,loop,loop\na.pdb,o.pdb,A:1-2,\n", ("row 1, column loop:", "twice")),
        ("repair", "input,output,loop\na.pdb,o.pdb,A:1-2\na.pdb,b.pdb\n", ("row 3, column loop:", "2 cells")),
        ("repair", "input,output,loop\na.pdb,o.pdb,A:1-2,A:7\n", ("row 2, column 4 (after loop):", "4 cells")),
        ("repair", 'input,output,loop\na.pdb,o.pdb,"A:1-2\n', ("row 2", "quotes")),
        ("repair", "input,output,loop\n\n,,\na.pdb,,A:1-2\n", ("row 4, column output:", "empty")),
        ("repair", "input,output,loop\na.pdb,-,A:1-2\n", ("row 2, column output: '-'",)),
        ("repair", "input,output,loop,seed\na.pdb,o.pdb,A:1-2,x\n", ("row 2, column seed: 'x'", "whole number")),
        ("repair", "input,output,loop,streams\na.pdb,o.pdb,A:1-2,0\n", ("row 2, column streams:", "1 to 256")),
        ("repair", "input,output,loop,budget\na.pdb,o.pdb,A:1-2,nan\n", ("row 2, column budget:",)),
        ("repair", "input,output,auto\na.pdb,o.pdb,perhaps\n", ("row 2, column auto:", "yes or no")),
        ("repair", "input,output,auto\na.pdb,o.pdb,no\n", ("row 2, column loop:", "one of loop, build, auto")),
        ("repair", "input,output,auto\na,no/o.pdb,yes\n", ("row 2, column output:", "no folder")),
        ("repair", "input,output,auto,trajectory\na,o.pdb,yes,t.nc\n", ("row 2, column trajectory:", ".dcd")),
        ("repair", "input,output,auto\na,o.pdb,yes\nb,./o.pdb,yes\n", ("row 3, column output:", "row 2, column outp")),
        ("repair", "input,output,auto,report\na,o.pdb,yes,o.pdb\n", ("row 2, column report:", "row 2, column output")),
        ("repair", "input,output,loop,models\na,o.pdb,A:1-2,2\nb,o.2.pdb,A:1-2,\n", ("row 3", "row 2, column models")),
        ("repair", "input,output,auto\na,o.pdb,yes\no.pdb,b.pdb,yes\n", ("row 2, column output:", "row 3, column inp")),
        ("repair", "input,output,auto\na,jobs.results.csv,yes\n", ("row 2, column output:", "batch itself")),
        ("constrain", "sequence,output,contact\nAEG,o.pdb,\n", ("row 2, column contact:", "empty")),
        ("constrain", "input,sequence,output,contact\na,AEG,o,A:1-A:3<6\n", ("column sequence:", "input and sequence")),
        ("constrain", "output,contact\no.pdb,A:1-A:3<6\n", ("row 2, column input:", "one of input, sequence")),
        ("constrain", "input,output,contact,start\na,o.pdb,A:1-A:3<6,prior\n", ("row 2, column start:", "sequence")),
        ("constrain", "sequence,output,contact,steps\nAEG,o.pdb,A:1-A:3<6,1.5\n", ("row 2, column steps:", "whole")),
        ("constrain", "sequence,output,contact,force_field\nAEG,o.pdb,A:1-A:3<6,charmm\n",
         ("row 2, column force_field: 'charmm'", "amber14, amber19 or amber99sbildn")),
        ("repair", "input,output,loop\n", ("no jobs",)),
        ("repair", "", ("no jobs",)),
        ("repair", "input,output,loop\n\xff\n", ("UTF-8",)),
    ],
)  # fmt: skip
def test_a_wrong_table_is_reported_before_anything_runs(
    command: str, text: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "jobs.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(JobsError) as raised:
        gf.batch(command, tmp_path / "jobs.csv", scheduler="tcp://127.0.0.1:1")
    said = str(raised.value)
    assert "\n" not in said and "expected" in said
    for word in ("jobs.csv", *words):
        assert word in said
    assert [p.name for p in tmp_path.iterdir()] == ["jobs.csv"]


def test_a_mistake_in_a_table_is_one_line_and_status_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = table(tmp_path, (*ROWS[:1], ROWS[2].replace(",3,", ",three,")))
    assert main(["batch", "constrain", jobs, "--workers", "1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"geofold: {jobs}, row 3, column seed: 'three'; expected a whole number")
    assert said.count("\n") == 1 and sorted(p.name for p in tmp_path.iterdir()) == ["jobs.csv", "junk.pdb"]


def test_a_spreadsheet_s_mark_and_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_bytes("\ufeffInput,Output,Auto\r\na b.pdb,ö.pdb,Yes\r\n,,\r\n".encode())
    (job,) = batches.read_jobs("repair", str(tmp_path / "jobs.csv"))
    assert job.cells == {"input": "a b.pdb", "output": "ö.pdb", "auto": True} and job.row == 2


def test_an_internal_error_is_reported_in_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geofold.app import api

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of\nours")

    monkeypatch.setattr(api, "constrain", broken)
    row = batches.run_job(batches.read_jobs("constrain", table(tmp_path))[0])
    assert (row["status"], row["message"]) == ("error", "unforeseen ZeroDivisionError: of ours")


@pytest.mark.parametrize("command", COLUMNS)
def test_help_names_every_column(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["batch", command, "--help"]) == 0
    said = capsys.readouterr().out.split()
    assert set(COLUMNS[command]) <= set(said)


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("loop", "45-56", "not a residue range"),
        ("loop", "A:56-45", "runs backwards"),
        ("loop", "A:45-56=GSW", "not a residue range"),
        ("build", "A:45-56=", "without a sequence"),
        ("build", "A:45-56=G1", "letters out of"),
        ("view", "page.txt", "ending in .html"),
    ],
)
def test_a_cell_that_no_job_could_use_stops_the_batch(tmp_path, capsys, column, cell, said):
    table = tmp_path / "jobs.csv"
    others = {"loop": "A:7-10", column: cell} if column != "build" else {column: cell}
    table.write_text(f"input,output,{','.join(others)}\n1ubi.pdb,out.pdb,{','.join(others.values())}\n")
    assert main(["batch", "repair", str(table)]) == 2
    shown = capsys.readouterr().err
    assert said in shown and f"row 2, column {column}" in shown and shown.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.csv"]

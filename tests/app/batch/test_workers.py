"""Who works on a batch, and what becomes of it when nobody can or somebody is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from app_cases import ROOT
from batch_cases import ROWS, recorded, table

import geofold as gf
from geofold.app.batch.workers import Workers
from geofold.cli import main
from geofold.errors import JobsError, OptionError, WorkersError

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")


def test_options_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = table(tmp_path)
    for options, word in (
        ({"workers": 0}, "0 workers"), ({"workers": 1, "scheduler": "tcp://a:1"}, "--scheduler and --workers"),
        ({"slurm": True}, "--slurm without"), ({"sbatch": ("partition=a",)}, "--sbatch without"),
        ({"results": "r.json", "workers": 1}, "ends in .csv"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=word):
            gf.batch("constrain", jobs, **options)
    with pytest.raises(OptionError, match="repair or constrain"):
        gf.batch("check", jobs)
    with pytest.raises(JobsError, match="No such file"):
        gf.batch("repair", tmp_path / "none.csv", workers=1)
    monkeypatch.setattr("geofold.app.batch.workers.PATIENCE", 0.5)
    with pytest.raises(WorkersError, match="no dask scheduler answers at tcp://127"):
        gf.batch("constrain", jobs, scheduler="tcp://127.0.0.1:1")


def test_without_the_extra_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["batch", "constrain", table(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "'geofold[cluster]'" in said and said.count("\n") == 1


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workers, "started", interrupted)
    assert main(["batch", "constrain", table(tmp_path), "--workers", "1"]) == 130
    assert "to resume" in capsys.readouterr().err


def test_a_job_that_takes_its_worker_with_it_stops_no_other() -> None:
    asked = Workers(1, None, False, "", "", ())
    with asked.started(3) as crew:
        came = dict(crew.run(eval, ["1 + 1", "__import__('os')._exit(1)", "2 + 2"]))
    assert came.pop("__import__('os')._exit(1)").__class__.__name__ == "KilledWorker"
    assert came == {"1 + 1": 2, "2 + 2": 4}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for sbatch, which keeps what it was given and knows the partition called short."""
    (tmp_path / "sbatch").write_text(
        f"""#!/bin/sh
cat $([ "$1" = --test-only ] || echo "$1") > {tmp_path}/script.$$
grep -q partition=short {tmp_path}/script.$$ || {{ echo "sbatch: error: Invalid partition" >&2; exit 1; }}
[ "$1" = --test-only ] || mv {tmp_path}/script.$$ {tmp_path}/script
echo Submitted batch job 1
"""
    )
    (tmp_path / "scancel").write_text("#!/bin/sh\n")
    for name in ("sbatch", "scancel"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "script"


def test_what_slurm_is_asked(slurm: Path) -> None:
    asked = Workers(1, None, True, "3GB", "00:20:00", ("partition=short",))
    asked.require()
    with asked.started(5):
        give_up = time.monotonic() + 30
        while not slurm.exists() and time.monotonic() < give_up:
            time.sleep(0.02)
    script = slurm.read_text()
    for line in ("#SBATCH --partition=short", "#SBATCH -t 00:20:00", "--nthreads 1", "#SBATCH --cpus-per-task=1"):
        assert line in script


def test_options_that_slurm_refuses_are_reported(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for memory, partition, word in (("3GB", "long", "Invalid partition"), ("much", "short", "--memory much")):
        asked = Workers(1, None, True, memory, "00:20:00", (f"--partition={partition}",))
        with pytest.raises((WorkersError, OptionError), match=word), asked.started(5):
            pass
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OptionError, match="without sbatch"):
        Workers(1, None, True, "3GB", "00:20:00", ()).require()


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_without_a_word(tmp_path: Path) -> None:
    jobs = table(tmp_path, tuple(ROWS[0].replace("a.", f"{k}.") for k in range(100)))
    line = [sys.executable, "-m", "geofold", "batch", "constrain", jobs, "--workers", "2"]
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        while not recorded(tmp_path) and run.poll() is None:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        said = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert said == "geofold: interrupted; run the same command again to resume\n"

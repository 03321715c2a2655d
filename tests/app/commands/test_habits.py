"""What people expect of any command line: -h, --version, --quiet, --json, a status for scripts, helpful advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import geofold
from geofold.app.commands import doctor
from geofold.app.report.chain_breaks import breaks, expand_builds
from geofold.app.report.check_text import check_text, find_faults
from geofold.cli import main
from geofold.errors import BuildError
from geofold.molecule.io.read import read

STRUCTURES = Path(__file__).parents[3] / "structures"
BENT, NATIVE = (str(STRUCTURES / name) for name in ("1ubi_bent.pdb", "1ubi.pdb"))
COMMANDS = ["check", "repair", "constrain", "view", "batch", "doctor", "maze", "bench", "train", "data"]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["batch", "repair"], ["train", "judge"]])
def test_h_is_help(command, capsys):
    assert main([*command, "-h"]) == 0
    short = capsys.readouterr().out
    assert main([*command, "--help"]) == 0
    assert capsys.readouterr().out == short and "Usage: " in short


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"geofold {geofold.__version__}\n"


def test_help_lists_daily_commands_before_the_others(capsys):
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    places = [next(k for k, line in enumerate(lines) if line.startswith(f"  {name} ")) for name in COMMANDS]
    assert max(places[:4]) < min(places[5:])


def test_doctor_lists_packages_and_names_what_is_missing(capsys, monkeypatch):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert geofold.__version__ in text and "openmm" in text and "bcif" in text
    monkeypatch.setattr(doctor, "REQUIRED", ("numpy", "no-such-package"))
    monkeypatch.setattr(doctor, "EXTRAS", {"maze": (("no_such_module",), "the maze")})
    assert main(["doctor"]) == 1
    shown = capsys.readouterr()
    assert "pip install 'geofold[maze]'" in shown.out and "no-such-package missing" in shown.err


def test_check_has_a_status_for_scripts(capsys):
    assert main(["check", BENT, "--no-energy", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["check", BENT, "--no-energy", "--strict", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert find_faults(report) == ["severe overlaps", "Ramachandran outliers", "anomalous segments"]
    clean = report | {
        "chain_breaks": [],
        "chain_ends": [],
        "trouble": {"stretches": []},
        "before": {"severe_overlaps": 0, "ramachandran": {"outliers": 0}},
    }
    assert find_faults(clean) == []


def test_repair_prints_its_report_as_json_or_nothing(tmp_path, capsys):
    arguments = ["repair", NATIVE, "--loop", "A:45-49", "--no-energy", "--rounds", "1", "--streams", "1"]
    assert main([*arguments, "-o", str(tmp_path / "a.pdb"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loops"] == ["A:45-49"] and report["audit"]["passed"]
    assert main([*arguments, "-o", str(tmp_path / "b.pdb"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "a.pdb").read_bytes() == (tmp_path / "b.pdb").read_bytes()


@pytest.mark.parametrize("code", ["1ubi", "4HHB", "pdb_00001ubi"])
def test_the_code_of_an_entry_gets_advice(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", code]) == 2
    assert f"https://files.rcsb.org/download/{code.lower()}.cif" in capsys.readouterr().err
    (tmp_path / code).write_bytes(Path(NATIVE).read_bytes())
    assert main(["check", code, "--no-energy", "-q"]) == 0
    assert main(["check", "missing.pdb"]) == 2
    assert "rcsb" not in capsys.readouterr().err


def two_gaps():
    lines = Path(NATIVE).read_text().splitlines()
    gone = {*range(20, 25), *range(50, 54)}
    kept = [line for line in lines if not (line[:4] in ("ATOM", "ANIS") and int(line[22:26]) in gone)]
    return read("\n".join(kept).encode(), name="two_gaps.pdb")


def test_all_gaps_are_built_by_one_argument():
    structure = two_gaps()
    known = [gap["build"] for gap in breaks(structure)]
    assert len(known) == 2 and all(known)
    assert expand_builds(structure, ["all"]) == known
    assert expand_builds(structure, [known[1], "all"]) == known
    assert expand_builds(structure, [known[1]]) == [known[1]]
    report = {
        "input": {"name": "two_gaps.pdb", "amino_acids": 67}, "residues": [], "chain_breaks": breaks(structure),
        "chain_ends": [],
        "before": {}, "prior": None, "trouble": {"stretches": []}, "notes": [],
    }  # fmt: skip
    assert "geofold repair two_gaps.pdb --build all -o OUT" in check_text(report)
    with pytest.raises(BuildError, match="no gap that can be built"):
        expand_builds(read(NATIVE), ["all"])

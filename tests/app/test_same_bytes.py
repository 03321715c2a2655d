"""Same seed, same bytes: every output of a run, at another time of day."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from app_cases import BENT

from geofold.app.report.report_file import without_times
from geofold.app.result import _without_date
from geofold.cli import main

OUTPUTS = ("o.pdb", "t.dcd", "v.html", "r.json")


def made(folder: Path, path: str) -> dict[str, bytes]:
    folder.mkdir()
    o, t, v, r = (str(folder / name) for name in ("o.pdb", path, "v.html", "r.json"))
    asked = ["constrain", "--sequence", "AEGKTWYN", "--contact", "A:1-A:8<9.0", "--no-energy", "--seed", "3"]
    assert main([*asked, "-o", o, "--trajectory", t, "--view", v, "--report", r]) == 0
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("path", ["t.dcd", "t.xtc", "t.pdb", "t.pdb.gz"])
def test_every_output_is_the_same_at_another_time(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = made(tmp_path / "one", path)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")  # mdtraj wrote the local time of day, to the minute
    time.tzset()
    two = made(tmp_path / "two", path)
    monkeypatch.undo()
    time.tzset()
    assert set(one) == set(two) == {"o.pdb", path, "v.html", "r.json"}
    for name in set(one) - {"r.json"}:
        assert one[name] == two[name], name
    reports = [json.loads(outputs["r.json"]) for outputs in (one, two)]
    assert reports[0] != without_times(reports[0]) and "steps" in reports[0]["stream"]
    assert json.dumps(without_times(reports[0])) == json.dumps(without_times(reports[1]))


def test_a_report_of_check_is_the_same_to_the_byte(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        assert main(["check", str(BENT), "--report", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_dcd_of_another_form_is_not_cut_into() -> None:
    with pytest.raises(ValueError, match="another place"):
        _without_date(bytes(400))

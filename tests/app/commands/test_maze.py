"""The maze from the command line: outputs whole or not at all, the same bytes again, mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geofold.cli import main

SHORT = ["--targets", "1", "--steps", "12"]


@pytest.mark.parametrize("name", ["run.gif", "run.html"])
def test_run(tmp_path: Path, capsys, name: str) -> None:
    out, heat, report = (tmp_path / part for part in (name, "heat.png", "report.json"))
    args = ["maze", "--seed", "5", "--move-at", "4", "--drag", "medium", *SHORT, "-o", str(out)]
    assert main([*args, "--heat-map", str(heat), "--report", str(report)]) == 0
    assert "obstacle dragged (medium) before step 4" in capsys.readouterr().err
    found = json.loads(report.read_text())
    assert found["schema"] == "geofold-maze/1" and found["steps"] == 12 and found["dragged_before_step"] == 4
    assert found["targets_reached"] == 0 and found["regret"] is None
    before = out.read_bytes(), heat.read_bytes()
    assert main([*args, "--heat-map", str(heat)]) == 0
    assert (out.read_bytes(), heat.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 3


def test_ground_and_predictor_are_those_asked_for(tmp_path: Path) -> None:
    reports = []
    for options in ([], ["--backbone", "none"], ["--relief", "bowls", "--slope", "3"]):
        report = tmp_path / "report.json"
        assert main(["maze", *options, *SHORT, "-o", str(tmp_path / "run.html"), "--report", str(report)]) == 0
        reports.append(json.loads(report.read_text()))
    usual, plain, steep = reports
    assert (usual["backbone"], usual["relief"], usual["slope"]) == ("selective", "waves", 0.45)
    assert plain["backbone"] == "none" and (steep["relief"], steep["slope"]) == ("bowls", 3.0)
    pages = {part["inner_steps_mean"] for part in reports}
    assert len(pages) > 1


def test_page_needs_no_network(tmp_path: Path) -> None:
    assert main(["maze", "--layout", "corridors", *SHORT, "-o", str(tmp_path / "run.html")]) == 0
    page = (tmp_path / "run.html").read_text()
    assert "http" not in page.replace("http-equiv", "") and "@@" not in page and page.count("data:image/png") == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["-o", "maze.mp4"], ".gif or .html"),
        (["-o", "absent/maze.gif"], "no folder"),
        (["-o", "m.gif", "--heat-map", "h.jpg"], ".png"),
        (["-o", "m.gif", "--report", "./m.gif"], "twice"),
        (["-o", "m.gif", "--seed", "-1"], "seed -1"),
        (["-o", "m.gif", "--layout", "sea"], "corridors"),
        (["-o", "m.gif", "--relief", "sea"], "ridges"),
        (["-o", "m.gif", "--slope", "5"], "0 to 4"),
        (["-o", "m.gif", "--backbone", "hyena"], "selective_window"),
        (["-o", "m.gif", "--targets", "0"], "targets 0"),
        (["-o", "m.gif", "--steps", "0"], "steps 0"),
        (["-o", "m.gif", "--move-at", "256"], "move-at 256"),
        (["-o", "m.gif", "--move-at", "3", "--drag", "far"], "small, medium, large"),
        (["-o", "m.gif", "--drag", "far"], "small, medium, large"),
        ([], "-o"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(tmp_path: Path, monkeypatch, capsys, arguments, word) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["maze", *arguments]) == 2
    told = capsys.readouterr().err
    assert word in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_what_it_draws_with(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    assert main(["maze", "-o", str(tmp_path / "m.gif")]) == 2
    assert "pip install 'geofold[maze]'" in capsys.readouterr().err

"""`repair --auto`: the loop in trouble is found and mended; where nothing is wrong, nothing is touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geofold import resources
from geofold.app import api
from geofold.cli import main
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.perturbation import perturb_loop

FIRST, LAST = 44, 55


@pytest.fixture(scope="module")
def native():
    return read(resources.find("structures", "1ubi.pdb"))


@pytest.fixture(scope="module")
def bent(native, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bent") / "bent.pdb"
    xyz = perturb_loop(native, FIRST, LAST, seed=3, target=3.0)
    path.write_bytes(render(native, xyz, np.abs(xyz - native.xyz).max(1) > 0))
    return path


def test_the_perturbed_loop_is_detected_and_repaired(native, bent: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.pdb", tmp_path / "r.json"
    few = ["--no-energy", "--streams", "4", "--rounds", "3"]
    assert main(["repair", str(bent), "--auto", "-o", str(out), "--report", str(report), *few]) == 0
    told = json.loads(report.read_text())
    assert told["predictor"] in ("loop-search", "loop-denoiser", "hold-still") and len(told["loops"]) == 1
    before, after = read(bent), read(out)
    moved = {int(k) for k in before.residue_of[np.abs(before.xyz - after.xyz).max(1) > 0]}
    assert moved <= set(range(FIRST - 4, LAST + 5)) and len(moved) >= LAST - FIRST
    assert told["before"]["severe_overlaps"] > 5 and told["after"]["severe_overlaps"] == 0


def test_an_intact_protein_is_not_touched(tmp_path: Path, capsys) -> None:
    for name in ("1ubi.pdb", "1ajj.pdb"):
        source, out = resources.find("structures", name), tmp_path / name
        assert main(["repair", str(source), "--auto", "-o", str(out), "--no-energy"]) == 0
        assert out.read_bytes() == Path(str(source)).read_bytes()
        assert "no loop is in trouble" in capsys.readouterr().err


def test_check_names_the_loop(bent: Path, capsys) -> None:
    assert main(["check", str(bent), "--no-energy"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "look wrong" in line)
    first = int(line.split("A:")[1].split("-")[0])
    assert abs(first - (FIRST + 1)) <= 3


def test_a_run_without_a_loop_and_one_with_an_unknown_predictor_are_refused(bent: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.pdb"
    assert main(["repair", str(bent), "-o", str(out)]) == 2
    assert main(["repair", str(bent), "--loop", "A:45-56", "--predictor", "oracle", "-o", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "--auto" in said[0] and "hold-still" in said[1]
    assert not out.exists()


def test_hold_still_is_still_there_and_named(native) -> None:
    xyz = perturb_loop(native, 8, 13, seed=1, target=1.5)
    found = api.repair(replace(native, xyz=xyz), "A:9-14", energy=False, predictor="hold-still", rounds=1)
    assert found.report["predictor"] == "hold-still"

"""Structures next to the one that a page shows: their distance by residue, and what the browser makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from app_cases import STRUCTURES
from viewer_cases import LOOP, Reader, chromium_dom, data_of, full_report, require_library, trajectory, ubiquitin

import geofold as gf
from geofold.app.viewer import page as viewer
from geofold.app.viewer.comparison import compare
from geofold.app.viewer.frames import pdb_text, read_trajectory
from geofold.cli import main
from geofold.errors import InputFileError

LABELS = [f"A:{number}" for number in LOOP]


def last_frame() -> str:
    path = read_trajectory(trajectory(3), frozenset())
    return pdb_text(path, len(path.xyz) - 1)


def test_a_structure_is_at_no_distance_from_itself_and_a_frame_of_its_own_does_not_matter() -> None:
    path, end = read_trajectory(trajectory(3), frozenset()), last_frame()
    turned = "".join(
        f"{line[:30]}{-float(line[38:46]):8.3f}{float(line[30:38]):8.3f}{float(line[46:54]) + 9:8.3f}{line[54:]}\n"
        for line in end.splitlines()
    )
    same, elsewhere = compare(path, LABELS, [("same", end), ("elsewhere", turned)])
    assert list(same.rmsd) == LABELS and same.total < 1e-6
    assert elsewhere.total < 0.01 and elsewhere.colour != same.colour


def test_the_distance_is_that_of_the_backbones() -> None:
    path = read_trajectory(trajectory(3), frozenset())
    (start,) = compare(path, LABELS, [("start", pdb_text(path, 0))])
    shift = np.square(path.xyz[-1] - path.xyz[0]).sum(-1)
    for label in LABELS:
        atoms = [
            k for k, atom in enumerate(path.atoms)
            if f"{atom.residue[0]}:{atom.residue[1]}" == label and atom.name.strip() in ("N", "CA", "C", "O")
        ]  # fmt: skip
        assert start.rmsd[label] == pytest.approx(np.sqrt(shift[atoms].mean()), abs=0.01)
    with pytest.raises(InputFileError, match="no backbone of the residues that moved"):
        compare(path, LABELS, [("other", "".join(x for x in ubiquitin().splitlines(True) if x[22:26] < "  20"))])


def test_the_table_has_a_column_for_each_and_names_are_text() -> None:
    page = viewer.page(trajectory(3), full_report(), title="t", compared=[("<i>native</i>", ubiquitin())])
    words = Reader(page).words
    assert "<i>native</i> (Å)" in words and "<i>native</i>: backbone RMSD" in words and "<i>native</i></th>" not in page
    assert len(data_of(page)["compared"]) == 1


def test_a_result_with_several_models_compares_them(tmp_path: Path) -> None:
    result = gf.repair(STRUCTURES / "1ubi_bent.pdb", "A:45-50", models=2, streams=4, rounds=1, energy=False)
    assert [other["name"] for other in data_of(result.page())["compared"]] == [
        f"model {rank}" for rank in range(2, len(result.others) + 2)
    ]


def test_view_takes_files_to_compare_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "path.pdb"
    path.write_text(trajectory(2))
    arguments = ["view", str(path), "-o", str(tmp_path / "v.html"), "--no-energy", "--compare"]
    main([*arguments, str(STRUCTURES / "1ubi.pdb")])
    assert "1ubi.pdb (Å)" in Reader((tmp_path / "v.html").read_text()).words
    capsys.readouterr()
    assert main([*arguments, str(tmp_path / "none.pdb")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.browser
def test_the_browser_draws_them_and_offers_to_hide_each(tmp_path: Path) -> None:
    require_library()
    page = tmp_path / "page.html"
    others = [("native", ubiquitin()), ("start", pdb_text(read_trajectory(trajectory(3), frozenset()), 0))]
    page.write_text(
        viewer.page(trajectory(3), full_report(), title="t", offline=True, compared=others), encoding="utf-8"
    )
    dom = chromium_dom(page, tmp_path / "profile")
    tools = dom[dom.index('<span id="compared"') : dom.index('<label id="painted"')]
    assert tools.count('type="checkbox"') == 2 and "native" in tools
    assert "The 3D view is missing" not in re.sub(r"<noscript>.*?</noscript>", "", dom).split("<script")[0]

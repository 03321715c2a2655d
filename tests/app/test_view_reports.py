"""`view` of reports and trajectories that anyone may have written: a page, or one line that names the file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from app_cases import BENT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from viewer_cases import full_report, require_library, trajectory

from geofold.app.viewer import library as viewer_library
from geofold.app.viewer import page as viewer
from geofold.cli import main

CONTENT = {
    "a number beyond floats": '{"after": {"energy_kj_mol": 1e400}}',
    "a negative one": '{"before": {"worst": -1e999}}',
    "NaN": '{"after": {"energy_kj_mol": NaN}}',
    "a whole number of 400 digits": '{"contacts": [{"atoms": [{"chain": "A", "resnum": %s}]}]}' % ("9" * 400),
    "one of 5000 digits": '{"seed": %s}' % ("9" * 5000),
    "nested 300 deep": '{"a": ' + "[" * 300 + "]" * 300 + "}",
    "nested 100,000 deep": "[" * 100_000,
    "nested 100,000 deep, closed": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a list": "[1]",
    "no JSON": "{",
    "UTF-16": '{"a": 1}'.encode("utf-16").decode("latin-1"),
    "nothing": "",
}


@pytest.mark.parametrize("content", CONTENT.values(), ids=CONTENT)
def test_a_report_that_cannot_be_used_is_one_line_that_names_it(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "odd.json"
    report.write_text(content, encoding="latin-1")
    status = main(["view", str(BENT), "--report", str(report), "-o", str(tmp_path / "v.html"), "--no-energy"])
    said = capsys.readouterr().err
    if status == 0:
        assert content.startswith(("ÿþ", "þÿ")), "JSON in UTF-16 is read as such"
        return
    assert status == 2 and str(report) in said and said.count("\n") == 1 and len(said) < 1000
    assert not (tmp_path / "v.html").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda text: text.replace(" CA  MET", " CB  MET", 2).replace(" CB  MET", " CA  MET", 1), "unlike"),
        (lambda text: text[: text.rindex("ATOM")] + "ATOM  no columns\n", "no columns"),
    ],
)
def test_a_trajectory_that_cannot_be_played_is_named(
    change: object, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "t.pdb"
    source.write_text(change(trajectory(2)))  # type: ignore[operator]
    assert main(["view", str(source), "-o", str(tmp_path / "v.html"), "--no-energy"]) == 2
    said = capsys.readouterr().err
    assert str(source) in said and said.count("\n") == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_at_any_key_gives_a_page(data: st.DataObject, tmp_path: Path) -> None:
    report = full_report()
    part = report
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[key], dict) or not part[key]:
            break
        part = part[key]
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    (tmp_path / "r.json").write_text(json.dumps(report))
    (tmp_path / "t.pdb").write_text(trajectory(2))
    asked = ["view", str(tmp_path / "t.pdb"), "--report", str(tmp_path / "r.json"), "--no-energy"]
    assert main([*asked, "-o", str(tmp_path / "v.html")]) == 0
    (tmp_path / "v.html").read_bytes().decode("utf-8")


def test_a_linked_page_names_one_version_and_its_hash() -> None:
    text = viewer.page(trajectory(2), {}, title="t")
    data = json.loads(re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.S).group(1))  # type: ignore[union-attr]
    assert re.fullmatch(r"https://cdn\.jsdelivr\.net/npm/3dmol@\d+\.\d+\.\d+/build/3Dmol-min\.js", data["library"])
    assert data["integrity"] == viewer_library.LIBRARY_INTEGRITY
    assert len(base64.b64decode(data["integrity"].removeprefix("sha384-"))) == 48
    assert "script.integrity = data.integrity" in text and "script.crossOrigin = 'anonymous'" in text


def test_the_hash_is_that_of_the_library() -> None:
    require_library()
    path = viewer_library.library_path()
    card = path.parent.parent / "package.json"
    if not card.is_file() or f"@{json.loads(card.read_text())['version']}/" not in viewer_library.LIBRARY_URL:
        pytest.skip("another version of 3Dmol.js")
    digest = base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()
    assert f"sha384-{digest}" == viewer_library.LIBRARY_INTEGRITY


def test_a_report_of_another_structure_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"moved": {"residues": ["B:900"]}}))
    status = main(["view", str(BENT), "--report", str(report), "-o", str(tmp_path / "v.html"), "--no-energy"])
    said = capsys.readouterr().err
    assert status == 2 and "of another structure" in said and "B:900" in said and said.count("\n") == 1
    assert not (tmp_path / "v.html").exists()


def test_a_structure_without_a_report_is_compared_whole(tmp_path: Path) -> None:
    page = tmp_path / "v.html"
    native = str(BENT).replace("_bent", "")
    assert main(["view", str(BENT), "--compare", native, "-o", str(page), "--no-energy"]) == 0
    found = re.search(r"backbone RMSD ([0-9.]+)", page.read_text())
    assert found is not None and 0.5 < float(found[1]) < 3

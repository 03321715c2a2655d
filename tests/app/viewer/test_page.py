"""The viewer page: what it holds, how big it is, and that nothing it shows is run."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from viewer_cases import (
    LOOP,
    Reader,
    chromium_dom,
    contact,
    data_of,
    decode,
    full_report,
    require_library,
    trajectory,
    ubiquitin,
)

import geofold as gf
from geofold.app.viewer import frames
from geofold.app.viewer import page as viewer
from geofold.app.viewer.frames import pdb_text, read_trajectory
from geofold.app.viewer.from_file import page_of_file
from geofold.app.viewer.html import TIMES, embed_json, encode, number
from geofold.app.viewer.library import LIBRARY_FILE, LIBRARY_VARIABLE, library_source
from geofold.errors import CoordinateError, InputFileError, OptionError
from geofold.molecule.io.hybrid36 import encode36
from geofold.molecule.io.read import read

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&@@DATA@@"


@given(arrays(float, (4, 3, 3), elements=st.floats(-900, 9000, width=32)), st.sampled_from([0.01, 0.001]))
def test_encoded_coordinates_come_back_within_half_a_step(xyz: np.ndarray, step: float) -> None:
    back = decode(encode(xyz, step), step).reshape(xyz.shape)
    assert np.abs(back - xyz).max() <= step / 2 + 1e-9


@given(st.text())
def test_embedded_json_is_inert_and_unchanged(text: str) -> None:
    embedded = embed_json({text: [text]})
    assert not set("<>&") & set(embedded)
    assert json.loads(embedded) == {text: [text]}


def test_page_holds_every_frame_of_what_moves_and_the_rest_once() -> None:
    text = trajectory(7)
    data = data_of(viewer.page(text, full_report(), title="t"))
    models = [
        [line for line in model.splitlines() if line.startswith("ATOM")] for model in text.split("ENDMDL\n") if model
    ]
    expected = np.array([[[float(line[at : at + 8]) for at in (30, 38, 46)] for line in lines] for lines in models])
    back = decode(data["frames"], data["step"]).reshape(7, -1, 3)
    assert np.abs(back - expected[:, data["moving"]]).max() <= data["step"] / 2 + 1e-9
    assert data["start"].count("\n") == len(models[0])
    assert {int(models[0][index][22:26]) for index in data["moving"]} == {44, *LOOP, 57}
    assert {int(models[0][index][22:26]) for index in data["edge"]} == {44, 57}


def test_drawn_contacts_point_at_the_named_atoms() -> None:
    data = data_of(viewer.page(trajectory(3), full_report(), title="t", contacts=[contact(50, 4, ">", 3.0)]))
    (drawn,) = data["contacts"]
    lines = data["start"].splitlines()
    named = [lines[index][12:26].split() for index in drawn["atoms"]]
    assert named == [["CA", "LEU", "A", "50"], ["CA", "PHE", "A", "4"]]
    assert (drawn["kind"], drawn["bound"], drawn["row"]) == ("lower", 3.0, 0)


def test_tables_show_the_numbers_of_the_report() -> None:
    words = Reader(viewer.page(trajectory(2), full_report(), title="Loop 45-56")).words
    for shown in (
        "Loop 45-56", "A:47-A:60<15.0", "17.25", "12.95", "\N{MINUS SIGN}1,234.5", "amber14 + OBC2", "Energy (kJ/mol)",
        "Severe overlaps", "Outlier residues", "A:47", "Closure error (Å)", "passes its audit", "hold-still", "A:45-56",
        "Moved max displacement (Å)", "a plain note", "41",
    ):  # fmt: skip
        assert shown in words, shown
    assert "Latency" not in words and "12.3" not in words, "a page is the same for the same seed"


def test_an_energy_of_overlapping_atoms_is_a_power_of_ten() -> None:
    assert number(2949304219.8) == f"2.949{TIMES}10<sup>9</sup>"
    assert number(-2.5e12) == f"\N{MINUS SIGN}2.500{TIMES}10<sup>12</sup>"
    assert number(-1234567.8) == "\N{MINUS SIGN}1,234,567.8"


def test_text_from_files_is_shown_and_never_run() -> None:
    report = full_report()
    report["notes"] = [NASTY]
    report["command"] = report["contacts"][0]["contact"] = report["audit"]["checks"][0]["name"] = NASTY
    report["before"] = {NASTY: NASTY, "ramachandran": {NASTY: [NASTY]}}
    report["moved"]["residues"] = [NASTY]
    report["stream"]["inner_steps_per_residue"] = {NASTY: 3}
    evil = ubiquitin().replace("MET A   1", "<b> A   1").replace("TITLE     ", "TITLE     " + NASTY)
    nasty, plain = Reader(viewer.page(evil, report, title=NASTY)), Reader(viewer.page(evil, full_report(), title="t"))
    assert sorted(set(nasty.tags)) == sorted(set(plain.tags))
    assert nasty.tags.count("script") == plain.tags.count("script") and not nasty.handlers and "img" not in nasty.tags
    assert nasty.scripts[1:] == plain.scripts[1:]
    assert NASTY in nasty.words
    assert "<b> A" in data_of(viewer.page(evil, {}, title="t"))["start"]


@pytest.mark.parametrize("key", sorted(full_report()))
def test_every_report_key_may_be_missing_or_empty(key: str) -> None:
    report = full_report()
    for changed in ({k: v for k, v in report.items() if k != key}, {key: report[key]}, {**report, key: None}):
        assert len(data_of(viewer.page(ubiquitin(), changed, title="t"))["frames"]) == 1


@pytest.mark.parametrize("section", ["before", "after", "audit", "moved", "stream"])
def test_every_inner_report_key_may_be_missing_or_not_a_number(section: str) -> None:
    for key in full_report()[section]:
        for value in (None, float("nan"), {}, []):
            report = full_report()
            report[section][key] = value
            assert "A:45-56" in viewer.page(ubiquitin(), report, title="t")
        report = full_report()
        del report[section][key]
        assert "A:45-56" in viewer.page(ubiquitin(), report, title="t")


def test_single_model_without_report_is_a_page_without_tables() -> None:
    text = viewer.page(ubiquitin(), {}, title="1ubi")
    data = data_of(text)
    assert "<table" not in text and "<aside" not in text
    assert data["start"].count("\n") == 602 and data["moving"] == [] and len(data["frames"]) == 1


def test_contacts_without_atoms_in_the_file_stay_in_the_table_only() -> None:
    strays = [{"contact": "A:1-A:9<6.0"}, contact(3, 999, "<", 6.0), {"contact": "x", "atoms": [{"chain": "A"}, None]}]
    text = viewer.page(trajectory(2), {}, title="t", contacts=strays)
    assert data_of(text)["contacts"] == [] and "A:3-A:999&lt;6.0" in text


def test_inner_steps_colour_the_moved_residues() -> None:
    moved = [("A", number, "") for number in LOOP]
    steps = [float(number) for number in range(len(moved))]
    data = data_of(viewer.page(trajectory(2), {}, title="t", moved=moved, inner_steps=steps))
    assert data["moved"] == {f"A:{number}": step for number, step in zip(LOOP, steps, strict=True)}
    with pytest.raises(OptionError, match="11 inner steps"):
        viewer.page(trajectory(2), {}, title="t", moved=moved, inner_steps=steps[1:])


def protein(residues: int, frames: int, moving: range) -> list[str]:
    """A random coil with eight atoms per residue; those of ``moving`` walk by 0.3 A per frame."""
    rng = np.random.default_rng(0)
    names = (" N  ", " CA ", " C  ", " O  ", " CB ", " CG ", " CD ", " CE ")
    xyz = np.cumsum(rng.normal(0, 1, (residues * len(names), 3)), axis=0)
    walks = np.repeat([number in moving for number in range(1, residues + 1)], len(names))[:, None]
    texts = []
    for _ in range(frames):
        xyz = xyz + walks * rng.normal(0, 0.3, xyz.shape)
        texts.append("".join(
            f"ATOM  {index:5d} {names[index % 8]} LEU A{index // 8 + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}\n"
            for index, (x, y, z) in enumerate(xyz)
        ))  # fmt: skip
    return texts


@pytest.mark.parametrize("moving", [range(100, 113), range(1, 301)], ids=["loop", "everything"])
def test_200_frames_of_300_residues_stay_under_3_megabytes(moving: range) -> None:
    text = viewer.page(protein(300, 200, moving), full_report(), title="t")
    assert len(data_of(text)["frames"]) == 200
    assert len(text.encode()) < (3_000_000 if len(moving) > 100 else 600_000)


def test_water_hydrogens_and_second_conformers_stay_out() -> None:
    line = "ATOM      1 {name:4}{alt}SER A   1    {x:8.3f}   1.000   2.000  1.00  0.00           {el}\n"
    rows = [(" CA ", " ", 0.0, "C"), (" HA ", " ", 1.0, "H"), (" OG ", "A", 2.0, "O"), (" OG ", "B", 3.0, "O")]
    text = "".join(line.format(name=name, alt=alt, x=x, el=el) for name, alt, x, el in rows)
    water = "HETATM    9  O   HOH A   9       9.000   1.000   2.000  1.00  0.00           O\n"
    kept = viewer.read_trajectory(text + water, frozenset())
    assert [atom.name for atom in kept.atoms] == [" CA ", " OG "] and kept.xyz[0, :, 0].tolist() == [0.0, 2.0]
    named = viewer.read_trajectory(text + water, frozenset({(("A", 1, ""), "HA")}))
    assert [atom.name for atom in named.atoms] == [" CA ", " HA ", " OG "]


def test_a_list_of_texts_reads_as_the_models_of_one_text() -> None:
    text = trajectory(4)
    listed = [model for model in text.split("ENDMDL\n") if model]
    assert viewer.page(listed, {}, title="t") == viewer.page(text, {}, title="t")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InputFileError),
        ("REMARK no atoms\n", InputFileError),
        ("ATOM  short\n", InputFileError),
        (trajectory(1).replace("  27.343", "   wrong", 1), CoordinateError),
        (trajectory(1).replace("  27.343", "     nan", 1), CoordinateError),
        (trajectory(1) + trajectory(1).replace("MET A   1", "GLY A   1"), InputFileError),
        (trajectory(1) + ubiquitin()[: ubiquitin().index("ATOM    100")], InputFileError),
    ],
)
def test_files_that_cannot_be_played_say_so_in_one_line(text: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        viewer.page(text, {}, title="t")
    assert "\n" not in str(caught.value)


def test_offline_page_carries_the_library_and_names_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = tmp_path / LIBRARY_FILE
    build.parent.mkdir(parents=True)
    build.write_text('var lib = "</script><!--";')
    (build.parent.parent / "LICENSE").write_text("Some licence */ text")
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    text = viewer.page(ubiquitin(), {}, title="t", offline=True)
    carried = Reader(text).scripts[1]
    assert carried.endswith('var lib = "<\\/script><\\!--";') and "Some licence * / text" in carried
    assert not re.search(r"https?://", text)
    monkeypatch.chdir(build.parent)
    assert library_source() == carried
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path / "gone.js"))
    with pytest.raises(OptionError, match=r"gone\.js"):
        viewer.page(ubiquitin(), {}, title="t", offline=True)


def test_notebook_view_has_the_frames_and_the_contact() -> None:
    pytest.importorskip("py3Dmol")
    script = viewer.view(trajectory(3), full_report())._make_html()
    assert script.count("addModelsAsFrames") == 1 and script.count("ENDMDL") == 3 and "animate" in script
    assert script.count("addCylinder") == 1 and viewer.BLUE in script and viewer.ORANGE in script
    assert "addModelsAsFrames" not in viewer.view(ubiquitin())._make_html()


def test_residues_near_what_moved_are_shown_with_their_side_chains() -> None:
    data = data_of(viewer.page(trajectory(3), full_report(), title="t"))
    xyz = end_of(data)
    residue = np.array([line[21:27] for line in data["start"].split("\n") if line])
    inside = np.zeros(len(residue), dtype=bool)
    inside[sorted(set(data["moving"]) - set(data["edge"]))] = True
    apart = np.linalg.norm(xyz[:, None] - xyz[inside][None], axis=-1).min(1)
    near = set(residue[~inside & (apart <= viewer.NEAR)])
    assert near and set(residue[data["beside"]]) == near and not inside[data["beside"]].any()
    assert np.isin(residue, list(near)).sum() == len(data["beside"])  # whole residues
    assert data_of(viewer.page(ubiquitin(), {}, title="t"))["beside"] == []


def test_a_long_trajectory_is_thinned_and_the_page_lists_the_models_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAMES_SHOWN", 4)
    every, few = (data_of(viewer.page(trajectory(count), {}, title="t")) for count in (3, 10))
    assert every["models"] is None and len(every["frames"]) == 3
    assert few["models"] == {"numbers": [1, 4, 7, 10], "of": 10}
    models = trajectory(10).split("ENDMDL\n")
    chosen = "ENDMDL\n".join(models[at] for at in (0, 3, 6, 9))
    assert few["frames"] == data_of(viewer.page(chosen, {}, title="t"))["frames"]


def end_of(data: dict[str, Any]) -> np.ndarray:
    """Coordinates (n_atoms, 3) of the last frame of a page, A."""
    lines = [line for line in data["start"].split("\n") if line]
    xyz = np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in lines])
    xyz[data["moving"]] = decode(data["frames"], data["step"])[-1].reshape(-1, 3)
    return xyz


def test_a_notebook_shows_the_page_itself(tmp_path: Path) -> None:
    pytest.importorskip("py3Dmol")
    path, report = str(tmp_path / "t.pdb"), str(tmp_path / "r.json")
    Path(path).write_text(trajectory(3))
    Path(report).write_text(json.dumps(full_report()))
    shown = gf.view(path, report, energy=False)
    html = shown._repr_html_()
    (frame,) = re.findall(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>', html)
    assert unescape(frame) == shown.page == page_of_file(path, path, report, offline=False, energy=False)
    assert 'id="slider"' in shown.page and repr(shown).startswith("<geofold view")
    assert shown.py3dmol()._make_html().count("addModelsAsFrames") == 1


def test_models_with_hybrid_36_numbers_are_shown() -> None:
    atoms = [line for line in trajectory(1).splitlines(True) if line.startswith("ATOM")]
    numbered = [f"{x[:22]}{encode36(int(x[22:26]) + 9960, 4)}{x[26:]}" for x in atoms]
    text = "".join(f"MODEL {k:8d}\n{''.join(numbered)}ENDMDL\n" for k in (1, 2))
    assert "A000" in text
    found = read_trajectory(text, frozenset())
    assert found.models == 2 and {atom.residue[1] for atom in found.atoms} >= {9999, 10000}
    again = read(pdb_text(found, 1).encode())
    assert np.allclose(10 * again.xyz, found.xyz[1], atol=1e-9)
    assert "data" in page_of_file(text.encode(), "t.pdb", None, offline=False, energy=False)


@pytest.mark.browser
def test_in_a_browser_the_page_draws_plays_and_runs_nothing_else(tmp_path: Path) -> None:
    require_library()
    report = full_report()
    report["notes"] = ["</script><script>document.body.dataset.ran='yes'</script>"]
    text = viewer.page(trajectory(5), report, title="t", offline=True)
    # A busy headless browser may stop giving animation frames while its virtual clock runs on; timers it keeps.
    watch = """<script>
      window.requestAnimationFrame = tick => setTimeout(() => tick(performance.now()), 16);
      const seen = new Set(), readout = document.getElementById('readout');
      new MutationObserver(() => seen.add(readout.textContent)).observe(readout, {childList: true});
      document.body.dispatchEvent(new KeyboardEvent('keydown', {key: ' ', bubbles: true}));
      setTimeout(() => { document.body.dataset.seen = [...seen].join('|'); }, 4000);
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", watch), encoding="utf-8")
    dom = chromium_dom(page, tmp_path / "profile")
    assert "<canvas" in dom
    assert 'class="no3d"' not in dom and 'data-ran="yes"' not in dom
    assert re.search(r'data-seen="frame 1 / 5.*frame 5 / 5"', dom)
    assert re.search(r'id="now-0" class="good">12\.9\d<', dom)


@pytest.mark.browser
def test_in_a_browser_a_phone_has_everything_within_its_width(tmp_path: Path) -> None:
    require_library()
    measure = """<script>
      setTimeout(() => {
        const wide = element => element.getBoundingClientRect(), scene = document.getElementById('scene');
        const shown = names => [...document.querySelectorAll(names)].filter(element => element.offsetParent);
        const out = shown('button, select, input, h2, svg, table, #scene').filter(
          element => !element.closest('.scroll') && wide(element).right > innerWidth + 1);
        const small = shown('button, select').filter(element => element.offsetHeight < 40);
        parent.postMessage({
          across: document.documentElement.scrollWidth, inside: innerWidth, scene: wide(scene).height,
          out: out.map(element => element.id || element.tagName), small: small.map(element => element.id),
          slider: document.getElementById('slider').offsetWidth}, '*');
      }, 2500);
    </script></body>"""
    page, phone = tmp_path / "page.html", tmp_path / "phone.html"
    text = viewer.page(trajectory(3), full_report(), title="A" * 60, offline=True, energy=True)
    page.write_text(text.replace("</body>", measure), encoding="utf-8")
    phone.write_text(
        "<script>onmessage = told => { document.documentElement.dataset.told = JSON.stringify(told.data); }</script>"
        f'<iframe src="{page.as_uri()}" width="375" height="667" style="border:0"></iframe>', encoding="utf-8",
    )  # fmt: skip
    found = re.search(r'data-told="([^"]*)"', chromium_dom(phone, tmp_path / "profile"))
    assert found is not None
    told = json.loads(unescape(found.group(1)))
    assert told["inside"] == 375 and told["across"] <= 375 and not told["out"] and not told["small"]
    assert told["slider"] >= 80 and told["scene"] > 300


@pytest.mark.browser
def test_in_a_browser_the_words_of_the_tables_are_not_cut_into_letters(tmp_path: Path) -> None:
    report = full_report()
    report["stream"]["inner_steps_per_step"] = [0] * 400
    measure = """<script>
      const cells = [...document.querySelectorAll('tbody th')];
      document.body.dataset.narrow = cells.filter(cell => cell.offsetWidth < 60 || cell.offsetHeight > 90).length;
    </script></body>"""
    page = tmp_path / "page.html"
    text = viewer.page(trajectory(2), report, title="t").replace(viewer.viewer_library.LIBRARY_URL, "file:///gone.js")
    page.write_text(text.replace("</body>", measure), encoding="utf-8")
    dom = chromium_dom(page, tmp_path / "profile")
    assert 'data-narrow="0"' in dom and "Inner steps per step" not in dom


@pytest.mark.browser
def test_in_a_browser_without_the_library_the_tables_stay_and_a_line_says_why(tmp_path: Path) -> None:
    text = viewer.page(trajectory(2), full_report(), title="t").replace(
        viewer.viewer_library.LIBRARY_URL, "file:///gone.js"
    )
    page = tmp_path / "page.html"
    page.write_text(text, encoding="utf-8")
    dom = chromium_dom(page, tmp_path / "profile")
    assert '<body class="no3d">' in dom and "could not be loaded" in dom.split('id="scene"')[0]
    assert "Closure error" in dom

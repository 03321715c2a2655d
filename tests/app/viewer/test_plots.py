"""Plots beside the viewer: they agree with the report, stay small, and follow the frame."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from app_cases import BENT, LOOP, STRUCTURES
from viewer_cases import (
    between,
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
from geofold.app.report.measure import backbone, overlaps, overlaps_along
from geofold.app.report.metrics import measure
from geofold.app.viewer import page as viewer
from geofold.app.viewer.library import LIBRARY_VARIABLE
from geofold.app.viewer.plots import DRAWN, UNDEFINED_ANGLE, contours, depths_shown, energies
from geofold.modelling.outcome import StreamOutcome, inner_steps_per_frame
from geofold.modelling.trajectory import TrajectoryRecorder
from geofold.molecule.energy import ramachandran
from geofold.molecule.energy.amber import FORCE_FIELDS
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.topology.torsion_tree import torsion_tree

FRAMES = 5
LIBRARY_SIZE = 540_000
"""Characters of 3Dmol-min.js 2.5.5."""


@cache
def repaired() -> bytes:
    """The bent loop where a short repair leaves it: the crystal's own has an overlap, this has none."""
    result = gf.repair(BENT, loop=LOOP, energy=False, rounds=1, streams=2, predictor="hold-still")
    assert result.passed
    return result.content


def mended(frames: int = FRAMES) -> str:
    """The bent loop on straight lines to where it belongs."""
    return between(BENT.read_text(), repaired().decode(), frames)


def loop_report(**stream: Any) -> dict[str, Any]:
    report = full_report() | {"loops": [LOOP]}
    report["stream"] |= stream
    return report


def test_the_plots_start_and_end_with_the_numbers_of_the_report() -> None:
    plots = data_of(viewer.page(mended(), loop_report(), title="t"))["plots"]
    for frame, source in ((0, BENT.read_bytes()), (FRAMES - 1, repaired())):
        structure = read(source, name="loop")
        tree = torsion_tree(structure, 44, 55)
        told = measure(structure, [tree], structure.xyz, None)
        assert plots["overlaps"][frame] == told["severe_overlaps"]
        assert len(plots["pairs"][frame]) == min(DRAWN, told["severe_overlaps"])
        worst = decode(plots["clash"], 0.01)[frame].max()
        assert worst == pytest.approx(told["worst_overlap_angstrom"], abs=0.006)
        counts = [plots["verdicts"][frame].count(digit) for digit in "012"]
        assert counts == [told["ramachandran"][name] for name in ("favoured", "allowed", "outliers")]
        marked = [name.split()[0] for name, digit in zip(plots["residues"], plots["verdicts"][frame], strict=True)
                  if digit == "2"]  # fmt: skip
        assert marked == told["ramachandran"]["outlier_residues"]
        angles = backbone(structure, structure.xyz)
        shown = decode(plots["angles"], 1.0)[frame].reshape(-1, 2)
        expected = np.rad2deg(np.stack([angles.phi, angles.psi], 1))[44:56]
        assert np.abs(shown - expected).max() < 0.6
    assert plots["overlaps"][0] > DRAWN and plots["overlaps"][-1] == 0 and "2" in plots["verdicts"][0]


def test_the_pairs_drawn_are_the_worst_and_those_of_the_overlap_function() -> None:
    plots = data_of(viewer.page(mended(2), loop_report(), title="t"))["plots"]
    structure = read(BENT)
    every = overlaps(structure, torsion_tree(structure, 44, 55), structure.xyz)
    found = {(min(i, j), max(i, j)): 10 * size for i, j, size in every}
    sizes = sorted(found.values(), reverse=True)
    assert [size for *_, size in plots["pairs"][0]] == [round(100 * size) for size in sizes[:DRAWN]]
    assert {(i, j) for i, j, _ in plots["pairs"][0]} <= set(found)  # no hydrogens: the atoms of the file


def test_overlaps_along_a_path_are_those_of_each_frame() -> None:
    start, end = read(BENT), read(STRUCTURES / "1ubi.pdb")
    frames = np.stack([(1 - share) * start.xyz + share * end.xyz for share in (0.0, 0.2, 0.6, 1.0)])
    frames[2:, :200] += 0.05  # what does not belong to the loop may move as well
    tree = torsion_tree(start, 44, 55)
    for xyz, found in zip(frames, overlaps_along(start, tree, frames), strict=True):
        alone = overlaps(replace(start, xyz=xyz), tree, xyz)
        size = {(i, j): depth for i, j, depth in alone}
        assert {(i, j): depth for i, j, depth in found} == pytest.approx(size)


def test_the_contours_are_those_that_judge() -> None:
    for path, level in zip(contours(), (0.0005, 0.02), strict=True):
        inside = np.zeros((360, 360), dtype=bool)
        for x, y, width in re.findall(r"M(\d+) ([\d.]+)h(\d+)", path):
            inside[int(359.5 - float(y)), int(x) : int(x) + int(width)] = True
        psi, phi = np.deg2rad(np.argwhere(inside | ~inside).T - 179.5)
        score = ramachandran.percentile(phi, psi, ramachandran.GENERAL).reshape(360, 360)
        assert (inside == (score >= level)).all()


def test_a_residue_without_an_angle_has_no_dot_while_it_lacks_it() -> None:
    torn = "".join(
        line[:30] + f"{float(line[30:38]) + 9 * (int(line[22:26]) == 50):8.3f}" + line[38:] + "\n"
        for line in ubiquitin().splitlines() if line.startswith(("ATOM", "HETATM"))
    )  # fmt: skip
    plots = data_of(viewer.page(between(torn, ubiquitin(), 2), loop_report(), title="t"))["plots"]
    states = zip(plots["residues"], plots["verdicts"][0], strict=True)
    gone = [name.split()[0] for name, digit in states if digit == "3"]
    assert gone == ["A:49", "A:50", "A:51"] and "3" not in plots["verdicts"][1]
    assert (decode(plots["angles"], 1.0)[0].reshape(-1, 2)[4:7] == UNDEFINED_ANGLE).all()


def test_energies_of_frames_differ_as_those_of_the_whole_protein() -> None:
    end = read(repaired(), name="end")
    frames = np.stack([(1 - share) * end.xyz + share * read(STRUCTURES / "1ubi.pdb").xyz for share in (0.3, 0.1, 0.0)])
    found = energies(end, frames, [(44, 55)])
    whole = EnergyModel.of(end, end.conformer_mask)
    assert found is not None and min(found) == 0.0
    for one, other in ((0, 2), (1, 2)):
        told = whole.energy(frames[one]) - whole.energy(frames[other])
        assert found[one] - found[other] == pytest.approx(told, rel=0.1, abs=5.0)


@pytest.mark.parametrize("name", FORCE_FIELDS)
def test_the_page_s_energies_are_those_of_the_run_s_force_field(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    make = EnergyModel.of

    def record(*arguments: Any, **options: Any) -> EnergyModel:
        used.append(options["force_field"].name)
        return make(*arguments, **options)

    monkeypatch.setattr(EnergyModel, "of", record)
    report = loop_report()
    report["after"] |= {"force_field": FORCE_FIELDS[name].label}
    plots = data_of(viewer.page(mended(2), report, title="t", energy=True))["plots"]
    assert used == [name] and None not in plots["energy"] and len(plots["energy"]) == 2


def test_a_protein_that_the_force_field_does_not_know_has_no_energies() -> None:
    structure = read(BENT)
    bare = replace(structure, residues=tuple(replace(r, resname="UNK") for r in structure.residues))
    assert energies(bare, np.stack([bare.xyz, bare.xyz]), [(44, 55)]) is None


def test_a_link_that_a_file_records_does_not_count_as_an_overlap() -> None:
    structure = read(BENT)
    first, other, _ = overlaps(structure, torsion_tree(structure, 44, 55), structure.xyz)[0]
    report = loop_report()
    counts = [
        data_of(viewer.page(mended(2), report, title="t", links=links))["plots"]["overlaps"][0]
        for links in ((), [(first, other)])
    ]
    assert counts[1] < counts[0]


@pytest.mark.parametrize(
    ("told", "frames", "shown"),
    [
        ([0, 2, None], 3, [0, 2, None]),
        ([1] * 401, 200, None),
        ([0, 2], 3, None),
        ([1] * 401, 400, None),
        ([None, None], 2, None),
        ("nonsense", 2, None),
        ([], 2, None),
    ],
)
def test_k_of_the_frames_shown(told: Any, frames: int, shown: list[float | None] | None) -> None:
    found = depths_shown({"stream": {"inner_steps_per_frame": told}}, frames)
    if frames == 200:
        assert found is not None and len(found) == 200 and sum(found) == 401 and set(found) == {1, 2, 3}
    else:
        assert found == shown


def test_k_of_each_frame_adds_up_to_k_of_all_steps() -> None:
    result = gf.constrain(sequence="AEGKTWYN", contacts=["A:2-A:6<6.0"], energy=False)
    stream = result.report["stream"]
    assert len(stream["inner_steps_per_frame"]) == len(result.frames)
    assert sum(stream["inner_steps_per_frame"]) == stream["inner_steps"] > 0
    assert data_of(result.page())["plots"]["depth"] == stream["inner_steps_per_frame"]


def test_k_of_a_path_whose_first_frames_are_gone_is_that_of_those_kept() -> None:
    steering = gf.steer(sequence="AEGKTWYN", contacts=["A:2-A:6<6.0"], keep=5)
    spent = [next(steering).inner_steps for _ in range(12)]
    result = steering.result(energy=False)
    assert len(result.frames) == 5 and result.report["stream"]["inner_steps_per_frame"] == [0, *spent[-4:]]


def test_steps_without_motion_count_for_the_current_frame() -> None:
    class Info:
        inner_steps, accepted, milliseconds = torch.tensor([2]), torch.tensor([False]), 1.0

    path = TrajectoryRecorder()
    for place, info in ((0.0, None), (0.0, Info()), (1.0, Info()), (1.0, Info()), (2.0, Info())):
        path.add(torch.full((3, 3), place), info, 0, 0)  # type: ignore[arg-type]
    assert path.depth == [2, 4, 2] and sum(path.trace) == 8
    tree = torsion_tree(read(BENT), 44, 55)
    one = StreamOutcome(tree, np.arange(3), np.array(path.frames), "done", "x", depth=tuple(path.depth))
    led = replace(one, frames=np.concatenate([one.frames, one.frames]))  # frames before those that were counted
    assert inner_steps_per_frame([one, one]) == [2, 4, 4, 4, 2]
    assert inner_steps_per_frame([led]) == [0, None, None, 2, 4, 2] and inner_steps_per_frame([]) == [0]


@pytest.mark.parametrize("text", ["one model", "a metal", "atoms that no template knows"])
def test_what_has_no_torsions_is_a_page_all_the_same(text: str) -> None:
    metal = "HETATM    1 ZN    ZN A   1    {:8.3f}   0.000   0.000  1.00  0.00          ZN\n"
    rows = [metal.format(place) for place in (0.0, 1.0)]
    unknown = trajectory(2).replace(" CG ", " XX ").replace(" CD ", " YY ")
    shown = {"one model": ubiquitin(), "a metal": rows, "atoms that no template knows": unknown}
    page = viewer.page(shown[text], {}, title="t")
    assert text != "one model" or data_of(page)["plots"] is None


def test_200_frames_of_a_whole_protein_on_the_move_stay_under_3_megabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "3Dmol-min.js"
    library.write_text(f"/*{'x' * LIBRARY_SIZE}*/")
    monkeypatch.setenv(LIBRARY_VARIABLE, str(library))
    folded = (STRUCTURES / "1pwc.pdb").read_text()
    lines = [line + "\n" for line in folded.splitlines() if line.startswith("ATOM") and int(line[22:26]) < 303]
    swung = between("".join(lines), "".join(lines), 200, spin=0.03)
    text = viewer.page(swung, {}, title="t", offline=True)
    assert "x" * LIBRARY_SIZE in text
    plots = data_of(text)["plots"]
    assert len(plots["residues"]) >= 290 and len(plots["angles"]) == 200 and max(plots["overlaps"]) > DRAWN
    assert len(text.encode()) < 3_000_000


def test_the_library_is_in_an_offline_page_and_in_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "3Dmol-min.js"
    library.write_text("/* the library */")
    monkeypatch.setenv(LIBRARY_VARIABLE, str(library))
    for offline in (True, False):
        text = viewer.page(BENT.read_text(), {}, title="t", offline=offline)
        assert ("/* the library */" in text) == offline


WATCH = """<script>
  window.errors = [];
  window.addEventListener('error', event => window.errors.push(event.message || 'a resource'), false);
  const complain = console.error;
  console.error = (...words) => { window.errors.push(words.join(' ')); complain(...words); };
</script>"""
DRIVE = """<script>
  const get = id => document.getElementById(id), seen = [];
  const look = () => ({
    readout: get('readout').textContent, dots: document.querySelectorAll('.dot').length,
    outliers: [...document.querySelectorAll('.dot.outlier')].map(dot => dot.dataset.residue),
    places: [...document.querySelectorAll('.dot')].map(dot => dot.getAttribute('transform')).join(),
    shapes: new Set([...document.querySelectorAll('.dot path')].map(dot => dot.getAttribute('d'))).size,
    trail: (get('trail').getAttribute('d').match(/L/g) || []).length,
    cursors: [...document.querySelectorAll('.cursor')].map(line => line.getAttribute('transform')),
    values: [...document.querySelectorAll('#plots .value, #plots b')].map(cell => cell.textContent),
    clashes: get('scene').dataset.clashes, now: get('now-0').textContent, ...painted(),
  });
  const painted = () => {  // what 3Dmol.js was given to draw of the moving part: ribbon colours, and where atoms are
    if (!window.shown) return {};
    const atoms = window.shown.getModel(1).selectedAtoms({});
    return {
      colours: [...new Set(atoms.map(atom => atom.style.cartoon.colorfunc(atom)))].sort(),
      at: atoms.map(atom => [atom.x, atom.y, atom.z]), picture: window.shown.pngURI(),
    };
  };
  const slide = at => { get('slider').value = at; get('slider').dispatchEvent(new Event('input')); seen.push(look()); };
  setTimeout(() => {
    [0, 2, 4].forEach(slide);
    const box = get('overlaps').getBoundingClientRect();
    const middle = {clientX: box.left + box.width * (34 + 258 / 2) / 298, clientY: box.top + 20, button: 0, buttons: 1};
    get('overlaps').dispatchEvent(new PointerEvent('pointerdown', middle));
    seen.push(look());
    document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
    seen.push(look());
    const paints = [...get('paint').options].map(option => option.value);
    const colours = {}, pictures = {};
    const legends = Object.fromEntries(paints.map(paint => {
      get('paint').value = paint;
      get('paint').dispatchEvent(new Event('change'));
      colours[paint] = [0, 2, 4].map(at => { slide(at); return seen.pop(); }).map(look => look.colours);
      return [paint, get('legend').innerText];
    }));
    const whole = () => window.shown ? window.shown.getModel(0).selectedAtoms({}) : [];
    const sticks = () => whole().filter(atom => atom.style.stick).length;
    const beside = [sticks()];
    get('sticks').click();
    beside.push(sticks());
    const bounds = document.querySelectorAll('.bound').length;
    const told = {seen, errors: window.errors, bounds, legends, paints, colours, beside};
    document.body.dataset.seen = JSON.stringify(told);
  }, 2500);
</script></body>"""


def driven(page: str, tmp_path: Path) -> dict[str, Any]:
    """What the page shows at frames 1, 3, 5, after a click in the middle of a curve, and after a key."""
    page = page.replace("viewer = window.$3Dmol", "viewer = window.shown = window.$3Dmol")  # so that it can be asked
    (tmp_path / "page.html").write_text(page.replace("<style>", WATCH + "<style>").replace("</body>", DRIVE), "utf-8")
    dom = chromium_dom(tmp_path / "page.html", tmp_path / "profile")
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found is not None
    return json.loads(found.group(1).replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">"))


def followed(seen: list[dict[str, Any]]) -> None:
    assert [look["readout"] for look in seen] == [f"frame {at} / 5" for at in (1, 3, 5, 3, 4)]
    assert all(look["dots"] == 12 for look in seen)
    assert seen[0]["outliers"] == ["A:52 ASP"] and seen[2]["outliers"] == []
    assert seen[0]["shapes"] == 3
    assert len({look["places"] for look in seen}) == 4
    assert {**seen[1], "picture": None} == {**seen[3], "picture": None}
    assert seen[0]["trail"] == 0 < seen[1]["trail"] < seen[2]["trail"]
    assert [look["cursors"] for look in seen[:3]] == [[f"translate({x} 0)"] * 3 for x in ("34.0", "163.0", "292.0")]
    assert [look["values"][1] for look in seen[:3:2]] == ["98", "0"]
    assert [look["values"][2] for look in seen[:3]] == ["0", "3", "not counted"]
    assert seen[0]["values"][0] == f"{float(seen[0]['now']):.1f} Å" and seen[0]["now"] != seen[2]["now"]


def pictured() -> dict[str, Any]:
    return loop_report(inner_steps_per_frame=[0, 1, 3, 2, None]) | {"contacts": [contact(47, 60, "<", 15.0)]}


@pytest.mark.browser
def test_in_a_browser_the_plots_and_the_clashes_follow_the_slider(tmp_path: Path) -> None:
    require_library()
    page = viewer.page(mended(), pictured(), title="t", offline=True)
    told = driven(page, tmp_path)
    assert told["errors"] == [] and told["bounds"] == 1
    followed(told["seen"])
    assert [look["clashes"] for look in told["seen"][:3:2]] == [str(DRAWN), "0"]
    legend = {paint: " ".join(text.split()) for paint, text in told["legends"].items()}
    assert f"severe overlap (worst {DRAWN})" in legend["clash"] and "none 2.7 Å, worst overlap" in legend["clash"]
    assert "3 inner steps K of the frame" in legend["depth"]
    assert told["paints"] == ["moved", "K", "depth", "clash"]
    drawn_as_told(told, data_of(page))


def drawn_as_told(told: dict[str, Any], data: dict[str, Any]) -> None:
    """Atoms stand where the frame has them, and wear the colours of the legend."""
    frames = decode(data["frames"], data["step"])
    for look, at in zip(told["seen"], (0, 2, 4, 2, 3), strict=True):
        np.testing.assert_allclose(np.array(look["at"]), frames[at].reshape(-1, 3), atol=1e-6)
    pictures = [look["picture"] for look in told["seen"]]
    assert len(set(pictures[:3])) == 3 and all(len(picture) > 5000 for picture in pictures)
    grey, orange = viewer.GREY, viewer.ORANGE
    assert told["colours"]["moved"] == [sorted([grey, orange])] * 3
    # K of frames 0, 3, none of 3: the two ends of the ramp, and grey where nothing was counted
    low, high = "rgb(0,34,78)", "rgb(253,231,55)"
    assert [sorted(set(row) - {grey}) for row in told["colours"]["depth"]] == [[low], [high], []]
    first, _, last = told["colours"]["clash"]
    assert len(first) > 3 and set(last) == {grey, low}
    assert len({json.dumps(row) for row in told["colours"]["K"]}) == 1  # K of residues is the same in all frames
    assert told["beside"] == [len(data["beside"]), 0] and data["beside"]


@pytest.mark.browser
def test_in_a_browser_the_energy_of_each_frame_is_a_curve_and_a_colour(tmp_path: Path) -> None:
    require_library()
    page = viewer.page(mended(), pictured(), title="t", offline=True, energy=True)
    energy = data_of(page)["plots"]["energy"]
    told = driven(page, tmp_path)
    assert told["errors"] == [] and told["paints"] == ["moved", "K", "depth", "energy", "clash"]
    shown = [look["values"][2] for look in told["seen"][:3]]
    assert shown[2] == "0.0 kJ/mol" and float(shown[0].split()[0]) == pytest.approx(energy[0], rel=0.1)
    assert "kJ/mol above the lowest, by tens" in " ".join(told["legends"]["energy"].split())


@pytest.mark.browser
def test_in_a_browser_the_words_of_a_plot_are_shown_and_never_run(tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror=document.body.dataset.ran=1>&"
    report = pictured()
    report["contacts"][0]["contact"] = nasty
    text = mended(2).replace("ASP A  52", "<b> A  52")
    page = viewer.page(text, report, title="t").replace(viewer.viewer_library.LIBRARY_URL, "file:///gone.js")
    (tmp_path / "page.html").write_text(page, "utf-8")
    dom = chromium_dom(tmp_path / "page.html", tmp_path / "profile")
    assert "<img" not in dom and "data-ran" not in dom
    assert dom.count("&lt;/script&gt;&lt;img") == 2 and "A:52 &lt;B&gt;: φ" in dom


@pytest.mark.browser
def test_in_a_browser_without_the_library_the_plots_follow_all_the_same(tmp_path: Path) -> None:
    page = viewer.page(mended(), pictured(), title="t").replace(viewer.viewer_library.LIBRARY_URL, "file:///gone.js")
    told = driven(page, tmp_path)
    assert told["errors"] == []
    followed(told["seen"])

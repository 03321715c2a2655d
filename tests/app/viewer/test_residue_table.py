"""The table of residues, what the page saves, both themes, and the view with a slider."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from viewer_cases import LOOP, Reader, chromium_dom, full_report, require_library, trajectory

from geofold.app.viewer import page as viewer
from geofold.app.viewer.frames import read_trajectory
from geofold.app.viewer.residue_table import backbone_rmsd, expected_errors, residue_table
from geofold.app.viewer.slider import view_with_slider

LABELS = [f"A:{number}" for number in LOOP]


def report_with_errors() -> dict[str, Any]:
    errors = {label: 0.5 + 0.25 * place for place, label in enumerate(LABELS)}
    interval = {"expected_rmsd_angstrom": 1.9, "from_angstrom": 0.9, "to_angstrom": 3.9}
    return full_report() | {"confidence": [interval | {"residue_error_angstrom": errors}]}


def test_the_table_has_the_error_and_the_way_of_each_residue() -> None:
    report, path = report_with_errors(), read_trajectory(trajectory(3), frozenset())
    words = " ".join(Reader(residue_table(path, LABELS, report)).words.split())
    assert "Expected error (Å)" in words and "A:45 0.50" in words.replace("A:450.50", "A:45 0.50")
    assert "68 % interval 0.90 to 3.90 Å" in words
    shift = backbone_rmsd(path, LABELS)
    assert list(shift) == LABELS and shift["A:50"] > shift["A:45"] > 0
    assert "From the start" not in residue_table(path, LABELS, report | {"built": []})
    assert residue_table(path, [], {}) == ""


@pytest.mark.parametrize("confidence", [None, [None], [{}], [{"residue_error_angstrom": None}], "x", [3]])
def test_a_report_without_errors_gives_a_table_without_them(confidence: Any) -> None:
    report = full_report() | {"confidence": confidence}
    assert expected_errors(report) == {}
    table = residue_table(read_trajectory(trajectory(2), frozenset()), LABELS, report)
    assert "Expected error" not in table and "A:47" in table


def test_names_of_residues_are_text() -> None:
    report = {"confidence": [{"residue_error_angstrom": {"<b>": 1.0}}]}
    table = residue_table(read_trajectory(trajectory(2), frozenset()), ["<b>"], report)
    assert "<b>" not in table and "&lt;b&gt;" in table


def test_the_view_is_py3dmol_s_with_a_slider() -> None:
    import py3Dmol

    view = view_with_slider(trajectory(4), full_report(), width=300, height=200)
    assert isinstance(view, py3Dmol.view) and view.addSphere({"radius": 1.0}) is view
    html = view._make_html()
    assert html.count('<input type="range"') == 1 and 'max="3"' in html and "setFrame(3)" in html
    assert "addSphere" in html and ".animate(" not in html and "4 frames" in repr(view)
    assert "range" not in view_with_slider(trajectory(1), full_report(), width=300, height=200)._make_html()


def run_in_browser(folder: Path, script: str) -> Any:
    """What a script of the page leaves in `answer`, after the page was drawn."""
    require_library()
    text = viewer.page(trajectory(3), report_with_errors(), title="geofold repair: 1ubi.pdb", offline=True)
    asked = (
        f"<script>setTimeout(() => {{ const answer = {{}}; {script} "
        "document.body.dataset.answer = JSON.stringify(answer); }, 2500);</script></body>"
    )
    page = folder / "page.html"
    page.write_text(text.replace("</body>", asked), encoding="utf-8")
    found = re.search(r'data-answer="([^"]*)"', chromium_dom(page, folder / "profile"))
    assert found is not None
    return json.loads(unescape(found[1]))


@pytest.mark.browser
def test_in_a_browser_a_row_selects_its_residue_and_frees_it_again(tmp_path: Path) -> None:
    answer = run_in_browser(
        tmp_path,
        """
        const scene = document.getElementById('scene'), row = document.querySelector('tr[data-residue="A:48"]');
        const seen = () => [scene.dataset.chosen, row.getAttribute('aria-selected')];
        row.querySelector('button').click(); answer.on = seen();
        document.querySelector('tr[data-residue="A:50"]').click(); answer.other = seen();
        document.querySelector('tr[data-residue="A:50"]').click(); answer.off = seen();
        answer.rows = document.querySelectorAll('#residues tbody tr').length;
        """,
    )
    assert answer == {"on": ["A:48", "true"], "other": ["A:50", "false"], "off": ["", "false"], "rows": 12}


@pytest.mark.browser
def test_in_a_browser_pictures_and_scripts_are_saved(tmp_path: Path) -> None:
    answer = run_in_browser(
        tmp_path,
        """
        const save = document.getElementById('save'), click = HTMLAnchorElement.prototype.click, made = [];
        window.Blob = class { constructor(parts) { made.push(parts.join('')); } };
        URL.createObjectURL = () => 'blob:x';
        answer.names = [];
        HTMLAnchorElement.prototype.click = function () {
          answer.names.push(this.download); answer.png = answer.png || this.href.slice(0, 22);
        };
        for (const what of ['png', 'pdb', 'pymol', 'chimerax']) {
          save.value = what; save.dispatchEvent(new Event('change'));
        }
        answer.made = made; HTMLAnchorElement.prototype.click = click;
        """,
    )
    assert answer["names"] == ["1ubi.png", "1ubi.frame3.pdb", "1ubi.pml", "1ubi.py"]
    assert answer["png"] == "data:image/png;base64,"
    frame, pymol, chimerax = answer["made"]
    last = [line for line in trajectory(3).split("ENDMDL")[-2].splitlines() if line.startswith("ATOM")]
    kept = [line for line in frame.splitlines() if line.startswith("ATOM")]
    assert [line[12:26] for line in kept] == [line[12:26] for line in last]
    assert "chain A and resi 45" in pymol and "/A:45 /A:46" in chimerax
    inner = pymol.split("python\n")[1].split("python end")[0]
    loaded: list[tuple[str, str]] = []

    class Command:
        def read_pdbstr(self, text: str, name: str) -> None:
            loaded.append((name, text))

    exec(compile(inner.replace("from pymol import cmd", ""), "pymol", "exec"), {"cmd": Command()})
    assert [name for name, _ in loaded] == ["model", "start"] and loaded[0][1].count("ATOM") == len(last)
    compile(chimerax, "chimerax", "exec")


@pytest.mark.browser
def test_in_a_browser_every_colouring_and_the_words_have_contrast_in_both_themes(tmp_path: Path) -> None:
    answer = run_in_browser(
        tmp_path,
        """
        const paint = document.getElementById('paint');
        answer.options = [...paint.options].map(option => option.value);
        for (const one of answer.options) { paint.value = one; paint.dispatchEvent(new Event('change')); }
        const style = getComputedStyle(document.documentElement);
        answer.light = ['--ink', '--soft', '--paper'].map(name => style.getPropertyValue(name).trim());
        const query = '(prefers-color-scheme: dark)';
        const rule = [...document.styleSheets[0].cssRules].find(one => one.conditionText === query);
        const dark = rule.cssRules[0].style;
        answer.dark = ['--ink', '--soft', '--paper'].map(name => dark.getPropertyValue(name).trim());
        """,
    )
    assert "error" in answer["options"] and "clash" in answer["options"]

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        channels = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ink, soft, paper in (answer["light"], answer["dark"]):
        for words in (ink, soft):  # WCAG 2.1: 4.5 for text
            high, low = sorted((luminance(words), luminance(paper)), reverse=True)
            assert (high + 0.05) / (low + 0.05) > 4.5

"""The documentation site: what its pages show runs, what they name is there, and it builds without a warning."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from app_cases import ROOT
from example_cases import DOCS, PAGES, command_lines, known, mentions, parsed, python_blocks, run_python
from PIL import Image

WITH_CODE = [name for name, path in PAGES.items() if python_blocks(path)]
QUICK = {"own_domain.md", "maze.md", "constrain.md", "ranking.md", "parts.md"}
"""Pages whose code takes a few seconds; the others are run with `pytest -m slow`."""
SLOW = pytest.mark.slow
EXTRAS = {"MDAnalysis"}
"""What a block may import that `make test` does not install: without it, that block is left out."""


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=SLOW) for n in WITH_CODE])
def test_the_code_of_a_page_runs_from_its_top_to_its_end(name: str, tmp_path: Path) -> None:
    absent = {module for module in EXTRAS if importlib.util.find_spec(module) is None}
    blocks = [block for block in python_blocks(PAGES[name]) if not absent & set(block.split())]
    done = run_python("\n".join(blocks), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_is_python(name: str) -> None:
    for block in python_blocks(PAGES[name]):
        compile(block, name, "exec")


LINES = [(name, line) for name, path in PAGES.items() for line in command_lines(path)]


@pytest.mark.parametrize(("name", "line"), LINES, ids=[f"{name}: {line[8:40]}" for name, line in LINES])
def test_a_command_line_can_be_read(name: str, line: str) -> None:
    assert parsed(line)


def test_running_text_names_commands_that_there_are() -> None:
    wrong = [(name, one) for name, path in PAGES.items() for one in mentions(path) if not known(one)]
    assert not wrong


def test_pages_name_files_that_there_are() -> None:
    named = re.compile(r"`((?:examples|structures|geofold|forcefields)/[\w./]+)`")
    wrong = [
        (name, one) for name, path in PAGES.items() for one in named.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / one).exists()
    ]  # fmt: skip
    assert not wrong


def test_pictures_are_small_and_shown() -> None:
    pictures = {path.name: path.stat().st_size for path in (ROOT / "examples" / "pictures").iterdir()}
    shown = {name for path in [*PAGES.values(), ROOT / "README.md"] for name in re.findall(
        r"pictures/([\w.]+\.(?:png|webp))", path.read_text(encoding="utf-8"))}  # fmt: skip
    assert shown == set(pictures)
    assert max(pictures.values()) <= 150_000


README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
TEXTS = {**PAGES, README.name: README, CONTRIBUTING.name: CONTRIBUTING, "CHANGELOG.md": ROOT / "CHANGELOG.md"}
DOTTED = re.compile(r"(?:`|^::: )(geofold(?:\.\w+)+)", re.MULTILINE)
FOLDERS = "core|backbone|learn|molecule|maze|plugins|modelling|app|bench|data"


def resolve(dotted: str) -> object:
    """Module or member of a dotted name; AttributeError or ImportError if there is none."""
    parts, value = dotted.split("."), importlib.import_module("geofold")
    for k, part in enumerate(parts[1:], 2):
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(".".join(parts[:k]))
    return value


@pytest.mark.parametrize("name", TEXTS)
def test_dotted_names_of_the_package_exist(name: str) -> None:
    for dotted in set(DOTTED.findall(TEXTS[name].read_text(encoding="utf-8"))):
        assert resolve(dotted) is not None


@pytest.mark.parametrize("name", [*WITH_CODE, README.name])
def test_names_that_code_imports_exist(name: str) -> None:
    for block in python_blocks(TEXTS[name]):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("geofold"):
                for alias in node.names:
                    assert resolve(f"{node.module}.{alias.name}") is not None


@pytest.mark.parametrize("name", TEXTS)
def test_files_of_the_package_exist(name: str) -> None:
    text = TEXTS[name].read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{FOLDERS})/[\w./]+\w)/?`", text)
    assert [path for path in named if not (ROOT / "geofold" / path).exists()] == []
    others = re.findall(r"`((?:tests|examples|structures|forcefields|geofold)/[\w./]+\w)/?`", text)
    assert [path for path in others if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", [name for name in TEXTS if not name.startswith("api")])
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)[^)]*\)", TEXTS[name].read_text(encoding="utf-8"))
    assert [link for link in links if not (TEXTS[name].parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 180
    assert len(python_blocks(README)) == 1


def test_the_page_on_ranking_has_the_weights_of_the_code() -> None:
    from geofold.modelling import scoring

    text = PAGES["ranking.md"].read_text(encoding="utf-8")
    stages = ("BREEDING", "GUIDING", "SEARCH", "FOUND", "REFINED")
    head = "| weight | " + " | ".join(f"`{stage}`" for stage in stages) + " |"
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", text[text.index(head) :], re.MULTILINE)
    shown = {name: [float(value) for value in values.split(" | ")] for name, values in rows}
    weights = {
        field.name: [getattr(getattr(scoring, stage), field.name) for stage in stages]
        for field in fields(scoring.Weights)
    }
    assert shown == weights


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [name for name in PAGES if f": {name}\n" not in navigation] == []


@pytest.mark.browser
def test_a_picture_is_a_screenshot_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import make_pictures

    if not any(map(shutil.which, make_pictures.BROWSERS)):
        pytest.skip("no chromium on this machine")
    picture = Image.open(io.BytesIO(make_pictures.shot("<body style='background: #0072B2'></body>", 320, 240)))
    assert picture.size == (320, 240) and picture.convert("RGB").getpixel((160, 120)) == (0, 0x72, 0xB2)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation site, built without a warning."""
    for name in ("mkdocs", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page(site: Path) -> None:
    built = {path.name for path in site.rglob("*.html")}
    assert built >= {Path(name).with_suffix(".html").name for name in PAGES}
    assert not list(site.rglob("*.py")) and len(PAGES) == len(list(DOCS.rglob("*.md")))


def test_pages_load_nothing_from_the_network_and_formulas_are_mathml(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']?https?:[^>]*>")
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert loaded.findall(text) == [], path.name
        assert 'class="arithmatex"' not in text
    source = PAGES["method.md"].read_text(encoding="utf-8")
    formulas = source.count("\\(") + len(re.findall(r"^\\\[", source, re.MULTILINE))
    assert (site / "method.html").read_text(encoding="utf-8").count("<math") == formulas > 50


@pytest.mark.browser
def test_search_answers_on_pages_opened_from_disk(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import make_pictures

    browser = next(filter(None, map(shutil.which, make_pictures.BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium on this machine")
    done = subprocess.run(
        [browser, *make_pictures.FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom",
         (site / "index.html").as_uri() + "?q=trust+region"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.findall(r'<a href="([^"]*)" class="md-search-result__link"', done.stdout)
    assert any("controller.html" in link for link in found)

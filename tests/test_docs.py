"""The documentation site: what its pages show runs, what they name is there, and it builds without a warning."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from app_cases import ROOT
from example_cases import DOCS, PAGES, command_lines, known, mentions, parsed, python_blocks, run_python
from PIL import Image

WITH_CODE = [name for name, path in PAGES.items() if python_blocks(path)]
QUICK = {"own_domain.md", "maze.md", "constrain.md"}
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
        r"pictures/([\w.]+\.png)", path.read_text(encoding="utf-8"))}  # fmt: skip
    assert shown == set(pictures)
    assert max(pictures.values()) <= 150_000


@pytest.mark.browser
def test_a_picture_is_a_screenshot_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import make_pictures

    if not any(map(shutil.which, make_pictures.BROWSERS)):
        pytest.skip("no chromium on this machine")
    picture = Image.open(io.BytesIO(make_pictures.shot("<body style='background: #0072B2'></body>", 320, 240)))
    assert picture.size == (320, 240) and picture.convert("RGB").getpixel((160, 120)) == (0, 0x72, 0xB2)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = {path.name for path in (tmp_path / "site").rglob("*.html")}
    assert built >= {Path(name).with_suffix(".html").name for name in PAGES}
    assert not list((tmp_path / "site").rglob("*.py")) and len(PAGES) == len(list(DOCS.rglob("*.md")))

"""Pages of results: numbers come from the summaries, old runs are marked, the committed pages are up to date."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from geofold.bench.common import report
from geofold.bench.common.finished_runs import IN_A_CELL, OLDER, UNDATED, Run, fill_from_runs
from geofold.bench.common.history import changed_since, date_of, head_commit
from geofold.bench.common.report import CHANGED, RESULTS, render, run
from geofold.errors import InputFileError

ROOT = Path(__file__).resolve().parents[3]
TARGETS = re.compile(r"\b(floors?|aims?|wanted)\b", re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|mnt|Users)/")
TEXTS = """
introduction = "# Results"
reading = "Read with care."
headline = []

[[section]]
title = "Loops"
measures = ["code"]
text = "Median {geofold.rmsd:.1f} A, {geofold.good:.0%}."

[[section.run]]
folder = "loops"
command = "geofold bench loop"
protocol = "Mean {geofold.mean:.2f} A."
"""


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *names, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, content: str) -> str:
    (folder / "code").write_text(content)
    git(folder, "add", "code")
    git(folder, "commit", "-m", content)
    return git(folder, "rev-parse", "--short", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits that touch the measured code, and the texts of one section."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "first")
    commit(folder, "second")
    (tmp_path / "texts.toml").write_text(TEXTS)
    monkeypatch.setattr(report, "TEXTS", tmp_path / "texts.toml")
    return folder


def write_run(folder: Path, commit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {"geofold.rmsd": 1.26, "geofold.good": 0.5, "geofold.mean": 2.0}
    summary = {"metrics": metrics, "commit": commit, "seconds": 1.0, "cpu": "a processor", "quick": False, "note": ""}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "table.md").write_text("| agent |\n|---|\n| geofold |\n")


def test_a_run_older_than_its_code_is_marked(tmp_path: Path, repository: Path) -> None:
    first, last = git(repository, "rev-parse", "HEAD~1"), git(repository, "rev-parse", "HEAD")
    for hash_, root, older in ((first, repository, True), (last, repository, False), (first, tmp_path, False)):
        write_run(tmp_path / "runs" / "loops", hash_)
        pages = render(tmp_path / "runs", tmp_path / "RESULTS.md", root)
        titles = [line for page in pages.values() for line in page.splitlines() if "Loops" in line]
        assert len(titles) == 2 and all(title.endswith(OLDER) is older for title in titles)


def test_the_page_of_a_run_names_what_has_changed(tmp_path: Path, repository: Path) -> None:
    write_run(tmp_path / "runs" / "loops", git(repository, "rev-parse", "HEAD"))
    page = tmp_path / "runs" / "loops" / "README.md"
    assert CHANGED not in render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)[page]
    (repository / "code").write_text("third")  # not committed
    assert f"{CHANGED}`code`.\n" in render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)[page]
    (repository / "code").write_text("second")  # taken back
    assert CHANGED not in render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)[page]


def test_a_run_with_a_list_of_its_own_is_marked_by_that(tmp_path: Path, repository: Path) -> None:
    write_run(tmp_path / "runs" / "loops", git(repository, "rev-parse", "HEAD~1"))
    report.TEXTS.write_text(TEXTS.replace('folder = "loops"', 'folder = "loops"\nmeasures = ["other code"]'))
    pages = render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)
    assert not any(OLDER in page or CHANGED in page for page in pages.values())


def test_changes_count_from_where_a_part_of_a_run_was_the_same(tmp_path: Path, repository: Path) -> None:
    write_run(tmp_path / "runs" / "loops", git(repository, "rev-parse", "HEAD~1"))
    last = git(repository, "rev-parse", "--short", "HEAD")
    report.TEXTS.write_text(TEXTS.replace('folder = "loops"', f'folder = "loops"\nsame_at = "{last}"\nsame = 2'))
    page = render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)[tmp_path / "runs" / "loops" / "README.md"]
    assert OLDER not in page and f"at commit {last}, the first 2 episodes give the same numbers" in page
    (repository / "code").write_text("third")
    page = render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)[tmp_path / "runs" / "loops" / "README.md"]
    assert OLDER in page and CHANGED in page


def test_a_run_of_an_unknown_commit_is_marked(tmp_path: Path, repository: Path) -> None:
    write_run(tmp_path / "runs" / "loops", "0000000")
    assert (
        f"## Loops{UNDATED}\n"
        in render(tmp_path / "runs", tmp_path / "RESULTS.md", repository)[tmp_path / "RESULTS.md"]
    )


def test_history_outside_a_repository_is_silent(tmp_path: Path, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date_of(head, repository))
    assert date_of(head, tmp_path) == "" and not changed_since(head, ["code"], tmp_path)
    assert date_of("0000000", repository) == "" and not changed_since("0000000", ["code"], repository)


def test_the_commit_of_a_run_is_that_of_its_start(repository: Path) -> None:
    first = head_commit(repository)
    commit(repository, "meanwhile")
    assert head_commit(repository) == first != git(repository, "rev-parse", "--short", "HEAD")


@pytest.mark.usefixtures("repository")
def test_a_column_of_another_run_has_that_runs_names(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "loops", "0000000")
    write_run(tmp_path / "runs" / "mazes", "0000000")
    columns = (
        '{ head = "A", metric = "rmsd:.1f" }, { head = "own", folder = "mazes", metric = "mean:.1f", names = NAMES }'
    )
    table = f'[section.table]\nagents = ["geofold", "other"]\ncolumns = [{columns}]\n\n[[section.run]]'
    report.TEXTS.write_text(
        TEXTS.replace("[[section.run]]", table.replace("NAMES", '{ other = "geofold", geofold = "absent" }'))
    )
    shown = render(tmp_path / "runs", tmp_path / "RESULTS.md", tmp_path)[tmp_path / "RESULTS.md"]
    assert "| geofold | 1.3 |  |\n| other |  | 2.0 |\n" in shown


@pytest.mark.usefixtures("repository")
def test_numbers_come_from_the_summary(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "loops", "unknown")
    pages = render(tmp_path / "runs", tmp_path / "RESULTS.md", tmp_path)
    assert "Median 1.3 A, 50 %." in pages[tmp_path / "RESULTS.md"]
    assert "[loops](runs/loops/README.md)" in pages[tmp_path / "RESULTS.md"]
    page = pages[tmp_path / "runs" / "loops" / "README.md"]
    assert "Mean 2.00 A." in page and "| `geofold.rmsd` | 1.26 |" in page and "| geofold |" in page


@pytest.mark.usefixtures("repository")
def test_texts_without_their_metric_or_run_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "loops", "unknown")
    entry = Run.read(tmp_path / "runs" / "loops")
    assert entry is not None
    with pytest.raises(InputFileError, match=r"no metric geofold\.speed"):
        entry.fill("{geofold.speed:.1f}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match=r"no metric geofold\.speed"):
        fill_from_runs("{loops/geofold.speed:.1f}", {"loops": entry})
    assert fill_from_runs("{loops/geofold.good:.0%} {x}", {"loops": entry}) == "50 % {x}"
    with pytest.raises(InputFileError, match=r"holds no summary\.json"):
        render(tmp_path / "empty", tmp_path / "RESULTS.md", tmp_path)


@pytest.mark.usefixtures("repository")
def test_a_folder_of_runs_gets_its_own_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs" / "loops", "unknown")
    run(str(tmp_path / "runs"))
    assert "Median 1.3 A" in (tmp_path / "runs" / "RESULTS.md").read_text()
    assert (tmp_path / "runs" / "claims" / "README.md").is_file()
    assert "RESULTS.md and 2 pages" in capsys.readouterr().out


def without_history(text: str) -> str:
    """A page without what depends on the state of the repository."""
    for mark in (OLDER, UNDATED, IN_A_CELL[OLDER], IN_A_CELL[UNDATED]):
        text = text.replace(mark, "")
    return re.sub(rf", \d{{4}}-\d\d-\d\d|{CHANGED}.*\n\n", "", text)


def test_committed_pages_are_what_the_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path, text in render(RESULTS, Path("RESULTS.md"), tmp_path).items():
        assert without_history(path.read_text(encoding="utf-8")) == text, f"{path}: run geofold bench report"


def test_results_are_short_and_name_no_internal_targets() -> None:
    text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert not TARGETS.findall(text) and not TARGETS.findall(report.TEXTS.read_text(encoding="utf-8"))


def test_measured_paths_and_committed_runs_exist() -> None:
    texts = tomllib.loads(report.TEXTS.read_text(encoding="utf-8"))
    for section in texts["section"]:
        for measures in [section["measures"], *(entry["measures"] for entry in section["run"] if "measures" in entry)]:
            assert measures and all((ROOT / path).exists() for path in measures), section["title"]
    described = {entry["folder"] for section in texts["section"] for entry in section["run"]}
    assert described == {path.parent.name for path in (ROOT / RESULTS).glob("*/summary.json")}


def test_no_record_names_a_path_of_a_machine() -> None:
    kept = [path for path in (ROOT / RESULTS).rglob("*") if path.suffix in (".jsonl", ".json", ".md", ".csv", ".gz")]
    assert len(kept) > 50
    for path in kept:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        assert not MACHINE.search(text), path

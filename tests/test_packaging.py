"""What is published says the same everywhere: versions, dependencies, addresses, citations."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from app_cases import ROOT

import geofold

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
META = PROJECT["project"]
RECIPE = ROOT / "examples" / "packaging" / "recipe.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAPER = ROOT / "examples" / "paper"
CONDA_NAMES = {"torch": "pytorch-cpu", "py3Dmol": "py3dmol"}


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def requirements(lines: list[str]) -> dict[str, str]:
    """Names and bounds of requirements such as numpy>=2.0."""
    return dict(re.fullmatch(r"([\w-]+) *(>=[\d.]+)", line).groups() for line in lines)  # type: ignore[union-attr]


def published() -> list[Path]:
    """Texts that may name the project's address."""
    tops = [path for path in ROOT.iterdir() if path.suffix in (".md", ".cff", ".toml", ".yml")]
    folders = (ROOT / ".github", ROOT / "examples")
    found = [
        path for folder in folders for path in folder.rglob("*") if path.suffix in (".md", ".yml", ".yaml", ".ipynb")
    ]
    return [*tops, *found]


def test_the_public_address_is_the_same_everywhere() -> None:
    repository = META["urls"]["Repository"].removeprefix("https://github.com/")
    owner, name = repository.split("/")
    for path in published():
        text = text_of(path)
        named = re.findall(
            r"(?:github\.com|colab\.research\.google\.com/github|mybinder\.org/v2/gh)/([\w.-]+/geofold)\b", text
        )
        assert set(named) <= {repository}, path
        sites = re.findall(r"https://([\w.-]+\.github\.io/\w+)", text)
        assert {site for site in sites if "geofold" in site} <= {f"{owner}.github.io/{name}"}, path


def test_the_version_is_the_same_everywhere() -> None:
    assert re.search(rf"^version: {re.escape(geofold.__version__)}$", text_of(ROOT / "CITATION.cff"), re.MULTILINE)
    assert f'version: "{geofold.__version__}"' in text_of(RECIPE)


def test_the_conda_recipe_asks_for_the_same_packages() -> None:
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load(text_of(RECIPE))
    run = requirements([line for line in recipe["requirements"]["run"] if not line.startswith("python ")])
    wanted = requirements(META["dependencies"])
    assert run == {CONDA_NAMES.get(name, name): bound for name, bound in wanted.items()}
    assert recipe["context"]["python_min"] == META["requires-python"].removeprefix(">=")
    assert recipe["build"]["noarch"] == "python"
    entry = META["scripts"]["geofold"]
    assert recipe["build"]["python"]["entry_points"] == [f"geofold = {entry}"]
    command = re.search(r"conda create.*?pip\n", text_of(ROOT / "examples/docs/install.md"), re.DOTALL)
    assert command is not None and set(run) <= set(command.group().split())


def test_workflows_run_the_pythons_of_the_metadata_and_name_files_that_exist() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = {path.name: yaml.safe_load(text_of(path))["jobs"] for path in WORKFLOWS}
    matrix = jobs["test.yml"]["test"]["strategy"]["matrix"]
    classified = [line.rpartition(" ")[2] for line in META["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert matrix["python"] == classified
    assert {"ubuntu-latest"} | {one["os"] for one in matrix["include"]} == {
        "ubuntu-latest", "macos-latest", "windows-latest"
    }  # fmt: skip
    lines = [step["run"] for named in jobs.values() for job in named.values() for step in job["steps"] if "run" in step]
    files = re.findall(r"examples/packaging/[\w.]+", "\n".join(lines))
    assert files and all((ROOT / name).is_file() for name in files)
    extras = {extra for group in re.findall(r'"\.\[([\w,]+)\]"', "\n".join(lines)) for extra in group.split(",")}
    assert extras <= set(META["optional-dependencies"])


def test_citations_of_the_paper_have_entries_and_entries_are_cited() -> None:
    cited = set(re.findall(r"@(\w+)", text_of(PAPER / "paper.md")))
    assert cited == set(re.findall(r"^@\w+\{(\w+),", text_of(PAPER / "paper.bib"), re.MULTILINE))

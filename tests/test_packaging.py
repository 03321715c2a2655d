"""What is published says the same everywhere: versions, dependencies, addresses, citations; and the wheel is small."""

from __future__ import annotations

import re
import subprocess
import tomllib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import ROOT

import geofold
from geofold.errors import InputFileError
from geofold.molecule.sidechains.rotamer_library import RotamerLibrary
from geofold.resources import find

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
META = PROJECT["project"]
RECIPE = ROOT / "examples" / "packaging" / "recipe.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LARGEST_WHEEL = 12_000_000
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


def test_the_wheel_stays_below_its_limit() -> None:
    excluded = [ROOT / name for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]]
    folders = (ROOT / "geofold", ROOT / "structures", ROOT / "forcefields")
    files = [
        path for folder in folders for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not any(path.is_relative_to(one) for one in excluded)
    ]  # fmt: skip
    assert sum(len(zlib.compress(path.read_bytes(), 6)) for path in files) <= LARGEST_WHEEL


def test_changes_that_break_callers_are_listed_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "packaging"))
    import check_interface

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    package = tmp_path / "geofold"
    (package / "core").mkdir(parents=True)
    for name in ("__init__.py", "core/__init__.py", "core/inner.py", "core/checks.py"):
        (package / name).touch()
    (package / "errors.py").write_text("def explain(what, how=1): ...\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    monkeypatch.setattr(check_interface, "ROOT", tmp_path)
    (package / "errors.py").write_text("def explain(what, how=1, why=2): ...\n")
    (package / "core" / "inner.py").write_text("changed = True\n")
    assert check_interface.main("HEAD") == []
    (package / "errors.py").write_text("def explain(what, why): ...\n")
    (package / "core" / "checks.py").unlink()
    found = check_interface.main("HEAD")
    assert any("explain(how)" in line for line in found), found
    assert "geofold.core.checks: removed" in found


@pytest.fixture
def shrink(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "packaging"))
    import shrink_data

    return shrink_data


def test_packed_arrays_are_the_same_and_the_same_arrays_give_the_same_bytes(tmp_path: Path, shrink: Any) -> None:
    arrays = {"a": np.arange(5000, dtype=np.int16) % 300, "b": np.array(["x", "yz"])}
    for name in ("one.npz", "two.npz"):
        np.savez(tmp_path / name, **arrays)
    before = (tmp_path / "one.npz").stat().st_size
    shrink.main([str(tmp_path / "one.npz"), str(tmp_path / "two.npz")])
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert (tmp_path / "one.npz").stat().st_size < before
    with np.load(tmp_path / "one.npz") as file:
        assert all(
            np.array_equal(file[name], value) and file[name].dtype == value.dtype for name, value in arrays.items()
        )


def test_rounded_weights_keep_their_card_and_load_in_single_precision(tmp_path: Path, shrink: Any) -> None:
    from torch import float32, nn

    from geofold.learn.weights import load_frozen, save_weights

    model, path = nn.Linear(40, 30), tmp_path / "model.safetensors"
    save_weights(path, model.state_dict(), {"seed": 7})
    before = path.stat().st_size
    shrink.main([str(path)])
    rounded, card = load_frozen(path, lambda card: nn.Linear(40, 30))
    assert card["seed"] == 7 and path.stat().st_size < 0.6 * before
    difference = (rounded.weight - model.weight).abs()
    assert rounded.weight.dtype is float32 and bool((difference <= model.weight.abs() * 2**-11 + 2**-24).all())
    assert difference.max() > 0


def test_other_files_are_not_shrunk(tmp_path: Path, shrink: Any) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(InputFileError, match=r"\.npz or \.safetensors"):
        shrink.main([str(tmp_path / "notes.txt")])


def test_a_python_without_lzma_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "lzma", None)
    with pytest.raises(InputFileError, match="a Python with the module lzma"):
        RotamerLibrary(str(find("rotamers.npz")))

"""The adapters in examples/adapters: with their programs where these are installed, else with small stand-ins."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from app_cases import BENT, ROOT, STRUCTURES
from build_cases import QUICK, checked, without

import geofold as gf
from geofold.app.result import Result
from geofold.molecule.io.read import read

ADAPTERS = ROOT / "examples" / "adapters"
FAST = {"streams": 1, "rounds": 1, "energy": False, "predictor": "hold-still"}
SHORT = "A:46-49"


def adapter(name: str) -> Any:
    path = ADAPTERS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"adapter_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built() -> Result:
    """1ubi with residues 46-48 removed and built again."""
    return gf.repair(without("1ubi.pdb", (46, 48)), build="all", **QUICK)


def test_every_adapter_is_short() -> None:
    files = [path for path in ADAPTERS.rglob("*") if path.suffix in (".py", ".xml")]
    assert len(files) == 9
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in files) < 60
    for path in files:
        if path.suffix == ".py":
            compile(path.read_text(encoding="utf-8"), str(path), "exec")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, built: Result) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """What an adapter asks `geofold.repair` for; the answer is always `built`."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(gf, "repair", lambda *given, **options: calls.append((given, options)) or built)
    return calls


def test_prepmd_builds_every_gap_and_writes_the_model_and_its_report(
    tmp_path: Path, built: Result, asked: list[Any]
) -> None:
    checked(built, "A:46-48", "AGK")
    model, fix = tmp_path / "model.pdb", adapter("prepmd").fix_missing_residues
    fix("1ubi", None, None, "gapped.pdb", str(model), str(tmp_path / "work"), seed=3)
    assert asked == [(("gapped.pdb",), {"build": "all", "name": "1ubi", "seed": 3})]
    assert model.read_bytes() == built.content
    assert json.loads((tmp_path / "work" / "1ubi_geofold.json").read_text())["audit"]["passed"]
    with pytest.raises(ValueError, match="leave the sequence file out"):
        fix("1ubi", "1ubi.fasta", None, "gapped.pdb", str(tmp_path / "other.pdb"), str(tmp_path))
    built.report["audit"]["passed"] = False
    with pytest.raises(ValueError, match="fails its audit"):
        fix("1ubi", None, None, "gapped.pdb", str(tmp_path / "other.pdb"), str(tmp_path))
    built.report["audit"]["passed"] = True
    assert not (tmp_path / "other.pdb").exists()


def test_moleculekit_keeps_every_field_and_moves_the_loop_alone() -> None:
    pytest.importorskip("moleculekit")
    from moleculekit.molecule import Molecule

    mol = Molecule(str(BENT))
    mol.segid[:] = "P0"
    before = mol.coords.copy()
    repaired, result = adapter("moleculekit_repair").repair(mol, SHORT, **FAST)
    assert np.array_equal(mol.coords, before) and (repaired.segid == "P0").all()
    moved = (repaired.coords != before).any(axis=(1, 2))
    loop = (mol.resid >= 45) & (mol.resid <= 50)
    assert moved.any() and not moved[~loop].any()
    written = read(result.content).xyz * 10
    protein = np.arange(repaired.numAtoms)
    assert np.allclose(repaired.coords[protein, :, 0][moved], written[moved], atol=2e-3)


Missing = namedtuple("Missing", "chain idx letter")
Missing.one_letter = lambda self: self.letter  # type: ignore[attr-defined]


def missing(*residues: tuple[str, int, str]) -> list[Any]:
    return [Missing(*residue) for residue in residues]


def test_enzyhtp_asks_for_runs_of_missing_residues() -> None:
    ranges = adapter("enzyhtp").ranges
    assert ranges(missing(("B", 9, "G"), ("A", 5, "S"), ("A", 4, "G"), ("A", 7, "W"))) == [
        "A:4-5=GS",
        "A:7-7=W",
        "B:9-9=G",
    ]


class Chain(SimpleNamespace):
    """Stand-in for EnzyHTP's chain: residues with an idx, added unsorted and sorted on request."""

    def add(self, residue: Any, sort: bool) -> None:
        assert not sort
        self.residues.append(residue)

    def sort_residues(self) -> None:
        self.residues.sort(key=lambda residue: residue.idx)


class Parser:
    """Stand-in for EnzyHTP's parser."""

    def save_structure(self, path: str, stru: Any) -> None:
        Path(path).write_bytes(stru.content)

    def get_structure(self, path: str) -> Any:
        content = Path(path).read_bytes()
        chain = Chain(name="A", residues=[SimpleNamespace(idx=r.resnum) for r in read(content).residues])
        return SimpleNamespace(content=content, chains=[chain], get_chain={"A": chain}.get)


def test_enzyhtp_gets_the_missing_residues_into_its_structure(tmp_path: Path, asked: list[Any]) -> None:
    gapped = tmp_path / "gapped.pdb"
    gapped.write_bytes(without("1ubi.pdb", (46, 48)))
    stru = Parser().get_structure(str(gapped))
    there = len(stru.chains[0].residues)
    adder = adapter("enzyhtp").adder(Parser())
    adder(stru, missing(("A", 46, "A"), ("A", 47, "G"), ("A", 48, "K")), work_dir=str(tmp_path), seed=3)
    numbers = [residue.idx for residue in stru.chains[0].residues]
    assert numbers == sorted(numbers) and len(numbers) == there + 3 and {46, 47, 48} <= set(numbers)
    (((source,), options),) = asked
    assert Path(source).read_bytes() == gapped.read_bytes() and options == {"build": ["A:46-48=AGK"], "seed": 3}


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_biosimspace_gets_a_system_read_from_the_result(
    monkeypatch: pytest.MonkeyPatch, built: Result, asked: list[Any]
) -> None:
    def save(prefix: str, system: Path, kind: str) -> list[str]:
        shutil.copy(system, f"{prefix}.{kind}")
        return [f"{prefix}.{kind}"]

    io = SimpleNamespace(saveMolecules=save, readMolecules=lambda path: Path(path).read_bytes())
    stand_in(monkeypatch, "BioSimSpace", IO=io)
    system, result = adapter("biosimspace").repair(BENT, SHORT, seed=2)
    assert system == built.content and result is built
    (((path, loop), options),) = asked
    assert Path(path).name == "before.pdb" and loop == SHORT and options == {"name": "system", "seed": 2}


Residue = namedtuple("Residue", "chain_id number insertion_code")


def test_chimerax_residues_become_ranges() -> None:
    ranges = adapter("chimerax/src/program").ranges
    residues = [
        Residue("A", 45, ""),
        Residue("A", 45, "A"),
        Residue("A", 46, ""),
        Residue("A", 48, ""),
        Residue("B", 49, ""),
    ]
    assert ranges(residues) == ["A:45-46", "A:48-48", "B:49-49"]
    assert ranges([Residue(" ", -2, " "), Residue(" ", -1, " ")]) == [":-2--1"]


def test_chimerax_runs_the_program_and_receives_its_refusals(tmp_path: Path) -> None:
    repair = adapter("chimerax/src/program").repair
    program, out = [sys.executable, "-m", "geofold"], tmp_path / "out.pdb"
    passed, said = repair(
        program,
        BENT,
        [SHORT],
        out,
        ["--no-energy", "--predictor", "hold-still", "--streams", "1", "--rounds", "1", "--budget", "1"],
    )
    assert out.exists() and "audit:" in said and passed == ("audit: passed" in said)
    passed, said = repair(program, BENT, ["Z:1-3"], tmp_path / "none.pdb")
    assert not passed and "Z" in said and not (tmp_path / "none.pdb").exists()


def test_the_chimerax_bundle_registers_its_command_and_opens_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = ADAPTERS / "chimerax"
    info = ElementTree.parse(package / "bundle_info.xml").getroot()
    assert info.attrib["name"].startswith("ChimeraX-") and info.attrib["version"] == gf.__version__
    (entry,) = info.iter("ChimeraXClassifier")
    assert [part.strip() for part in str(entry.text).split("::")][1:3] == ["Command", "geofold"]
    for name in ("chimerax", "chimerax.core"):
        stand_in(monkeypatch, name)
    registered: list[Any] = []
    stand_in(monkeypatch, "chimerax.core.toolshed", BundleAPI=object)
    stand_in(monkeypatch, "chimerax.core.errors", UserError=ValueError)
    stand_in(monkeypatch, "chimerax.atomic", ResiduesArg="residues")
    stand_in(monkeypatch, "chimerax.pdb", save_pdb=lambda session, path, models: shutil.copy(models[0].path, path))
    stand_in(
        monkeypatch, "chimerax.core.commands", CmdDesc=lambda **parts: parts, IntArg="int", StringArg="string",
        run=lambda session, text: (text, Path(text.split('"')[1]).read_bytes()),
        register=lambda *given, logger: registered.append(given),
    )  # fmt: skip
    spec = importlib.util.spec_from_file_location(
        "bundle", package / "src" / "__init__.py", submodule_search_locations=[str(package / "src")]
    )
    assert spec is not None and spec.loader is not None
    bundle = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bundle", bundle)
    spec.loader.exec_module(bundle)
    bundle.bundle_api.register_command(None, SimpleNamespace(name="geofold"), None)
    ((name, description, command),) = registered
    assert name == "geofold" and {key for key, _ in description["keyword"]} == {"seed", "repack_shell", "program"}

    class Residues(list):  # type: ignore[type-arg]
        unique_structures = (SimpleNamespace(name="1ubi bent.pdb", path=BENT),)

    def repair(program: list[str], before: Path, loops: list[str], after: Path, options: list[str]) -> tuple[bool, str]:
        assert loops == ["A:46-47"] and options == ["--seed", "5", "--repack-shell", "0"] and program == ["geofold"]
        shutil.copy(before, after)
        return True, "audit: passed"

    monkeypatch.setattr(sys.modules["bundle.command"], "repair", repair)
    session = SimpleNamespace(logger=SimpleNamespace(info=lambda text, is_html: None))
    chosen = Residues([Residue("A", 46, ""), Residue("A", 47, "")])
    text, opened = command(session, chosen, seed=5)
    assert text.endswith('1ubi bent_repaired.pdb"') and opened == BENT.read_bytes()
    chosen.unique_structures = ()
    with pytest.raises(ValueError, match="choose residues of one"):
        command(session, chosen)


def test_the_galaxy_tool_names_options_and_files_that_exist() -> None:
    from example_cases import parsed

    tool = ElementTree.parse(ADAPTERS / "galaxy" / "geofold.xml").getroot()
    assert tool.attrib["version"].split("+")[0] == gf.__version__
    (requirement,) = tool.iter("requirement")
    assert (requirement.text, requirement.attrib["version"]) == ("geofold", gf.__version__)
    for task in ("fix in.pdb --hydrogens", "repair in.pdb --loop A:45-56", "repair in.pdb --build all"):
        assert parsed(f"geofold {task} --seed 0 -o out.pdb --report r.json")
    for test in tool.iter("test"):
        named = [p.attrib["value"] for p in test.iter("param") if p.attrib["name"] == "structure"]
        assert named and all((STRUCTURES / name).is_file() for name in named)

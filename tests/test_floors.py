"""The house of DESIGN: imports only point down, hosts stay behind doors, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "geofold"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS = (
    ("core",),
    ("backbone",),
    ("learn",),
    ("molecule", "maze"),
    ("plugins",),
    ("modelling",),
    ("app",),
    ("bench",),
    ("cli",),
)
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
EVERYWHERE = {"errors", "files", "geometry", "paths", "resources", "streams", "terminal"}
HOSTS = {"openmm", "mdtraj", "pdbfixer", "Bio", "pymol", "MDAnalysis", "ipywidgets"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, top_only: bool = False) -> Iterator[tuple[str, int]]:
    """Dotted names of all imports with their lines; relative ones resolved. Type-checking blocks count as lazy."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in _top(tree) if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, node.lineno
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno


def _top(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run on import: all but function bodies and `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _top(child)


def floor_of(parts: tuple[str, ...]) -> str | None:
    """Floor of a module's dotted parts or a file's path; `cli.py` is the top floor by itself."""
    name = parts[1].removesuffix(".py") if len(parts) > 1 else ""
    return name if name in FLOOR else None


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path):
    here = floor_of(path.relative_to(ROOT).parts)
    lobby = path.parent == PACKAGE and here is None  # __init__, __main__, errors, resources
    for module, line in imports(path, top_only=lobby):
        parts = tuple(module.split("."))
        there = floor_of(parts)
        if parts[0] != "geofold" or there is None or there == here:
            continue
        where = f"{name_of(path)}:{line} imports {module}"
        assert not lobby, f"{where}: only lazily there"
        assert here is not None and FLOOR[there] < FLOOR[here], f"{where}: {there} is not below {here}"


def training_code(module: str) -> bool:
    """Whether a module trains, or makes what models are trained on."""
    parts = module.split(".")
    trainers = {"training_loop", "gate", "metric", "maze_predictor"}
    if parts[:2] == ["geofold", "learn"]:
        return parts[-1] in {"training", "perturbation", "dataset"} or (len(parts) == 3 and parts[2] in trainers)
    return ".".join(parts[:3]) in ("geofold.molecule.datasets", "geofold.app.train")


def test_the_product_imports_no_training_code():
    """From the Python interface on, deferred imports included."""
    left, reached = ["geofold.app.api"], {"geofold.app.api"}
    while left:
        path = ROOT / (left.pop().replace(".", "/") + ".py")
        for module, line in imports(path):
            assert not training_code(module), f"{name_of(path)}:{line} imports {module}"
            if module not in reached and (ROOT / (module.replace(".", "/") + ".py")).exists():
                reached.add(module)
                left.append(module)
    assert "geofold.molecule.loop.predictor" in reached and "geofold.learn.loop_denoiser.inference" in reached


@pytest.mark.parametrize("name", sorted(EVERYWHERE))
def test_what_everyone_may_import_imports_nothing_else_of_ours(name):
    for module, line in imports(PACKAGE / f"{name}.py"):
        assert not module.startswith("geofold") or module.split(".")[1] in EVERYWHERE, f"{name}.py:{line}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_stands_on_a_floor(path):
    parts = path.relative_to(ROOT).parts
    assert floor_of(parts) is not None or (len(parts) == 2 and path.stem in EVERYWHERE | {"__init__", "__main__"})


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=name_of)
def test_core_knows_no_host(path):
    for module, line in imports(path):
        assert module.split(".")[0] not in HOSTS | {"gymnasium", "scipy"}, f"{name_of(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_hosts_are_imported_inside_functions(path):
    for module, line in imports(path, top_only=True):
        assert module.split(".")[0] not in HOSTS, f"{name_of(path)}:{line} imports {module} on top"


def test_importing_the_package_loads_no_host():
    program = "import sys, geofold; print(sorted({'torch', *sys.argv[1:]} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program, *sorted(HOSTS)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short_and_named_for_what_they_hold(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")


def test_the_parser_sees_what_it_should():
    """The checks above rest on it: a lazy import, a nested one, a relative one."""
    names = {module for module, _ in imports(PACKAGE / "molecule" / "energy" / "openmm_gradient.py")}
    top = {module for module, _ in imports(PACKAGE / "molecule" / "energy" / "openmm_gradient.py", top_only=True)}
    assert (
        "openmm" in names and "openmm" not in top and "geofold.molecule.energy.openmm_energy" in top and "torch" in top
    )

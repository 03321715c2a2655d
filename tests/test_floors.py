"""Architecture: imports point down, nothing is circular, host libraries stay inside functions, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "geofold"
FILES = sorted(PACKAGE.rglob("*.py"))
LEAVES = {"allocator", "errors", "files", "geometry", "paths", "resources", "streams", "terminal"}
"""Modules of the package's root that every folder may import; they import only one another."""
FLOORS = (
    ("kernels",),
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
HOSTS = {"openmm", "mdtraj", "pdbfixer", "Bio", "pymol", "MDAnalysis", "ipywidgets", "biotite", "msgpack"}
MAX_LINES, MAX_FILES = 300, 20
Graph = Mapping[str, set[str]]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, top_only: bool = False) -> Iterator[tuple[str, int]]:
    """Dotted names of all imports with their lines; `top_only` leaves out deferred and type-only ones."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in _statements_run_on_import(tree) if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, node.lineno
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno


def _statements_run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """All statements except function bodies and `if TYPE_CHECKING` blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _statements_run_on_import(child)


def floor_of(parts: tuple[str, ...]) -> str | None:
    """Floor of a module's dotted parts or a file's path; `cli.py` is the top floor by itself."""
    name = parts[1].removesuffix(".py") if len(parts) > 1 else ""
    return name if name in FLOOR else None


@cache
def module_graph() -> dict[str, set[str]]:
    """Modules of the package and the modules that each imports, deferred and type-only imports included."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in FILES}
    graph = defaultdict[str, set[str]](set)
    for name, path in modules.items():
        graph[name] |= {module for module, _ in imports(path) if module in modules and module != name}
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of two or more nodes (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            start = stack.index(node)
            component, stack[start:] = stack[start:], []
            if len(component) > 1:
                components.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return components


def folders(graph: Graph) -> dict[str, set[str]]:
    """The same graph between folders; a module of the package's root is a node of its own."""
    result = defaultdict[str, set[str]](set)

    def folder(module: str) -> str:
        return module if module.count(".") == 1 else module.rpartition(".")[0]

    for module, targets in graph.items():
        result[folder(module)] |= {folder(target) for target in targets} - {folder(module)}
    return result


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    here = floor_of(path.relative_to(ROOT).parts)
    at_root = path.parent == PACKAGE and here is None  # __init__, __main__, leaves
    for module, line in imports(path, top_only=at_root):
        parts = tuple(module.split("."))
        there = floor_of(parts)
        if parts[0] != "geofold" or there is None or there == here:
            continue
        where = f"{name_of(path)}:{line} imports {module}"
        assert not at_root, f"{where}: only inside functions there"
        assert here is not None and FLOOR[there] < FLOOR[here], f"{where}: {there} is not below {here}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert not circles(module_graph())


def test_no_folder_imports_itself_by_way_of_others() -> None:
    assert not circles(folders(module_graph()))


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert folders({"geofold.a.x": {"geofold.a.b.y"}, "geofold.a.b.y": {"geofold.a.z"}}) == {
        "geofold.a": {"geofold.a.b"},
        "geofold.a.b": {"geofold.a"},
    }


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_leaves_import_leaves_only(name: str) -> None:
    if not (PACKAGE / f"{name}.py").exists():
        pytest.skip("not there")
    for module, line in imports(PACKAGE / f"{name}.py"):
        parts = module.split(".")
        assert parts[0] != "geofold" or len(parts) == 1 or parts[1] in LEAVES, f"{name}.py:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_file_has_a_floor(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    assert floor_of(parts) is not None or (len(parts) == 2 and path.stem in LEAVES | {"__init__", "__main__"})


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=name_of)
def test_core_imports_no_host(path: Path) -> None:
    for module, line in imports(path):
        assert module.split(".")[0] not in HOSTS | {"gymnasium", "scipy"}, f"{name_of(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_hosts_are_imported_inside_functions(path: Path) -> None:
    for module, line in imports(path, top_only=True):
        assert module.split(".")[0] not in HOSTS, f"{name_of(path)}:{line} imports {module} at the top"


def test_importing_the_package_loads_no_host() -> None:
    program = "import sys, geofold; print(sorted({'torch', *sys.argv[1:]} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program, *sorted(HOSTS)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short_and_named_for_their_content(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")


def _count(paths: Iterable[Path]) -> int:
    return sum(path.name != "__init__.py" for path in paths)


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=name_of)
def test_folders_are_small(folder: Path) -> None:
    assert _count(folder.glob("*.py")) <= MAX_FILES


def test_the_parser_sees_deferred_and_nested_imports() -> None:
    path = PACKAGE / "molecule" / "energy" / "openmm_gradient.py"
    names = {module for module, _ in imports(path)}
    top = {module for module, _ in imports(path, top_only=True)}
    assert "openmm" in names and "openmm" not in top
    assert "geofold.molecule.energy.openmm_energy" in top and "torch" in top

"""Public functions with many parameters document all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "geofold"
MANY = 4
"""Number of parameters from which a docstring needs a section `Parameters`."""
COMMAND_LINE = (PACKAGE / "app" / "commands", PACKAGE / "cli.py")
"""Their docstrings are the help texts of the commands, and each option has a help text of its own."""
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in COMMAND_LINE and path.parent not in COMMAND_LINE]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions and methods without a leading underscore, of classes without one, with their qualified names."""
    for node in tree.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if isinstance(member, Function) and "._" not in f".{prefix}{member.name}" and not is_overload(member):
                yield prefix + member.name, member


def is_overload(function: Function) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "overload" for decorator in function.decorator_list)


@cache
def protocol_methods() -> dict[str, set[str]]:
    """Documented parameters of the methods of all protocols; what implements them need not repeat these."""
    result: dict[str, set[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and any("Protocol" in ast.dump(base) for base in node.bases):
                for member in node.body:
                    if isinstance(member, Function):
                        names = documented(ast.get_docstring(member) or "")
                        result[member.name] = result.get(member.name, set()) | names
    return result


def parameters_of(function: Function) -> list[str]:
    """Names of the parameters except the bound first one and variadic ones."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]


def documented(docstring: str) -> set[str]:
    """Names in the section `Parameters` of a docstring in the format of numpydoc."""
    _, found, rest = docstring.partition("Parameters\n----------\n")
    section = re.split(r"\n[A-Z]\w+\n-+\n", rest)[0] if found else ""
    lines = [line.split(" : ")[0] for line in section.splitlines() if line and not line.startswith(" ")]
    return {name.strip(" *") for line in lines for name in line.split(",")}


def undocumented(source: str) -> dict[str, list[str]]:
    """Parameters that the docstring lacks, for each function with many parameters that lacks one."""
    result = {}
    for name, function in public_functions(ast.parse(source)):
        parameters = parameters_of(function)
        known = documented(ast.get_docstring(function) or "")
        if "." in name:
            known |= protocol_methods().get(function.name, set())
        missing = [parameter for parameter in parameters if parameter not in known]
        if len(parameters) >= MANY and missing:
            result[name] = missing
    return result


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_many_parameters_are_documented(path: Path) -> None:
    assert not undocumented(path.read_text())


def test_the_check_finds_missing_parameters() -> None:
    section = "Text.\n\n    Parameters\n    ----------\n    a, b : int\n        Sizes.\n    c\n        Path.\n"
    source = f'def f(a, b, c, *, d):\n    """{section}\n    Returns\n    -------\n    d : int\n    """\n'
    assert undocumented(source) == {"f": ["d"]}
    assert undocumented(source.replace("*, d", "*d")) == {}, "three parameters"
    assert undocumented("class A:\n    def f(self, a, b, c, d):\n        pass\n") == {"A.f": ["a", "b", "c", "d"]}
    assert undocumented("def _f(a, b, c, d):\n    pass\n") == {}, "private"
    assert undocumented("class _A:\n    def f(self, a, b, c, d):\n        pass\n") == {}, "private"

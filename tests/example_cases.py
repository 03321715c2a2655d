"""What is written for people and has to be true: code and command lines of the README, the site and the notebook."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
from app_cases import ROOT

DOCS = ROOT / "examples" / "docs"
PAGES = {str(path.relative_to(DOCS)): path for path in sorted(DOCS.rglob("*.md"))}
NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(geofold [^`\n]+)`")
LEFT_OPEN = {"HOST": "localhost"}


def python_blocks(path: Path) -> list[str]:
    """The Python blocks of a page."""
    return [code for kind, code in FENCE.findall(path.read_text(encoding="utf-8")) if kind == "python"]


def command_lines(path: Path) -> list[str]:
    """Lines of a page's console blocks that call geofold, with what a line ending in a backslash goes on with."""
    blocks = [code for kind, code in FENCE.findall(path.read_text(encoding="utf-8")) if kind == "console"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line[2:] for line in lines if line.startswith("$ geofold ")]


def mentions(path: Path) -> list[str]:
    """Commands in the running text of a page; they may be without their arguments."""
    return INLINE.findall(FENCE.sub("", path.read_text(encoding="utf-8")))


def load_example(name: str) -> Any:
    """The module of a script among the examples."""
    spec = importlib.util.spec_from_file_location(f"example_{Path(name).stem}", ROOT / "examples" / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run_python(code: str, folder: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run code as a reader would, in a folder that has the structures."""
    for name in ("structures", "examples"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}, timeout=timeout,
    )  # fmt: skip


def parsed(line: str) -> dict[str, Any]:
    """What the command line makes of a line, without running it; a mistake raises `UsageError`.

    Options that act as they are read (--help, --install-completion) are looked up only.
    """
    if re.search(r" --(help|\w+-completion)$", line):
        return {"known": True} if known(line) else {}
    from geofold.cli import app

    for name, word in LEFT_OPEN.items():
        line = line.replace(name, word)
    words = shlex.split(line)[1:]
    seen: dict[str, Any] = {}
    command = _held(typer.main.get_command(app), seen)
    command(args=words, standalone_mode=False)
    return seen


def known(line: str) -> bool:
    """Whether a line names a command, and options, that there are."""
    from geofold.cli import app

    command: Any = typer.main.get_command(app)
    words = line.split()[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    options = {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}
    named = {word for word in words if word.startswith("-") and len(word) > 1}
    return named <= options and (bool(command.name) or bool(named))


def _held(command: Any, seen: dict[str, Any]) -> Any:
    """The command with every callback replaced by one that notes what it was given."""
    for one in getattr(command, "commands", {}).values():
        _held(one, seen)
    if not hasattr(command, "commands"):
        command.callback = lambda **given: seen.update(given)
    return command

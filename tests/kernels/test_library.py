"""Compiling, loading and choosing kernels."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from geofold.kernels import library as kernels
from geofold.kernels.structures import Closure, Tree

needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="no compiler here")
PROGRAM = """
import torch
from geofold.kernels import library
with torch.no_grad():
    print(library.usable(torch.zeros(1, dtype=torch.float64)))
"""


def run(home: Path, **variables: str) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(home), "TMPDIR": str(home), **variables}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@needs_compiler
def test_first_use_compiles_and_later_ones_load(tmp_path: Path) -> None:
    assert run(tmp_path) == "True"
    (made,) = tmp_path.rglob("kernels-*.so")
    before = made.stat().st_mtime_ns
    assert run(tmp_path, CC="false", PATH="") == "True", "the file is there: no compiler is needed"
    assert [path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")] == [before]


def test_a_machine_without_compiler_takes_the_plain_functions(tmp_path: Path) -> None:
    assert run(tmp_path, PATH="", CC="no-such-compiler") == "False"
    assert not list(tmp_path.rglob("*.so"))


@needs_compiler
def test_the_variable_forces_the_plain_functions(tmp_path: Path) -> None:
    assert run(tmp_path, GEOFOLD_KERNELS="plain") == "False"
    assert not list(tmp_path.rglob("*.so")), "nothing was compiled for nothing"


@needs_compiler
def test_a_damaged_library_is_compiled_again(tmp_path: Path) -> None:
    assert run(tmp_path) == "True"
    (made,) = tmp_path.rglob("kernels-*.so")
    made.write_bytes(b"not a library")
    assert run(tmp_path) == "True"
    assert made.stat().st_size > 1000


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    open_folder = tmp_path / "geofold"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    assert not kernels._is_private(open_folder)
    open_folder.chmod(0o755)
    assert kernels._is_private(open_folder)


@needs_compiler
def test_kernels_are_for_doubles_without_gradients() -> None:
    one = torch.zeros(1, dtype=torch.float64)
    assert not kernels.usable(one), "a gradient may be recorded"
    with torch.no_grad():
        assert kernels.usable(one) and not kernels.usable(one, one.float())
        with kernels.plain():
            assert not kernels.usable(one)
        assert kernels.usable(one)


def test_a_structure_survives_copies_with_addresses_of_its_own() -> None:
    tree = Tree.of(1, 2, *(torch.tensor([k]) for k in range(4)))
    closure = Closure.of(-1, 0, 0, torch.zeros(0, 2, dtype=torch.long))
    for made in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree)):
        assert (made.n, made.m) == (1, 2)
        assert made.near != tree.near and [int(part) for part in made.values[2:]] == [0, 1, 2, 3]
    assert copy.deepcopy(closure).end == -1

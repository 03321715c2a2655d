"""Training data from a folder of structures."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geofold import resources
from geofold.app.train.chain_dataset import build_data, cut_segments, find_loops
from geofold.app.train.chain_groups import assign_splits, group_related
from geofold.cli import main
from geofold.errors import InputFileError
from geofold.learn.data.chains import AMINO_ACIDS, read_chains
from geofold.molecule.io.read import read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "in" / "deep"
    inside.mkdir(parents=True)
    for name in ("1ubi.pdb", "5pti.cif", "1bhl.pdb"):
        shutil.copy(resources.find("structures", name), inside / name)
    (inside / "2erl.pdb.gz").write_bytes(gzip.compress(resources.find("structures", "2erl.pdb").read_bytes()))
    (inside / "broken.pdb").write_text("no protein")
    (inside / "notes.txt").write_text("left alone")
    return tmp_path / "in"


def test_command_writes_what_the_reader_reads(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "data.npz"
    assert main(["data", "build", str(folder), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert "4 files, 5 chains" in printed.out and "left out: broken.pdb" in printed.err
    chains = read_chains(out)
    native = read(resources.find("structures", "1ubi.pdb"))
    with np.load(out) as file:
        number = int(np.flatnonzero(file["pdb_id"] == "1ubi")[0])
        assert file["dssp"].shape == file["acc"].shape == file["depth"].shape == chains.residue.shape
        assert set(file["runs"][:, 0]) <= set(range(5)) and file["run_columns"][2] == "length"
        xyz = np.cumsum(file["dxyz"].reshape(-1, 3), axis=0, dtype=np.int16).reshape(-1, 4, 3) / 100
    part = slice(chains.start[number], chains.start[number] + chains.length[number])
    assert "".join(AMINO_ACIDS[k] for k in chains.residue[part][:8]) == "MQIFVKTL"
    ca = 10 * native.xyz[(native.name == "CA") & native.conformer_mask][: chains.length[number]]
    built = xyz[part, 1]
    difference = np.linalg.norm(built[:, None] - built, axis=-1) - np.linalg.norm(ca[:, None] - ca, axis=-1)
    assert np.abs(difference).max() < 0.03
    # the break of 1bhl splits its chain
    assert (np.diff(chains.start) == chains.length[:-1]).all()


def test_same_seed_same_bytes(folder: Path) -> None:
    assert build_data(folder, seed=1)[0] == build_data(folder, seed=1)[0]


def test_strained_geometry_is_cut_out() -> None:
    native = read(resources.find("structures", "1ubi.pdb"))
    assert [s.first for s in cut_segments(native, "1ubi")] == [0]
    native.xyz[native.atom(45, "CA", native.conformer_mask)] += 0.05
    parts = cut_segments(native, "1ubi", 20)
    assert [(s.first, len(s.letters)) for s in parts] == [(0, 45), (46, 30)]


def test_related_chains_share_a_group_and_a_split() -> None:
    noise = np.random.default_rng(0)
    first = "".join(noise.choice(list(AMINO_ACIDS), 100))
    near = first[:60] + "".join(noise.choice(list(AMINO_ACIDS), 40))
    other = "".join(noise.choice(list(AMINO_ACIDS), 100))
    group = group_related([first, other, near, other[::-1]], ["a", "b", "c", "b"])
    assert group[0] == group[2] != group[1] == group[3]
    many = np.arange(400, dtype=np.int32)
    split = assign_splits(np.repeat(many, 2), np.full(800, 50, np.int32), 3)
    assert (split[::2] == split[1::2]).all()
    assert np.bincount(split, minlength=3) / 800 == pytest.approx([0.9, 0.05, 0.05], abs=0.01)


def test_loops_lie_between_regular_structure() -> None:
    letters = np.array(["HGIEBTSC".index(k) for k in "CCHHHHTTSEEECCEHHHCC"])
    # a single E is not a strand: the loop continues through it
    assert find_loops(letters) == [(6, 3, 1, 2, 4, 3), (12, 3, 2, 1, 3, 3)]


def test_nothing_to_build_from(tmp_path: Path, capsys) -> None:
    with pytest.raises(InputFileError, match="holds no structure"):
        build_data(tmp_path)
    (tmp_path / "a.pdb").write_text("no protein")
    out = tmp_path / "out.npz"
    assert main(["data", "build", str(tmp_path), "-o", str(out)]) == 2
    assert "holds no segment" in capsys.readouterr().err and not out.exists()


def test_atoms_in_one_place_do_not_end_the_process(folder: Path, tmp_path: Path) -> None:
    """The C code that computes accessible areas calls exit() for them; so does a process of its own end."""
    odd = Path(__file__).resolve().parents[2] / "data" / "odd"
    for path in odd.iterdir():
        shutil.copy(path, folder / "deep" / path.name)
    lines = resources.find("structures", "1ubi.pdb").read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("ATOM"))
    lines[first + 4] = lines[first + 4][:30] + lines[first + 5][30:54] + lines[first + 4][54:]
    (folder / "deep" / "twice.pdb").write_text("\n".join(lines))
    out = tmp_path / "data.npz"
    command = [sys.executable, "-m", "geofold", "data", "build", str(folder), "-o", str(out)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "left out: empty.pdb" in told.stderr and len(read_chains(out).length) >= 6

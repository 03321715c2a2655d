"""Packed training chains: the file holds the packing, is extended after an interruption, and belongs to its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_cases import small_data

from geofold import resources
from geofold.cli import main
from geofold.errors import InputFileError
from geofold.learn.data.chains import read_chains
from geofold.learn.weights import data_hash
from geofold.molecule.datasets.packed_chains import (
    backbone_structure,
    choose_chains,
    pack_chains,
    read_packed,
    side_chain_atoms,
)
from geofold.molecule.io.read import read
from geofold.molecule.sidechains.packing import pack, place_side_chains


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Backbones of three small structures, one in each split."""
    return small_data(tmp_path_factory.mktemp("data"))


def test_chains_have_their_coordinates_back(data: Path) -> None:
    chains = read_chains(data)
    native = read(resources.find("structures", "1ubi.pdb"))
    number = next(k for k in range(len(chains.start)) if chains.letters(k).startswith("MQIFVKTL"))
    ca = native.xyz[[native.atom(k, "CA", native.conformer_mask) for k in range(chains.length[number])]]
    structure = backbone_structure(chains, number)
    distances = np.linalg.norm(np.diff(structure.xyz[structure.name == "CA"], axis=0), axis=1)
    assert np.abs(distances - np.linalg.norm(np.diff(ca, axis=0), axis=1)).max() < 0.002


def test_the_file_holds_the_result_of_the_packer(data: Path, tmp_path: Path) -> None:
    chains, digest = read_chains(data), data_hash(data)
    packed = pack_chains(chains, digest, tmp_path / "packed.npz", count=1)
    assert len(packed.chain) == 3
    number = int(packed.chain[0])
    bare = backbone_structure(chains, number)
    direct = {(a.residue, a.name): a.xyz for a in place_side_chains(bare, pack(bare))[1]}
    rebuilt = side_chain_atoms(bare, packed.of(number, int(chains.length[number])))
    assert {(a.residue, a.name) for a in rebuilt} == set(direct)
    # angles are kept in 16 bits: a thousandth of a radian at the end of a lysine
    assert max(np.abs(a.xyz - direct[a.residue, a.name]).max() for a in rebuilt) < 0.002


def test_interrupted_packing_resumes(data: Path, tmp_path: Path, monkeypatch) -> None:
    from geofold.molecule.datasets import packed_chains

    chains, digest = read_chains(data), data_hash(data)
    complete = pack_chains(chains, digest, tmp_path / "whole.npz", count=1)
    monkeypatch.setattr(packed_chains, "BATCH", 1)
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_chains(chains, digest, tmp_path / "half.npz", count=1, progress=stop)
    assert calls == [(1, 3), (2, 3)] and len(read_packed(tmp_path / "half.npz").chain) == 2
    resumed = pack_chains(chains, digest, tmp_path / "half.npz", count=1)
    np.testing.assert_array_equal(resumed.chi, complete.chi)


def test_file_of_other_data_is_refused(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "packed.npz"
    pack_chains(read_chains(data), data_hash(data), path, count=1)
    with pytest.raises(InputFileError, match="other backbones"):
        read_packed(path, "0" * 64)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputFileError, match="holds no packed chains"):
        read_packed(path)


def test_the_choice_depends_on_the_seed_alone(data: Path) -> None:
    chains = read_chains(data)
    assert choose_chains(chains, 1, 0).tolist() == choose_chains(chains, 1, 0).tolist()


def test_packing_from_the_command_line(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "packed.npz"
    assert main(["data", "pack", str(data), "-o", str(out), "--chains", "1"]) == 0
    assert "3 chains" in capsys.readouterr().out
    assert main(["data", "pack", str(tmp_path / "none.npz"), "-o", str(out)]) == 2

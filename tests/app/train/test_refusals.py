"""Train commands on little data, on files of something else, and in folders of another run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_cases import small_data

from geofold import resources
from geofold.app.train.chain_dataset import assign_splits, build_data
from geofold.cli import main
from geofold.learn.arrays import read_arrays
from geofold.learn.data.chains import read_chains
from geofold.learn.loop_score.decoys import DECOY_FIELDS as DECOYS
from geofold.learn.weights import data_hash
from geofold.molecule.datasets.packed_chains import pack_chains


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    small_data(folder, packed=True)
    return folder


def refused(args: list[str], capsys, *told: str) -> None:
    """A command ends with status 2 and one line that names what it has to."""
    assert main(args) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("left out: ")]
    assert line.startswith("geofold: ") and len(line) < 700
    for part in told:
        assert part in line


def given(name: str, data: Path, packed: Path, out: Path) -> list[str]:
    """Command line of a training on data."""
    side = ["--packed", str(packed)] if name in ("loop", "gate") else []
    return ["train", name, "--data", str(data), *side, "--out", str(out)]


def changed(source: Path, target: Path, **arrays: np.ndarray | None) -> Path:
    """An .npz with other arrays in the place of its own; None leaves one out."""
    with np.load(source) as file:
        whole = dict(file) | arrays
    np.savez(target, **{name: array for name, array in whole.items() if array is not None})
    return target


def test_what_the_readme_builds_is_enough_to_train_a_prior(tmp_path: Path, capsys) -> None:
    path, out = tmp_path / "b.npz", tmp_path / "p"
    assert main(["data", "build", str(resources.find("structures", "1ubi.pdb").parent), "-o", str(path)]) == 0
    assert main(["train", "prior", "--data", str(path), "--out", str(out), "--steps", "2", "--backbone", "rnn"]) == 0
    assert "windows of 64 residues" in capsys.readouterr().out
    card = json.loads((out / "prior.json").read_text())
    assert card["size"] == 64 and np.isfinite(card["valid_nll"]) and np.isfinite(card["unlikely_nat"])


def test_no_split_stays_empty_while_there_are_groups() -> None:
    for count in range(1, 12):
        for seed in range(20):
            length = np.random.default_rng(seed).integers(20, 400, count).astype(np.int32)
            split = assign_splits(np.arange(count, dtype=np.int32), length, seed)
            assert set(split) >= set(range(min(count, 3))), (count, seed)


@pytest.mark.parametrize("name", ["prior", "loop", "gate", "score"])
def test_data_without_a_validation_chain_are_refused(name: str, data: Path, tmp_path: Path, capsys) -> None:
    source = tmp_path / "one"
    source.mkdir()
    shutil.copy(resources.find("structures", "1ubi.pdb"), source)
    path, packed, out = tmp_path / "one.npz", tmp_path / "packed.npz", tmp_path / "out"
    path.write_bytes(build_data(source)[0])
    pack_chains(read_chains(path), data_hash(path), packed, count=1)
    capsys.readouterr()
    refused(given(name, path, packed, out), capsys, str(packed if name in ("loop", "gate") else path), "'valid'")
    assert not out.exists()


@pytest.mark.parametrize("name", ["prior", "loop", "gate", "score"])
def test_chains_that_are_too_short_are_refused(name: str, data: Path, tmp_path: Path, capsys) -> None:
    """Chains of seven residues: no window and no loop fits."""
    path, packed, out = tmp_path / "short.npz", tmp_path / "packed.npz", tmp_path / "out"
    start = np.arange(0, 140, 7)
    with np.load(data / "backbones.npz") as file:
        parts = {name: file[name][:140] for name in ("dxyz", "aa", "dssp")}
    changed(data / "backbones.npz", path, start=start, length=np.full(20, 7), split=np.arange(20) % 3, **parts)
    pack_chains(read_chains(path), data_hash(path), packed, count=3)
    capsys.readouterr()
    refused(given(name, path, packed, out), capsys, str(packed if name in ("loop", "gate") else path), "'train'")
    assert not out.exists()


def spoilt(data: Path, folder: Path, name: str) -> dict[str, Path]:
    """Files that are no backbones (or no packed chains), by what is wrong with them."""
    source = data / name
    whole = source.read_bytes()
    made = {kind: folder / f"{kind}_{name}" for kind in ("absent", "empty", "text", "cut", "flipped", "zip")}
    made["empty"].write_bytes(b"")
    made["text"].write_text("ATOM      1  N   ALA A   1\n" * 40)
    made["cut"].write_bytes(whole[: len(whole) // 2])
    part = slice(len(whole) // 3, len(whole) // 3 + 400)
    made["flipped"].write_bytes(whole[: part.start] + bytes(255 - b for b in whole[part]) + whole[part.stop :])
    made["zip"].write_bytes(b"PK\x05\x06" + bytes(18))
    made["folder"] = folder / "folder"
    made["folder"].mkdir(exist_ok=True)
    array = folder / "array.npy"
    np.save(array, np.zeros(3))
    made["objects"] = folder / f"objects_{name}"
    np.savez(made["objects"], **{key: np.array([{}, []], dtype=object) for key in np.load(source).files})
    if name == "backbones.npz":
        wrong = {
            "lacking": {"aa": None}, "floats": {"start": np.array([0.0, np.nan, 1e308])},
            "negative": {"length": np.array([-1, 2, 3])}, "beyond": {"start": np.array([0, 2**40, 2**62])},
            "flat": {"dxyz": np.zeros(12, np.int16)}, "letters": {"aa": np.full(1000, 255, np.uint8)},
            "nothing": {"start": np.zeros(0, int), "length": np.zeros(0, int), "split": np.zeros(0, int)},
        }  # fmt: skip
    else:
        wrong = {
            "lacking": {"chi": None}, "chains": {"chain": np.array([0, 1, 99])},
            "twice": {"chain": np.array([0, 0, 1])}, "starts": {"start": np.array([0, 2**40, 5])},
            "flat": {"chi": np.zeros(12, np.float16)},
            "short": {"chi": np.zeros((1, 4), np.float16)},
        }  # fmt: skip
    return (
        made
        | {"array": array}
        | {
            kind: changed(source, folder / f"{kind}_{name}", **arrays)
            for kind, arrays in wrong.items()  # type: ignore[arg-type]
        }
    )


@pytest.mark.parametrize("name", ["prior", "loop", "gate", "score"])
def test_files_of_something_else_are_refused_in_one_line(name: str, data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    for path in spoilt(data, tmp_path, "backbones.npz").values():
        refused(given(name, path, data / "packed.npz", out), capsys, str(path), "holds no backbones")
    if name in ("loop", "gate"):
        for path in spoilt(data, tmp_path, "packed.npz").values():
            refused(given(name, data / "backbones.npz", path, out), capsys, str(path), "holds no packed chains")
    else:
        refused(given(name, data / "packed.npz", data / "packed.npz", out), capsys, "packed.npz", "holds no backbones")
    assert not out.exists()


def test_packing_refuses_what_is_there_and_no_packed_chains(data: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "packed.npz"
    other.write_text("notes")
    args = ["data", "pack", str(data / "backbones.npz"), "-o", str(other)]
    refused(args, capsys, str(other), "holds no packed chains")
    assert other.read_text() == "notes"


@pytest.mark.parametrize("name", ["prior", "loop", "gate", "score", "peptide", "maze", "metric"])
def test_a_folder_of_another_run_is_refused(name: str, data: Path, tmp_path: Path, capsys) -> None:
    args = ["train", name, "--out", str(tmp_path)]
    if name not in ("peptide", "maze", "metric"):
        args = given(name, data / "backbones.npz", data / "packed.npz", tmp_path)
    if name == "score":
        args = given(name, changed_chain(data, tmp_path), data / "packed.npz", tmp_path)
    folder = tmp_path / "selective" if name == "maze" else tmp_path
    folder.mkdir(exist_ok=True)
    told = folder / "run.json"
    told.write_text(json.dumps({"command": "geofold train something else"}))
    refused(args, capsys, str(folder), "holds another run (command 'geofold train something else')", "another --out")
    for wrong in ("", "[1, 2]", "{" * 9, "[" * 100_000):
        told.write_text(wrong)
        refused(args, capsys, str(told))


def changed_chain(data: Path, folder: Path) -> Path:
    """The data with a validation chain as long as the potential of loops wants it: two chains change places."""
    with np.load(data / "backbones.npz") as file:
        length, split = file["length"], file["split"].copy()
    long = np.flatnonzero(length >= 60)[:2]
    assert len(long) == 2
    split[:] = 2
    split[long] = [0, 1]
    return changed(data / "backbones.npz", folder / "long.npz", split=split)


@pytest.mark.parametrize("name", ["prior", "metric"])
def test_a_folder_that_cannot_be_made_is_refused(name: str, data: Path, tmp_path: Path, capsys) -> None:
    file, loop = tmp_path / "file", tmp_path / "loop"
    file.write_text("mine")
    loop.symlink_to(loop)
    options = ["--data", str(data / "backbones.npz")] if name == "prior" else []
    for out in (file, file / "deeper", loop, tmp_path / ("n" * 300)):
        refused(["train", name, *options, "--out", str(out)], capsys, str(out)[:200], "--out")
    assert file.read_text() == "mine"
    if os.getuid():
        (tmp_path / "shut").mkdir(mode=0o500)
        refused(["train", name, *options, "--out", str(tmp_path / "shut")], capsys, "may write")


def test_a_damaged_checkpoint_is_refused(data: Path, tmp_path: Path, capsys) -> None:
    args = ["train", "prior", "--data", str(data / "backbones.npz"), "--out", str(tmp_path), "--steps", "1"]
    args += ["--backbone", "rnn"]
    assert main(args) == 0
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    capsys.readouterr()
    for wrong in (b"", b"garbage" * 99, whole[: len(whole) // 2], b"PK\x05\x06" + bytes(18), b"\x80\x02N."):
        path.write_bytes(wrong)
        refused(args, capsys, str(path), "not a checkpoint")


def test_what_a_run_made_and_someone_damaged_is_named(data: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "ways").mkdir()
    for number in range(2):
        (tmp_path / "ways" / f"0_{number:05d}.npz").write_bytes(b"cut off")
    args = ["train", "maze", "--out", str(tmp_path), "--worlds", "2", "--steps", "1"]
    refused(args, capsys, f"{tmp_path}/ways/0_00000.npz holds no ways")
    (tmp_path / "demonstrations").mkdir()
    for number in range(5):
        np.savez(tmp_path / "demonstrations" / f"0_{number:05d}.npz", sequence=np.zeros((2, 2)))
    assert main(["train", "peptide", "--out", str(tmp_path), "--peptides", "5", "--steps", "1"]) == 2
    assert "demonstrations/0_00000.npz holds no demonstrations (it has no array" in capsys.readouterr().err


def test_weights_of_something_else_are_refused(data: Path, tmp_path: Path, capsys) -> None:
    args = [*given("score", data / "backbones.npz", data / "packed.npz", tmp_path / "out"), "--begin"]
    prior = resources.find("prior.safetensors")
    refused([*args, str(prior)], capsys, str(prior), "another model")
    for card in ("[]", "{}", "[" * 100_000, '{"sha256": 3}'):
        path = tmp_path / "score.safetensors"
        path.write_bytes(b"no weights")
        path.with_suffix(".json").write_text(card)
        refused([*args, str(path)], capsys, str(path))
    refused([*args, str(tmp_path)], capsys, str(tmp_path))


def test_a_file_larger_than_the_limit_is_not_unpacked(tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, dxyz=np.zeros((100_000, 4, 3), np.int16))
    monkeypatch.setattr("geofold.learn.arrays.LARGEST", 1_000_000)
    refused(["train", "prior", "--data", str(path), "--out", str(tmp_path / "o")], capsys, "bytes unpacked, more than")


def test_decoys_of_an_earlier_run_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, xyz=np.zeros((3, 5, 4, 3)), rmsd=np.zeros(2))
    with pytest.raises(Exception, match=r"holds no decoys \(rmsd has shape \(2,\)"):
        read_arrays(path, DECOYS, optional=tuple(DECOYS), content="decoys", expected="some", remedy="none")

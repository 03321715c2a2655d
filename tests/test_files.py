"""Files are written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geofold.files import write_atomically, write_npz


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("old")

    def fail(name: str) -> None:
        Path(name).write_text("half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_arrays_are_read_back_and_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    for path in (one, other):
        write_npz(path, {"a": np.arange(3), "b": np.array(["x"])})
    with np.load(one) as file:
        assert file["a"].tolist() == [0, 1, 2] and file["b"].tolist() == ["x"]
    assert one.read_bytes() == other.read_bytes() and len(list(tmp_path.iterdir())) == 2

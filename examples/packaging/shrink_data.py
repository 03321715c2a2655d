"""Shrink files of geofold/data for the wheel: python examples/packaging/shrink_data.py FILE ...

An .npz is packed with LZMA, which loses nothing. Weights (.safetensors) are rounded to half precision, and their card
gets the new hash; models compute in single precision all the same. Round weights only after a comparison: the judges
(judge, loop_judge) choose between candidates, and rounding them left the coordinates of repairs as they were.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from safetensors.torch import load_file

from geofold.errors import InputFileError
from geofold.files import write_all
from geofold.learn.weights import load_card, save_weights


def pack(path: Path) -> None:
    """Pack the arrays of an .npz with LZMA."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as after:
        for name in before.namelist():
            # a fixed date: the same arrays give the same bytes
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_LZMA
            after.writestr(entry, before.read(name))
    write_all({str(path): out.getvalue()})


def halve(path: Path) -> None:
    """Round weights to half precision."""
    card = load_card(path)
    card.pop("sha256")
    weights = {name: value.half() if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_weights(path, weights, card | {"precision": "half"})


def main(names: list[str]) -> None:
    """Shrink files, each by its suffix."""
    for path in map(Path, names):
        before = path.stat().st_size
        if path.suffix not in SHRINK:
            raise InputFileError(str(path), f"a file ending in {' or '.join(SHRINK)}", "check the name")
        SHRINK[path.suffix](path)
        print(f"{path.name}: {before} -> {path.stat().st_size} bytes")


SHRINK = {".npz": pack, ".safetensors": halve}

if __name__ == "__main__":
    main(sys.argv[1:])

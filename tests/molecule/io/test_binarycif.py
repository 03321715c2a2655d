"""BinaryCIF: what is in such a file is what the mmCIF file has, and a damaged one is refused in one line."""

from __future__ import annotations

import gzip
import io
import random
import sys
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.app import api
from geofold.errors import GeofoldError, InputFileError
from geofold.molecule.io import content
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.structure import COLUMNS

pdbx: Any = pytest.importorskip("biotite.structure.io.pdbx")
msgpack: Any = pytest.importorskip("msgpack")
NAMES = ("5pti.cif", "1fas.cif", "1yjp.cif")


def binary(name: str, compressed: bool = True) -> bytes:
    """A shipped mmCIF file as BinaryCIF, compressed as the archives do, or with strings only."""

    def column(source: Any) -> Any:
        mask = None if source.mask is None else pdbx.BinaryCIFData(source.mask.array)
        return pdbx.BinaryCIFColumn(pdbx.BinaryCIFData(source.as_array()), mask)

    blocks = {}
    for block, categories in pdbx.CIFFile.read(STRUCTURES / name).items():
        tables = {
            category: pdbx.BinaryCIFCategory({item: column(values) for item, values in table.items()})
            for category, table in categories.items()
        }
        if compressed:
            sites = tables["atom_site"]
            for item in ("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv"):
                sites[item] = sites[item].as_array(np.float32)
            for item in ("id", "auth_seq_id", "pdbx_PDB_model_num"):
                sites[item] = sites[item].as_array(np.int32)
        blocks[block] = pdbx.BinaryCIFBlock(tables)
    file, out = pdbx.BinaryCIFFile(blocks), io.BytesIO()
    (pdbx.compress(file) if compressed else file).write(out)
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compressed", [True, False])
def test_it_reads_as_the_mmcif_file_does(name: str, compressed: bool) -> None:
    structure, original = read(binary(name, compressed)), read(STRUCTURES / name)
    for column in COLUMNS:
        mine, theirs = (getattr(own, column) for own in (structure, original))
        assert np.allclose(mine, theirs, atol=1e-9) if mine.dtype.kind == "f" else mine.tolist() == theirs.tolist()
    assert [residue.label for residue in structure.residues] == [residue.label for residue in original.residues]
    assert (structure.links, structure.title, structure.notes) == (original.links, original.title, original.notes)
    assert structure.document.sequences() == original.document.sequences()


def test_it_is_written_as_mmcif_with_every_category() -> None:
    structure = read(binary("5pti.cif"))
    written = render(structure, structure.xyz, np.zeros(len(structure), dtype=bool))
    assert np.array_equal(read(written).xyz, structure.xyz)
    block, original = (
        pdbx.CIFFile.read(source).block for source in (io.StringIO(written.decode()), STRUCTURES / "5pti.cif")
    )
    assert set(block) == set(original)
    for name, category in original.items():
        for item, column in category.items():
            if name != "atom_site":
                mine, theirs = (values.as_array().tolist() for values in (block[name][item], column))
                assert [" ".join(value.split()) for value in mine] == [" ".join(value.split()) for value in theirs]


def test_check_and_repair_equal_those_of_the_mmcif_file(tmp_path) -> None:
    source, original = tmp_path / "5pti.bcif.gz", STRUCTURES / "5pti.cif"
    source.write_bytes(gzip.compress(binary("5pti.cif")))
    options = {"energy": False, "streams": 2, "rounds": 1, "seed": 3}
    mine, theirs = (api.check(path, energy=False) for path in (source, original))
    differ = {key for key in theirs if mine.get(key) != theirs[key]}
    assert differ <= {"input", "file", "seconds", "geofold", "next", "suggestions"}, differ
    first, second = (gf.repair(path, "A:36-42", **options) for path in (source, original))
    assert np.abs(first.xyz - second.xyz).max() < 1e-6
    first.save(tmp_path / "out.cif")
    assert np.array_equal(read(tmp_path / "out.cif").xyz, first.xyz)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch) -> None:
    data = binary("1yjp.cif")
    for module in ("biotite", "biotite.structure.io.pdbx", "msgpack"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputFileError, match=r"x\.bcif is a BinaryCIF file.*pip install 'geofold\[bcif\]'"):
        read(data, name="x.bcif")


def damaged(data: bytes, seed: int) -> bytes:
    """The file cut off, with bytes changed, or with a piece moved."""
    noise, changed = random.Random(seed), bytearray(data)
    kind = seed % 4
    if kind == 0:
        return data[: noise.randrange(40, len(data))]
    if kind == 1:
        for _ in range(noise.choice((1, 3, 30))):
            changed[noise.randrange(40, len(data))] = noise.randrange(256)
    elif kind == 2:
        start = noise.randrange(40, len(data))
        del changed[start : start + noise.choice((1, 4, 100))]
    else:  # near a size or the kind of an encoding
        places = [
            k for k in range(len(data) - 16) if data[k : k + 7] in (b"srcSize", b"byteCou", b"rowCoun", b"srcType")
        ]
        place = noise.choice(places) + noise.randrange(7, 14)
        changed[place : place + 2] = noise.randbytes(2)
    return bytes(changed)


@pytest.mark.parametrize("part", range(4))
def test_damaged_files_are_read_or_refused_in_one_line(part: int) -> None:
    data, refused = binary("1yjp.cif"), 0
    for seed in range(part, 160, 4):
        try:
            structure = read(damaged(data, seed), name="x.bcif")
            assert len(structure) > 0
        except GeofoldError as error:
            assert "\n" not in str(error) and len(str(error)) < 1500
            refused += 1
    assert refused > 5


def bombs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Files of some bytes that declare arrays of gigabytes."""
    many = 2**31 - 1
    integers = [{"kind": "ByteArray", "type": 3}]
    run = {"kind": "RunLength", "srcType": 3, "srcSize": many}
    data = np.array([1, many], dtype="<i4").tobytes()
    yield "rows", {"rowCount": many, "data": {"data": data, "encoding": [run, *integers]}}
    yield "run", {"rowCount": 1, "data": {"data": data, "encoding": [run, *integers]}}
    sizeless = {"kind": "RunLength", "srcType": 3}
    yield "no size", {"rowCount": 1, "data": {"data": data, "encoding": [sizeless, *integers]}}
    packing = {"kind": "IntegerPacking", "byteCount": 1, "isUnsigned": True, "srcSize": many}
    yield "packing", {"rowCount": 1, "data": {"data": b"\1", "encoding": [packing, {"kind": "ByteArray", "type": 4}]}}
    offsets = {"offsetEncoding": integers, "offsets": np.array([0, 10**5], dtype="<i4").tobytes()}
    indices = np.array([0, 50_000], dtype="<i4").tobytes()
    runs = [{"kind": "RunLength", "srcType": 3, "srcSize": 50_000}, *integers]
    strings = {"kind": "StringArray", "stringData": "x" * 10**5, "dataEncoding": runs, **offsets}
    yield "strings", {"rowCount": 50_000, "data": {"data": indices, "encoding": [strings]}}


@pytest.mark.parametrize(("kind", "table"), bombs(), ids=lambda value: value if isinstance(value, str) else "")
def test_declared_sizes_are_checked_before_columns_are_unpacked(kind: str, table: dict, monkeypatch) -> None:
    monkeypatch.setattr(content, "MAX_BYTES", 4 * 2**20)
    column = {"name": "id", "data": table["data"], "mask": None}
    category = {"name": "_atom_site", "rowCount": table["rowCount"], "columns": [column]}
    file = {"encoder": "x", "version": "0.3.0", "dataBlocks": [{"header": "X", "categories": [category]}]}
    packed = msgpack.packb(file)
    with pytest.raises(InputFileError, match="damaged"):
        read(binary("1yjp.cif")[:5000])  # so that imports do not count as memory
    tracemalloc.start()
    with pytest.raises(InputFileError, match=r"damaged BinaryCIF|unpacks to more than 4 MB"):
        read(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20


STRINGS = (
    "plain",
    "two words",
    "it's",
    'a "b"',
    'it\'s "both"',
    "_tag",
    "data_x",
    "loop_",
    "?",
    ".",
    "#c",
    ";x",
    "a\n;b",
)


@pytest.mark.parametrize("value", STRINGS)
def test_strings_are_quoted_so_that_they_are_read_as_they_were(value: str) -> None:
    rows = pdbx.CIFFile.read(STRUCTURES / "1yjp.cif").block["atom_site"]
    sites = pdbx.BinaryCIFCategory({item: column.as_array() for item, column in rows.items()})
    structure = pdbx.BinaryCIFCategory({"entry_id": ["1YJP"], "title": [value]})
    file, out = pdbx.BinaryCIFFile({"X": pdbx.BinaryCIFBlock({"struct": structure, "atom_site": sites})}), io.BytesIO()
    file.write(out)
    assert read(out.getvalue()).title == " ".join(value.replace("\n;", "\n ;").split())

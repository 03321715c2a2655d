"""BinaryCIF files (Sehnal et al., PLoS Comput. Biol. 16:e1008247, 2020), decoded by biotite and kept as mmCIF text.

A structure of such a file has an mmCIF document: every category and every value of the file is in it, and it is written
as mmCIF. Sizes that a file declares are checked before its columns are unpacked.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from geofold.errors import GeofoldError, InputFileError
from geofold.molecule.io import content as limits
from geofold.molecule.io.format import Format
from geofold.molecule.io.mmcif_reader import parse_text
from geofold.molecule.structure import Structure

SIGNATURE = b"dataBlocks"
SIGNATURE_BYTES = 256
"""Bytes at the start in which the signature is: only the names of the encoder and of the version come before it."""
VALUES_PER_BYTE = 64
"""Maximum values for each byte of a file; the coordinates alone take more than one byte for seven values."""
MAX_ALIGNED = 40
"""Maximum characters of the values of a column that is padded to equal width."""
TAG = re.compile(r"[!-~]+")
BARE = re.compile(r"(?!(?:data_|save_|loop_$|global_$|stop_$))[^\s_#$'\"\[\];]\S*", re.IGNORECASE)
"""Values that CIF needs no quotes for."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def recognises(content: bytes) -> bool:
    """Whether the content is a MessagePack map with the key of BinaryCIF at its start."""
    is_map = 0x80 <= content[0] <= 0x8F or content[0] in (0xDE, 0xDF)
    return is_map and SIGNATURE in content[:SIGNATURE_BYTES]


def parse(content: bytes, source: str) -> Structure:
    """First model of the content of a BinaryCIF file.

    Raises
    ------
    InputFileError
        If biotite is not installed, or the file is damaged.
    NoProteinError, CoordinateError
    """
    try:
        import biotite.structure.io.pdbx  # noqa: F401
        import msgpack
    except ImportError as error:
        raise InputFileError(
            f"{source} is a BinaryCIF file",
            "the packages of the extra bcif",
            "pip install 'geofold[bcif]', or convert it to mmCIF",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            text = _mmcif_text(msgpack.unpackb(content, raw=False), len(content), source)
    except GeofoldError:
        raise
    except Exception as error:  # a decoder may fail in any way on foreign bytes
        raise _damaged(source, f"{type(error).__name__}: {error}") from error
    return parse_text(text, "utf-8", source)


BINARYCIF = Format("BinaryCIF", (".bcif",), "mmCIF", recognises, parse)


def _damaged(source: str, reason: str) -> InputFileError:
    return InputFileError(f"{source} is a damaged BinaryCIF file ({reason})", limits.STRUCTURE, "fetch it again")


def _mmcif_text(file: dict[str, Any], n_bytes: int, source: str) -> str:
    """Text of an unpacked file of `n_bytes` bytes."""
    categories = [category for block in file["dataBlocks"] for category in block["categories"]]
    values = 0
    for category in categories:
        rows = category["rowCount"]
        values += rows * len(category["columns"])
        # each run of a run-length encoding is two numbers, and strings have one offset more than there are strings
        if not isinstance(rows, int) or rows < 0 or _largest_size(category["columns"]) > 2 * rows + 2:
            raise _damaged(source, f"sizes of {category['name']} that do not fit its rows")
    if values > VALUES_PER_BYTE * n_bytes:
        raise _damaged(source, f"{values} values in {n_bytes} bytes")
    pieces, size = list[str](), 0
    for block in file["dataBlocks"]:
        pieces.append(f"data_{_tag(str(block['header']) or 'unnamed')}\n#\n")
        for category in block["categories"]:
            if category["rowCount"] and category["columns"]:
                for piece in _category(category):
                    pieces.append(piece)
                    size += len(piece)
                    if size > limits.MAX_BYTES:
                        raise InputFileError(
                            f"{source} unpacks to more than {limits.MAX_BYTES // 2**20} MB",
                            "a smaller file",
                            "give a part of it",
                        )
    return "".join(pieces)


def _largest_size(value: Any) -> int:
    """Largest size of an array that encodings declare, anywhere in some columns."""
    if isinstance(value, list):
        return max(map(_largest_size, value), default=0)
    if not isinstance(value, dict):
        return 0
    if value.get("kind") == "RunLength" and "srcSize" not in value:
        raise ValueError("a run-length encoding without a size")
    return max(value.get("srcSize", 0), max(map(_largest_size, value.values()), default=0))


def _category(category: dict[str, Any]) -> Iterator[str]:
    """Text of a category, row by row."""
    name, rows = _tag(category["name"].removeprefix("_")), category["rowCount"]
    columns = [_column(column) for column in category["columns"]]
    if any(len(column) != rows for column in columns):
        raise ValueError(f"columns of {name} with different numbers of rows")
    tags = [f"_{name}.{_tag(column['name'])}" for column in category["columns"]]
    if rows == 1:
        width = max(map(len, tags))
        yield "".join(f"{tag:{width}s} {column[0]}\n" for tag, column in zip(tags, columns, strict=True))
    else:
        yield "loop_\n" + "".join(f"{tag}\n" for tag in tags)
        widths = [max(map(len, column)) for column in columns]
        widths = [width if width <= MAX_ALIGNED else 0 for width in widths]
        for row in zip(*columns, strict=True):
            yield " ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) + "\n"
    yield "#\n"


def _column(column: dict[str, Any]) -> list[str]:
    """Values of a column, each as CIF text."""
    values = _values(column["data"])
    if column.get("mask") is None:
        return values
    mask = _numbers(column["mask"]).tolist()
    return [value if kind == 0 else ".?"[kind - 1] for value, kind in zip(values, mask, strict=True)]


def _numbers(data: dict[str, Any]) -> Any:
    """Decode an array (n,) of numbers."""
    from biotite.structure.io.pdbx import BinaryCIFData

    return BinaryCIFData.deserialize(data).array


def _values(data: dict[str, Any]) -> list[str]:
    """Decode values as CIF text; a string is decoded once, however many rows have it."""
    encoding = data["encoding"]
    if encoding[0]["kind"] != "StringArray":
        numbers = _numbers(data)
        return [str(number) for number in (numbers if numbers.dtype.kind == "f" else numbers.tolist())]
    strings = encoding[0]
    offsets = _numbers({"data": strings["offsets"], "encoding": strings["offsetEncoding"]}).tolist()
    texts = [_quoted(strings["stringData"][start:end]) for start, end in pairwise(offsets)]
    indices = _numbers({"data": data["data"], "encoding": strings["dataEncoding"]}).tolist()
    return [texts[index] if index >= 0 else "." for index in indices]


def _quoted(value: str) -> str:
    """Quote a string as CIF requires."""
    if CONTROL.search(value):
        raise ValueError("a string with control characters")
    if value in ("", "?", "."):
        return f"'{value}'" if value else "."
    if BARE.fullmatch(value):
        return value
    if "\n" not in value and "\r" not in value:
        for quote in "'\"":
            if quote not in value:
                return f"{quote}{value}{quote}"
    lines = value.replace("\r\n", "\n").replace("\r", "\n").replace("\n;", "\n ;")
    return f"\n;{lines}\n;\n"


def _tag(name: str) -> str:
    """Name of a block, category or item.

    Raises
    ------
    ValueError
        If it has blanks or other characters that CIF does not allow.
    """
    if not TAG.fullmatch(name):
        raise ValueError(f"the name {name[:40]!r}")
    return name

"""Entry of the table of file formats; see `geofold.molecule.io.read.FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geofold.molecule.structure import Structure


@dataclass(frozen=True)
class Format:
    """A file format that structures are read from.

    Attributes
    ----------
    name : str
        Name in messages.
    suffixes : tuple of str
        Usual suffixes of its files, lower case, without ``.gz``.
    written_as : str
        Name of the format in which a structure of such a file is written.
    recognises : callable
        Whether the content of a file, unpacked bytes, is of this format.
    parse : callable
        Structure of the content of a file; the second argument is the file's name in messages.
    """

    name: str
    suffixes: tuple[str, ...]
    written_as: str
    recognises: Callable[[bytes], bool]
    parse: Callable[[bytes, str], Structure]

"""Structures that the kernels read: plain numbers, and pointers to the numbers of tensors.

The fields are those of the structures of the same names in ``source/``. A structure keeps the tensors that it points to
alive, and is made again from them when it is copied or pickled.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, TypeVar

from torch import Tensor

KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "d": ctypes.c_double}
"""Types of a field or an argument: p pointer, i integer of 64 bits, d double."""
MAX_CONDITIONS = 64
"""Largest number of conditions of loop closure in the kernels."""
Kind = TypeVar("Kind", bound="Structure")


class Structure(ctypes.Structure):
    """Base of the structures; `of` makes one."""

    values: tuple[Any, ...]

    @classmethod
    def of(cls: type[Kind], *values: Any) -> Kind:
        """Structure with numbers, contiguous tensors (of doubles or 64-bit integers) and structures as fields."""
        made = cls(*[value if isinstance(value, int | float) else pointer(value) for value in values])
        made.values = values
        return made

    @property
    def pointer(self) -> int:
        """Address for the arguments of a kernel."""
        return ctypes.addressof(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Make a copy from the values, since addresses mean nothing elsewhere."""
        return type(self).of, self.values


def pointer(value: Tensor | Structure | ctypes.Array[Any] | None) -> int | ctypes.Array[Any] | None:
    """Address of the numbers of a contiguous tensor, or of a structure; arrays and None are passed as they are."""
    if isinstance(value, Tensor):
        return value.data_ptr()
    return value.pointer if isinstance(value, Structure) else value


def fields(kinds: str, names: str) -> list[tuple[str, Any]]:
    """Fields of a structure, from one letter of `KINDS` and one name for each."""
    return [(name, KINDS[kind]) for kind, name in zip(kinds, names.split(), strict=True)]


class Tree(Structure):
    """Torsion tree: numbers of torsions and local atoms; ends of the axes, bodies of the atoms, parents."""

    _fields_: ClassVar = fields("iipppp", "n m near far body parent")


class Closure(Structure):
    """Loop closure: torsion at the anchor, local row of its CA, pairs of atoms at constant distance."""

    _fields_: ClassVar = fields("iiip", "end anchor pairs pair")


class Expansion(Structure):
    """Decoder around a latent, see ``derivatives.h``."""

    _fields_: ClassVar = fields(
        "ppiidpppppppppp",
        "tree closure rows d limit xyz mobility normal basis free frames mean screws rates correction",
    )


class OverlapShape(Structure):
    """Constants of the cost of an overlap, see `geofold.molecule.energy.clash_cost`."""

    _fields_: ClassVar = fields("ddddd", "tolerance scale softening severe offset")


class Torsions(Structure):
    """Phi and psi of a segment and the maps of their penalty."""

    _fields_: ClassVar = fields(
        "iiidpppppppp", "residues bins padded per_knot start torsion residue corner maps core gap basis"
    )


class Peptide(Structure):
    """Residues of a peptide as the features of its policy need them, see ``features.c``."""

    _fields_: ClassVar = fields(
        "iiiddpppppp",
        "residues local alphabet scale force_scale letter backbone torsion fixed start part",
    )


class Stream(Structure):
    """Sizes and weights of a streaming backbone, see ``stream.c``."""

    _fields_: ClassVar = fields("iiiiiiiidp", "features width latent layers inner states rank taps epsilon weights")


class Born(Structure):
    """Particles in a generalised Born solvent, see ``born.c``."""

    _fields_: ClassVar = fields("iddppp", "count prefactor surface charge radius scale")


class Score(Structure):
    """Networks of the potential of loops and the environment that they read, see ``score.c``."""

    _fields_: ClassVar = fields(
        "iiiiiiippppp",
        "residues first length width convolutions networks block number donates beta xyz weights",
    )


class Judge(Structure):
    """Network of the judge and the embedded environment of a loop, see ``judge.c``."""

    _fields_: ClassVar = fields(
        "iiiiiipppppppp",
        "residues length width message rounds neighbours number place beta atoms axes anchors sent weights",
    )


class Window(Structure):
    """Sizes of the features of the loop model, see ``window.c``."""

    _fields_: ClassVar = fields("iiiiiiip", "residues flank half alphabet others innovations features beta")


class Contacts(Structure):
    """Contacts of a goal and the constants of their cost."""

    _fields_: ClassVar = fields("iippppppdddd", "count local i j fixed bound aim sign scale softening band offset")

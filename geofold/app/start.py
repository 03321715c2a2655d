"""What comes before a stream: the structure that is meant."""

from __future__ import annotations

from typing import Any

from geofold.app.sources import load
from geofold.errors import OptionError
from geofold.modelling.options import STARTS
from geofold.modelling.threads import one_thread
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.structure import Structure


def given(source: Any, sequence: str | None, start: str, seed: int, name: str | None) -> Structure:
    """A source's structure, or the peptide of a sequence, extended or drawn from the torsion prior.

    Raises
    ------
    OptionError
        For both or neither, or a start that does not go with them.
    """
    if (source is None) == (sequence is None):
        raise OptionError("both a structure and a sequence" if sequence else "neither a structure nor a sequence",
                          "one of them", "give a file, or --sequence")  # fmt: skip
    if start not in STARTS or (start == "prior" and sequence is None):
        raise OptionError(f"start {start}{'' if sequence else ' without a sequence'}", " or ".join(STARTS),
                          "choose one of them, with --sequence")  # fmt: skip
    if sequence is None:
        return load(source, name)
    return _drawn(sequence, seed) if start == "prior" else peptide(sequence)


def _drawn(sequence: str, seed: int) -> Structure:
    from geofold.modelling.peptide.prior_start import draw_peptide

    with one_thread():
        return draw_peptide(sequence, seed)

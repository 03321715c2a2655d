"""The start structure of a stream, from a source or a sequence."""

from __future__ import annotations

from typing import Any

from geofold.app.sources import load
from geofold.errors import OptionError
from geofold.modelling.option_table import join_choices
from geofold.modelling.options import STARTS
from geofold.modelling.threads import one_thread
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.structure import Structure


def load_or_build(source: Any, sequence: str | None, start: str, seed: int, name: str | None) -> Structure:
    """Load a source's structure, or build the peptide of a sequence.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object, or None
        As for `geofold.app.api`.
    sequence : str or None
        One-letter codes of a peptide, given instead of a source.
    start : 'extended' or 'prior'
        Start conformation of a sequence: extended, or sampled from the torsion prior.
    seed : int
        Seed of the sampling.
    name : str or None
        Name of the source in the report.

    Raises
    ------
    OptionError
        For both or neither of source and sequence, or a `start` that needs a sequence.
    """
    if (source is None) == (sequence is None):
        raise OptionError(
            "both a structure and a sequence" if sequence else "neither a structure nor a sequence",
            "one of them",
            "give a file, or --sequence",
        )
    if start not in STARTS or (start == "prior" and sequence is None):
        raise OptionError(
            f"start {start}{'' if sequence else ' without a sequence'}",
            join_choices(STARTS),
            "choose one of them, with --sequence",
        )
    if sequence is None:
        return load(source, name)
    return _drawn(sequence, seed) if start == "prior" else peptide(sequence)


def _drawn(sequence: str, seed: int) -> Structure:
    from geofold.modelling.peptide.prior_start import draw_peptide

    with one_thread():
        return draw_peptide(sequence, seed)

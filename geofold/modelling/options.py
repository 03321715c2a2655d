"""Options of a run, with their limits and with defaults that were chosen on the tuning set."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from geofold.modelling.option_table import API, AUTO, PREDICTORS, STARTS, find_option, options_of
from geofold.molecule.energy.amber import AMBER14, FORCE_FIELDS, ForceField

__all__ = ["PREDICTORS", "ROUNDS", "STARTS", "STREAMS", "TORSION_CAP", "RunOptions"]

TORSION_CAP = math.radians(10.0)
"""Largest change (radian) of one torsion in one step, equal for every agent."""
STREAMS, ROUNDS = 12, 6
"""Default numbers of conformations in one batch and of rounds; larger and smaller values scale the search."""

AUTO_SHELL = 8.0
"""Radius (A) of the shell if the run decides whether there is one."""


@dataclass(frozen=True)
class RunOptions:
    """Options of `repair` and `constrain`; `geofold.modelling.option_table` has their limits and choices.

    Parameters
    ----------
    seed : int
        Random seed; the same input and seed give the same bytes.
    altloc : str or None
        Conformer that moves if the backbone has several.
    energy : bool
        Refine and audit with the force field. This is the slowest part on a large protein.
    streams : int
        Number of starting conformations; more search wider and take longer (repair).
    rounds : int
        Maximum number of search rounds. A search runs half as many generations, and up to twice that number
        if the loop is found by the search alone (repair).
    steps : int
        Maximum number of streaming steps (constrain).
    step_budget : float or None
        Milliseconds for a streaming step: corrections that would take longer are left out, so that results then depend
        on the machine's speed. The bound is soft, since the duration of a step is known only after it (constrain).
    device : str
        Torch device of the controller.
    predictor : str
        trained: models trained on known structures; hold-still: no learned motion, to compare.
    models : int
        Models of one loop, or of chain ends, best first: OUT.pdb, OUT.2.pdb, ...; the report ranks them. They are
        mutually distinct, and there may be fewer (repair).
    budget : float or None
        Seconds for search and refinement, in place of --rounds; more improve the loops, but results then depend on the
        machine's speed (repair).
    repack_shell : float, 'auto' or None
        Also repack side chains whose CB is this near to the loop (A); the report lists them. auto: only where the loop
        is surely better for it; the default of --auto, --build, fix and batch. 0 or None: none (repair).
    allow_cis_pro : bool
        With --build: also try each proline of the loop cis. The torsion prior's cost of a cis bond applies (repair).
    force_field : str
        Force field: amber14, amber19 or amber99sbildn, each with implicit solvent (OBC2).
    confidence_in_b : bool
        Write the expected error (A) of each residue that was modelled as its B-factor, and name these residues in the
        file: REMARK 99 of a PDB file, geofold_modelled_residue of an mmCIF file (repair).
    candidate : tuple of str
        Also consider the loop of this model, a file: it is fitted between the anchors, and judged like all others.
    cap : str or None
        Cap chain ends that are not built with ACE and NME: gaps, ends (of chains) or all (repair, fix).
    copies : bool
        Also model the same loops in every other chain that has the residues around them (repair).
    map : str or None
        Fit the loops into this density map: .ccp4, .mrc, .map, or map coefficients in .mtz (repair).
    resolution : float or None
        Resolution of the map (A); map coefficients have one (repair).

    Raises
    ------
    OptionError
        For an unknown choice or a number beyond its limits.
    """

    seed: int = 0
    altloc: str | None = None
    energy: bool = True
    streams: int = STREAMS
    rounds: int = ROUNDS
    steps: int = 128
    step_budget: float | None = None
    device: str = "cpu"
    predictor: str = PREDICTORS[0]
    models: int = 1
    budget: float | None = None
    repack_shell: float | str | None = None
    allow_cis_pro: bool = False
    force_field: str = AMBER14.name
    confidence_in_b: bool = False
    candidate: tuple[str, ...] = ()
    cap: str | None = None
    copies: bool = False
    map: str | None = None
    resolution: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            find_option(field.name).require(getattr(self, field.name))

    @property
    def force_field_value(self) -> ForceField:
        """The force field with the name `force_field`."""
        return FORCE_FIELDS[self.force_field]

    @property
    def shell(self) -> float:
        """Radius (A) of the shell of side chains that are repacked, 0 for none."""
        return AUTO_SHELL if self.repack_shell == AUTO else float(self.repack_shell or 0)

    @property
    def decides_shell(self) -> bool:
        """Whether side chains around are repacked only where the loop is surely better for it."""
        return self.repack_shell == AUTO

    def values(self, command: str) -> dict[str, Any]:
        """Values of the options that a command ('repair', 'constrain', 'steer' or 'live') has, by name."""
        names = {field.name for field in fields(self)}
        values = {row.name: getattr(self, row.name) for row in options_of(command, API) if row.name in names}
        return {name: list(value) or None if isinstance(value, tuple) else value for name, value in values.items()}

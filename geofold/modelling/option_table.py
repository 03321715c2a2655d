"""The table of options. Command line, Python functions, batch columns, report and documentation agree with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geofold.errors import OptionError
from geofold.molecule.caps.sites import CAP_PLACES
from geofold.molecule.energy.amber import AMBER14, FORCE_FIELDS

CLI, API, BATCH = "command line", "Python", "batch"
"""Places where an option can be given."""
PREDICTORS = ("trained", "hold-still")
"""Predictors: the shipped weights (loop model, peptide policy), or no learned motion, for comparison."""
AUTO = "auto"
"""Value of `repack_shell` that decides by the loop."""
STARTS = ("extended", "prior")
"""Start conformations of a sequence."""


@dataclass(frozen=True)
class Option:
    """One row of the table.

    Attributes
    ----------
    name : str
        Name in Python and in a table of jobs; the command line has hyphens in place of underscores.
    kind : type
        int, float, bool, str, list (several texts) or Path (a file).
    default : object
        Value if the option is not given; None also for an empty list.
    help : str
        What the option does, in one sentence.
    commands : tuple of str
        Commands that have the option.
    limits : (float, float) or None
        Smallest and largest number.
    choices : tuple of str
        Valid texts, if these are all.
    unit : str
        Unit of a number.
    form : str
        Form of a valid text, for messages.
    words : tuple of str
        Texts that can be given in place of a number.
    places : tuple of str
        Where it can be given: `CLI`, `API`, `BATCH`.
    short : str
        One-letter flag on the command line.
    """

    name: str
    kind: type
    default: Any
    help: str
    commands: tuple[str, ...]
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    form: str = ""
    words: tuple[str, ...] = ()
    places: tuple[str, ...] = (CLI, API, BATCH)
    short: str = ""

    @property
    def flag(self) -> str:
        """Name on the command line without its hyphens in front."""
        return self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """Names on the command line."""
        long = f"--{self.flag}"
        return tuple(filter(None, (self.short, f"{long}/--no-{self.flag}" if self.default is True else long)))

    @property
    def expected(self) -> str:
        """Valid values in words, for messages and help texts."""
        if self.choices:
            return join_choices(self.choices)
        if self.limits is not None:
            low, high = self.limits
            limit = int(high) if high == int(high) else high
            number = f"a {'whole ' if self.kind is int else ''}number from {low} to {limit}"
            return join_choices((number, *self.words))
        return {bool: "yes or no", Path: "a file's name"}.get(self.kind, self.form)

    def require(self, value: Any) -> None:
        """Refuse a value that is not valid.

        Raises
        ------
        OptionError
            For an unknown choice or a number beyond the limits.
        """
        if self.choices and value is not None and value not in self.choices:
            raise OptionError(f"{self.flag} {value}", self.expected, "choose one of them")
        if self.limits is not None and value is not None and value not in self.words:
            low, high = self.limits
            if isinstance(value, str) or not low <= value <= high:
                expected = join_choices((f"a number from {low} to {high}", *self.words))
                raise OptionError(f"{self.flag} {value}", expected, f"give another --{self.flag}")

    def read(self, text: str) -> Any:
        """Convert the text of a cell in a table of jobs.

        Raises
        ------
        ValueError
            If the text is not valid.
        """
        if text in self.words:
            return text
        value = READERS[self.kind](text)
        if self.choices and value not in self.choices:
            raise ValueError
        if self.limits is not None and not (math.isfinite(value) and self.limits[0] <= value <= self.limits[1]):
            raise ValueError
        return value


SEPARATOR = ";"
"""Separator of several ranges or contacts in a cell."""
WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def _switch(text: str) -> bool:
    if text.lower() not in WORDS:
        raise ValueError
    return WORDS[text.lower()]


def _file(text: str) -> str:
    if text == "-" or "\0" in text:
        raise ValueError
    return text


def _several(text: str) -> list[str]:
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


READERS: dict[type, Any] = {int: int, float: float, str: str, bool: _switch, Path: _file, list: _several}
"""Conversion of a cell's text by kind; raises ValueError for invalid text."""


def join_choices(choices: Sequence[str]) -> str:
    """Write choices as ``a, b or c``."""
    *head, last = choices
    return f"{', '.join(head)} or {last}" if head else last


_REPAIR, _CONSTRAIN, _BOTH = ("repair",), ("constrain",), ("repair", "constrain")
_HAND = ("steer", "live")
_STREAM, _ALL = ("repair", "constrain", *_HAND), ("repair", "constrain", *_HAND, "check")
_FILES = (CLI, BATCH)

OPTIONS = (
    Option("input", Path, None, "PDB, mmCIF or BinaryCIF, plain or gzip.", _BOTH, places=(BATCH,)),
    Option("sequence", str, None, "Start from a peptide with this sequence instead.", ("constrain", *_HAND),
           form="one-letter codes"),
    Option("output", Path, None, "Output file of the structure.", _BOTH, places=_FILES, short="-o"),
    Option("loop", list, None, "Residues to repair, numbered as in the file: A:45-56.", _REPAIR,
           form="ranges such as A:45-56"),
    Option("loop", str, None, "Residues of the structure that move instead of a chain: A:45-56.", ("steer",),
           form="a range such as A:45-56", places=(API,)),
    Option("loop", str, None, "Residues of the structure that move instead of a chain: A:45-56.", ("live",),
           form="a range such as A:45-56", places=(CLI, API)),
    Option("build", list, None, "Missing residues to build: A:45-56=SEQUENCE, or A:45-56 if the file contains "
           "the sequence (check lists them); all: every gap whose sequence the file contains; ends: every chain end of "
           "up to 15 residues whose sequence it contains; existing residues within the range are rebuilt.", _REPAIR,
           form="ranges such as A:45-56=SEQUENCE"),
    Option("fasta", Path, None, "Sequences of the chains, in FASTA or UniProt text, in place of those in the file.",
           ("repair", "check"), places=(CLI, API)),
    Option("candidate", list, None, "Also consider the loop of this model, a file: it is fitted between the anchors, "
           "and judged like all others.", _REPAIR, form="files of models", places=(CLI, API)),
    Option("map", Path, None, "Fit the loops into this density map: .ccp4, .mrc, .map, or map coefficients in .mtz.",
           _REPAIR, places=(CLI, API)),
    Option("resolution", float, None, "Resolution of the map (A); map coefficients have one.", _REPAIR,
           limits=(0.5, 10), unit="A", places=(CLI, API)),
    Option("auto", bool, False, "Find the loops to repair, in addition to those given.", _REPAIR),
    Option("contact", list, None, "A:3-A:10<6.0 or A:3@CA-A:10@CA>8.0.", ("constrain", "live"),
           form="contacts such as A:3-A:10<6.0", places=_FILES),
    Option("start", str, STARTS[0], "Start of a sequence: extended, or prior (torsions sampled from the torsion "
           "prior).", ("constrain", *_HAND), choices=STARTS),
    Option("trajectory", Path, None, "Also write the trajectory: .pdb, .dcd or .xtc.", _BOTH, places=_FILES),
    Option("report", Path, None, "Also write measurements before and after, as JSON.", (*_BOTH, "live"), places=_FILES),
    Option("report", Path, None, "Also write the measurements, as JSON.", ("check",), places=(CLI,)),
    Option("view", Path, None, "Also write a viewer page, as HTML.", _BOTH, places=_FILES),
    Option("offline", bool, False, "Embed 3Dmol.js in the page (needs npm's 3dmol; see README).", _BOTH, places=_FILES),
    Option("seed", int, 0, "Random seed; the same input and seed give the same bytes.", _STREAM,
           limits=(0, 2**31 - 1)),
    Option("altloc", str, None, "Conformer that moves if the backbone has several.", _STREAM, form="a letter"),
    Option("altloc", str, None, "Conformer to measure if the backbone has several.", ("check",), form="a letter",
           places=(CLI, API)),
    Option("energy", bool, True, "Refine and audit with the force field.", _BOTH),
    Option("energy", bool, True, "Evaluate the energy with the force field.", ("check",), places=(CLI, API)),
    Option("force_field", str, AMBER14.name, f"Force field: {join_choices(tuple(FORCE_FIELDS))}, each with implicit "
           "solvent (OBC2).", _ALL, choices=tuple(FORCE_FIELDS)),
    Option("predictor", str, PREDICTORS[0], "trained: models trained on known structures; hold-still: no learned "
           "motion, to compare.", _STREAM, choices=PREDICTORS),
    Option("streams", int, 12, "Number of starting conformations; more search wider and take longer.", _REPAIR,
           limits=(1, 256)),
    Option("rounds", int, 6, "Maximum number of search rounds.", _REPAIR, limits=(1, 1000)),
    Option("models", int, 1, "Models of one loop, or of chain ends, best first: OUT.pdb, OUT.2.pdb, ...; the report "
           "ranks them.", _REPAIR,
           limits=(1, 100)),
    Option("budget", float, None, "Seconds for search and refinement, in place of --rounds; more improve the loops, "
           "but results then depend on the machine's speed.", _REPAIR, limits=(1, 1e6), unit="s"),
    Option("repack_shell", float, None, "Also repack side chains whose CB is this near to the loop (A); the report "
           "lists them. auto: only where the loop is surely better for it; the default of --auto, --build, fix and "
           "batch.", _REPAIR, limits=(0, 20), unit="A",
           words=(AUTO,)),
    Option("allow_cis_pro", bool, False, "With --build: also try each proline of the loop cis.", _REPAIR),
    Option("cap", str, None, "Cap chain ends that are not built with ACE and NME: gaps, ends (of chains) or all.",
           _REPAIR, choices=CAP_PLACES),
    Option("copies", bool, False, "Also model the same loops in every other chain that has the residues around them.",
           _REPAIR),
    Option("confidence_in_b", bool, False, "Write the expected error (A) of each residue that was modelled as its "
           "B-factor, and name these residues in the file.", _REPAIR),
    Option("steps", int, 128, "Maximum number of streaming steps.", _CONSTRAIN, limits=(1, 100000)),
    Option("step_budget", float, None, "Milliseconds for a streaming step: corrections that would take longer are left "
           "out, so that results then depend on the machine's speed.", ("constrain", "steer"), limits=(0.1, 60000),
           unit="ms"),
    Option("port", int, 0, "Port of the page on this machine; 0: a free one.", ("live",), limits=(0, 65535),
           places=(CLI, API)),
    Option("imd", int, None, "Port of a stream in the IMDv3 protocol, for VMD, MDAnalysis and imdclient; 0: a free "
           "one.", ("live",), limits=(0, 65535), places=(CLI, API)),
    Option("device", str, "cpu", "Torch device of the controller.", _STREAM, form="a torch device", places=(API,)),
)  # fmt: skip
"""All options of `repair`, `constrain`, `steer`, `live` and `check`; a command has an option of a name once."""


def find_option(name: str, command: str | None = None) -> Option:
    """Row of an option: the one of a command, or the first with the name."""
    return next(row for row in OPTIONS if row.name == name and (command is None or command in row.commands))


def options_of(command: str, place: str) -> tuple[Option, ...]:
    """Rows of a command's options that can be given at a place (`CLI`, `API` or `BATCH`), in the table's order."""
    return tuple(row for row in OPTIONS if command in row.commands and place in row.places)

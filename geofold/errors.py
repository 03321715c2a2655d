"""Errors that a user can correct, one class for each kind.

Every message is one line with three parts: what was given, what was expected, what to do. The command
line prints it unchanged and exits with ``exit_status``; scripts catch ``GeofoldError``.
"""

from __future__ import annotations

from geofold.terminal import printable

LONGEST_PART = 600
"""Maximum characters of one part of a message; the middle of a longer part is cut out."""


class GeofoldError(Exception):
    """Base class of every error that a user can correct. The message is a single line of printable characters.

    Parameters
    ----------
    given : str
        The input at fault.
    expected : str
        Valid input, without the word "expected".
    remedy : str
        What to do, in the imperative.
    """

    exit_status = 2

    def __init__(self, given: str, expected: str, remedy: str) -> None:
        self.given, self.expected, self.remedy = given, expected, remedy
        parts = (given, f"expected {expected}", remedy)
        super().__init__("; ".join(map(_line, parts)))

    def __reduce__(self) -> tuple[type[GeofoldError], tuple[str, str, str]]:
        """Pickle the three parts, so that the error survives the way back from another process."""
        return type(self), (self.given, self.expected, self.remedy)


def _line(part: str) -> str:
    text = printable(" ".join(part.split()))
    if len(text) <= LONGEST_PART:
        return text
    return f"{text[: LONGEST_PART * 2 // 3]} ... {text[-LONGEST_PART // 3 :]}"


class InputFileError(GeofoldError):
    """A file that is missing, empty, or not in PDB, mmCIF or BinaryCIF format."""


class NoProteinError(GeofoldError):
    """An input without a protein, or with a CA trace only."""


class CoordinateError(GeofoldError):
    """Coordinates that are not finite, not numbers, or all equal."""


class ResidueRangeError(GeofoldError):
    """A residue range that cannot be parsed or is not in the file."""


class ChainBreakError(GeofoldError):
    """A loop that crosses a chain break."""


class BackboneError(GeofoldError):
    """Missing backbone atoms in the part of the chain that has to move."""


class OverlappingLoopsError(GeofoldError):
    """Two loops that share residues or anchors."""


class AltlocError(GeofoldError):
    """Alternate locations in a place that needs a single conformer."""


class CovalentLinkError(GeofoldError):
    """A covalent link that the moving residues cannot satisfy."""


class ContactError(GeofoldError):
    """A contact that cannot be parsed or satisfied."""


class SequenceError(GeofoldError):
    """A sequence with a letter outside the twenty amino acids, or too short."""


class OptionError(GeofoldError):
    """An option outside its range, or options that exclude each other."""


class OutputError(GeofoldError):
    """An output that cannot be written."""


class ForceFieldError(GeofoldError):
    """A structure that the force field cannot describe."""


class BuildError(GeofoldError):
    """Missing residues that cannot be built."""


class JobsError(GeofoldError):
    """A table of jobs with a column or a row that cannot be read."""


class WorkersError(GeofoldError):
    """Batch workers that cannot be started, or that were lost."""


class ActionError(GeofoldError):
    """An action of a live session, or a script of actions, that cannot be read or done."""

"""What a user can get wrong, one class each.

Every message is one line with three parts: what was given, what was expected, what to do. The command
line prints it as it stands and leaves with ``exit_status``; scripts catch ``GeofoldError``.
"""

from __future__ import annotations

from geofold.terminal import printable

LONGEST_PART = 600
"""Characters of a part of a message; a longer one loses its middle."""


class GeofoldError(Exception):
    """Base of every error that a user can mend. The message is a single line of printable characters."""

    exit_status = 2

    def __init__(self, given: str, expected: str, remedy: str) -> None:
        self.given, self.expected, self.remedy = given, expected, remedy
        parts = (given, f"expected {expected}", remedy)
        super().__init__("; ".join(map(_line, parts)))

    def __reduce__(self) -> tuple[type[GeofoldError], tuple[str, str, str]]:
        """By its parts, so that it comes back whole from another process."""
        return type(self), (self.given, self.expected, self.remedy)


def _line(part: str) -> str:
    text = printable(" ".join(part.split()))
    if len(text) <= LONGEST_PART:
        return text
    return f"{text[: LONGEST_PART * 2 // 3]} ... {text[-LONGEST_PART // 3 :]}"


class InputFileError(GeofoldError):
    """The file is missing, empty, or is not text in PDB or mmCIF format."""


class NoProteinError(GeofoldError):
    """No protein, or only a CA trace, in the input."""


class CoordinateError(GeofoldError):
    """Coordinates that are not finite, not numbers, or all equal."""


class ResidueRangeError(GeofoldError):
    """A residue range that the file does not hold, or that cannot be read."""


class ChainBreakError(GeofoldError):
    """The loop crosses a break of the chain."""


class BackboneError(GeofoldError):
    """Backbone atoms are missing where the chain has to move."""


class OverlappingLoopsError(GeofoldError):
    """Two loops share residues or anchors."""


class AltlocError(GeofoldError):
    """Alternate locations where one conformer is needed."""


class CovalentLinkError(GeofoldError):
    """A covalent link that the moving part cannot honour."""


class ContactError(GeofoldError):
    """A contact that cannot be read or makes no sense."""


class SequenceError(GeofoldError):
    """A sequence with a letter outside the twenty amino acids, or too short."""


class OptionError(GeofoldError):
    """An option outside its range, or options that exclude each other."""


class OutputError(GeofoldError):
    """An output that cannot be written."""


class ForceFieldError(GeofoldError):
    """The force field cannot describe the structure."""


class BuildError(GeofoldError):
    """Missing residues that cannot be built."""


class JobsError(GeofoldError):
    """A table of jobs with a column or a row that cannot be read."""


class WorkersError(GeofoldError):
    """Workers of a batch that cannot be had, or that were lost."""

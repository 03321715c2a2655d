"""One step of a steered stream."""

from __future__ import annotations

from dataclasses import dataclass

from geofold.molecule.structure import Floats


@dataclass(frozen=True)
class SteeringStep:
    """What one step came to.

    Attributes
    ----------
    number : int
        Counted from 1.
    xyz : (n_atoms, 3)
        Coordinates of the whole structure in nm.
    distances_angstrom : dict of str to float
        Of the contacts that were wanted in this step.
    reached : bool
        Every contact kept, no severe overlap, no Ramachandran outlier.
    held : int
        For how many steps in a row that was so, under the same contacts.
    loss : float
        After the step, and its named `terms`.
    inner_steps : int
        Corrections K.
    severe_overlaps, outliers : int
        Of the chain that moves.
    milliseconds : float
        Wall clock of the step.
    """

    number: int
    xyz: Floats
    distances_angstrom: dict[str, float]
    reached: bool
    held: int
    loss: float
    terms: dict[str, float]
    inner_steps: int
    severe_overlaps: int
    outliers: int
    milliseconds: float

    def __str__(self) -> str:
        distances = "  ".join(f"{text} {distance:.1f} A" for text, distance in self.distances_angstrom.items())
        return (
            f"step {self.number}  {distances or 'no contact'}  loss {self.loss:.3f}  K {self.inner_steps}"
            f"{'  reached' if self.reached else ''}"
        )

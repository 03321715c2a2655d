"""One step of a steered stream."""

from __future__ import annotations

from dataclasses import dataclass

from geofold.molecule.structure import Floats


@dataclass(frozen=True)
class SteeringStep:
    """Result of one step.

    Attributes
    ----------
    number : int
        Number of the step, starting at 1.
    xyz : (n_atoms, 3)
        Coordinates of the whole structure (nm).
    distances_angstrom : dict of str to float
        Distance (A) of each contact of this step.
    reached : bool
        Whether every contact is satisfied, without severe overlaps or Ramachandran outliers.
    held : int
        Number of consecutive steps, this one included, with `reached` true and the same contacts.
    loss : float
        Loss after the step.
    terms : dict of str to float
        Terms of the loss, by name.
    inner_steps : int
        Number K of corrections.
    severe_overlaps, outliers : int
        Severe overlaps and Ramachandran outliers of the moving chain.
    milliseconds : float
        Wall-clock time (ms) of the step.
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

"""Repair a bent loop and look at the numbers before and after.

python examples/01_repair_a_loop.py
"""

from __future__ import annotations

import geofold as gf
from geofold import resources


def main() -> None:
    """Repair residues 45-56 of a bent ubiquitin; write the structure and its viewer page."""
    result = gf.repair(resources.find("structures", "1ubi_bent.pdb"), loop="A:45-56")
    result.summary()
    result.save("1ubi_repaired.pdb")
    with open("1ubi_repaired.html", "w", encoding="utf-8") as file:
        file.write(result.page())
    print(f"{result.trajectory.n_frames} frames on the way; passed its audit: {result.passed}")


if __name__ == "__main__":
    main()

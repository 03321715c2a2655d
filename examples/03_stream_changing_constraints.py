"""Own the loop: a peptide is streamed step by step while contacts are moved, added and removed.

python examples/03_stream_changing_constraints.py
"""

from __future__ import annotations

import geofold as gf

STEPS = 100


def main() -> None:
    """Residues 2 and 8 first; 1 and 5 from step 40 on; from step 60 on the ends apart as well; then only that."""
    steering = gf.steer(sequence="AEGKTWYNSV", contacts=["A:2-A:8<6.0"])
    changes = {
        40: lambda: steering.move("A:2-A:8<6.0", "A:1-A:5<6.0"),
        60: lambda: steering.add("A:1@CA-A:10@CA>14.0"),
        80: lambda: steering.remove("A:1-A:5<6.0"),
    }
    for step in steering:
        if step.number % 10 == 0:
            print(step)
        if step.number in changes:
            changes[step.number]()
            print(f"now wanted: {', '.join(steering.contacts)}")
        if step.number == STEPS:
            break


if __name__ == "__main__":
    main()

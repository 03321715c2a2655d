"""Own the loop: a peptide is streamed step by step while its constraint moves to another pair of residues.

python examples/03_stream_changing_constraints.py
"""

from __future__ import annotations

from geofold.app.constrain_peptide import controller, goal_of
from geofold.app.options import RunOptions
from geofold.molecule.builder import peptide
from geofold.molecule.contacts import parse_contact
from geofold.molecule.peptide import PeptideDomain

CHANGE_AT, STEPS = 40, 100


def main() -> None:
    """Residues 2 and 8 first, residues 1 and 5 from step 40 on."""
    structure = peptide("AEGKTWYNSV")
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1)
    parts = controller(RunOptions())
    goals = [goal_of((parse_contact(structure, text),)) for text in ("A:2-A:8<6.0", "A:1-A:5<6.0")]

    state = parts.init(domain, domain.start(structure.xyz))
    for step in range(STEPS):
        goal = goals[step >= CHANGE_AT]
        state, info = parts.step(domain, state, goal)
        if step % 10 == 9 or step == CHANGE_AT:
            distance = 10 * float(domain.distances(state.domain.fold.xyz, goal.contacts)[0, 0])
            print(
                f"step {step + 1:3d}  {goal.contacts[0].text:12s} {distance:5.1f} A"
                f"  loss {float(info.loss_after[0]):8.3f}  K {int(info.inner_steps[0])}"
                f"  reached {domain.reached(state.domain, goal)}"
            )


if __name__ == "__main__":
    main()

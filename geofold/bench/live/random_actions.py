"""Minutes of random actions on a session: what they break, and how its memory grows."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

import numpy as np

from geofold.app.live.actions import ACTIONS, Action
from geofold.app.live.session import Session
from geofold.bench.common.timing import resident_mb
from geofold.bench.live.geometry import Geometry
from geofold.errors import ActionError, ContactError

GRABBED = ("CA", "N", "O", "CB")


class Draw(NamedTuple):
    """Numbers that make one action of a session.

    Attributes
    ----------
    residue, choice : int
        What the action is about; any numbers.
    kind : str
        One of `ACTIONS`.
    shift : (float, float, float)
        Vector (A) from the hand to where it pulls, and the source of all other lengths.
    """

    residue: int
    kind: str
    shift: tuple[float, float, float]
    choice: int

    @classmethod
    def random(cls, noise: random.Random) -> Draw:
        """Draw the numbers of an action."""
        shift = (noise.gauss(0, 3), noise.gauss(0, 3), noise.gauss(0, 3))
        return cls(noise.randrange(50), noise.choice(sorted(ACTIONS)), shift, noise.randrange(50))

    def action(self, session: Session) -> Action:
        """Return the action for a session, which may refuse it."""
        segment, choice = session.segment, self.choice
        names = [segment.structure.residues[k].label for k in range(segment.first, segment.last + 1)]
        residue, other = names[self.residue % len(names)], names[choice % len(names)]
        held = 10 * session.xyz[session.hand.atoms[0]] if session.hand else np.zeros(3)
        values = {
            "atom": f"{residue}@{GRABBED[choice % 4]}",
            "residue": residue,
            "to": (held + self.shift).tolist(),
            "contact": f"{residue}-{other}{'<>'[choice % 2]}{4.0 + abs(self.shift[0])}",
            "torsion": ("phi", "psi", "chi1")[choice % 3],
            "region": ("alpha", "beta", "left", "any")[choice % 4],
            "name": "ab"[choice % 2],
            "of": "random actions",
            "count": 1 + choice % 3,
            "depth": 1 + self.residue % 3,
            "turn": [0.02 * x for x in np.resize(self.shift, len(session.chain.domain.tree))],
        }
        return {"do": self.kind, **{key: values[key] for key in ACTIONS[self.kind]}}


def run_random_actions(session: Session, seconds: float, seed: int) -> dict[str, float]:
    """Act at random, with a step after each action.

    Parameters
    ----------
    session : Session
    seconds : float
        For how long.
    seed : int

    Returns
    -------
    dict of str to float
        Numbers of actions and of those that were refused, the growth of the memory in the second half of the time (MB),
        the 99th percentile of a step's time (ms), and the worst geometry over all steps.
    """
    noise, geometry = random.Random(seed), Geometry(session)
    worst, steps, refused, memory = geometry.errors(session), list[float](), 0, 0.0
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        try:
            session.act(Draw.random(noise).action(session))
        except (ActionError, ContactError):
            refused += 1
        steps.append(session.step().milliseconds)
        worst = {key: max(value, worst[key]) for key, value in geometry.errors(session).items()}
        if not memory and remaining < seconds / 2:
            memory = resident_mb()
    return {
        "random_actions": float(len(steps)),
        "random_actions_refused": float(refused),
        "random_actions_memory_mb": round(resident_mb() - memory, 1),
        "random_actions_step_ms_p99": round(float(np.percentile(steps, 99)), 3),
        **{f"random_actions_{key}": value for key, value in worst.items()},
    }

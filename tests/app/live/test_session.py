"""Sessions: any actions in any order leave geometry, closure and replay as they have to be."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from app_cases import STRUCTURES
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from geofold.app.live.actions import ACTIONS, Script, read_script, require_action
from geofold.app.live.session import Session
from geofold.app.live.start import open_session, replay
from geofold.bench.common.timing import resident_mb
from geofold.bench.live.random_actions import Draw
from geofold.errors import ActionError, ContactError, GeofoldError, ResidueRangeError

SEQUENCE = "AEGPTWYN"
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # to shrink a failure takes minutes


@pytest.fixture(scope="module")
def loop() -> Session:
    return open_session(STRUCTURES / "1ubi.pdb", loop="A:48-54")


def labels(session: Session) -> list[str]:
    return [session.segment.structure.residues[k].label for k in range(session.segment.first, session.segment.last + 1)]


def geometry(session: Session) -> np.ndarray:
    """Lengths of all bonds and distances of all 1-3 pairs of the moving atoms, nm."""
    segment, tree, xyz = session.segment, session.chain.domain.tree, session.xyz
    inside = np.flatnonzero(segment.structure.atoms_within(segment.first, segment.last)).tolist()
    pairs = {(min(a, b), max(a, b)) for i in inside for a in (i, *tree.adjacency[i])
             for b in tree.adjacency[i] if a != b}  # fmt: skip
    one, two = np.array(sorted(pairs)).T
    return np.linalg.norm(xyz[one] - xyz[two], axis=1)


def act_somehow(session: Session, drawn: Draw) -> None:
    """One action made of drawn numbers; one that cannot be done changes nothing."""
    before, script = session.xyz, session.script.text()
    try:
        session.act(drawn.action(session))
    except (ActionError, ContactError):
        assert np.array_equal(session.xyz, before) and session.script.text() == script


ACTED = st.builds(
    Draw, st.integers(0, 50), st.sampled_from(sorted(ACTIONS)), st.tuples(*[st.floats(-6, 6)] * 3), st.integers(0, 50)
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(st.lists(ACTED, min_size=5, max_size=25))
def test_any_actions_keep_bonds_angles_and_replay(acted: list[Draw]) -> None:
    session = open_session(sequence=SEQUENCE)
    start, hands = geometry(session), chirality_of(session)
    for drawn in acted:
        act_somehow(session, drawn)
        session.step(1)
        assert np.abs(geometry(session) - start).max() < 1e-6
    assert np.array_equal(chirality_of(session), hands) and trans(session)
    again = replay(session.script.text())
    assert np.array_equal(again.xyz, session.xyz) and again.script.text() == session.script.text()


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(acted=st.lists(ACTED, min_size=5, max_size=20))
def test_a_loop_stays_closed_in_every_frame_whatever_is_done(loop: Session, acted: list[Draw]) -> None:
    start, hands = geometry(loop), chirality_of(loop)
    fixed = np.setdiff1d(np.arange(len(loop.xyz)), loop.chain.domain.tree.atoms)
    for drawn in acted:
        act_somehow(loop, drawn)
        loop.step(1)
        # bonds and angles at both anchors are among the distances
        assert np.abs(geometry(loop) - start).max() < 1e-4
        assert np.array_equal(loop.xyz[fixed], loop.segment.structure.xyz[fixed])
    assert np.array_equal(chirality_of(loop), hands) and trans(loop)


def chirality_of(session: Session) -> np.ndarray:
    structure, tree, xyz = session.segment.structure, session.chain.domain.tree, session.xyz
    signs = []
    for k in range(tree.first, tree.last + 1):
        rows = [structure.atom(k, name, tree.conformer) for name in ("CA", "N", "C", "CB")]
        if None not in rows:
            ca, n, c, cb = xyz[rows]
            signs.append(np.sign(np.dot(np.cross(n - ca, c - ca), cb - ca)))
    return np.array(signs)


def trans(session: Session) -> bool:
    structure, tree, xyz = session.segment.structure, session.chain.domain.tree, session.xyz
    for k in range(tree.first, tree.last):
        rows = [
            structure.atom(r, name, tree.conformer) for r, name in ((k, "CA"), (k, "C"), (k + 1, "N"), (k + 1, "CA"))
        ]
        a, b, c, d = xyz[rows]
        if np.dot(np.cross(a - b, c - b), np.cross(b - c, d - c)) > 0:
            return False
    return True


def test_a_pulled_end_comes_to_the_hand_and_the_other_end_stays() -> None:
    session = open_session(sequence=SEQUENCE)
    structure, conformer = session.segment.structure, session.chain.domain.tree.conformer
    end, start = structure.atom(7, "CA", conformer), structure.atom(0, "CA", conformer)
    target = 10 * session.xyz[end] + np.array([0.0, 5.0, -4.0])
    before = session.xyz
    session.act({"do": "grab", "atom": "A:8@CA"})
    session.act({"do": "drag", "to": target.tolist()})
    session.act({"do": "step", "count": 40, "depth": 3})
    assert np.linalg.norm(10 * session.xyz[end] - target) < 1.0
    assert np.array_equal(session.xyz[start], before[start])
    session.act({"do": "release"})
    for _ in range(80):
        session.step(2)
    assert session.resting


def test_undo_and_redo_restore_the_bytes_of_everything() -> None:
    session = open_session(sequence=SEQUENCE)
    session.act({"do": "band", "contact": "A:1-A:6<7.0"})
    session.act({"do": "step", "count": 5, "depth": 2})
    session.act({"do": "mark", "name": "five"})
    first, bands = session.xyz, session.restraints
    session.act({"do": "grab residue", "residue": "A:2"})  # another root: another domain
    session.act({"do": "drag", "to": [0.0, 3.0, 9.0]})
    session.act({"do": "step", "count": 5, "depth": 2})
    second = session.xyz
    session.act({"do": "freeze", "residue": "A:3"})
    for _ in range(2):
        session.act({"do": "undo"})
    assert session.xyz.tobytes() == first.tobytes() and session.restraints == bands and session.hand is None
    session.act({"do": "redo"})
    assert session.xyz.tobytes() == second.tobytes()
    session.act({"do": "return", "name": "five"})
    assert session.xyz.tobytes() == first.tobytes()
    while session.history.can_undo:
        session.act({"do": "undo"})
    assert session.xyz.tobytes() == session.segment.structure.xyz.tobytes()
    with pytest.raises(ActionError, match="undo at the start"):
        session.act({"do": "undo"})


def torsion(session: Session, residue: int, kind: str) -> float:
    return session.chain.angles[residue, kind]


def test_frozen_residues_and_held_torsions_do_not_turn() -> None:
    session = open_session(sequence=SEQUENCE, contacts=["A:1-A:8<8.0"])
    session.act({"do": "freeze", "residue": "A:3"})
    session.act({"do": "hold", "residue": "A:5", "torsion": "psi"})
    session.act({"do": "step", "count": 8, "depth": 2})
    turned = session.chain.angles
    assert all(turned[key] == 0.0 for key in turned if key[0] == 2 or key == (4, "psi"))
    assert any(abs(value) > 0.05 for value in turned.values())
    session.act({"do": "thaw", "residue": "A:3"})
    session.act({"do": "step", "count": 8, "depth": 2})
    assert session.chain.angles[2, "psi"] != 0.0


def test_a_flipped_peptide_turns_half_round_and_a_region_is_reached() -> None:
    session = open_session(sequence=SEQUENCE)
    psi, phi = torsion(session, 4, "psi"), torsion(session, 5, "phi")
    session.act({"do": "flip", "residue": "A:5"})
    session.act({"do": "step", "count": 60, "depth": 3})
    assert abs(torsion(session, 4, "psi") - psi - np.pi) < 0.6 and abs(torsion(session, 5, "phi") - phi + np.pi) < 0.6
    assert not session.restraints.flips
    session.act({"do": "region", "residue": "A:6", "region": "alpha"})
    session.act({"do": "step", "count": 40, "depth": 3})
    term = session.chain.domain.angles
    row = int((term.residue == 5).nonzero()[0])
    values = (float(v[0, row]) for v in term.at(session.chain.state.conformation.angle))
    found = [float(np.rad2deg(np.arctan2(np.sin(v), np.cos(v)))) for v in values]
    assert abs(found[0] + 63) < 12 and abs(found[1] + 43) < 12


def test_torsions_of_another_model_are_taken_and_the_loop_is_closed(loop: Session) -> None:
    before = loop.xyz
    tree = loop.chain.domain.tree
    turn = [0.1 if tree.kind[n] == "psi" else 0.0 for n in range(len(tree))]
    loop.act({"do": "take", "of": "a model", "turn": turn})
    assert np.abs(loop.xyz - before).max() > 0.005
    loop.act({"do": "undo"})
    assert loop.xyz.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("action", "error", "words"),
    [
        ({"do": "dance"}, ActionError, "a known name"), ("grab", ActionError, "a known name"),
        ({"do": "grab"}, ActionError, "'atom' and nothing else"),
        ({"do": "grab", "atom": "A:4"}, ActionError, "one of"),
        ({"do": "grab", "atom": "A:40@CA"}, ResidueRangeError, "expected"),
        ({"do": "drag", "to": [0, 0, float("nan")]}, ActionError, "three coordinates"),
        ({"do": "drag", "to": [0, 0, 1.0]}, ActionError, "grab one first"),
        ({"do": "flip", "residue": "A:3"}, ActionError, "proline"),
        ({"do": "flip", "residue": "A:8"}, ActionError, "followed by another"),
        ({"do": "region", "residue": "A:1", "region": "alpha"}, ActionError, "between two others"),
        ({"do": "region", "residue": "A:2", "region": "gamma"}, ActionError, "alpha, beta"),
        ({"do": "hold", "residue": "A:3", "torsion": "chi9"}, ActionError, "phi"),
        ({"do": "band", "contact": "A:1-A:2<5"}, ContactError, "apart"),
        ({"do": "unband", "contact": "A:1-A:8<5"}, ActionError, "none"),
        ({"do": "return", "name": "x"}, ActionError, "make it first"),
        ({"do": "take", "of": "x", "turn": [0.0]}, ActionError, "torsions"),
        ({"do": "step", "count": 0, "depth": 1}, ActionError, "a number of steps"),
        ({"do": "redo"}, ActionError, "undone"),
    ],
)  # fmt: skip
def test_a_bad_action_is_one_clear_line_and_changes_nothing(
    still: Session, action: Any, error: type[GeofoldError], words: str
) -> None:
    before, script = still.xyz, still.script.text()
    with pytest.raises(error) as raised:
        still.act(action)
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert np.array_equal(still.xyz, before) and still.script.text() == script


@pytest.fixture(scope="module")
def still() -> Session:
    return open_session(sequence=SEQUENCE)


def test_steps_of_the_script_are_counted_together() -> None:
    script = Script({})
    for depth in (1, 1, 2, 2, 2):
        script.add(require_action({"do": "step", "count": 1, "depth": depth}))
    script.add({"do": "pause"})
    rows = [json.loads(line) for line in script.text().splitlines()][1:]
    assert rows == [{"do": "step", "count": 2, "depth": 1}, {"do": "step", "count": 3, "depth": 2}, {"do": "pause"}]
    assert list(read_script(script.text(), "a script")[1]) == rows


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", "nonsense\n", '{"schema":"geofold-live/1"}\n'])
def test_a_script_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ActionError):
        replay(text)


@pytest.mark.slow
def test_memory_stays_flat_over_thousands_of_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geofold.app.live.history.DEPTH", 100)
    monkeypatch.setattr("geofold.app.live.recording.KEPT", 100)
    session, noise = open_session(sequence=SEQUENCE), random.Random(0)
    used = []
    for number in range(3000):
        act_somehow(session, Draw.random(noise))
        session.step(1)
        if number % 500 == 499:
            used.append(resident_mb())
    # the script grows by some bytes an action, nothing else does
    assert used[-1] - used[1] < 25

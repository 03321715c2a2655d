"""Reporters of OpenMM and mdtraj on a stream see what the stream shows, when they are due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from openmm.app import DCDReporter, PDBReporter, StateDataReporter

import geofold as gf
from geofold.app.live.start import open_session
from geofold.app.steering.steering import Steering
from geofold.errors import OptionError
from geofold.modelling.options import RunOptions
from geofold.molecule.structure import Floats


class Watcher:
    """A reporter with the tuple of older versions, which keeps what it is given."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.seen: list[tuple[int, Floats]] = []

    def describeNextReport(self, simulation: Any) -> tuple[int, bool, bool, bool, bool]:
        return self.interval - simulation.currentStep % self.interval, True, False, False, False

    def report(self, simulation: Any, state: Any) -> None:
        positions = state.getPositions(asNumpy=True)._value
        self.seen.append((simulation.currentStep, np.array(positions)))


def steering() -> Steering:
    return gf.steer(sequence="AEGKTWYNSV", contacts=["A:2-A:8<9.0"])


def steps_of(stream: Steering, count: int) -> list[Floats]:
    return [next(stream).xyz for _ in range(count)]


def test_reporters_are_called_when_they_are_due_with_the_positions_of_the_step() -> None:
    stream, every, third = steering(), Watcher(1), Watcher(3)
    stream.reporters += [every, third]
    frames = steps_of(stream, 7)
    assert [step for step, _ in every.seen] == list(range(1, 8)) and [step for step, _ in third.seen] == [3, 6]
    for step, xyz in [*every.seen, *third.seen]:
        assert np.abs(xyz - frames[step - 1]).max() < 1e-6


def test_a_reporter_may_be_added_and_removed_between_steps() -> None:
    stream, late = steering(), Watcher(2)
    steps_of(stream, 3)
    stream.reporters.append(late)
    steps_of(stream, 4)
    stream.reporters.remove(late)
    steps_of(stream, 4)
    assert [step for step, _ in late.seen] == [4, 6]


def test_reporters_do_not_change_the_stream() -> None:
    plain, watched = steering(), steering()
    watched.reporters.append(Watcher(1))
    assert np.array_equal(steps_of(plain, 5)[-1], steps_of(watched, 5)[-1])


def test_files_of_openmm_and_mdtraj_hold_the_frames(tmp_path: Path) -> None:
    from mdtraj.reporters import XTCReporter

    stream = steering()
    pdb, dcd, xtc = (str(tmp_path / f"path.{kind}") for kind in ("pdb", "dcd", "xtc"))
    stream.reporters += [PDBReporter(pdb, 2), DCDReporter(dcd, 2), XTCReporter(xtc, 2)]
    frames = np.array(steps_of(stream, 6))[1::2]
    for reporter in stream.reporters:
        if hasattr(reporter, "close"):
            reporter.close()
    stream.reporters.clear()
    (tmp_path / "top.pdb").write_bytes(stream.result(energy=False).content)
    for path in (dcd, xtc):
        loaded = mdtraj.load(path, top=str(tmp_path / "top.pdb"))
        assert loaded.xyz.shape == frames.shape and np.abs(loaded.xyz - frames).max() < 1e-3
    assert (tmp_path / "path.pdb").read_text().count("MODEL") == 3


def test_a_reporter_of_energies_is_refused(tmp_path: Path) -> None:
    stream = steering()
    stream.reporters.append(StateDataReporter(str(tmp_path / "log.csv"), 1, potentialEnergy=True))
    with pytest.raises(OptionError, match="StateDataReporter, which asks for energy"):
        next(stream)


def test_a_session_that_is_moved_by_hand_reports_its_steps() -> None:
    session = open_session(
        None, ["A:2-A:8<9.0"], sequence="AEGKTWYNSV", loop=None, start="extended", options=RunOptions(), name=None
    )
    watcher = Watcher(1)
    session.reporters.append(watcher)
    session.act({"do": "step", "count": 4, "depth": 1})
    session.act({"do": "freeze", "residue": "A:3"})
    session.act({"do": "undo"})
    assert len(watcher.seen) == session.number
    assert np.abs(watcher.seen[-1][1] - session.xyz[session.segment.structure.conformer(None)]).max() < 1e-6

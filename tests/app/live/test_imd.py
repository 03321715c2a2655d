"""The IMDv3 stream, read by imdclient and by MDAnalysis, and pulled by forces."""

from __future__ import annotations

import importlib.util
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import geofold as gf
from geofold.app.live.live import Live

pytest.importorskip("aiohttp")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    served = gf.live(sequence="AEGPTWYN", contacts=["A:1-A:8<9.0"], imd=0)
    yield served
    served.stop()


def port_of(live: Live) -> int:
    assert live.imd_url is not None
    return int(live.imd_url.rpartition(":")[2])


class Reader:
    """A client of the protocol, written again from its description."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        kind, self.version = struct.unpack(">i", self.read(4))[0], struct.unpack("=i", self.read(4))[0]
        assert kind == 4
        assert self.header() == (10, 7)
        self.info = struct.unpack("7B", self.read(7))

    def read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self.socket.recv(size - len(content))
            assert more, "the stream has ended"
            content += more
        return content

    def header(self) -> tuple[int, int]:
        kind, length = struct.unpack(">ii", self.read(8))
        return kind, length

    def send(self, kind: int, length: int = 0, body: bytes = b"") -> None:
        self.socket.sendall(struct.pack(">ii", kind, length) + body)

    def frame(self) -> tuple[int, np.ndarray]:
        assert self.header() == (12, 1)
        _, _, number = struct.unpack("=ddq", self.read(24))
        kind, count = self.header()
        assert kind == 2
        return number, np.frombuffer(self.read(12 * count), np.float32).reshape(-1, 3)


def test_frames_follow_the_protocol_and_the_session(live: Live) -> None:
    reader = Reader(port_of(live))
    assert reader.version == 3 and reader.info == (1, 0, 0, 1, 0, 0, 0)
    reader.send(3)
    first, start = reader.frame()
    live.act("flip", residue="A:5")
    for _ in range(5):
        number, xyz = reader.frame()
    assert number > first and np.abs(xyz - start).max() > 0.01
    assert len(xyz) == len(live._session.xyz)
    reader.socket.close()


def test_a_force_pulls_an_atom_and_none_lets_it_go(live: Live) -> None:
    reader = Reader(port_of(live))
    reader.send(3)
    _, before = reader.frame()
    atom = int(np.argmax(np.linalg.norm(before - before.mean(0), axis=1)))
    force = np.array([0, 20, 0], np.float32)
    for _ in range(6):
        reader.send(6, 1, np.array([atom], np.int32).tobytes() + force.tobytes())
        _, after = reader.frame()
    assert after[atom, 1] > before[atom, 1] + 0.3
    assert live._session.hand is not None
    reader.send(6, 0)
    live.act("mark", name="a later action")
    for _ in range(3):
        reader.frame()
        if live._session.hand is None:
            break
    assert live._session.hand is None
    assert '"do":"drag"' in live.script()
    reader.send(0)
    reader.socket.close()


def test_a_stranger_is_not_served(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", port_of(live)), timeout=60) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stranger.settimeout(60)
        while stranger.recv(1000):  # greeted, then closed
            pass
    reader = Reader(port_of(live))
    reader.send(3)
    reader.frame()
    reader.send(99, 5)  # not of the protocol
    with pytest.raises((AssertionError, ConnectionError)):
        for _ in range(1000):
            reader.frame()


@pytest.fixture
def outside_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide a shell that another test of the process began: imdclient takes every shell for a notebook's."""
    if importlib.util.find_spec("IPython") is not None:
        monkeypatch.setattr("IPython.get_ipython", lambda: None)


@pytest.mark.usefixtures("outside_ipython")
def test_imdclient_reads_the_stream(live: Live) -> None:
    imdclient = pytest.importorskip("imdclient.IMDClient")
    client = imdclient.IMDClient("127.0.0.1", port_of(live), len(live._session.xyz))
    live.act("flip", residue="A:5")
    frames = [client.get_imdframe().positions.copy() for _ in range(3)]
    client.stop()
    bonded = np.linalg.norm(frames[-1][1] - frames[-1][0])
    assert abs(bonded - np.linalg.norm(frames[0][1] - frames[0][0])) < 1e-3


@pytest.mark.usefixtures("outside_ipython")
def test_mdanalysis_reads_the_stream(live: Live, tmp_path: Path) -> None:
    pytest.importorskip("imdclient")
    mda = pytest.importorskip("MDAnalysis")
    live.result(energy=False).save(tmp_path / "start.pdb")
    live.act("flip", residue="A:5")
    universe = mda.Universe(str(tmp_path / "start.pdb"), live.imd_url)
    for seen, _ in enumerate(universe.trajectory):
        if seen == 2:
            break
    universe.trajectory.close()
    assert universe.atoms.n_atoms == len(live._session.xyz) and np.isfinite(universe.atoms.positions).all()

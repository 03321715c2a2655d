"""The stream of a session in the IMDv3 protocol, which MDAnalysis (``imd://``), imdclient and VMD read.

IMDv3 (Woods et al., IMDClient, 2025) sends packets over a TCP connection. Each begins with a type and a length, both
as big-endian 32-bit integers; bodies are in the byte order of the server. A client is greeted by a handshake and the
description of the stream, answers GO, and then gets a time, and coordinates in A, for each frame. It may pause, resume
and end its stream, and pull atoms by forces (MDCOMM), which move the hand of the session.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from geofold.app.live.session import Session
from geofold.errors import GeofoldError
from geofold.molecule.selection import atom_label

DISCONNECT, GO, HANDSHAKE, KILL, MDCOMM, PAUSE, RATE = 0, 3, 4, 5, 6, 7, 8
COORDINATES, SESSION_INFO, RESUME, TIME = 2, 10, 11, 12
VERSION = 3
GO_TIME = 5.0
"""Time (s) in which a client has to answer the handshake."""
STEP_TIME = 1.0
"""Time (ps) that a step counts as, since a step of the controller has no time of its own."""
PULL = 0.05
"""Distance (nm) from an atom to the hand for a force of 1 kcal/mol/A."""
FARTHEST = 1.0
"""Largest such distance (nm)."""
MOST_FORCES = 100_000
BACKLOG = 2**20
"""Bytes that a slow client may leave unread; it gets no frame until it has read them."""


class ImdServer:
    """Serves the stream of a session in the IMDv3 protocol.

    Parameters
    ----------
    session : Session
    changed : callable
        Called when a client has acted.
    """

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        self._session, self._changed = session, changed
        self._conformer = np.flatnonzero(session.segment.structure.conformer(session.segment.options.altloc))
        self._clients: dict[asyncio.StreamWriter, dict[str, int]] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on a port (0: a free one)."""
        self._server = await asyncio.start_server(self._greet, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End all streams."""
        if self._server is not None:
            self._server.close()
        for writer in self._clients:
            writer.write(_header(DISCONNECT, 0))
            writer.close()

    def send(self, *, repeated: bool = False) -> None:
        """Send the present frame to every client that keeps up; `repeated`: also if it has the frame already."""
        if not self._clients:
            return
        number, packet = self._session.number, None
        for writer, state in self._clients.items():
            full = writer.transport.get_write_buffer_size() > BACKLOG
            if state["paused"] or full or (number < state["next"] and not repeated):
                continue
            packet = packet or self._frame()
            state["next"] = number + state["rate"]
            writer.write(packet)

    def _frame(self) -> bytes:
        number = self._session.number
        xyz = (10 * self._session.xyz[self._conformer]).astype(np.float32)
        time = struct.pack("=ddq", STEP_TIME, number * STEP_TIME, number)
        return _header(TIME, 1) + time + _header(COORDINATES, len(xyz)) + xyz.tobytes()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # the version is in the server's byte order, by which clients recognise it
        writer.write(struct.pack("!i", HANDSHAKE) + struct.pack("=i", VERSION))
        # time, energies, box, coordinates, wrapped coordinates, velocities, forces
        writer.write(_header(SESSION_INFO, 7) + struct.pack("7B", 1, 0, 0, 1, 0, 0, 0))
        with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError, struct.error):
            async with asyncio.timeout(GO_TIME):
                kind, _ = await _read_header(reader)
            if kind == GO:
                self._clients[writer] = {"paused": 0, "rate": 1, "next": 0}
                self.send()
                await self._follow(reader, self._clients[writer])
        self._clients.pop(writer, None)
        writer.close()

    async def _follow(self, reader: asyncio.StreamReader, state: dict[str, int]) -> None:
        """Do what a client asks for until it leaves."""
        while True:
            kind, length = await _read_header(reader)
            if kind in (DISCONNECT, KILL):
                return
            if kind in (PAUSE, RESUME):
                state["paused"] = int(kind == PAUSE)
            elif kind == RATE:
                state["rate"] = max(1, length)
            elif kind == MDCOMM and 0 <= length <= MOST_FORCES:
                body = await reader.readexactly(16 * length)
                self._pull(
                    np.frombuffer(body[: 4 * length], _native("i4")),
                    np.frombuffer(body[4 * length :], _native("f4")).reshape(-1, 3),
                )
            elif kind != GO:
                return
            self._changed()

    def _pull(self, atoms: np.ndarray, forces: np.ndarray) -> None:
        """Move the hand to where the largest of the forces (kcal/mol/A) points; without a force, let go."""
        session, size = self._session, np.linalg.norm(np.nan_to_num(forces.astype(float)), axis=1)
        known = (atoms >= 0) & (atoms < len(self._conformer)) & (size > 0)
        with suppress(GeofoldError):  # an atom that cannot move
            if not known.any():
                if session.hand is not None:
                    session.act({"do": "release"})
                return
            best = int(np.argmax(np.where(known, size, 0.0)))
            atom = int(self._conformer[atoms[best]])
            if session.hand is None or session.hand.atoms != (atom,):
                session.act({"do": "grab", "atom": atom_label(session.segment.structure, atom)})
            shift = forces[best].astype(float) / size[best] * min(PULL * size[best], FARTHEST)
            session.act({"do": "drag", "to": (10 * (session.xyz[atom] + shift)).tolist()})


def _header(kind: int, length: int) -> bytes:
    return struct.pack("!ii", kind, length)


async def _read_header(reader: asyncio.StreamReader) -> tuple[int, int]:
    kind, length = struct.unpack("!ii", await reader.readexactly(8))
    return kind, length


def _native(kind: str) -> Any:
    return np.dtype(kind).newbyteorder("<" if sys.byteorder == "little" else ">")

"""The web server of a session: one page, one stream of frames, and files to save; for browsers of this machine.

Every address begins with a random token, without which the server answers 403; so it does to a page of another origin
and to a host name that is not its own. The stream, the actions and the files are served by one event loop, so that
nothing changes within a step. Any number of browsers can look at one session; the last one to grab holds the chain.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from geofold.app.live.background import Background
from geofold.app.live.frames import Frames
from geofold.app.live.imd import ImdServer
from geofold.app.live.jobs import JOBS
from geofold.app.live.page import live_page
from geofold.app.live.save import FILES, saved_file
from geofold.app.live.session import Session
from geofold.core.state import StepInfo
from geofold.errors import ActionError, GeofoldError
from geofold.molecule.numbers import abbreviate

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
PERIOD = 1 / 60
"""Shortest time (s) from step to step."""
IDLE_PERIOD = 1.0
"""Time (s) after which programs that read the stream of a chain at rest get its frame again."""
IN_FLIGHT = 2
"""Frames that a browser may have received without having painted them; it gets no further ones until it has."""
HEARTBEAT = 15.0
"""Interval (s) at which a connection is tested."""
LARGEST_MESSAGE = 2**20
TIMED = 120
"""Number of recent steps whose durations are shown."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline' {library}; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Client:
    """A connected browser."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.in_flight = 0
        self.lagging = False
        self.holds = False


class LiveServer:
    """Server of one session. `run` serves until it is cancelled.

    Parameters
    ----------
    session : Session
    host : str
        Address to listen on; names beyond the loopback only if asked for.
    port : int
        0: a free one.
    imd : int, optional
        Port of a stream in the IMDv3 protocol; 0: a free one.
    """

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 0, imd: int | None = None) -> None:
        self.session = session
        self.host, self.port = host, port
        self.token = secrets.token_urlsafe(24)
        self._frames = Frames(session)
        self._clients: set[Client] = set()
        self._wake = asyncio.Event()
        self._drag: tuple[dict[str, Any], Any] | None = None
        self._painted_drag: Any = None
        self._info: StepInfo | None = None
        self._milliseconds: deque[float] = deque(maxlen=TIMED)
        self._background = Background(session, self._changed)
        self._saving = asyncio.Lock()
        self._imd, self._imd_port = ImdServer(session, self._changed), imd

    @property
    def url(self) -> str:
        """Address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/{self.token}/"

    @property
    def imd_url(self) -> str | None:
        """Address of the stream in the IMDv3 protocol; None without one."""
        return f"imd://{self.host}:{self._imd.port}" if self._imd.port else None

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application(middlewares=[self._guard], client_max_size=LARGEST_MESSAGE)
        app.router.add_get("/{token}/", self._page)
        app.router.add_get("/{token}/stream", self._stream)
        app.router.add_get("/{token}/save/{name}", self._save)
        return app

    async def run(self, ready: Any = None) -> None:
        """Serve and step until cancelled; `ready` is called once the address is known."""
        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            if self._imd_port is not None:
                await self._imd.start(self.host, self._imd_port)
            if ready is not None:
                ready()
            await self._step_forever()
        finally:
            self._background.close()
            self._imd.close()
            for client in list(self._clients):
                await client.socket.close()
            await runner.cleanup()

    async def _step_forever(self) -> None:
        while True:
            began = time.perf_counter()
            self._apply_drag()
            if not self.session.paused and not self.session.resting:
                self._info = self.session.step()
                self._milliseconds.append(self._info.milliseconds)
                await self._broadcast()
                await asyncio.sleep(max(0.0, PERIOD - (time.perf_counter() - began)))
            else:
                await self._broadcast()
                self._wake.clear()
                while self._drag is None and not self._wake.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), IDLE_PERIOD)
                    self._imd.send(repeated=True)

    def _apply_drag(self) -> None:
        """Do the latest of the drags that have arrived since the last step."""
        if self._drag is not None:
            (action, number), self._drag = self._drag, None
            if self.session.hand is not None:  # it may have been released by another browser
                self.session.act(action)
                self._painted_drag = number

    def _changed(self) -> None:
        self._wake.set()

    async def _broadcast(self) -> None:
        self._imd.send()
        if not any(client.in_flight < IN_FLIGHT for client in self._clients):
            for client in self._clients:
                client.lagging = True
            return
        text = self._frame_text()
        for client in list(self._clients):
            client.lagging = client.in_flight >= IN_FLIGHT
            if not client.lagging:
                await self._send(client, text)

    async def _send(self, client: Client, text: str) -> None:
        client.in_flight += 1
        with suppress(ConnectionError, RuntimeError):  # it has gone; its handler cleans up
            await client.socket.send_str(text)

    def _frame_text(self) -> str:
        frame = self._frames.frame(self._info, list(self._milliseconds))
        return json.dumps(
            {"frame": frame, "drag": self._painted_drag, "jobs": self._background.state()}, separators=(",", ":")
        )

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Refuse a request without the token, from another origin, or by another host name."""
        token = request.path.split("/")[1]
        own = {f"{name}:{self.port}" for name in LOOPBACK}
        # a name of another machine that leads here (DNS rebinding) is refused while only this machine may ask
        strange = self.host in LOOPBACK and request.host not in own
        origin = request.headers.get("Origin", f"http://{request.host}")
        known = secrets.compare_digest(token.encode(), self.token.encode())
        if not known or strange or origin != f"http://{request.host}":
            return web.Response(status=403, text="403: this page needs the complete address that geofold printed\n")
        response: web.StreamResponse = await handler(request)
        return response

    async def _page(self, request: web.Request) -> web.Response:
        page, library = live_page(self._frames.scene["title"])
        headers = {name: value.format(library=library) for name, value in HEADERS.items()}
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def _save(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in FILES:
            return web.Response(status=404, text=f"404: expected one of {', '.join(FILES)}\n")
        async with self._saving:  # in a thread, while the stream continues
            try:
                content = await saved_file(self.session, name)
            except GeofoldError as error:
                return web.Response(status=409, text=f"{error}\n")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'} | {
            key: HEADERS[key] for key in ("Cache-Control", "X-Content-Type-Options")
        }
        return web.Response(body=content, content_type=FILES[name], headers=headers)

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=LARGEST_MESSAGE)
        await socket.prepare(request)
        client = Client(socket)
        await socket.send_str(json.dumps({"scene": self._frames.scene}, separators=(",", ":")))
        await self._send(client, self._frame_text())
        self._clients.add(client)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(client, message.data)
        finally:
            self._clients.discard(client)
            if client.holds and self.session.hand is not None:
                self.session.act({"do": "release"})
                self._changed()
        return socket

    async def _receive(self, client: Client, text: str) -> None:
        """Do what a browser asks for; a mistake is reported to it alone."""
        try:
            message = json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            message = None
        try:
            if not isinstance(message, dict):
                raise ActionError(f"message {abbreviate(text)}", "a JSON object", "correct it")
            if "painted" in message:
                client.in_flight = 0
                if client.lagging:
                    client.lagging = False
                    await self._send(client, self._frame_text())
                return
            self._do(client, message)
        except GeofoldError as error:
            await client.socket.send_str(json.dumps({"error": str(error)}))
        self._changed()

    def _do(self, client: Client, message: dict[str, Any]) -> None:
        if "job" in message:
            if message["job"] not in JOBS:
                raise ActionError(f"job {abbreviate(str(message['job']))}", " or ".join(JOBS), "choose one of them")
            self._background.begin(message["job"])
        elif "model" in message:
            self._background.take(message["model"])
        elif message.get("do") == "drag":
            number = message.pop("id", None)
            if self.session.hand is not None:
                self._drag = (message, number)
        else:
            self._apply_drag()
            if message.get("do") == "step":
                self._info = self.session.step()
                return
            self.session.act(message)
            client.holds = self.session.hand is not None and (client.holds or str(message["do"]).startswith("grab"))

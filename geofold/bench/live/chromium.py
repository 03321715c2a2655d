"""A headless Chromium, driven by its DevTools protocol: pages, scripts, mouse events and pictures."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--remote-debugging-port=0 --hide-scrollbars"
)
PORT_FILE = "DevToolsActivePort"


def find_chromium() -> str | None:
    """Path of a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Chromium:
    """One page of a headless Chromium, as an asynchronous context.

    Parameters
    ----------
    program : str
        Path of the browser.
    width, height : int
        Size of the window in pixels.
    patience : float
        Time (s) in which the browser has to start and to answer.
    """

    def __init__(self, program: str, width: int = 1280, height: int = 800, patience: float = 240.0) -> None:
        self._program, self._size, self._patience = program, f"{width},{height}", patience
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def __aenter__(self) -> Chromium:
        import aiohttp

        self._folder = tempfile.TemporaryDirectory(prefix="geofold-chromium-", ignore_cleanup_errors=True)
        flags = [*FLAGS.split(), f"--window-size={self._size}", f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = subprocess.Popen([self._program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._http = aiohttp.ClientSession()
        async with asyncio.timeout(self._patience):
            port = await self._port()
            async with self._http.get(f"http://127.0.0.1:{port}/json/list") as response:
                pages = await response.json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            self._socket = await self._http.ws_connect(address, max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        await self._socket.close()
        await self._http.close()
        self._process.terminate()
        await asyncio.to_thread(self._process.wait)
        self._folder.cleanup()

    async def _port(self) -> int:
        file = Path(self._folder.name) / PORT_FILE
        while not file.exists() or "\n" not in file.read_text():
            await asyncio.sleep(0.1)
        return int(file.read_text().splitlines()[0])

    async def _read(self) -> None:
        async for message in self._socket:
            answer = json.loads(message.data)
            future = self._answers.pop(answer.get("id"), None)
            if future is not None and not future.done():
                future.set_result(answer)

    async def send(self, method: str, **values: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": values})
        async with asyncio.timeout(self._patience):
            answer = await self._answers[number]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Open a page."""
        await self.send("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description", script))
        return result["result"].get("value")

    async def until(self, script: str, pause: float = 0.2) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        async with asyncio.timeout(self._patience):
            while not (value := await self.evaluate(script)):
                await asyncio.sleep(pause)
        return value

    async def mouse(self, kind: str, x: float, y: float, **values: Any) -> None:
        """Send a mouse event: kind is 'Pressed', 'Moved' or 'Released', at a point of the window in pixels."""
        held = {"button": "left", "buttons": 0 if kind == "Released" else 1, "clickCount": 1}
        await self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **{**held, **values})

    async def key(self, key: str, **values: Any) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, **values)

    async def picture(self, path: str | Path) -> None:
        """Save a picture of the window as PNG."""
        answer = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(Path(path).write_bytes, base64.b64decode(answer["data"]))

"""`geofold.live`: open a session and serve its page."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, Any

from geofold.app.live.session import Session
from geofold.app.live.start import open_session
from geofold.app.result import Result
from geofold.errors import OptionError
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.molecule.energy.amber import AMBER14

if TYPE_CHECKING:
    from geofold.app.live.server import LiveServer

LOOPBACK = "127.0.0.1"
LONGEST_WAIT = 60.0
"""Time (s) in which the server has to start, or to answer."""


class Live:
    """A session that is served by a thread; created by `geofold.live`.

    In a notebook it shows the page. `stop` ends it, as does the end of the program.

    Attributes
    ----------
    url : str
        Address of the page.
    imd_url : str or None
        Address of the stream in the IMDv3 protocol, if one was asked for.
    """

    def __init__(self, session: Session, host: str, port: int, imd: int | None = None) -> None:
        server_class = require_server()
        self._session = session
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._host, self._port, self._imd, self._class = host, port, imd, server_class
        self._task: asyncio.Task[None] | None = None
        self.url = ""
        self.imd_url: str | None = None
        self._thread = threading.Thread(target=self._serve, name="geofold-live", daemon=True)
        self._thread.start()
        self._ready.wait(LONGEST_WAIT)
        if self._failure is not None:
            raise port_error(host, port, self._failure)
        atexit.register(self.stop)  # a thread that torch still uses would abort the interpreter

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def run() -> None:
            server = self._class(self._session, self._host, self._port, self._imd)
            self._task = asyncio.current_task()

            def ready() -> None:
                self.url, self.imd_url = server.url, server.imd_url
                self._ready.set()

            await server.run(ready)

        try:
            self._loop.run_until_complete(run())
        except asyncio.CancelledError:
            pass
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()
            self._loop.close()

    @property
    def reporters(self) -> list[Any]:
        """Reporters of OpenMM or mdtraj that are called with each step, in the thread of the server."""
        return self._session.reporters

    def act(self, do: str, **values: Any) -> None:
        """Do an action between two steps, as the page does: ``live.act("freeze", residue="A:3")``.

        Parameters
        ----------
        do : str
            Name of the action.
        **values
            Its values; see the documentation of a live session.
        """
        self._between_steps(lambda: self._session.act({"do": do, **values}))

    def result(self, *, energy: bool = True) -> Result:
        """Return the result so far; the session continues.

        Parameters
        ----------
        energy : bool
            Evaluate the force field before and after.
        """
        session = self._session
        outcome, bands = self._between_steps(lambda: (session.outcome(), session.restraints.bands))
        return session.segment.result("live", outcome, energy=energy, contacts=bands)

    def script(self) -> str:
        """Return the script of the session so far."""
        text: str = self._between_steps(self._session.script.text)
        return text

    def wait(self) -> None:
        """Wait until the session ends."""
        self._thread.join()

    def stop(self) -> None:
        """End the server."""
        atexit.unregister(self.stop)
        task = self._task
        if task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(task.cancel)
        self._thread.join(LONGEST_WAIT)

    def _between_steps(self, run: Callable[[], Any]) -> Any:
        """Call a function in the thread of the server, or here if the server has ended."""
        if self._loop.is_closed():
            return run()

        async def call() -> Any:
            return run()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(LONGEST_WAIT)

    def _repr_html_(self) -> str:
        return f'<iframe src="{escape(self.url)}" width="100%" height="640" style="border:1px solid #ccc"></iframe>'


def live(
    structure: Any = None,
    contacts: str | Iterable[str] = (),
    *,
    sequence: str | None = None,
    loop: str | None = None,
    start: str = "extended",
    seed: int = 0,
    altloc: str | None = None,
    predictor: str = PREDICTORS[0],
    device: str = "cpu",
    force_field: str = AMBER14.name,
    port: int = 0,
    imd: int | None = None,
    name: str | None = None,
) -> Live:
    """Serve a page on which a peptide, or a loop of a protein, is moved by hand.

    Parameters
    ----------
    structure, contacts, sequence, start, altloc, predictor, device, force_field, name
        As for `constrain`. The contacts are the bands at the start. Without a contact and without a loop, the
        structure's only chain moves.
    loop : str, optional
        Residues of the structure that move instead of a chain: A:45-56.
    seed : int
        Random seed; the same input and seed give the same bytes, if the actions and their steps are the same too.
    port : int
        Port of the page on this machine; 0: a free one.
    imd : int, optional
        Port of a stream in the IMDv3 protocol, for VMD, MDAnalysis and imdclient; 0: a free one.

    Returns
    -------
    Live
        With the address of the page; the last expression of a notebook's cell shows the page.

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    options = RunOptions(seed=seed, altloc=altloc, predictor=predictor, device=device, force_field=force_field)
    require_server()
    session = open_session(structure, contacts, sequence=sequence, loop=loop, start=start, options=options, name=name)
    return Live(session, LOOPBACK, port, imd)


def require_server() -> type[LiveServer]:
    """Return the class of the server.

    Raises
    ------
    OptionError
        Without aiohttp.
    """
    try:
        from geofold.app.live.server import LiveServer
    except ImportError as error:
        if (error.name or "").split(".")[0] != "aiohttp":
            raise
        raise OptionError(
            "a live page without aiohttp", "aiohttp, the web server", "pip install '.[live]' in geofold's folder"
        ) from None
    return LiveServer


def port_error(host: str, port: int, error: BaseException) -> OptionError:
    """Return the error of an address that cannot be listened on."""
    reason = getattr(error, "strerror", None) or str(error)
    return OptionError(
        f"port {port} of {host} ({reason})", "a free port of this machine", "give another --port, or none"
    )

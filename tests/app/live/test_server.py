"""The server of a live session: who may talk to it, and what a browser gets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.app.live.live import Live
from geofold.app.live.start import open_session, replay
from geofold.cli import main
from geofold.errors import OptionError
from geofold.molecule.io.read import read

aiohttp = pytest.importorskip("aiohttp")
SEQUENCE = "AEGPTWYN"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    served = gf.live(sequence=SEQUENCE, contacts=["A:1-A:8<20.0"])
    yield served
    served.stop()


def status(live: Live, path: str | None = None, **headers: str) -> int:
    place = urlsplit(live.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=60)
    connection.request("GET", place.path if path is None else path, headers=headers)
    return connection.getresponse().status


def fetched(live: Live, name: str) -> bytes:
    place = urlsplit(live.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=120)
    connection.request("GET", place.path + name)
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read()


def test_only_the_complete_address_from_this_machine_is_answered(live: Live) -> None:
    place = urlsplit(live.url)
    assert place.hostname == "127.0.0.1" and len(place.path) > 30
    assert status(live) == 200
    wrong = [("/",), ("/stream",), (f"/{place.path[-2:0:-1]}-/",), ("/save/geofold.pdb",), ("//",)]
    assert [status(live, *path) for path in wrong] == [403] * len(wrong)
    assert status(live, Origin="http://evil.example") == 403
    assert status(live, Host="evil.example") == 403  # a name that points here (DNS rebinding)
    assert status(live, Origin=f"http://127.0.0.1:{place.port}") == 200
    assert status(live, f"{place.path}save/passwd") == 404
    other = socket.getaddrinfo(socket.gethostname(), place.port, socket.AF_INET)[0][4][0]
    if not str(other).startswith("127."):
        with pytest.raises(OSError):
            socket.create_connection((str(other), place.port or 0), timeout=2).close()


def test_the_page_holds_everything_and_names_no_other_server(live: Live) -> None:
    place = urlsplit(live.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=60)
    connection.request("GET", place.path)
    answer = connection.getresponse()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    text = answer.read().decode()
    assert "@@" not in text and place.path.strip("/") not in text and "geofoldPlots" in text


@asynccontextmanager
async def connected(live: Live, **headers: str) -> Any:
    async with (
        aiohttp.ClientSession() as http_session,
        http_session.ws_connect(f"{live.url}stream", headers=headers, max_msg_size=0) as stream,
    ):
        yield stream


async def received(stream: Any, wanted: Any, number: int = 400) -> Any:
    """The first message that has what is wanted; frames on the way are acknowledged."""
    for _ in range(number):
        message = json.loads((await asyncio.wait_for(stream.receive(), 120)).data)
        if "frame" in message:
            await stream.send_json({"painted": message["frame"]["n"]})
        if wanted(message):
            return message
    raise AssertionError("it never came")


def test_two_browsers_see_one_chain_and_a_lost_one_lets_go(live: Live) -> None:
    async def run() -> None:
        async with connected(live) as one, connected(live) as two:
            scene = (await received(one, lambda m: "scene" in m))["scene"]
            assert len(scene["residues"]) == len(SEQUENCE) and scene["names"][0].startswith("A:1@")
            await received(two, lambda m: "frame" in m)
            await one.send_json({"do": "grab", "atom": "A:8@CA"})
            held = await received(two, lambda m: m.get("frame", {}).get("hand"))
            place = held["frame"]["hand"]["to"]
            await one.send_json({"do": "drag", "to": [place[0], place[1] + 4, place[2]], "id": 7})
            moved = await received(two, lambda m: m.get("drag") == 7)
            assert abs(moved["frame"]["hand"]["to"][1] - place[1] - 4) < 0.01
            await one.send_json({"do": "dance"})
            assert "a known name" in (await received(one, lambda m: "error" in m))["error"]
            await one.send_str("[nonsense")
            assert "a JSON object" in (await received(one, lambda m: "error" in m))["error"]
            await one.close()
            await received(two, lambda m: "frame" in m and m["frame"]["hand"] is None)
        async with connected(live) as again:  # the laptop is open once more
            assert "scene" in await received(again, lambda m: "scene" in m)
            await received(again, lambda m: "frame" in m)

    asyncio.run(run())


def test_a_stream_of_another_origin_is_refused(live: Live) -> None:
    async def run() -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(live, Origin="http://evil.example"):
                pass
        assert refused.value.status == 403

    asyncio.run(run())


def test_a_browser_that_paints_nothing_does_not_hold_up_the_others(live: Live) -> None:
    async def run() -> None:
        async with connected(live) as slow, connected(live) as quick:
            first = (await received(quick, lambda m: "frame" in m))["frame"]["n"]
            await quick.send_json({"do": "flip", "residue": "A:5"})
            await received(quick, lambda m: m.get("frame", {}).get("n", 0) > first + 8)
            waiting = 0
            while True:
                try:
                    waiting += "frame" in json.loads((await asyncio.wait_for(slow.receive(), 1)).data)
                except TimeoutError:
                    break
            assert waiting <= 3

    asyncio.run(run())


def test_what_is_saved_replays_to_the_same_bytes(live: Live, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    live.act("pause")
    live.act("band", contact="A:2-A:7<6.0")
    live.act("step", count=3, depth=2)
    structure, script = fetched(live, "save/geofold.pdb"), fetched(live, "save/actions.jsonl")
    live.act("resume")
    assert replay(script.decode()).result(energy=False).content == structure
    (tmp_path / "actions.jsonl").write_bytes(script)
    for name in ("out.pdb", "out.cif"):
        assert main(["live", "--replay", str(tmp_path / "actions.jsonl"), "-o", str(tmp_path / name)]) in (0, 1)
    assert (tmp_path / "out.pdb").read_bytes() == structure
    one, two = (read((tmp_path / name).read_bytes(), name=name) for name in ("out.pdb", "out.cif"))
    assert np.abs(one.xyz - two.xyz).max() < 1e-6 and list(one.name) == list(two.name)
    assert list(one.resnum) == list(two.resnum) and list(one.chain) == list(two.chain)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["live"], "neither a structure nor a sequence"), (["live", "--sequence", "AEGX"], "expected"),
        (["live", str(STRUCTURES / "1ubi.pdb"), "--loop", "A:45-99"], "expected"),
        (["live", "--sequence", "AEGTY", "-o", "x.pdb"], "without --replay"),
        (["live", "--replay", "none.jsonl", "-o", "x.pdb"], "none.jsonl"),
        (["live", "--replay", "a.jsonl"], "without an output"),
        (["live", "--replay", "a.jsonl", "-o", "x.pdb", "--loop", "A:1-3"], "with --replay"),
        (["live", "--sequence", "AEGTY", "--contact", "A:1-A:2<5"], "apart"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_port_in_use_is_one_clear_error(live: Live) -> None:
    with pytest.raises(OptionError, match="a free port"):
        gf.live(sequence="AEGTY", port=urlsplit(live.url).port or 0)


@pytest.mark.slow
def test_relaxation_runs_while_the_stream_continues_and_lowers_the_energy() -> None:
    served = gf.live(sequence="AEGTWY")
    try:

        async def run() -> Any:
            async with connected(served) as stream:
                await received(stream, lambda m: "frame" in m)
                await stream.send_json({"job": "relax"})
                running = await received(stream, lambda m: m.get("jobs", {}).get("running") == "relax")
                await stream.send_json({"do": "mark", "name": "meanwhile"})
                await received(stream, lambda m: "meanwhile" in m.get("frame", {}).get("marks", []))
                done = await received(stream, lambda m: m.get("jobs", {}).get("models"))
                return running, done

        _, done = asyncio.run(run())
        model = done["jobs"]["models"][0]
        before, after = (float(text.split()[0]) for text in model["note"].split(" to "))
        assert model["name"] == "relaxed" and after < before
        assert '"do":"take"' in served.script()
        assert np.array_equal(replay(served.script()).xyz, served._session.xyz)
    finally:
        served.stop()


@pytest.mark.slow
def test_a_search_offers_distinct_families_that_can_be_taken() -> None:
    from geofold.app.live.jobs import search, turn_of

    session = open_session(STRUCTURES / "1ubi.pdb", loop="A:47-52")
    models = search(session.segment, session.xyz, ())
    assert models and models[0].name == "family 1"
    start = session.xyz
    session.act({"do": "take", "of": models[-1].name, "turn": turn_of(models[-1], session.chain.domain.tree)})
    assert np.abs(session.xyz - start).max() > 0.01
    session.act({"do": "undo"})
    assert session.xyz.tobytes() == start.tobytes()

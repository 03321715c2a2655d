"""`geofold bench live`: from the mouse to the painted frame, on a peptide and on a loop.

A headless Chromium opens the page of a session that another process serves, and drags random atoms by mouse events of
the DevTools protocol. The page measures the time from an event to the end of the painting of the first frame that
follows it. The recorded script is then replayed, and the geometry checked after every step. Without a Chromium,
nothing is painted: the same drags are made without a page, and the time from a drag to its finished frame is measured.
Minutes of random actions follow, on a session without a page.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from geofold import resources
from geofold.app.live.actions import read_script
from geofold.app.live.frames import Frames
from geofold.app.live.session import Session
from geofold.app.live.start import open_session, replay
from geofold.app.viewer.library import library_path
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.live.chromium import Chromium, find_chromium
from geofold.bench.live.geometry import Geometry
from geofold.bench.live.random_actions import run_random_actions

DRAGS, QUICK_DRAGS = 200, 10
ACTING, QUICK_ACTING = 300.0, 5.0
"""Seconds of random actions on each case."""
MOVES = 8
"""Mouse events of one drag."""
REACH = 90.0
"""Largest distance (pixels) of a drag in each direction."""
EVENT_PAUSE = 0.016
"""Time (s) between two mouse events."""
SEQUENCE = "GSWTYENGKWAT"
CASES: dict[str, list[str]] = {
    "peptide": ["--sequence", SEQUENCE],
    "loop": ["{1ubi}", "--loop", "A:45-56"],
}
READY = "window.geofoldLive && geofoldLive.frame() && document.getElementById('scene').dataset.frame !== undefined"
MEASURED = ("mouse_to_frame_ms_p50", "mouse_to_frame_ms_p99", "frames_per_second", "step_ms_p50", "step_ms_p99")


class Times(NamedTuple):
    """Times of one case: from mouse to frame (ms), frames per second of each drag, and of the steps (ms)."""

    latencies: list[float]
    rates: list[float]
    steps: list[float]


def run(out: str, *, quick: bool = False, limit: int | None = None, seed: int = 0) -> None:
    """Run the benchmark.

    Parameters
    ----------
    out : str
        Folder of the records, the table and the summary.
    quick : bool
        Make few drags.
    limit : int, optional
        Number of drags.
    seed : int
        Seed of the drags.

    Raises
    ------
    OptionError
        If there is a browser but not the page's library.
    """
    began, folder = time.time(), Path(out)
    records = Records(folder)
    drags = limit or (QUICK_DRAGS if quick else DRAGS)
    program = find_chromium()
    if program:
        library_path()
    for case in CASES:
        if records.has("drags", case):
            continue
        acted = run_random_actions(_session(case), QUICK_ACTING if quick else ACTING, seed)
        times, script = _in_browser(program, case, drags, seed) if program else _without_page(case, drags, seed)
        numbers = {**_percentiles(times), **_checked(script), **acted}
        records.add("drags", case, drags=drags, browser=bool(program), **numbers)
    rows = {case: records.of(case)[0] for case in CASES}
    metrics = {
        f"{case}.{key}": float(value)
        for case, row in rows.items()
        for key, value in row.items()
        if key not in ("episode", "agent", "browser")
    }
    load = f"load average {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores during the run"
    where = "in a headless Chromium" if all(row["browser"] for row in rows.values()) else "without a browser"
    note = f"live: {drags} random drags each of a 12-mer and of loop A:45-56 of 1ubi, {where}; {load}"
    write_summary(folder, metrics, quick=quick, began=began, table=_table(rows, note), note=note)


def _table(rows: dict[str, dict[str, Any]], note: str) -> str:
    keys = [key for key in next(iter(rows.values())) if key not in ("episode", "agent", "browser")]
    lines = [[key, *(f"{row[key]:.4g}" for row in rows.values())] for key in keys]
    return table_of(["", *rows], lines) + f"\n{note}.\n"


def _percentiles(times: Times) -> dict[str, float]:
    values = (
        np.percentile(times.latencies, 50),
        np.percentile(times.latencies, 99),
        np.mean(times.rates),
        np.percentile(times.steps, 50),
        np.percentile(times.steps, 99),
    )
    return {name: round(float(value), 3) for name, value in zip(MEASURED, values, strict=True)}


def _in_browser(program: str | None, case: str, drags: int, seed: int) -> tuple[Times, str]:
    assert program is not None
    arguments = [str(resources.find("structures", "1ubi.pdb")) if one == "{1ubi}" else one for one in CASES[case]]
    command = [sys.executable, "-m", "geofold", "live", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = re.search(r"http://\S+", server.stderr.readline())
            if address is None:
                raise RuntimeError("the server did not start")
            return asyncio.run(_drag_in_browser(program, address.group(), drags, seed))
        finally:
            server.terminate()


async def _drag_in_browser(program: str, url: str, drags: int, seed: int) -> tuple[Times, str]:
    draw = random.Random(seed)
    rates = []
    async with Chromium(program) as browser:
        await browser.open(url)
        await browser.until(READY)
        names = await browser.evaluate("geofoldLive.scene().names")
        for _ in range(drags):
            place = draw.randrange(len(names))
            x, y = await browser.evaluate(f"(p => [p.x, p.y])(geofoldLive.screen({place}))")
            across, up = (draw.uniform(-REACH, REACH) for _ in range(2))
            began, before = await browser.evaluate("[performance.now(), geofoldLive.painted.length]")
            await browser.mouse("Pressed", x, y)
            for step in range(1, MOVES + 1):
                await browser.mouse("Moved", x + across * step / MOVES, y + up * step / MOVES)
                await asyncio.sleep(EVENT_PAUSE)
            ended, after = await browser.evaluate("[performance.now(), geofoldLive.painted.length]")
            await browser.mouse("Released", x + across, y + up)
            rates.append(1000 * (after - before) / (ended - began))
        await browser.until("!geofoldLive.frame().hand")
        latencies = await browser.evaluate("geofoldLive.latencies")
        steps = await browser.evaluate("geofoldLive.steps")
        script = await browser.evaluate("fetch('save/actions.jsonl').then(answer => answer.text())")
    return Times(latencies, rates, steps), script


def _without_page(case: str, drags: int, seed: int) -> tuple[Times, str]:
    """Make drags without a page: the last two of its lengths of time are those of a frame that is not painted."""
    session = _session(case)
    frames, draw = Frames(session), random.Random(seed)
    latencies, rates, steps = [], [], []
    movable = sorted(session.chain.domain.tree.atoms.tolist())
    for _ in range(drags):
        label = next(name for name in draw.sample(frames.scene["names"], 50) if _can_grab(session, name, movable))
        session.act({"do": "grab", "atom": label})
        assert session.hand is not None
        start, shift = np.array(session.hand.places[0]), [draw.gauss(0, 0.3) for _ in range(3)]
        for step in range(1, MOVES + 1):
            began = time.perf_counter()
            session.act({"do": "drag", "to": (10 * (start + np.array(shift) * step / MOVES)).tolist()})
            info = session.step()
            json.dumps(frames.frame(info, []))
            latencies.append(1e3 * (time.perf_counter() - began))
            steps.append(info.milliseconds)
        rates.append(1e3 * MOVES / sum(latencies[-MOVES:]))
        session.act({"do": "release"})
    return Times(latencies, rates, steps), session.script.text()


def _session(case: str) -> Session:
    if case == "peptide":
        return open_session(sequence=SEQUENCE)
    return open_session(resources.find("structures", "1ubi.pdb"), loop=CASES[case][-1])


def _can_grab(session: Session, name: str, movable: Sequence[int]) -> bool:
    label, _, atom = name.partition("@")
    structure = session.segment.structure
    residue = next(
        k for k in range(session.segment.first, session.segment.last + 1) if structure.residues[k].label == label
    )
    return structure.atom(residue, atom, session.chain.domain.tree.conformer) in movable


def _checked(script: str) -> dict[str, float]:
    """Worst values over all frames of a replayed script."""
    start, actions = read_script(script, "the script")
    session = replay(json.dumps(start) + "\n")
    geometry = Geometry(session)
    worst = geometry.errors(session)
    frames = 0
    for action in actions:
        count = action.get("count", 1)
        for _ in range(count):
            session.act({**action, "count": 1} if action["do"] == "step" else action)
            if action["do"] == "step":
                frames += 1
                worst = {key: max(value, worst[key]) for key, value in geometry.errors(session).items()}
    return {"frames_checked": float(frames), **worst}

"""The live page in a headless Chromium, with real events of mouse and keyboard."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import numpy as np
import pytest
from viewer_cases import require_library

import geofold as gf
from geofold.app.live.live import Live
from geofold.app.live.page import live_page
from geofold.bench.live.chromium import Chromium, find_chromium

pytest.importorskip("aiohttp")
READY = "window.geofoldLive && geofoldLive.frame() && document.getElementById('scene').dataset.frame !== undefined"


async def point_of(browser: Chromium, name: str) -> tuple[float, float]:
    script = (
        f"(() => {{ const p = geofoldLive.screen(geofoldLive.scene().names.indexOf('{name}')); return [p.x, p.y]; }})()"
    )
    x, y = await browser.evaluate(script)
    return x, y


async def dragged(browser: Chromium, live: Live) -> None:
    x, y = await point_of(browser, "A:8@CA")
    await browser.mouse("Moved", x, y, button="none", buttons=0)
    await browser.mouse("Pressed", x, y)
    for step in range(1, 9):
        await browser.mouse("Moved", x - 4 * step, y - 6 * step)
    hand = await browser.until("geofoldLive.frame().hand")
    await browser.until("geofoldLive.frame().drag >= 8")
    for _ in range(100):
        there = await point_of(browser, "A:8@CA")
        if np.hypot(there[0] - x, there[1] - y) > 5:
            break
        await asyncio.sleep(0.2)
    assert np.hypot(there[0] - x, there[1] - y) > 5 and hand["atom"] is not None
    await browser.mouse("Released", x - 32, y - 48)
    await browser.until("!geofoldLive.frame().hand")
    assert await browser.evaluate("geofoldLive.latencies.length") > 0
    actions = [json.loads(line)["do"] for line in live.script().splitlines()[1:]]
    assert {"grab", "drag", "release"} <= set(actions)


async def typed(browser: Chromium) -> None:
    await browser.key("ArrowRight")
    assert await browser.evaluate("document.getElementById('which').textContent")
    await browser.key("f")
    await browser.until("geofoldLive.frame().frozen.length === 1")
    await browser.until("document.getElementById('held').textContent.includes('frozen')")
    await browser.key("z", modifiers=2)
    await browser.until("geofoldLive.frame().frozen.length === 0")
    await browser.key(" ")
    await browser.until("geofoldLive.frame().paused")
    await browser.until("document.getElementById('pause').textContent.includes('Run')")
    await browser.key(" ")
    await browser.until("!geofoldLive.frame().paused")


async def banded(browser: Chromium) -> None:
    fill = "document.getElementById('contact').value = '{}'; document.getElementById('banding').requestSubmit()"
    await browser.evaluate(fill.format("A:2-A:3<4"))
    await browser.until("document.getElementById('message').textContent.includes('apart')")
    await browser.evaluate(fill.format("A:2-A:7<9.0"))
    await browser.until("document.getElementById('bands').textContent.includes('A:2-A:7')")


async def bounced(browser: Chromium) -> None:
    """The connection is lost and comes back."""
    await browser.send("Network.enable")
    await browser.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1,
                       uploadThroughput=-1)  # fmt: skip
    await browser.send("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1,
                       uploadThroughput=-1)  # fmt: skip
    await browser.evaluate("document.getElementById('name').value = 'here'; "
                           "document.getElementById('marking').requestSubmit()")  # fmt: skip
    await browser.until("geofoldLive.frame().marks.includes('here')")


async def drawn_flat(browser: Chromium) -> None:
    """The chain is on the canvas above the 3D view, in which it is not; then back again."""
    choose = "(d => {{ d.value = '{}'; d.onchange(); }})(document.getElementById('drawing'))"
    inked = (
        "(c => c && !c.hidden && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(x => x))"
        "(document.querySelector('canvas.light'))"
    )
    await browser.evaluate(choose.format("flat"))
    await browser.until("geofoldLive.flat()")
    assert await browser.evaluate(inked)
    await browser.evaluate(choose.format("solid"))
    await browser.until("!geofoldLive.flat()")
    assert not await browser.evaluate(inked)
    await browser.evaluate(choose.format("auto"))


def test_the_page_defines_what_its_plots_use() -> None:
    page, _ = live_page("input.pdb")
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", page))
    assert {"--zone", "--edge", "--curve"} <= used
    assert used <= set(re.findall(r"(--[a-z0-9]+):", page))


@pytest.mark.browser
@pytest.mark.slow
def test_a_chain_follows_the_mouse_and_the_keyboard() -> None:
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine")
    require_library()
    live = gf.live(sequence="AEGPTWYN")

    async def run() -> Any:
        async with Chromium(program, 1000, 700) as browser:
            await browser.open(live.url)
            await browser.until(READY)
            await dragged(browser, live)
            await typed(browser)
            await banded(browser)
            await drawn_flat(browser)
            await bounced(browser)

    try:
        asyncio.run(run())
    finally:
        live.stop()

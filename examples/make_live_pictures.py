"""Make the pictures of the page "Live": a screenshot, and an animated PNG of a drag, in a headless Chromium.

python examples/make_live_pictures.py

Needs Chromium, 3Dmol.js (npm install 3dmol, or GEOFOLD_3DMOL_JS), aiohttp and Pillow. Pictures go to
examples/pictures, at most 150 kB each.
"""

from __future__ import annotations

import asyncio
import io
import tempfile
from pathlib import Path

from PIL import Image

import geofold as gf
from geofold.bench.live.chromium import Chromium, find_chromium
from geofold.resources import find

PICTURES = Path(__file__).resolve().parent / "pictures"
LARGEST = 150_000
RARE = [230, 159, 0, 180, 124, 0, 165, 0, 38, 200, 80, 60, 63, 111, 181, 86, 180, 233]
"""Colours (RGB) of few pixels that say much: the hand, overlaps, oxygen, nitrogen, allowed residues."""
READY = "window.geofoldLive && geofoldLive.frame() && document.getElementById('scene').dataset.frame !== undefined"
ATOM = "A:50@CA"
SHIFT = (-70.0, -120.0)
FRAMES = 8
SCENE = (250, 47, 970, 620)
"""The 3D view in the window."""
PAGE = (0, 0, 1280, 767)
"""The page without its last line, whose times are those of a browser that draws without a GPU."""


def still(picture: Image.Image) -> bytes:
    """PNG of a picture."""
    content = io.BytesIO()
    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def moving(pictures: list[Image.Image], width: int = 320) -> bytes:
    """Animated PNG of a width in pixels; its frames share few colours, since they compress well then."""
    height = round(pictures[0].height * width / pictures[0].width)
    drawn = [picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS) for picture in pictures]
    strip = Image.new("RGB", (width, height * len(drawn)))
    for place, one in enumerate(drawn):
        strip.paste(one, (0, place * height))
    common = strip.quantize(24, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(common[:72] + RARE)
    first, *others = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in drawn]
    content = io.BytesIO()
    first.save(content, "PNG", save_all=True, append_images=others, duration=360, loop=0, optimize=True)
    return content.getvalue()


async def shots(url: str, folder: Path) -> list[Image.Image]:
    """Screenshots of the window along one drag; the last is taken after the hand has let go."""
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium on this machine")
    taken: list[Image.Image] = []

    async def take() -> None:
        await browser.picture(folder / "shot.png")
        taken.append(Image.open(folder / "shot.png").copy())

    async with Chromium(program, 1280, 940) as browser:
        await browser.open(url)
        await browser.until(READY)
        await browser.until("geofoldLive.frame().resting")
        x, y = await browser.evaluate(
            f"(p => [p.x, p.y])(geofoldLive.screen(geofoldLive.scene().names.indexOf('{ATOM}')))"
        )
        await take()
        await browser.mouse("Pressed", x, y)
        for step in range(1, FRAMES + 1):
            before = await browser.evaluate("geofoldLive.frame().n")
            await browser.mouse("Moved", x + SHIFT[0] * step / FRAMES, y + SHIFT[1] * step / FRAMES)
            await browser.until(f"geofoldLive.frame().n > {before} + 2 && geofoldLive.frame().drag === {step}")
            await take()
        await browser.until(f"geofoldLive.frame().n > {await browser.evaluate('geofoldLive.frame().n')} + 6")
        await take()
        await browser.mouse("Released", x + SHIFT[0], y + SHIFT[1])
        await browser.until("geofoldLive.frame().resting")
        await take()
    return taken


def main() -> None:
    """Make both pictures."""
    live = gf.live(find("structures", "1ubi.pdb"), loop="A:45-56", name="1ubi.pdb")
    try:
        with tempfile.TemporaryDirectory() as folder:
            taken = asyncio.run(shots(live.url, Path(folder)))
    finally:
        live.stop()
    pictures = {
        "live.png": still(taken[-2].crop(PAGE)),
        "live_drag.png": moving([one.crop(SCENE) for one in taken]),
    }
    for name, content in pictures.items():
        assert len(content) <= LARGEST, f"{name} has {len(content)} bytes"
        (PICTURES / name).write_bytes(content)


if __name__ == "__main__":
    main()

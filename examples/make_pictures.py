"""Make the pictures of the README and the documentation: screenshots of viewer pages in a headless Chromium.

python examples/make_pictures.py [NAME ...]

Needs Chromium, and 3Dmol.js (npm install 3dmol, or GEOFOLD_3DMOL_JS); steering_panel needs ipywidgets too, and beside
3dmol what shows widgets outside a notebook (npm install @jupyter-widgets/html-manager requirejs). Pictures go to
examples/pictures, at most 150 kB each. The same seeds give the same coordinates; how a browser draws them differs from
version to version.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import geofold as gf
from geofold.app.result import Result
from geofold.app.steering.notebook_panel import view_of
from geofold.app.viewer.html import embed_json
from geofold.app.viewer.library import LIBRARY_FILE, LIBRARY_VARIABLE
from geofold.errors import OptionError
from geofold.resources import find

PICTURES = Path(__file__).resolve().parent / "pictures"
LARGEST = 150_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--hide-scrollbars", "--virtual-time-budget=8000",
)  # fmt: skip
AT_FRAME = """<script>
  const slider = document.getElementById('slider');
  slider.value = Math.round(SHARE * slider.max);
  slider.dispatchEvent(new Event('input'));
  document.getElementById('paint').value = 'PAINT';
  document.getElementById('paint').dispatchEvent(new Event('change'));
</script></body>"""


def repair() -> tuple[str, int, int]:
    """A repaired loop, as its page opens."""
    result = gf.repair(find("structures", "1ubi_bent.pdb"), loop="A:45-56", name="1ubi_bent.pdb")
    return result.page(offline=True), 1280, 800


def repair_by_k() -> tuple[str, int, int]:
    """The same on the way, coloured by K."""
    result = gf.repair(find("structures", "1ubi_bent.pdb"), loop="A:45-56", energy=False, name="1ubi_bent.pdb")
    return _at(result, 0.3, "K"), 1280, 800


def moving_contact() -> tuple[str, int, int]:
    """A peptide whose contact was moved from 2-8 to 1-5 while it streamed, on its way to the second."""
    steering = gf.steer(sequence="AEGKTWYNSV", contacts=["A:2-A:8<6.0"], keep=200)
    for step in steering:
        if step.held == 5:
            if "A:1-A:5<6.0" in steering.contacts:
                break
            steering.contacts = ["A:1-A:5<6.0", "A:1@CA-A:10@CA>14.0"]
    return _at(steering.result(energy=False), 0.45, "moved"), 1280, 800


def steering_panel() -> tuple[str, int, int]:
    """The widgets of a notebook, after a contact was moved by them. A kernel would fill the view; here it is put in."""
    from ipywidgets.embed import embed_data

    steering = gf.steer(sequence="AEGKTWYNSV", contacts=["A:2-A:8<6.0"])
    panel = steering.panel(width=640, height=330)
    panel.advance(9)
    panel._text.value, panel._run.icon = "A:1-A:5<6.0", ""
    panel._change.click()
    panel.advance(4)
    view = {"text/html": view_of(steering, 640, 330)._make_html()}
    panel._stage.outputs = ({"output_type": "display_data", "data": view, "metadata": {}},)
    state = embed_data(views=[panel.widget])
    library = Path(os.environ.get(LIBRARY_VARIABLE) or LIBRARY_FILE).resolve()
    modules = library.parents[2]
    needed = (library, modules / "requirejs/require.js", modules / "@jupyter-widgets/html-manager/dist/embed-amd.js")
    scripts = "".join(f"<script src='{path.as_uri()}'></script>" for path in needed)
    page = f"""<!doctype html><meta charset="utf-8"><body style="font: 14px sans-serif">{scripts}
      <script>window.$3Dmolpromise = Promise.resolve();</script>
      <script type="application/vnd.jupyter.widget-state+json">{embed_json(state["manager_state"])}</script>
      <script type="application/vnd.jupyter.widget-view+json">{embed_json(state["view_specs"][0])}</script></body>"""
    return page, 680, 560


SCENES: dict[str, Callable[[], tuple[str, int, int]]] = {
    scene.__name__: scene for scene in (repair, repair_by_k, moving_contact, steering_panel)
}


def main(names: list[str]) -> None:
    """Make the pictures named, or all of them."""
    PICTURES.mkdir(exist_ok=True)
    for name in names or SCENES:
        page, width, height = SCENES[name]()
        picture = shot(page, width, height)
        (PICTURES / f"{name}.png").write_bytes(picture)
        print(f"{name}.png: {len(picture) / 1000:.0f} kB")


def shot(page: str, width: int, height: int) -> bytes:
    """A page as it looks in a window of so many pixels: a PNG of as many colours as fit `LARGEST`.

    Raises
    ------
    OptionError
        Without a browser.
    """
    from PIL import Image

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise OptionError("a picture without a browser", f"one of {', '.join(BROWSERS)}", "install Chromium")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page, encoding="utf-8")
        subprocess.run(
            [browser, *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
             f"--screenshot={folder}/shot.png", (Path(folder) / "page.html").as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        picture = Image.open(Path(folder) / "shot.png").convert("RGB")
    for colours in (256, 128, 64):
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def _at(result: Result, share: float, paint: str) -> str:
    """The page of a result, shown at a share of its path."""
    moved = AT_FRAME.replace("SHARE", str(share)).replace("PAINT", paint)
    return result.page(offline=True).replace("</body>", moved)


if __name__ == "__main__":
    main(sys.argv[1:])

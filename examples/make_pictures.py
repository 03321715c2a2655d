"""Make the pictures of the README and the documentation: screenshots of viewer pages in a headless Chromium, and films.

python examples/make_pictures.py [NAME ...]

Needs Chromium, and 3Dmol.js (npm install 3dmol, or GEOFOLD_3DMOL_JS); steering_panel needs ipywidgets too, and beside
3dmol what shows widgets outside a notebook (npm install @jupyter-widgets/html-manager requirejs). Pictures go to
examples/pictures, at most 150 kB each; so do films, as animated WebP. The same seeds give the same coordinates; how a
browser draws them differs from version to version.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

import geofold as gf
from geofold.app.result import Result
from geofold.app.steering.notebook_panel import view_of
from geofold.app.viewer.html import embed_json
from geofold.app.viewer.library import LIBRARY_FILE, LIBRARY_VARIABLE, library_path
from geofold.errors import OptionError
from geofold.resources import find

Builder = Callable[[], tuple[str, int, int]]

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


def repairing() -> tuple[str, tuple[int, int], bool]:
    """A repair as a film: the models of its path, the loop's residues, and that they were there before."""
    result = gf.repair(find("structures", "1ubi_bent.pdb"), loop="A:45-56")
    return result.trajectory_content("path.pdb").decode(), (45, 56), True


def building() -> tuple[str, tuple[int, int], bool]:
    """The same of a missing loop that is built."""
    result = gf.repair(find("structures", "1bhl.pdb"), build="A:138-153")
    return result.trajectory_content("path.pdb").decode(), (138, 153), False


SCENES: dict[str, Builder] = {scene.__name__: scene for scene in (repair, repair_by_k, moving_contact, steering_panel)}
FILMS = {film.__name__: film for film in (repairing, building)}
ROWS, COLUMNS, TILE = 3, 4, (400, 300)
"""Frames of a film, drawn in one page, and their size in pixels."""
GRID = """<!doctype html><meta charset="utf-8"><body style="margin: 0">LIBRARY
<div id="grid" style="position: relative; width: WIDTHpx; height: HEIGHTpx"></div>
<script>
  const frames = FRAMES, [first, last] = LOOP, before = BEFORE;
  const grid = $3Dmol.createViewerGrid("grid", {rows: ROWS, cols: COLUMNS, control_all: false},
                                       {backgroundColor: "white"}).flat();
  grid.forEach((viewer, k) => {
    const loop = {resi: `${first}-${last}`}, model = viewer.addModel(frames[k], "pdb");
    model.setStyle({}, {cartoon: {color: "#c8c8c8"}});
    if (before) {
      const start = viewer.addModel(frames[0], "pdb");
      start.setStyle({}, {});
      start.setStyle(loop, {cartoon: {color: "#3b7fc4", style: "trace", thickness: 0.2}});
    }
    if (!before && k == 0) {
      model.setStyle(loop, {});
    } else {
      const tube = {color: "#e8820c", style: "trace", thickness: 0.4};
      model.setStyle(loop, {cartoon: tube, stick: {radius: 0.12, color: "#e8820c"}});
    }
    viewer.zoomTo({resi: `${first - 4}-${last + 4}`});
    viewer.zoom(0.85);
    viewer.render();
  });
</script></body>"""


def main(names: list[str]) -> None:
    """Make the pictures named, or all of them."""
    PICTURES.mkdir(exist_ok=True)
    for name in names or (*SCENES, *FILMS):
        if name in FILMS:
            made = film(*FILMS[name]())
            (PICTURES / f"{name}.webp").write_bytes(made)
            print(f"{name}.webp: {len(made) / 1000:.0f} kB")
            continue
        page, width, height = SCENES[name]()
        picture = shot(page, width, height)
        (PICTURES / f"{name}.png").write_bytes(picture)
        print(f"{name}.png: {len(picture) / 1000:.0f} kB")


def film(path: str, loop: tuple[int, int], before: bool) -> bytes:
    """An animated WebP of the models of a PDB path, evenly chosen; the first and the last stay for longer.

    Parameters
    ----------
    path : str
        Multi-model PDB.
    loop : (int, int)
        Numbers of the residues that move.
    before : bool
        Whether these residues were there before: their start is shown in blue. Otherwise the film begins without them.
    """
    models = [text for text in path.split("ENDMDL")[:-1]]
    count = ROWS * COLUMNS
    chosen = [models[round(k * (len(models) - 1) / (count - 1))] for k in range(count)]
    width, height = COLUMNS * TILE[0], ROWS * TILE[1]
    values = {
        "LIBRARY": f"<script>{library_path().read_text(encoding='utf-8')}</script>", "WIDTH": width, "HEIGHT": height,
        "FRAMES": embed_json(chosen), "LOOP": list(loop), "ROWS": ROWS, "COLUMNS": COLUMNS,
        "BEFORE": json.dumps(before),
    }  # fmt: skip
    page = re.sub("|".join(values), lambda found: str(values[found.group()]), GRID)
    sheet = screenshot(page, width, height)
    tiles = [
        sheet.crop((x * TILE[0], y * TILE[1], (x + 1) * TILE[0], (y + 1) * TILE[1]))
        for y in range(ROWS)
        for x in range(COLUMNS)
    ]
    times = [1200, *(120 for _ in tiles[2:]), 2500]
    out = io.BytesIO()
    tiles[0].save(out, "WEBP", save_all=True, append_images=tiles[1:], duration=times, loop=0, quality=70, method=6)
    return out.getvalue()


def shot(page: str, width: int, height: int) -> bytes:
    """A page as it looks in a window of so many pixels: a PNG of as many colours as fit `LARGEST`."""
    picture = screenshot(page, width, height)
    for colours in (256, 128, 64):
        out = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def screenshot(page: str, width: int, height: int) -> Image.Image:
    """A page as it looks in a window of so many pixels.

    Raises
    ------
    OptionError
        Without a browser.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise OptionError("a picture without a browser", f"one of {', '.join(BROWSERS)}", "install Chromium")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(page, encoding="utf-8")
        subprocess.run(
            [browser, *FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
             f"--screenshot={folder}/shot.png", (Path(folder) / "page.html").as_uri()],
            check=True, capture_output=True, timeout=400,
        )  # fmt: skip
        return Image.open(Path(folder) / "shot.png").convert("RGB")


def _at(result: Result, share: float, paint: str) -> str:
    """The page of a result, shown at a share of its path."""
    moved = AT_FRAME.replace("SHARE", str(share)).replace("PAINT", paint)
    return result.page(offline=True).replace("</body>", moved)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Pictures of a maze: ground and barriers, the path coloured by K, and a map of the corrections.

Glossary: ``n`` cells along a side, ``T`` steps. Images are (height, width, 3) bytes, with y upwards.
"""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from geofold.maze.episode_log import EpisodeRecord
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.world import World

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_PER_CELL = 5
"""Pixels along the side of a cell."""
IMAGE_SIDE = PIXELS_PER_CELL * CELLS
CAPTION_HEIGHT = 20
"""Height (pixels) of the caption."""
LOW_COLOUR, HIGH_COLOUR = np.array([206.0, 212.0, 200.0]), np.array([250.0, 246.0, 236.0])
"""Colours of low and high ground."""
BARRIER_COLOUR, MOVER_COLOUR, OLD_MOVER_COLOUR = (52, 54, 60), (120, 50, 110), (190, 165, 190)
"""Colours of barriers, of the obstacle, and of its former position."""
DEPTH_COLOURS = ((0, 114, 178), (0, 158, 115), (240, 228, 66), (230, 159, 0), (213, 94, 0))
"""Colours of K = 0, 1, 2, 3 and more, from the palette of Okabe and Ito for colour-blind readers."""
START_COLOUR, TARGET_COLOUR, INK_COLOUR = (255, 255, 255), (204, 0, 0), (20, 20, 20)
FRAME_MILLISECONDS = 80
"""Duration of a frame (ms)."""


def draw_ground(world: World, before: World | None = None) -> np.ndarray:
    """Draw the ground, lit from the upper left, and its barriers; `before` holds the former obstacle."""
    height = world.heights
    up, right = np.gradient(height, 1 / CELLS)
    light = np.array([-1.0, 1.0, 1.6]) / np.sqrt(4.56)
    shade = (light[2] - light[0] * right - light[1] * up) / np.sqrt(1 + right**2 + up**2)
    level = (height - height.min()) / max(np.ptp(height), 1e-9)
    image = (LOW_COLOUR + (HIGH_COLOUR - LOW_COLOUR) * level[..., None]) * (0.45 + 0.6 * np.clip(shade, 0, 1))[
        ..., None
    ]
    image = np.clip(image, 0, 255).astype(np.uint8)
    if before is not None:
        image[before.layout.mover] = OLD_MOVER_COLOUR
    image[world.layout.fixed] = BARRIER_COLOUR
    image[world.layout.mover] = MOVER_COLOUR
    return image[::-1].repeat(PIXELS_PER_CELL, 0).repeat(PIXELS_PER_CELL, 1)


def draw_frame(
    ground: np.ndarray, trail: np.ndarray, target: np.ndarray, inner: np.ndarray | None = None, note: str = ""
) -> np.ndarray:
    """Draw the path so far.

    Parameters
    ----------
    ground : (side, side, 3)
        Image from `draw_ground`.
    trail : (T + 1, 2)
        Positions.
    target : (2,)
    inner : (T,) or None
        K of each step; None: one colour for all steps.
    note : str
        Caption.

    Returns
    -------
    (height, width, 3) bytes
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE + CAPTION_HEIGHT), START_COLOUR)
    image.paste(Image.fromarray(ground))
    draw = ImageDraw.Draw(image)
    points = [(IMAGE_SIDE * x, IMAGE_SIDE * (1 - y)) for x, y in trail]
    for k, (start, end) in enumerate(pairwise(points)):
        draw.line((*start, *end), fill=_colour(0 if inner is None else int(inner[k])), width=3)
    _draw_dot(draw, points[0], 4, START_COLOUR)
    _draw_dot(draw, (IMAGE_SIDE * target[0], IMAGE_SIDE * (1 - target[1])), 6, TARGET_COLOUR)
    _draw_dot(draw, points[-1], 5, _colour(0 if inner is None or not len(inner) else int(inner[-1])))
    draw.text((6, IMAGE_SIDE + 4), note, fill=INK_COLOUR)
    if inner is not None:
        _draw_legend(draw)
    return np.asarray(image)


def draw_frames(run: EpisodeRecord) -> list[np.ndarray]:
    """Draw every step of an episode."""
    change = len(run.inner) + 1 if run.dragged is None else run.dragged
    grounds = [draw_ground(run.worlds[0]), draw_ground(run.worlds[-1], run.worlds[0])]
    images, number = [], 0
    for step in range(len(run.inner) + 1):
        # The frame in which a target is reached shows that target.
        while number + 1 < len(run.legs) and step > run.legs[number].ended:
            number += 1
        moved = step > change
        bumps = int(run.bumps[step - 1]) if step else 0
        note = f"step {step}  target {number + 1} of {len(run.worlds[0].targets)}  collisions {bumps}"
        note += "  obstacle dragged" if moved else ""
        trail, target = run.positions[: step + 1], run.legs[number].target
        images.append(draw_frame(grounds[moved], trail, target, run.inner[:step], note))
    return images


def encode_gif(run: EpisodeRecord) -> bytes:
    """Encode an episode as an animated GIF; equal episodes give equal bytes."""
    from PIL import Image

    images = [Image.fromarray(image) for image in draw_frames(run)]
    palette = _make_palette(images[-1])
    drawn = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    last, out = 12 * FRAME_MILLISECONDS, io.BytesIO()
    drawn[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=drawn[1:],
        loop=0,
        duration=[FRAME_MILLISECONDS] * (len(drawn) - 1) + [last],
    )
    return out.getvalue()


def encode_png(image: np.ndarray) -> bytes:
    """Encode an image as PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def mean_inner_steps(runs: list[EpisodeRecord], blur: float = 1.5) -> np.ndarray:
    """Mean K of the steps that began near each cell (n, n), NaN where there were none.

    Parameters
    ----------
    runs : list of EpisodeRecord
    blur : float
        Standard deviation of the smoothing (cells).
    """
    visits, inner = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for run in runs:
        np.add.at(visits, run.cells(), 1)
        np.add.at(inner, run.cells(), run.inner)
    visits, inner = (ndimage.gaussian_filter(part, blur) for part in (visits, inner))
    return np.where(visits > 0.01, inner / np.maximum(visits, 1e-9), np.nan)


def heat_map(runs: list[EpisodeRecord]) -> bytes:
    """Map of the mean number of corrections in one world (ESM, Figure 4), as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.4), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.imshow(
        draw_ground(runs[0].worlds[-1], runs[0].worlds[0])[::-1], origin="lower", extent=(0, 1, 0, 1), alpha=0.6
    )
    drawn = axes.imshow(mean_inner_steps(runs), origin="lower", extent=(0, 1, 0, 1), cmap="inferno_r", vmin=0)
    figure.colorbar(drawn, ax=axes, label="mean inner steps K")
    axes.set(xlabel="x / side", ylabel="y / side", title=f"{runs[0].worlds[0].name} {runs[0].worlds[0].seed}")
    out = io.BytesIO()
    # The version of matplotlib is omitted, so that the bytes depend on the picture only.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _colour(inner: int) -> tuple[int, int, int]:
    return DEPTH_COLOURS[min(inner, len(DEPTH_COLOURS) - 1)]


def _draw_dot(draw: Any, at: tuple[float, float], radius: int, colour: tuple[int, int, int]) -> None:
    x, y = at
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=INK_COLOUR)


def _draw_legend(draw: Any) -> None:
    """Draw the colours of K at the right end of the caption."""
    for k, colour in enumerate(DEPTH_COLOURS):
        left = IMAGE_SIDE - 34 * (len(DEPTH_COLOURS) - k)
        draw.rectangle((left, IMAGE_SIDE + 5, left + 10, IMAGE_SIDE + 15), fill=colour, outline=INK_COLOUR)
        draw.text((left + 14, IMAGE_SIDE + 4), f"{k}", fill=INK_COLOUR)
    draw.text((IMAGE_SIDE - 34 * len(DEPTH_COLOURS) - 14, IMAGE_SIDE + 4), "K", fill=INK_COLOUR)


def _make_palette(image: Image) -> Image:
    """Make a palette for all frames: that of one frame, and the colours that have to be exact."""
    from PIL import Image

    exact = [*DEPTH_COLOURS, START_COLOUR, TARGET_COLOUR, INK_COLOUR, BARRIER_COLOUR, MOVER_COLOUR, OLD_MOVER_COLOUR]
    common = image.quantize(256 - len(exact)).getpalette() or []
    out = Image.new("P", (1, 1))
    out.putpalette([*common[: 3 * (256 - len(exact))], *(part for colour in exact for part in colour)])
    return out

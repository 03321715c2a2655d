"""Page of a maze run: the path played over the ground, the heat map, and a table of the legs."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from geofold import resources
from geofold.app.viewer.html import embed_json, render
from geofold.maze.episode_log import EpisodeRecord
from geofold.maze.render import DEPTH_COLOURS, FRAME_MILLISECONDS, IMAGE_SIDE, draw_ground, encode_png, heat_map

HEADINGS = ("target", "steps", "shortest", "regret", "collisions", "")


def page(run: EpisodeRecord) -> str:
    """Render the run as one HTML file that needs no network; equal runs give equal text."""
    first, last = run.worlds[0], run.worlds[-1]
    grounds = [draw_ground(first), draw_ground(last, first)] if run.dragged is not None else [draw_ground(first)]
    data = {
        "grounds": [_inline(encode_png(ground)) for ground in grounds],
        "positions": run.positions.round(5).tolist(),
        "inner": run.inner.tolist(),
        "bumps": run.bumps.tolist(),
        "legs": [{"target": leg.target.round(5).tolist(), "ended": leg.ended} for leg in run.legs],
        "targets": len(first.targets),
        "dragged": run.dragged,
        "colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in DEPTH_COLOURS],
    }
    template = resources.find("maze.html")
    return render(
        template.read_text(encoding="utf-8"),
        {
            "TITLE": escape(f"maze {first.seed} ({first.name})"),
            "SIDE": str(IMAGE_SIDE),
            "PACE": str(FRAME_MILLISECONDS),
            "HEAT": _inline(heat_map([run])),
            "TABLE": _table(run),
            "RUN": embed_json(data),
        },
    )


def _inline(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def _table(run: EpisodeRecord) -> str:
    rows: list[tuple[Any, ...]] = [HEADINGS]
    for number, leg in enumerate(run.legs):
        ended = "" if leg.reached else "not reached"
        rows.append((number + 1, leg.ended - leg.began, f"{leg.shortest:.1f}", f"{leg.regret:.3f}", leg.bumps, ended))
    cells = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in cells) + "\n</table>"

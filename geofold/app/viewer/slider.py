"""A py3Dmol view of a trajectory with a slider below it, for notebooks."""

from __future__ import annotations

from typing import Any

from geofold.app.viewer.frames import read_trajectory
from geofold.app.viewer.page import view

BAR = """<div style="display:flex;gap:8px;align-items:center;max-width:{width}px;font:13px sans-serif">
<button type="button" id="play_{id}" aria-label="Play or pause">&#9654;</button>
<input type="range" id="at_{id}" min="0" max="{last}" value="{last}" style="flex:1" aria-label="Frame">
<output id="said_{id}">frame {frames} / {frames}</output></div>
<script>(() => {{
const get = name => document.getElementById(name + '_{id}'), slider = get('at');
let playing = null;
const show = at => {{
  slider.value = at; get('said').textContent = `frame ${{at + 1}} / {frames}`;
  const viewer = window['viewer_{id}'];
  if (viewer) {{ viewer.setFrame(at); viewer.render(); }}
}};
const stop = () => {{ clearInterval(playing); playing = null; get('play').innerHTML = '&#9654;'; }};
slider.oninput = () => {{ stop(); show(+slider.value); }};
get('play').onclick = () => {{
  if (playing) return stop();
  get('play').innerHTML = '&#10074;&#10074;';
  playing = setInterval(() => show((+slider.value + 1) % {frames}), 80);
}};
}})();</script>"""


def view_with_slider(frames_pdb: list[str] | str, report: dict[str, Any], *, width: int, height: int) -> Any:
    """Create a `py3Dmol.view` that shows its last frame, with a slider if there are several.

    Parameters
    ----------
    frames_pdb : list of str or str
        As for `geofold.app.viewer.page.page`.
    report : dict
    width, height : int
        Size in pixels.

    Returns
    -------
    py3Dmol.view
        Of a class with the same methods, which adds the slider to the view's HTML.
    """
    import py3Dmol

    class SlidingView(py3Dmol.view):
        """A py3Dmol view with a slider below it."""

        frames = 1

        def __repr__(self) -> str:
            return f"<geofold view of {self.frames} frames: a py3Dmol.view; result.page() is the page with plots>"

        def _make_html(self) -> str:
            text = str(super()._make_html())
            if self.frames < 2:
                return text
            bar = BAR.format(id=self.uniqueid, last=self.frames - 1, frames=self.frames, width=width)
            return text + bar

    drawn = view(frames_pdb, report, width=width, height=height, kind=SlidingView)
    drawn.frames = len(read_trajectory(frames_pdb, frozenset()).xyz)
    return drawn.setFrame(drawn.frames - 1) if drawn.frames > 1 else drawn

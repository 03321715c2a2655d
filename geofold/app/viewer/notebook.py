"""The viewer page in a cell of a notebook."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

HEIGHT = 620
"""Pixels: the scene, what plays it, and the beginning of the plots."""


class NotebookView:
    """A viewer page that shows itself where it is the last expression of a cell: play, slider, plots and tables.

    Parameters
    ----------
    page : str
        HTML, as `geofold.app.viewer.page` makes it.
    drawn
        Gives the py3Dmol view of the same scene.
    height : int
        Pixels of the cell's frame, in which the page scrolls.
    """

    def __init__(self, page: str, drawn: Callable[[], Any], height: int = HEIGHT) -> None:
        self.page, self.height, self._drawn = page, height, drawn

    def __repr__(self) -> str:
        return "<geofold view: a page for a notebook's cell, or .page as HTML>"

    def _repr_html_(self) -> str:
        frame = f"width:100%;height:{self.height}px;border:1px solid #d9dee5"
        return f'<iframe title="geofold view" style="{frame}" srcdoc="{escape(self.page)}"></iframe>'

    def py3dmol(self) -> Any:
        """The scene as a `py3Dmol.view`, to draw more into: the path plays in it, without plots and slider."""
        return self._drawn()

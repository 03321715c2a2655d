"""Display of the viewer page in a notebook cell."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

HEIGHT = 620
"""Height (pixels) of the cell: shows the scene, the player, and the beginning of the plots."""


class NotebookView:
    """Viewer page that is displayed if it is the last expression of a cell: player, plots and tables.

    Parameters
    ----------
    page : str
        HTML of `geofold.app.viewer.page`.
    drawn : callable
        Returns the py3Dmol view of the same scene.
    height : int
        Height (pixels) of the cell's frame, in which the page scrolls.
    """

    def __init__(self, page: str, drawn: Callable[[], Any], height: int = HEIGHT) -> None:
        self.page, self.height, self._drawn = page, height, drawn

    def __repr__(self) -> str:
        return "<geofold view: a page for a notebook cell, or .page as HTML>"

    def _repr_html_(self) -> str:
        frame = f"width:100%;height:{self.height}px;border:1px solid #d9dee5"
        return f'<iframe title="geofold view" style="{frame}" srcdoc="{escape(self.page)}"></iframe>'

    def py3dmol(self) -> Any:
        """Return the scene as a `py3Dmol.view`, to add drawings to; it plays, without plots and slider."""
        return self._drawn()

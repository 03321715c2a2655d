"""The page of a live session: the viewer's 3D library and plots, with controls to take hold of the chain."""

from __future__ import annotations

from html import escape
from pathlib import PurePath

from geofold import resources
from geofold.app.viewer import html as parts
from geofold.app.viewer.library import LIBRARY_INTEGRITY, LIBRARY_URL, library_source
from geofold.errors import OptionError


def live_page(title: str) -> tuple[str, str]:
    """Render the page, and the address that a browser may load 3Dmol.js from; empty if the page contains it.

    Parameters
    ----------
    title : str
        Name or path of the structure.
    """
    try:
        library, source = f"<script>{library_source()}</script>", ""
    except OptionError:
        library = (
            f'<script src="{LIBRARY_URL}" integrity="{LIBRARY_INTEGRITY}" crossorigin="anonymous" '
            'onerror="window.missing3d=1"></script>'
        )
        source = LIBRARY_URL.split("/npm")[0]
    return parts.render(
        resources.find("live.html").read_text(encoding="utf-8"),
        {
            "TITLE": escape(PurePath(title).name),
            "LIBRARY": library,
            "PLOTS": resources.find("viewer_plots.js").read_text(encoding="utf-8"),
            "LIGHT": resources.find("live_light.js").read_text(encoding="utf-8"),
            "SCRIPT": resources.find("live.js").read_text(encoding="utf-8"),
        },
    ), source

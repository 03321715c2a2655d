"""A window that shows a maze while it is run through."""

from __future__ import annotations

from typing import Any

import numpy as np


class Window:
    """A window of matplotlib's, where there is a screen; without one nothing is seen, and nothing goes wrong."""

    def __init__(self) -> None:
        from matplotlib import pyplot

        self._pyplot = pyplot
        self._figure, axes = pyplot.subplots(figsize=(5, 5.2), layout="constrained")
        axes.set_axis_off()
        self._axes = axes
        self._drawn: Any = None

    def show(self, image: np.ndarray, seconds: float) -> None:
        """Show an image (height, width, 3) for some time."""
        if self._drawn is None:
            self._drawn = self._axes.imshow(image)
        else:
            self._drawn.set_data(image)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()
        self._figure.canvas.start_event_loop(seconds)

    def close(self) -> None:
        """Close it."""
        self._pyplot.close(self._figure)

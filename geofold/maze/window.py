"""Window that shows a maze during an episode."""

from __future__ import annotations

from typing import Any

import numpy as np


class Window:
    """Window of matplotlib; without a screen nothing is shown and no error is raised."""

    def __init__(self) -> None:
        from matplotlib import pyplot

        self._pyplot = pyplot
        self._figure, axes = pyplot.subplots(figsize=(5, 5.2), layout="constrained")
        axes.set_axis_off()
        self._axes = axes
        self._image: Any = None

    def show(self, image: np.ndarray, seconds: float) -> None:
        """Show an image (height, width, 3) for some time."""
        if self._image is None:
            self._image = self._axes.imshow(image)
        else:
            self._image.set_data(image)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()
        self._figure.canvas.start_event_loop(seconds)

    def close(self) -> None:
        """Close the window."""
        self._pyplot.close(self._figure)

"""Widgets for live steering in a notebook: run, pause, contacts to edit, and a py3Dmol view that follows.

The stream runs as a task of the notebook's own event loop, one step at a time, so that a click between two steps
changes what the next one wants: no threads, and the same changes at the same steps give the same frames.
"""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any, Protocol

import numpy as np

from geofold.app.steering.step import SteeringStep
from geofold.app.viewer.page import BLUE, GREY, ORANGE, VERMILION
from geofold.errors import GeofoldError, OptionError
from geofold.molecule.io.write import trajectory_pdb
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import Floats, Structure

PAUSE = 0.02
"""Seconds between two steps in which the notebook answers to clicks."""


class Steered(Protocol):
    """A stream that is steered; see `geofold.app.steering.steering.Steering`."""

    structure: Structure
    altloc: str | None

    @property
    def xyz(self) -> Floats: ...
    @property
    def span(self) -> tuple[int, int]: ...
    @property
    def wanted(self) -> tuple[Contact, ...]: ...
    @property
    def contacts(self) -> tuple[str, ...]: ...
    def add(self, text: str) -> None: ...
    def remove(self, text: str) -> None: ...
    def move(self, old: str, new: str) -> None: ...
    def __next__(self) -> SteeringStep: ...


def view_of(steering: Steered, width: int, height: int) -> Any:
    """A py3Dmol view of a steered structure as it is now."""
    import py3Dmol

    view = py3Dmol.view(width=width, height=height)
    draw(view, steering)
    view.zoomTo()
    return view


def draw(view: Any, steering: Steered) -> None:
    """Everything drawn anew but the camera, which stays where it was turned to."""
    structure, xyz = steering.structure, steering.xyz
    first, last = steering.span
    view.removeAllModels()
    view.removeAllShapes()
    view.removeAllLabels()
    view.addModel(trajectory_pdb(structure, xyz[None], altloc=steering.altloc).decode(), "pdb")
    view.setStyle({}, {"cartoon": {"color": GREY}, "line": {"color": GREY}})
    chain = structure.residues[first].chain
    numbers = [residue.resnum for residue in structure.residues[first : last + 1]]
    moving = {"cartoon": {"color": ORANGE}, "stick": {"colorscheme": "orangeCarbon", "radius": 0.12}}
    view.setStyle({"chain": chain or " ", "resi": numbers}, moving)
    for contact in steering.wanted:
        ends = 10 * xyz[[contact.i, contact.j]]
        apart = float(np.linalg.norm(ends[0] - ends[1]))
        start, end, middle = (dict(zip("xyz", at.tolist(), strict=True)) for at in (*ends, ends.mean(0)))
        colour = BLUE if contact.satisfied(apart / 10) else VERMILION
        view.addCylinder({"start": start, "end": end, "radius": 0.1, "dashed": True, "color": colour})
        label = {"position": middle, "fontSize": 12, "backgroundColor": colour, "backgroundOpacity": 0.9}
        view.addLabel(f"{apart:.1f} A", label)


class Panel:
    """The widgets of one `Steering`; shown where it is the last expression of a cell.

    Attributes
    ----------
    steering : Steered
        Steps and changes may be made by hand as well: `refresh` shows them.
    widget : ipywidgets.VBox
    """

    def __init__(self, steering: Steered, width: int = 720, height: int = 480) -> None:
        try:
            import ipywidgets as widgets
        except ImportError:
            raise OptionError(
                "a panel without ipywidgets",
                "a notebook with ipywidgets",
                "pip install '.[notebook]' in geofold's folder, or loop over the steps yourself",
            ) from None

        self.steering = steering
        self._task: asyncio.Task[None] | None = None
        self._view = view_of(steering, width, height)
        self._stage, self._script = widgets.Output(), widgets.Output()
        self._run = widgets.ToggleButton(value=False, description="run", icon="play")
        self._once = widgets.Button(description="one step")
        self._text = widgets.Text(placeholder="A:3-A:10<6.0", description="contact")
        self._add = widgets.Button(description="add")
        self._chosen = widgets.Select(options=steering.contacts, rows=4, description="wanted")
        self._change = widgets.Button(description="move to text")
        self._remove = widgets.Button(description="remove")
        self._numbers, self._trouble = widgets.HTML(), widgets.HTML()
        self._run.observe(lambda change: self.run() if change["new"] else self.pause(), "value")
        self._once.on_click(lambda _: self.advance())
        self._add.on_click(lambda _: self._changed(lambda: steering.add(self._text.value)))
        self._remove.on_click(lambda _: self._changed(lambda: steering.remove(self._chosen.value or "")))
        self._change.on_click(
            lambda _: self._changed(lambda: steering.move(self._chosen.value or "", self._text.value))
        )
        self.widget = widgets.VBox(
            [
                widgets.HBox([self._run, self._once]),
                widgets.HBox([self._text, self._add]),
                widgets.HBox([self._chosen, widgets.VBox([self._change, self._remove])]),
                self._trouble,
                self._numbers,
                self._stage,
                self._script,
            ]
        )
        with self._stage:
            self._view.show()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)

    def advance(self, steps: int = 1) -> SteeringStep:
        """Make steps here and now, and show where they led."""
        for _ in range(max(steps, 1)):
            step = next(self.steering)
        self._numbers.value = escape(str(step))
        self._follow()
        return step

    def run(self) -> None:
        """Step on until `pause`; between two steps the notebook answers to clicks."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._stepping())
        self._run.value = True

    def pause(self) -> None:
        """Stop after the step that is being made."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._run.value = False

    async def _stepping(self) -> None:
        try:
            while True:
                self.advance()
                await asyncio.sleep(PAUSE)
        except Exception as error:  # a task's error is seen by nobody
            self._trouble.value = f"<b>{escape(str(error))}</b>"
            self._task, self._run.value = None, False
            raise

    def refresh(self) -> None:
        """Show the contacts and coordinates as they are, for changes that were made elsewhere."""
        self._chosen.options = self.steering.contacts
        self._follow()

    def _changed(self, change: Any) -> None:
        """A click's change; what is wrong with it is told, and the stream goes on."""
        try:
            change()
            self._trouble.value = ""
        except GeofoldError as error:
            self._trouble.value = f"<b>{escape(str(error))}</b>"
        self.refresh()

    def _follow(self) -> None:
        first = self._view.startjs
        draw(self._view, self.steering)
        self._script.clear_output(wait=True)
        with self._script:
            self._view.update()
        self._view.startjs = first  # py3Dmol keeps all commands for a second show: a stream has no end

"""Widgets for live steering in a notebook: run, pause, editable contacts, and a py3Dmol view that is updated.

The stream runs as a task of the notebook's event loop, one step at a time, so that a click between two steps changes
the contacts of the next one. There are no threads, and the same changes at the same steps give the same frames.
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
"""Pause (s) between two steps, in which the notebook handles clicks."""


class Steered(Protocol):
    """Interface of `geofold.app.steering.steering.Steering`."""

    structure: Structure
    altloc: str | None

    @property
    def xyz(self) -> Floats:
        """Current coordinates (n_atoms, 3), in nm."""

    @property
    def span(self) -> tuple[int, int]:
        """First and last residue of the peptide."""

    @property
    def wanted(self) -> tuple[Contact, ...]:
        """Contacts of the next step."""

    @property
    def contacts(self) -> tuple[str, ...]:
        """Texts of the contacts of the next step."""

    def add(self, text: str) -> None:
        """Add a contact."""

    def remove(self, text: str) -> None:
        """Remove a contact."""

    def move(self, old: str, new: str) -> None:
        """Replace a contact by another one."""

    def __next__(self) -> SteeringStep: ...


def view_of(steering: Steered, width: int, height: int) -> Any:
    """Create a py3Dmol view (size in pixels) of the current coordinates and contacts."""
    import py3Dmol

    view = py3Dmol.view(width=width, height=height)
    draw(view, steering)
    view.zoomTo()
    return view


def draw(view: Any, steering: Steered) -> None:
    """Redraw the structure and its contacts; the camera stays."""
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
        distance = float(np.linalg.norm(ends[0] - ends[1]))
        start, end, middle = (dict(zip("xyz", at.tolist(), strict=True)) for at in (*ends, ends.mean(0)))
        colour = BLUE if contact.satisfied(distance / 10) else VERMILION
        view.addCylinder({"start": start, "end": end, "radius": 0.1, "dashed": True, "color": colour})
        label = {"position": middle, "fontSize": 12, "backgroundColor": colour, "backgroundOpacity": 0.9}
        view.addLabel(f"{distance:.1f} A", label)


class Panel:
    """Widgets of one `Steering`, shown if it is the last expression of a cell.

    Parameters
    ----------
    steering : Steered
        The stream.
    width, height : int
        Size of the view in pixels.

    Attributes
    ----------
    steering : Steered
        The stream, which may also be stepped and changed in code; `refresh` shows the changes.
    widget : ipywidgets.VBox
        The container of all widgets.
    """

    def __init__(self, steering: Steered, width: int = 720, height: int = 480) -> None:
        try:
            import ipywidgets as widgets
        except ImportError:
            raise OptionError(
                "a panel without ipywidgets",
                "a notebook with ipywidgets",
                "pip install 'geofold[notebook]', or loop over the steps yourself",
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
        self._numbers, self._error = widgets.HTML(), widgets.HTML()
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
                self._error,
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
        """Make a number of steps, show the result and return the last step."""
        for _ in range(max(steps, 1)):
            step = next(self.steering)
        self._numbers.value = escape(str(step))
        self._follow()
        return step

    def run(self) -> None:
        """Start stepping until `pause`; the notebook handles clicks between two steps."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._stepping())
        self._run.value = True

    def pause(self) -> None:
        """Stop after the current step."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._run.value = False

    async def _stepping(self) -> None:
        try:
            while True:
                self.advance()
                await asyncio.sleep(PAUSE)
        except Exception as error:  # the error of a task is not displayed otherwise
            self._error.value = f"<b>{escape(str(error))}</b>"
            self._task, self._run.value = None, False
            raise

    def refresh(self) -> None:
        """Show the current contacts and coordinates, after changes made in code."""
        self._chosen.options = self.steering.contacts
        self._follow()

    def _changed(self, change: Any) -> None:
        """Apply a change made by a click; an invalid one is reported, and the stream continues."""
        try:
            change()
            self._error.value = ""
        except GeofoldError as error:
            self._error.value = f"<b>{escape(str(error))}</b>"
        self.refresh()

    def _follow(self) -> None:
        first = self._view.startjs
        draw(self._view, self.steering)
        self._script.clear_output(wait=True)
        with self._script:
            self._view.update()
        self._view.startjs = first  # py3Dmol keeps all commands for a second show: do not let them accumulate

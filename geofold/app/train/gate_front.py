"""Front of a gate training: task loss against corrections per step, by penalty."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from geofold.files import write_atomically

UNIFORM_DEPTH = 0.0
"""Entry of a fixed depth in the front, in place of a penalty."""
TASK_TOLERANCE = 0.05
"""Task loss (a sum of two logarithms) by which the chosen gate of loops and peptides may end above the best one."""


def choose_penalty(front: list[dict[str, float]], tolerance: float = TASK_TOLERANCE) -> float:
    """Choose the highest penalty whose gate ends within `tolerance` (task loss) of the best one."""
    rows = [row for row in front if row["price"] != UNIFORM_DEPTH]
    best = min(row["task"] for row in rows)
    return max(row["price"] for row in rows if row["task"] <= best + tolerance)


def write_front(folder: Path, front: list[dict[str, float]], penalty: float) -> None:
    """Write the front as CSV and as a figure, with the chosen penalty highlighted."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["price", "task", "inner"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(front)
    write_atomically(folder / "front.csv", lambda name: Path(name).write_text(text.getvalue(), encoding="utf-8"))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for row in front:
        colour = "#d55e00" if row["price"] == penalty else "0.5" if row["price"] != UNIFORM_DEPTH else "#0072b2"
        axis.plot(row["inner"], row["task"], "o", color=colour)
        name = f"$\\lambda$ = {row['price']:g}" if row["price"] != UNIFORM_DEPTH else "uniform depth"
        axis.annotate(name, (row["inner"], row["task"]), xytext=(5, 4), textcoords="offset points")
    axis.set(xlabel="corrections per step (mean K)", ylabel="task loss at the end")
    write_atomically(folder / "front.png", lambda name: figure.savefig(name, dpi=120, format="png"))
    pyplot.close(figure)

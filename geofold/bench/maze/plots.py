"""Figure of the maze benchmark (GeoSSM, Figure 1): success against the time of the drag, steps against its size."""

from __future__ import annotations

import numpy as np

from geofold.bench.common.records import Records
from geofold.bench.common.statistics import mean_and_half_width, mean_per_episode
from geofold.bench.maze.agents.registry import AGENTS
from geofold.files import write_atomically
from geofold.maze.worlds.world import DRAG_LENGTHS, DRAG_STEPS


def draw(records: Records) -> None:
    """Draw both panels into the folder of the records."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    colours = pyplot.get_cmap("tab10")
    for number, agent in enumerate(AGENTS):
        rows = [row for row in records.of(agent.name) if row.get("panel") == "world"]
        plots = ((left, "move_at", "success", DRAG_STEPS), (right, "drag", "steps", tuple(DRAG_LENGTHS)))
        for axis, by, key, places in plots:
            means = [_mean_and_half_width([row for row in rows if row[by] == place], key) for place in places]
            shift = 0.02 * (number - len(AGENTS) / 2)
            x = np.arange(len(places)) + shift
            axis.errorbar(
                x,
                [m for m, _ in means],
                [h for _, h in means],
                marker="o",
                markersize=4,
                color=colours(number),
                label=agent.name,
            )
            axis.set_xticks(range(len(places)), [str(place) for place in places])
    left.set(xlabel="step of the drag", ylabel="success")
    right.set(xlabel="size of the drag", ylabel="steps a target (96 for a failure)")
    figure.legend(*right.get_legend_handles_labels(), fontsize=8, loc="outside right center")
    write_atomically(records.folder / "nonstationarity.png", lambda path: figure.savefig(path, dpi=100, format="png"))
    pyplot.close(figure)


def _mean_and_half_width(rows: list[dict[str, object]], key: str) -> tuple[float, float]:
    values = mean_per_episode(rows, key)
    return mean_and_half_width(values.values()) if values else (float("nan"), 0.0)

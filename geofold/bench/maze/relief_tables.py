"""Tables, figure and summary of the comparison on ground of every slope: means, medians, wins and effect sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import bootstrap_interval, mean_and_half_width, wilcoxon_p
from geofold.bench.maze.agents.tuned import ADAPTED, EUCLIDEAN, TUNED_AGENTS
from geofold.files import write_atomically

MEASURES = ("steps", "regret", "success", "collisions")
COMPARED = ("ratio", "ratio_low", "ratio_high", "wins", "losses", "effect", "effect_low", "effect_high", "p")
GEOMETRY = ("condition", "condition_90", "angle", "angle_90")


def summarise(records: Records, slopes: tuple[float, ...], split: str, *, quick: bool, began: float) -> None:
    """Write summary, tables and figure.

    Parameters
    ----------
    records : Records
        All records of the run.
    slopes : tuple of float
    split : str
        Name of the split.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    metrics: dict[str, float] = {}
    for slope in slopes:
        for agent in TUNED_AGENTS:
            numbers = measure_agent(records, agent.name, slope)
            if agent.name != EUCLIDEAN:
                numbers |= compare_to_euclidean(records, agent.name, slope)
            metrics |= {f"{agent.name}.{key}_{slope:g}": value for key, value in numbers.items()}
        for key in GEOMETRY:
            values = [row[key] for row in records.of("geometry") if _is_at(row, slope)]
            metrics[f"geometry.{key}_{slope:g}"] = float(np.median(values))
    for slope in slopes:
        unit = metrics[f"transformer.steps_{slope:g}"]
        metrics[f"{ADAPTED}.steps_over_transformer_{slope:g}"] = metrics[f"{ADAPTED}.steps_{slope:g}"] / unit
    tables = [_steps_table(metrics, slopes), _metric_table(metrics, slopes), _geometry_table(metrics, slopes)]
    write_summary(
        records.folder, metrics, quick=quick, began=began, table="\n".join(tables), note=f"maze relief, {split} worlds"
    )
    _draw(records, metrics, slopes)


def measure_agent(records: Records, agent: str, slope: float) -> dict[str, float]:
    """Means with 95 % intervals, and medians, over the episodes of an agent at a slope."""
    rows = [row for row in records.of(agent) if _is_at(row, slope)]
    numbers = {"episodes": float(len(rows))}
    for key in MEASURES:
        values = [row[key] for row in rows]
        numbers[key], numbers[f"{key}_ci"] = mean_and_half_width(values)
        numbers[f"{key}_median"] = float(np.median(values))
    return numbers


def compare_to_euclidean(records: Records, agent: str, slope: float) -> dict[str, float]:
    """Compare the steps of an agent with those of the Euclidean metric, episode by episode.

    Returns
    -------
    dict of str to float
        Shares of episodes with fewer and with more steps (`wins`, `losses`), ratio of mean steps (`ratio`), and effect
        size (`effect`: mean difference over its standard deviation; negative: fewer steps), both with 95 % bootstrap
        intervals (`_low`, `_high`), and p of Wilcoxon's test.
    """
    pairs = _paired_steps(records, agent, slope)
    difference = pairs[:, 0] - pairs[:, 1]
    numbers = {
        "wins": float((difference < 0).mean()),
        "losses": float((difference > 0).mean()),
        "ratio": _ratio(pairs),
        "effect": _effect(pairs),
        "p": wilcoxon_p(difference),
    }
    for name, statistic in (("ratio", _ratio), ("effect", _effect)):
        numbers[f"{name}_low"], numbers[f"{name}_high"] = bootstrap_interval(pairs, statistic)
    return numbers


def _paired_steps(records: Records, agent: str, slope: float) -> NDArray[np.float64]:
    """Pair the steps of an agent with those of the Euclidean metric in the same episodes, (n, 2)."""
    euclidean = {row["episode"]: row["steps"] for row in records.of(EUCLIDEAN)}
    rows = [row for row in records.of(agent) if _is_at(row, slope)]
    return np.array([(row["steps"], euclidean[row["episode"]]) for row in rows], float)


def _ratio(pairs: NDArray[np.float64]) -> float:
    return float(pairs[:, 0].mean() / pairs[:, 1].mean())


def _effect(pairs: NDArray[np.float64]) -> float:
    difference = pairs[:, 0] - pairs[:, 1]
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return float(difference.mean() / spread) if spread > 0 else 0.0


def _is_at(row: dict[str, Any], slope: float) -> bool:
    return bool(row["episode"].split("/")[0] == f"{slope:g}")


def _steps_table(metrics: dict[str, float], slopes: tuple[float, ...]) -> str:
    """Mean steps a target with interval, median in parentheses, and regret."""
    rows = []
    for agent in TUNED_AGENTS:
        cells = []
        for slope in slopes:
            mean, half, median, regret = (
                metrics[f"{agent.name}.{key}_{slope:g}"] for key in ("steps", "steps_ci", "steps_median", "regret")
            )
            cells.append(f"{mean:.1f} +- {half:.1f} ({median:.1f}); {regret:.3f}")
        rows.append([agent.name, *cells])
    return table_of(["steps a target (median); regret", *(f"slope {slope:g}" for slope in slopes)], rows)


def _metric_table(metrics: dict[str, float], slopes: tuple[float, ...]) -> str:
    """Ratio of steps to those of the Euclidean metric, wins and losses, effect size."""
    rows = []
    for agent in TUNED_AGENTS:
        if agent.name == EUCLIDEAN:
            continue
        cells = []
        for slope in slopes:
            value = {key: metrics[f"{agent.name}.{key}_{slope:g}"] for key in COMPARED}
            cells.append(
                f"{value['ratio']:.3f} [{value['ratio_low']:.3f}, {value['ratio_high']:.3f}]; "
                f"{value['wins']:.0%} / {value['losses']:.0%}; "
                f"{value['effect']:.2f} [{value['effect_low']:.2f}, {value['effect_high']:.2f}]; p {value['p']:.2g}"
            )
        rows.append([agent.name, *cells])
    heading = "steps / Euclidean; wins / losses; effect size; p"
    return table_of([heading, *(f"slope {slope:g}" for slope in slopes)], rows)


def _geometry_table(metrics: dict[str, float], slopes: tuple[float, ...]) -> str:
    """Condition number of the averaged metric, and angle between natural and Euclidean direction."""
    names = {"condition": "condition number of G", "angle": "angle (degrees)"}
    rows = [
        [name, *(f"{metrics[f'geometry.{key}_{s:g}']:.1f} ({metrics[f'geometry.{key}_90_{s:g}']:.1f})" for s in slopes)]
        for key, name in names.items()
    ]
    return table_of(["median (90 %)", *(f"slope {slope:g}" for slope in slopes)], rows)


def _draw(records: Records, metrics: dict[str, float], slopes: tuple[float, ...]) -> None:
    """Draw steps relative to the Euclidean metric, and condition number and angle, against slope."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    places = np.arange(len(slopes))
    colours = pyplot.get_cmap("tab10")
    for number, agent in enumerate(a for a in TUNED_AGENTS if a.name != EUCLIDEAN):
        ratio, low, high = (
            np.array([metrics[f"{agent.name}.{key}_{slope:g}"] for slope in slopes])
            for key in ("ratio", "ratio_low", "ratio_high")
        )
        # The percentile interval of a skewed ratio need not contain it.
        errors = np.clip([ratio - low, high - ratio], 0, None)
        shift = 0.04 * (number - 2.5)
        left.errorbar(places + shift, ratio, errors, marker="o", markersize=4, color=colours(number), label=agent.name)
    left.axhline(1.0, color="0.5", linewidth=1)
    left.set(xlabel="rms slope", ylabel="steps a target / Euclidean metric")
    left.legend(fontsize=8)
    angles = right.twinx()
    for axis, key, colour in ((right, "condition", "#0072b2"), (angles, "angle", "#d55e00")):
        axis.plot(places, [metrics[f"geometry.{key}_{slope:g}"] for slope in slopes], "o-", color=colour)
        axis.yaxis.label.set_color(colour)
    right.set(xlabel="rms slope", ylabel="median condition number of G", yscale="log")
    angles.set(ylabel="median angle of natural and Euclidean direction (degrees)")
    for axis in (left, right):
        axis.set_xticks(places, [f"{slope:g}" for slope in slopes])
    write_atomically(records.folder / "relief.png", lambda path: figure.savefig(path, dpi=100, format="png"))
    pyplot.close(figure)

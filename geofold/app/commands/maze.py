"""The command `maze`. Heavy libraries are imported inside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from geofold.app.commands.console import user_errors
from geofold.errors import OptionError

MOST_STEPS = 4096
NO_BACKBONE = "none"
"""Value of ``--backbone`` without a trained predictor."""


def maze(
    output: Annotated[str, typer.Option("-o", "--output", help="Output file of the run: .gif, or .html for a page.")],
    seed: Annotated[
        int, typer.Option(help="Random seed of the world; the same seed and options give the same bytes.")
    ] = 0,
    layout: Annotated[str, typer.Option(help="world: walls on curved ground; corridors: junctions, doors, gaps.")] = (
        "world"
    ),
    relief: Annotated[str, typer.Option(help="Ground: waves, ridges or bowls.")] = "waves",
    slope: Annotated[
        float | None,
        typer.Option(help="Root mean square of the ground's slope, 0 to 4. Default: 0.45, in corridors 0.15."),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="Trained predictor, selective (a state-space model) by default; none: the last plan.")
    ] = "selective",
    targets: Annotated[int, typer.Option(help="Number of targets, to be reached one after the other.")] = 8,
    steps: Annotated[int, typer.Option(help="Maximum number of steps.")] = 256,
    move_at: Annotated[int | None, typer.Option(help="Step before which the obstacle is dragged.")] = None,
    drag: Annotated[str, typer.Option(help="Distance of the drag: small, medium or large.")] = "large",
    heat_map: Annotated[str | None, typer.Option(help="Also write a map of the inner steps, as .png.")] = None,
    report: Annotated[str | None, typer.Option(help="Also write the measurements, as JSON.")] = None,
) -> None:
    """Run the controller through a maze on curved ground while an obstacle is dragged."""
    with user_errors():
        import json

        from geofold.files import write_all
        from geofold.paths import require_apart, require_writable

        _require(output, heat_map, steps, move_at)
        paths = [path for path in (output, heat_map, report) if path is not None]
        for path in paths:
            require_writable(path)
        require_apart(paths)
        pictures = _pictures()
        from geofold.maze.episode import maze_controller, run_episode
        from geofold.maze.worlds.world import make_world
        from geofold.modelling.threads import one_thread

        with one_thread():
            predictor = _predictor(backbone)
            world = make_world(seed, layout, targets=targets, relief=relief, slope=slope)
            run = run_episode(
                world,
                maze_controller(predictor),
                move_at=move_at,
                drag=drag,
                steps=steps,
                with_features=predictor is not None,
            )
        outputs = {output: pictures.encode_gif(run) if output.endswith(".gif") else _page(run)}
        if heat_map is not None:
            outputs[heat_map] = pictures.heat_map([run])
        results = numbers(run, drag, backbone)
        if report is not None:
            outputs[report] = (json.dumps(results, indent=2) + "\n").encode()
        write_all(outputs)
        typer.echo(_summary(results, move_at), err=True)


def numbers(run: Any, drag: str, backbone: str) -> dict[str, Any]:
    """Return the report of a run; everything except the times (ms) is reproducible for a given seed."""
    import numpy as np

    from geofold.maze.worlds.layouts import CELL_KINDS

    world = run.worlds[0]
    kind = world.layout.kind[run.cells()]
    reached = [leg for leg in run.legs if leg.reached]
    inner = {
        name: {"steps": int((kind == k).sum()), "inner_steps_mean": round(float(run.inner[kind == k].mean()), 3)}
        for k, name in enumerate(CELL_KINDS)
        if (kind == k).any()
    }
    return {
        "schema": "geofold-maze/1",
        "seed": world.seed,
        "layout": world.name,
        "relief": world.relief_kind,
        "slope": world.slope,
        "backbone": backbone,
        "steps": len(run.inner),
        "targets": len(world.targets),
        "targets_reached": len(reached),
        "dragged_before_step": run.dragged,
        "drag": drag if run.dragged is not None else None,
        "collisions": int(run.bumps[-1]),
        "steps_per_target": round(float(np.mean([leg.ended - leg.began for leg in reached])), 2) if reached else None,
        "shortest_per_target": round(float(np.mean([leg.shortest for leg in reached])), 2) if reached else None,
        "regret": round(float(np.mean([leg.regret for leg in reached])), 4) if reached else None,
        "inner_steps_mean": round(float(run.inner.mean()), 3),
        "inner_steps_by_kind": inner,
        "step_ms_mean": round(float(run.milliseconds.mean()), 3),
        "step_ms_p99": round(float(np.percentile(run.milliseconds, 99)), 3),
    }


def _require(output: str, heat_map: str | None, steps: int, move_at: int | None) -> None:
    if not output.endswith((".gif", ".html")):
        raise OptionError(f"output {output}", "a name that ends in .gif or .html", "rename it")
    if heat_map is not None and not heat_map.endswith(".png"):
        raise OptionError(f"heat map {heat_map}", "a name that ends in .png", "rename it")
    if not 1 <= steps <= MOST_STEPS:
        raise OptionError(f"steps {steps}", f"a number from 1 to {MOST_STEPS}", "give another --steps")
    if move_at is not None and not 0 <= move_at < steps:
        raise OptionError(f"move-at {move_at}", f"a step from 0 to {steps - 1}", "give another --move-at or --steps")


def _predictor(backbone: str) -> Any:
    """Trained predictor of a name, None for `NO_BACKBONE`."""
    from geofold.learn.maze_predictor import PREDICTORS, shipped_predictor

    if backbone == NO_BACKBONE:
        return None
    if backbone not in PREDICTORS:
        known = ", ".join([*PREDICTORS, NO_BACKBONE])
        raise OptionError(f"backbone {backbone}", f"one of {known}", "choose one of them")
    return shipped_predictor(backbone)


def _pictures() -> Any:
    """Import the module that draws; called before the run, so that a missing package is reported at once."""
    try:
        import matplotlib
        import PIL  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"no {error.name} in this environment",
            "the packages of the extra maze",
            "pip install 'geofold[maze]'",
        ) from error
    matplotlib.use("Agg")
    from geofold.maze import render

    return render


def _page(run: Any) -> bytes:
    from geofold.app.viewer.maze import page

    return page(run).encode()


def _summary(record: dict[str, Any], move_at: int | None) -> str:
    lines = [
        f"maze {record['seed']} ({record['layout']}): {record['targets_reached']} of {record['targets']} targets in "
        f"{record['steps']} steps, {record['collisions']} collisions"
    ]
    if record["regret"] is not None:
        lines.append(
            f"  steps per target {record['steps_per_target']} (shortest path {record['shortest_per_target']}), "
            f"regret {record['regret']}"
        )
    if record["dragged_before_step"] is not None:
        lines.append(f"  obstacle dragged ({record['drag']}) before step {record['dragged_before_step']}")
    elif move_at is not None:
        lines.append(f"  the obstacle was not dragged: no step {move_at}, or no path left for the agent")
    means = {name: part["inner_steps_mean"] for name, part in record["inner_steps_by_kind"].items()}
    kinds = ", ".join(f"{name} {mean}" for name, mean in means.items())
    lines.append(f"  inner steps K: mean {record['inner_steps_mean']} ({kinds})")
    return "\n".join([*lines, f"  {record['step_ms_mean']} ms per step, p99 {record['step_ms_p99']} ms"])

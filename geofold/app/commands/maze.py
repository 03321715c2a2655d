"""The command that runs the controller through a maze. Heavy libraries are imported inside."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from geofold.app.commands.console import told
from geofold.errors import OptionError

MOST_STEPS = 4096


def maze(
    output: Annotated[str, typer.Option("-o", "--output", help="The run: .gif, or a page as .html.")],
    seed: Annotated[int, typer.Option(help="Of the world. Same seed, same options: same bytes.")] = 0,
    layout: Annotated[str, typer.Option(help="world: walls on curved ground; corridors: junctions, doors, gaps.")] = (
        "world"
    ),
    targets: Annotated[int, typer.Option(help="Places to be reached one after the other.")] = 8,
    steps: Annotated[int, typer.Option(help="Steps at most.")] = 256,
    move_at: Annotated[int | None, typer.Option(help="Step before which the obstacle is dragged.")] = None,
    drag: Annotated[str, typer.Option(help="How far: small, medium or large.")] = "large",
    heat_map: Annotated[str | None, typer.Option(help="Also write where inner steps were spent, as .png.")] = None,
    report: Annotated[str | None, typer.Option(help="Also write the numbers, as JSON.")] = None,
) -> None:
    """Run the controller through a maze on curved ground while an obstacle is dragged."""
    with told():
        import json

        from geofold.files import write_all
        from geofold.paths import require_apart, require_writable

        _require(output, heat_map, steps, move_at)
        paths = [path for path in (output, heat_map, report) if path is not None]
        for path in paths:
            require_writable(path)
        require_apart(paths)
        pictures = _pictures()
        from geofold.maze.episode import run_episode
        from geofold.maze.world import make_world
        from geofold.modelling.threads import one_thread

        with one_thread():
            run = run_episode(make_world(seed, layout, targets=targets), move_at=move_at, drag=drag, steps=steps)
        outputs = {output: pictures.gif(run) if output.endswith(".gif") else _page(run)}
        if heat_map is not None:
            outputs[heat_map] = pictures.heat_map([run])
        found = numbers(run, drag)
        if report is not None:
            outputs[report] = (json.dumps(found, indent=2) + "\n").encode()
        write_all(outputs)
        typer.echo(_summary(found, move_at), err=True)


def numbers(run: Any, drag: str) -> dict[str, Any]:
    """What happened in a run, as the report has it. All but the milliseconds is the same for the same seed."""
    import numpy as np

    from geofold.maze.layouts import CELL_KINDS

    world = run.worlds[0]
    kind = world.layout.kind[run.cells()]
    reached = [leg for leg in run.legs if leg.reached]
    inner = {
        name: {"steps": int((kind == k).sum()), "inner_steps_mean": round(float(run.inner[kind == k].mean()), 3)}
        for k, name in enumerate(CELL_KINDS)
        if (kind == k).any()
    }
    return {
        "schema": "geofold-maze/1", "seed": world.seed, "layout": world.name, "steps": len(run.inner),
        "targets": len(world.targets), "targets_reached": len(reached), "dragged_before_step": run.dragged,
        "drag": drag if run.dragged is not None else None, "collisions": int(run.bumps[-1]),
        "steps_per_target": round(float(np.mean([leg.ended - leg.began for leg in reached])), 2) if reached else None,
        "shortest_per_target": round(float(np.mean([leg.shortest for leg in reached])), 2) if reached else None,
        "regret": round(float(np.mean([leg.regret for leg in reached])), 4) if reached else None,
        "inner_steps_mean": round(float(run.inner.mean()), 3), "inner_steps_by_kind": inner,
        "step_ms_mean": round(float(run.milliseconds.mean()), 3),
        "step_ms_p99": round(float(np.percentile(run.milliseconds, 99)), 3),
    }  # fmt: skip


def _require(output: str, heat_map: str | None, steps: int, move_at: int | None) -> None:
    if not output.endswith((".gif", ".html")):
        raise OptionError(f"output {output}", "a name that ends in .gif or .html", "rename it")
    if heat_map is not None and not heat_map.endswith(".png"):
        raise OptionError(f"heat map {heat_map}", "a name that ends in .png", "rename it")
    if not 1 <= steps <= MOST_STEPS:
        raise OptionError(f"steps {steps}", f"a number from 1 to {MOST_STEPS}", "give another --steps")
    if move_at is not None and not 0 <= move_at < steps:
        raise OptionError(f"move-at {move_at}", f"a step from 0 to {steps - 1}", "give another --move-at or --steps")


def _pictures() -> Any:
    """The module that draws, if what it draws with is there: a run is not begun in vain."""
    try:
        import matplotlib
        import PIL  # noqa: F401
    except ImportError as error:
        raise OptionError(
            f"no {error.name} in this environment", "the packages of the extra maze",
            "pip install '.[maze]' in geofold's folder",
        ) from error  # fmt: skip
    matplotlib.use("Agg")
    from geofold.maze import render

    return render


def _page(run: Any) -> bytes:
    from geofold.app.viewer.maze import page

    return page(run).encode()


def _summary(found: dict[str, Any], move_at: int | None) -> str:
    lines = [
        f"maze {found['seed']} ({found['layout']}): {found['targets_reached']} of {found['targets']} targets in "
        f"{found['steps']} steps, {found['collisions']} collisions"
    ]
    if found["regret"] is not None:
        lines.append(
            f"  steps a target {found['steps_per_target']} (shortest way {found['shortest_per_target']}), "
            f"regret {found['regret']}"
        )
    if found["dragged_before_step"] is not None:
        lines.append(f"  obstacle dragged ({found['drag']}) before step {found['dragged_before_step']}")
    elif move_at is not None:
        lines.append(f"  the obstacle was not dragged: no step {move_at}, or no way left for the agent")
    kinds = ", ".join(f"{name} {part['inner_steps_mean']}" for name, part in found["inner_steps_by_kind"].items())
    lines.append(f"  inner steps K {found['inner_steps_mean']} in the mean ({kinds})")
    return "\n".join([*lines, f"  {found['step_ms_mean']} ms a step, p99 {found['step_ms_p99']} ms"])

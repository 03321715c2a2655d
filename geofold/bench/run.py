"""Which benchmark runs under which name."""

from __future__ import annotations

from pathlib import Path

from geofold.errors import OptionError

NAMES = ("loop", "peptide", "maze", "latency", "ablation", "backbones", "learning", "rivals", "tune", "report")


def run(
    name: str,
    *,
    out: str,
    set_name: str,
    data: str | None,
    quick: bool,
    limit: int | None,
    seed: int,
    part: str = "packer",
    seeds: int | None = None,
    rivals: str = "",
    budget: float | None = None,
) -> None:
    """Run a benchmark on one thread per process, so that times can be compared.

    Raises
    ------
    OptionError
        For an unknown name.
    """
    import torch

    torch.set_num_threads(1)
    if name == "loop":
        from geofold.bench.loop import benchmark as loop

        loop.run(set_name, out, data=data, quick=quick, limit=limit, seed=seed, rivals=rivals, budget=budget)
    elif name == "peptide":
        from geofold.bench.peptide import benchmark as peptide

        peptide.run(out, quick=quick, limit=limit, seeds=seeds, seed=seed)
    elif name == "maze":
        from geofold.bench.maze import benchmark as maze

        maze.run(out, quick=quick, limit=limit, seeds=seeds, seed=seed)
    elif name == "tune":
        from geofold.bench.peptide import tuning as peptide_tune

        peptide_tune.run(out, quick=quick, limit=limit)
    elif name == "latency":
        from geofold.bench.latency import benchmark as latency

        latency.run(out, quick=quick, limit=limit)
    elif name == "ablation":
        from geofold.bench.peptide import ablation

        ablation.run(out, quick=quick, limit=limit, part=part)
    elif name == "backbones":
        from geofold.bench.models import sequence_backbones as backbones

        backbones.run(out, data=data, quick=quick, limit=limit)
    elif name == "learning":
        from geofold.bench.models import side_chain_packer as learning

        learning.run(out, part=part, data=data, quick=quick, limit=limit, seed=seed)
    elif name == "rivals":
        from geofold.bench.peptide.train_rivals import run as train_rivals

        train_rivals(out, data=data, quick=quick, seed=seed)
    elif name == "report":
        from geofold.bench.common import report

        report.write_results(Path(out))
    else:
        raise OptionError(f"benchmark {name}", " or ".join(NAMES), "choose one of them")
    if name not in ("report", "tune"):
        print((Path(out) / "table.md").read_text(encoding="utf-8").split("\n\n")[0])

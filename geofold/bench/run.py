"""Table of benchmarks: which module runs under which name, and which options it takes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from geofold.bench.common.history import head_commit
from geofold.errors import OptionError
from geofold.modelling.threads import use_one_thread


class Benchmark(NamedTuple):
    """A module with a function `run(out, **options)`.

    Attributes
    ----------
    module : str
        Dotted name below `geofold.bench`.
    options : tuple of str
        Options of `geofold bench` that its `run` takes.
    prints_table : bool
        Whether it writes a `table.md`, whose first table is printed.
    """

    module: str
    options: tuple[str, ...]
    prints_table: bool = True


USUAL_PART = ""
SHORT = ("quick", "limit")
BENCHMARKS: dict[str, dict[str, Benchmark]] = {
    "loop": {
        USUAL_PART: Benchmark("loop.benchmark", (*SHORT, "set_name", "data", "seed", "rivals", "budget")),
        "decompose": Benchmark("loop.decomposition", (*SHORT, "set_name", "data", "seed", "rescore")),
    },
    "gaps": {USUAL_PART: Benchmark("loop.gaps", (*SHORT, "data", "seed"))},
    "peptide": {USUAL_PART: Benchmark("peptide.benchmark", (*SHORT, "seeds", "seed"))},
    "live": {USUAL_PART: Benchmark("live.benchmark", (*SHORT, "seed"))},
    "maze": {
        USUAL_PART: Benchmark("maze.benchmark", (*SHORT, "seeds", "seed")),
        "corridors": Benchmark("maze.corridors", (*SHORT, "seeds", "seed")),
        "relief": Benchmark("maze.relief", (*SHORT, "seeds", "seed")),
        "elastic": Benchmark("maze.elastic", SHORT),
    },
    "latency": {USUAL_PART: Benchmark("latency.benchmark", SHORT)},
    "sizes": {USUAL_PART: Benchmark("latency.large_structures", SHORT)},
    "ablation": {
        USUAL_PART: Benchmark("peptide.ablation", SHORT),
        "led": Benchmark("peptide.ablation_policy", SHORT),
        "budget": Benchmark("peptide.step_budget", SHORT),
        "loop": Benchmark("loop.ablation", (*SHORT, "data", "seed")),
    },
    "backbones": {
        USUAL_PART: Benchmark("models.sequence_backbones", (*SHORT, "data")),
        "published": Benchmark("models.published_claims", ("quick", "seeds")),
    },
    "learning": {
        "packer": Benchmark("models.side_chain_packer", (*SHORT, "seed")),
        "confidence": Benchmark("loop.confidence", (*SHORT, "data", "seed")),
        "judge": Benchmark("models.inverse_folding", (*SHORT, "data", "seed")),
        "prior": Benchmark("models.torsion_prior", ("quick", "data", "seed")),
        "backbones": Benchmark("models.prior_backbones", (*SHORT, "data", "seed")),
        "controller": Benchmark("models.loop_controller", (*SHORT, "data", "seed")),
        "latent": Benchmark("models.loop_latent", (*SHORT, "data", "seed")),
        "peptide": Benchmark("peptide.policy", (*SHORT, "seed")),
        "esm": Benchmark("models.elastic_loop", (*SHORT, "data", "seed")),
    },
    "rivals": {USUAL_PART: Benchmark("peptide.train_rivals", ("quick", "data", "seed"))},
    "tune": {
        USUAL_PART: Benchmark("peptide.tuning", SHORT, prints_table=False),
        "relief": Benchmark("maze.tuning", SHORT, prints_table=False),
    },
    "report": {USUAL_PART: Benchmark("common.report", (), prints_table=False)},
}
"""Benchmarks by name and part. A benchmark with a part '' runs it for every part that it does not list."""


def run(name: str, *, out: str, part: str = USUAL_PART, **options: Any) -> None:
    """Run a benchmark on one thread per process, so that times can be compared.

    Parameters
    ----------
    name, part : str
        Keys of `BENCHMARKS`.
    out : str
        Folder of the records, the table and the summary.
    **options
        Options of `geofold bench`; those that the benchmark does not take are ignored.

    Raises
    ------
    OptionError
        If the name or the part is unknown.
    """
    benchmark = find(name, part)

    head_commit()  # the commit of the code that is about to be imported, whatever is committed meanwhile
    use_one_thread()
    module = import_module(f"geofold.bench.{benchmark.module}")
    module.run(out, **{key: options[key] for key in benchmark.options if key in options})
    if benchmark.prints_table:
        print((Path(out) / "table.md").read_text(encoding="utf-8").split("\n\n")[0])


def find(name: str, part: str) -> Benchmark:
    """Return the benchmark of a name and part; raises `OptionError` if there is none."""
    if name not in BENCHMARKS:
        raise OptionError(f"benchmark {name}", " or ".join(BENCHMARKS), "choose one of them")
    parts = BENCHMARKS[name]
    if part not in parts and USUAL_PART not in parts:
        raise OptionError(f"part {part}", " or ".join(parts), "choose one of them")
    return parts.get(part) or parts[USUAL_PART]

"""The long run: python tests/fuzz/run.py --cases 10000 [--out FOLDER]. Its last line is the result."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cases import make_case
from pool import Worker

from geofold.bench.common.records import table_of, write_summary

OUTCOMES = {"crash": "uncaught exceptions", "cpu": "over 20 CPU s", "memory": "over 1 GB"}


def main() -> int:
    """Run the cases, tell of each finding, and keep it as a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--keep", type=Path, help="folder for the files of findings, such as tests/data/odd")
    parser.add_argument("--out", type=Path, help="folder for table.md and summary.json")
    options = parser.parse_args()
    began = time.time()
    worker, counts, seconds = Worker(), Counter[str](), 0.0
    for seed in range(options.first, options.first + options.cases):
        answer = worker.ask(seed=seed)
        counts[answer["outcome"]] += 1
        seconds = max(seconds, answer["seconds"])
        if answer["outcome"] in OUTCOMES:
            case = make_case(seed)
            made = f"{case.source}; {', '.join(case.steps)}"
            print(f"seed {seed} ({made}): {answer['outcome']}\n{answer['text']}", flush=True)
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                kind = "_energy" if case.energy else ""
                (options.keep / f"fuzz_{seed}{kind}_{case.name}").write_bytes(case.content)
        if (seed + 1 - options.first) % 500 == 0:
            print(f"{seed + 1 - options.first} cases: {dict(counts)}, at most {seconds:.1f} CPU s", flush=True)
    worker.close()
    print(f"{counts['fine']} analysed, {counts['refused']} refused, at most {seconds:.1f} CPU s in one case")
    print(f"{options.cases} cases: " + ", ".join(f"{counts[key]} {name}" for key, name in OUTCOMES.items()))
    if options.out is not None:
        metrics = {"fuzz.cases": options.cases, "fuzz.analysed": counts["fine"], "fuzz.refused": counts["refused"]}
        metrics |= {f"fuzz.{key}": counts[key] for key in OUTCOMES} | {"fuzz.cpu_seconds_most": round(seconds, 1)}
        options.out.mkdir(parents=True, exist_ok=True)
        named = {"fine": "analysed", "refused": "refused in one line"} | OUTCOMES
        table = table_of(["outcome", "cases"], [[name, str(counts[key])] for key, name in named.items()])
        note = f"damaged files of seeds {options.first} to {options.first + options.cases - 1}"
        write_summary(options.out, metrics, quick=options.cases < 10000, began=began, table=table, note=note)
    return int(any(counts[key] for key in OUTCOMES))


if __name__ == "__main__":
    sys.exit(main())

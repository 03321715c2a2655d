"""Tables, plots and summary of the loop benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geofold.app.report.audit import ANGLE, BOND, CLOSURE, OMEGA
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import mean_and_half_width
from geofold.files import write_atomically

AGENT_ORDER = ("geofold", "openmm_min", "openmm_anneal", "pdbfixer", "promod3")
Row = dict[str, Any]
TOP_MODELS = 5
COLUMNS = {
    "loops": "{:.0f}", "median_rmsd": "{:.2f}", "mean_rmsd": "{:.2f}", "below_1": "{:.2f}", "below_2": "{:.2f}",
    "top5_rmsd": "{:.2f}", "closest_rmsd": "{:.2f}", "trans_median_rmsd": "{:.2f}", "success": "{:.3f}",
    "kept_promises": "{:.3f}", "energy_below_start": "{:.3f}", "overlaps": "{:.2f}", "rama_outliers": "{:.2f}",
    "inside_confidence": "{:.2f}", "repacked": "{:.2f}", "further_than_start": "{:.0f}", "cis_made": "{:.0f}",
    "chirality_changed": "{:.0f}", "cpu_seconds": "{:.1f}",
}  # fmt: skip
HEADS = {
    "loops": "loops", "median_rmsd": "median RMSD (A)", "mean_rmsd": "mean", "below_1": "below 1 A",
    "below_2": "below 2 A", "top5_rmsd": "best of 5, median", "closest_rmsd": "closest of all",
    "trans_median_rmsd": "median, trans natives", "success": "down to the native's overlaps + 1 and outliers",
    "kept_promises": "geometry kept", "energy_below_start": "energy below start", "overlaps": "overlaps",
    "rama_outliers": "outliers", "inside_confidence": "within the 68 % interval",
    "repacked": "neighbours repacked", "further_than_start": "further off than the start",
    "cis_made": "cis made", "chirality_changed": "chirality changed",
    "cpu_seconds": "median CPU s",
}  # fmt: skip


def reaches_native_quality(row: Row) -> bool:
    """Whether the loop has at most one overlap more than the native, and no more outliers."""
    after, native = row["after"], row["native"]
    return after["overlaps"] <= native["overlaps"] + 1 and after["outliers"] <= native["outliers"]


def keeps_geometry(row: Row) -> bool:
    """Whether other atoms, closure, bonds, angles, omegas and chiralities are unchanged within the audit's limits."""
    limits = {
        "other_atoms_moved_angstrom": 0.0,
        "closure_error_angstrom": CLOSURE,
        "bond_change_angstrom": BOND,
        "angle_change_degrees": ANGLE,
        "omega_change_degrees": OMEGA,
        "cis_peptide_bonds_made": 0.0,
        "chiralities_changed": 0.0,
    }
    return bool(row["finite"]) and all(row["checks"].get(name, 0.0) <= limit for name, limit in limits.items())


def count_cis_made(row: Row) -> int:
    """Return the number of cis peptide bonds that the start does not have (a missing loop has none)."""
    return max(row["after"]["cis"] - ((row.get("before") or {}).get("cis") or 0), 0)


def compute_metrics(rows: list[Row]) -> dict[str, float]:
    """Compute the metrics of an agent from its records."""
    rmsd = np.array([row["rmsd"] for row in rows])
    trans = np.array([not row["native_cis"] for row in rows])
    mean, half_width = mean_and_half_width(rmsd)
    metrics = {
        "loops": float(len(rows)),
        "median_rmsd": np.median(rmsd),
        "mean_rmsd": mean,
        "mean_rmsd_ci": half_width,
        "below_1": np.mean(rmsd < 1),
        "below_2": np.mean(rmsd < 2),
        "max_rmsd": rmsd.max(),
        "below_half": np.mean(rmsd < 0.5),
        "unchanged": np.mean(rmsd < 0.005),
        "success": np.mean([reaches_native_quality(r) for r in rows]),
        "rama_outliers": np.mean([r["after"]["outliers"] for r in rows]),
        "overlaps": np.mean([r["after"]["overlaps"] for r in rows]),
        "native_rama_outliers": np.mean([r["native"]["outliers"] for r in rows]),
        "native_overlaps": np.mean([r["native"]["overlaps"] for r in rows]),
        "cis_made": sum(count_cis_made(row) for row in rows),
        "seconds": np.median([r["seconds"] for r in rows]),
        "cpu_seconds": np.median([r["cpu_seconds"] for r in rows]),
        "cpu_seconds_most": max(r["cpu_seconds"] for r in rows),
    }
    if trans.any() and not trans.all():
        metrics["trans_median_rmsd"] = np.median(rmsd[trans])
    if all("rmsd_start" in row for row in rows):
        starts = np.array([row["rmsd_start"] for row in rows])
        metrics |= {"start_median_rmsd": np.median(starts), "further_than_start": np.sum(rmsd > starts)}
    if any(row.get("repacked") for row in rows):
        metrics["repacked"] = np.mean([row.get("repacked", 0) > 0 for row in rows])
    if all("checks" in row for row in rows):
        metrics |= {
            "kept_promises": np.mean([keeps_geometry(r) for r in rows]),
            "closure_error": max(r["checks"]["closure_error_angstrom"] for r in rows),
            "bond_change": max(r["checks"]["bond_change_angstrom"] for r in rows),
            "angle_change": max(r["checks"]["angle_change_degrees"] for r in rows),
            "chirality_changed": sum(r["checks"]["chiralities_changed"] for r in rows),
        }
    if all((row.get("before") or {}).get("energy") is not None for row in rows):
        metrics["energy_below_start"] = np.mean([r["after"]["energy"] < r["before"]["energy"] for r in rows])
    if all("others_identical" in row for row in rows):
        metrics["others_identical"] = np.mean([r["others_identical"] for r in rows])
        metrics["audit_passed"] = np.mean([r["audit"] for r in rows])
    models = [[model["rmsd"] for model in row["models"]] for row in rows if row.get("models")]
    with_choice = [rmsds for rmsds in models if len(rmsds) > 1]  # a loop with a single model offers no choice
    if with_choice:
        metrics |= {
            "top5_rmsd": np.median([min(rmsds[:TOP_MODELS]) for rmsds in models]),
            "closest_rmsd": min(min(rmsds) for rmsds in models),
            "first_better_than_median_model": np.mean([rmsds[0] <= np.median(rmsds) for rmsds in with_choice]),
        }
    with_interval = [row for row in rows if row.get("confidence")]
    if with_interval:
        intervals = [row["confidence"] for row in with_interval]
        metrics["inside_confidence"] = np.mean(
            [
                interval["from_angstrom"] <= row["rmsd"] <= interval["to_angstrom"]
                for interval, row in zip(intervals, with_interval, strict=True)
            ]
        )
        metrics["expected_rmsd"] = np.median([interval["expected_rmsd_angstrom"] for interval in intervals])
    return {name: float(value) for name, value in metrics.items()}


def summarise(records: Records, set_name: str, *, quick: bool, began: float) -> None:
    """Write table, plots and summary of the records.

    Parameters
    ----------
    records : Records
        All records of the run.
    set_name : str
        Name of the set.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    metrics: dict[str, float] = {}
    body = []
    for agent in AGENT_ORDER:
        all_rows = records.of(agent)
        rows = [row for row in all_rows if "failed" not in row]
        if not rows:
            continue
        numbers = compute_metrics(rows)
        if len(all_rows) > len(rows):
            numbers["failed"] = float(len(all_rows) - len(rows))
        metrics |= {f"{agent}.{name}": value for name, value in numbers.items()}
        body.append([agent, *(form.format(numbers[c]) if c in numbers else "" for c, form in COLUMNS.items())])
    columns = [k for k in range(len(COLUMNS) + 1) if k == 0 or any(row[k] for row in body)]
    heads = ["agent", *HEADS.values()]
    table = table_of([heads[k] for k in columns], [[row[k] for k in columns] for row in body])
    draw(records)
    table += "\n" + _loop_table(records)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"loop set {set_name}")


def _loop_table(records: Records) -> str:
    rows = []
    for row in records.of("geofold"):
        start = f"{row['rmsd_start']:.2f} -> " if "rmsd_start" in row else ""
        interval, other = row.get("before") or {}, row["after"]
        models = " ".join(f"{model['rmsd']:.2f}" for model in row["models"][1:])

        def change(name: str, interval: Row = interval, other: Row = other, native: Row = row["native"]) -> str:
            start_text = "" if interval.get(name) is None else f"{interval[name]} -> "
            return f"{start_text}{other[name]} ({native[name]})"

        energy = "" if other["energy"] is None else f"{other['energy']:.0f}"
        cis = "cis" if row["native_cis"] else ""
        rows.append(
            [
                row["episode"],
                str(row["residues"]),
                f"{start}{row['rmsd']:.2f}",
                _interval(row),
                models,
                change("overlaps"),
                change("outliers"),
                energy,
                f"{row['cpu_seconds']:.0f}",
                row["status"],
                cis,
            ]
        )
    head = [
        "loop",
        "residues",
        "RMSD (A)",
        "68 % interval (A)",
        "further models",
        "overlaps (native)",
        "outliers (native)",
        "energy (kJ/mol)",
        "CPU s",
        "status",
        "native",
    ]
    columns = [k for k in range(len(head)) if any(row[k] for row in rows)]
    return table_of([head[k] for k in columns], [[row[k] for k in columns] for row in rows])


def _interval(row: Row) -> str:
    """Return the reported 68 % interval, as text."""
    intervals = row.get("confidence")
    return f"{intervals['from_angstrom']}-{intervals['to_angstrom']}" if intervals else ""


def draw(records: Records) -> None:
    """Draw score against RMSD of the models of each loop (funnels), and the sorted RMSDs of each agent."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (funnel, ordered) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for row in records.of("geofold"):
        if len(row["models"]) > 1:
            best = row["models"][0]["score"]
            points = np.array([(model["rmsd"], model["score"] - best) for model in row["models"]])
            funnel.plot(*points.T, ".-", color="#0072b2", alpha=0.35, linewidth=0.6)
    funnel.set(xlabel="RMSD (A)", ylabel="score above the best")
    funnel.set_yscale("symlog", linthresh=1.0)  # a loop in damaged surroundings would flatten all others
    for agent, colour in zip(AGENT_ORDER, ("#0072b2", "#e69f00", "#d55e00", "#cc79a7", "#009e73"), strict=True):
        rmsd = np.sort([row["rmsd"] for row in records.of(agent) if "failed" not in row])
        if len(rmsd):
            ordered.plot(np.linspace(0, 1, len(rmsd)), rmsd, drawstyle="steps-mid", color=colour, label=agent)
    ordered.set(xlabel="share of loops", ylabel="RMSD (A)", ylim=(0, None))
    ordered.legend()
    _save(records.folder / "loops.png", figure)
    pyplot.close(figure)


def _save(path: Path, figure: Any) -> None:
    write_atomically(path, lambda name: figure.savefig(name, dpi=100, format="png"))

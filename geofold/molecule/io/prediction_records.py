"""Records by which a file is a prediction with pLDDT in the B-factors, or the result of an experiment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from geofold.molecule.io.cif_tokens import Category, scan
from geofold.molecule.numbers import parse_decimal

PREDICTORS = re.compile(r"alphafold|colabfold|esmfold|openfold|\bplddt\b", re.IGNORECASE)
"""Names in titles and remarks of files whose B-factors are pLDDT."""
NAMING = ("HEADER", "TITLE", "COMPND", "REMARK")
THEORETICAL = "THEORETICAL"
METRICS, METHODS, TITLES, CELL = "_ma_qa_metric", "_exptl", "_struct", "_cell"


def prediction_of_lines(lines: Sequence[str]) -> str | None:
    """Record of a PDB file that names a predictor; empty if none does, None if one names an experiment."""
    named = ""
    for line in lines:
        if line.startswith("EXPDTA") and THEORETICAL not in line.upper():
            return None
        if line.startswith("CRYST1") and (parse_decimal(line[6:15]) or 0.0) > 1.0:
            return None
        match = PREDICTORS.search(line) if line.startswith(NAMING) else None
        if match and not named:
            named = f"{line[:6].rstrip()} names {match[0]}"
    return named


def prediction_of_text(text: str) -> str | None:
    """Record of an mmCIF file that says pLDDT or names a predictor; empty if none does, None for an experiment."""
    none = Category(text)
    tables = scan(text, (METRICS, METHODS, TITLES, CELL, "_atom_site"))
    metrics, methods, titles, cell = (tables.get(name, none) for name in (METRICS, METHODS, TITLES, CELL))
    if any("plddt" in v.lower() for item in ("name", "type") for v in metrics.column(item)):
        return "ma_qa_metric is pLDDT"
    if any(v and THEORETICAL not in v.upper() for v in methods.column("method")):
        return None
    if any((parse_decimal(v) or 0.0) > 1.0 for v in cell.column("length_a")):
        return None
    match = PREDICTORS.search(" ".join(titles.column("title")))
    return f"the title names {match[0]}" if match else ""

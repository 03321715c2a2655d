"""Trajectories, a report and a reader of pages that the viewer's tests share."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geofold import resources
from geofold.app.viewer.html import ALPHABET
from geofold.app.viewer.library import LIBRARY_VARIABLE, library_source
from geofold.errors import OptionError

LOOP = range(45, 57)


def require_library() -> None:
    """Skip a test where there is no 3Dmol.js to put into a page."""
    try:
        library_source()
    except OptionError:
        pytest.skip(f"no 3Dmol-min.js; npm install 3dmol, or set {LIBRARY_VARIABLE}")


def ubiquitin() -> str:
    return resources.find("structures", "1ubi.pdb").read_text()


def trajectory(frames: int) -> str:
    """1ubi with its loop 45-56 swung about the line between its ends, back to where it belongs."""
    lines = [line for line in ubiquitin().splitlines() if line.startswith(("ATOM", "HETATM"))]
    xyz = np.array([[float(line[at : at + 8]) for at in (30, 38, 46)] for line in lines])
    inside = np.array([line.startswith("ATOM") and int(line[22:26]) in LOOP for line in lines])
    first, final = (xyz[np.flatnonzero(inside)[index]] for index in (0, -1))
    axis = (final - first) / np.linalg.norm(final - first)
    text = []
    for angle in np.linspace(-1.1, 0.0, frames):
        arm = xyz - first
        along = (arm @ axis)[:, None] * axis
        turned = first + along + (arm - along) * np.cos(angle) + np.cross(axis, arm) * np.sin(angle)
        now = np.where(inside[:, None], turned, xyz)
        rows = [f"{line[:30]}{x:8.3f}{y:8.3f}{z:8.3f}{line[54:]}\n" for line, (x, y, z) in zip(lines, now, strict=True)]
        text.append("MODEL\n" + "".join(rows) + "ENDMDL\n")
    return "".join(text)


def between(first: str, last: str, frames: int, spin: float = 0.0) -> str:
    """Straight lines from the atoms of one PDB text to those of another; in between, turned about z with the height.

    `spin` is in radian per A: bonds hardly notice, what is far apart goes round.
    """
    lines = [[line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))] for text in (first, last)]
    ends = np.array([[[float(line[at : at + 8]) for at in (30, 38, 46)] for line in rows] for rows in lines])
    middle, texts = ends[0].mean(0), []
    for share in np.linspace(0.0, 1.0, frames):
        x, y, z = ((1 - share) * ends[0] + share * ends[1] - middle).T
        angle = spin * z * np.sin(np.pi * share)
        turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], 1) + middle
        rows = [f"{line[:30]}{a:8.3f}{b:8.3f}{c:8.3f}{line[54:]}\n"
                for line, (a, b, c) in zip(lines[0], turned, strict=True)]  # fmt: skip
        texts.append("MODEL\n" + "".join(rows) + "ENDMDL\n")
    return "".join(texts)


def contact(one: int, other: int, sign: str, bound: float) -> dict[str, Any]:
    atoms = [{"chain": "A", "resnum": number, "icode": "", "name": "CA"} for number in (one, other)]
    return {
        "contact": f"A:{one}-A:{other}{sign}{bound}", "kind": "upper" if sign == "<" else "lower", "satisfied": True,
        "bound_angstrom": bound, "before_angstrom": 17.25, "after_angstrom": 12.95, "atoms": atoms,
    }  # fmt: skip


def full_report() -> dict[str, Any]:
    side = {
        "energy_kj_mol": -1234.5, "force_field": "amber14 + OBC2", "lennard_jones_moving_fixed_kj_mol": 77.7,
        "severe_overlaps": 12, "cis_peptide_bonds": 0,
        "ramachandran": {"favoured": 8, "allowed": 2, "outliers": 2, "outlier_residues": ["A:47"]},
    }  # fmt: skip
    residues = [f"A:{number}" for number in LOOP]
    return {
        "schema": "geofold-report/1", "command": "repair", "geofold": "0.1.0", "seed": 41, "predictor": "hold-still",
        "gate": "threshold", "loops": ["A:45-56"], "contacts": [contact(47, 60, "<", 15.0)], "before": side,
        "after": {**side, "severe_overlaps": 3}, "seconds": 12.3, "notes": ["a plain note"],
        "audit": {"passed": True, "checks": [
            {"name": "closure_error_angstrom", "value": 0.0001, "limit": 0.01, "passed": True}]},
        "moved": {"atoms": 97, "residues": residues, "max_displacement_angstrom": 5.2},
        "stream": {"steps": 120, "accepted": 80, "latency_ms": {"mean": 9.1, "p99": 14.0},
                   "inner_steps_per_residue": {name: place for place, name in enumerate(residues)}},
    }  # fmt: skip


class Reader(HTMLParser):
    """Elements, script contents and visible words of a page, as a browser would split them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.cdata_elem:
            self.scripts[-1] += data
        else:
            self.words += data


def data_of(text: str) -> dict[str, Any]:
    return json.loads(Reader(text).scripts[0])


def decode(texts: list[str], step: float) -> np.ndarray:
    """The page's decoder, written again from the definition of base-64 VLQ."""
    rows = []
    for text in texts:
        row, code, shift = [], 0, 0
        for digit in map(ALPHABET.index, text):
            code, shift = code | (digit & 31) << shift, shift + 5
            if not digit & 32:
                row.append(-(code >> 1) if code & 1 else code >> 1)
                code = shift = 0
        rows.append(row)
    return np.cumsum(np.array(rows), axis=0) * step


def chromium_dom(page: Path, profile: Path) -> str:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader"
    command = [program, *flags.split(), "--window-size=900,700", "--virtual-time-budget=12000", "--dump-dom"]
    command += [f"--user-data-dir={profile}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

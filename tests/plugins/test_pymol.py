"""The PyMOL command, headless."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.selection import find_range
from geofold.resources import find

pymol2 = pytest.importorskip("pymol2")
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "pymol" / "geofold_repair.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("geofold_repair", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_selections_become_ranges() -> None:
    from pymol import CmdException

    loops_of = script().loops_of
    with pymol2.PyMOL() as session:
        cmd = session.cmd
        cmd.load(str(find("structures", "1ubi.pdb")), "u")
        cmd.load(str(find("structures", "1a1p.pdb")), "p")
        assert loops_of("u and resi 45-56", cmd) == ("u", ["A:45-56"])
        # one atom selects its residue, waters do not count, and separate runs remain separate
        assert loops_of("u and (index 1 or resi 10-12 or resn HOH)", cmd) == ("u", ["A:1-1", "A:10-12"])
        with pytest.raises(CmdException, match="2 objects"):
            loops_of("resi 3", cmd)
        with pytest.raises(CmdException, match="no amino acid"):
            loops_of("u and resn HOH", cmd)
        with pytest.raises(CmdException, match=r"expected trained or hold-still;"):
            script().geofold_repair("u and resi 10", predictor="none", _self=cmd)


def test_the_command_repairs_a_selection(tmp_path: Path) -> None:
    start, out, log = tmp_path / "bent.pdb", tmp_path / "out.pdb", tmp_path / "run.pml"
    native = read(find("structures", "2erl.pdb"))
    bent = perturb_loop(native, *find_range(native, ":20-26"), seed=0, target=2.0)
    start.write_bytes(render(native, bent, np.abs(bent - native.xyz).max(1) > 0))
    log.write_text(
        f"run {SCRIPT}\nload {start}, mine\n"
        "geofold_repair mine and resi 20-26, streams=1, rounds=1, energy=0, predictor=hold-still\n"
        f"save {out}, mine_repaired\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pymol", "-cq", str(log)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=600,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "", "HOME": str(tmp_path)},
    )
    assert out.exists(), done.stdout + done.stderr
    before, after = read(start), read(out)
    columns = ("resname", "resnum", "name", "altloc")
    retained, shown = (list(zip(*(getattr(s, c).tolist() for c in columns), strict=True)) for s in (before, after))
    assert len(set(retained)) == len(retained) and sorted(retained) == sorted(shown)
    shift = np.linalg.norm(after.xyz - before.xyz[[retained.index(key) for key in shown]], axis=1)
    loop = (after.resnum >= 20) & (after.resnum <= 26) & ~after.hetatm
    assert shift[~loop].max() < 1e-6 < 0.001 < shift[loop].max()

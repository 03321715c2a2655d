"""Shared inputs of the application's tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRUCTURES = ROOT / "structures"
BENT = STRUCTURES / "1ubi_bent.pdb"
LOOP = "A:45-56"

"""Git history of a benchmark's run: the date of its commit, and whether the measured code has changed since."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def head_commit(root: Path = ROOT) -> str:
    """Short hash of the current commit, 'unknown' without a repository."""
    return _git(root, "rev-parse", "--short", "HEAD") or "unknown"


def date_of(commit: str, root: Path = ROOT) -> str:
    """Date (YYYY-MM-DD) of a commit; empty if it is not in the history."""
    return _git(root, "show", "--no-patch", "--format=%cs", commit)


def changed_since(commit: str, paths: Sequence[str], root: Path = ROOT) -> bool:
    """Whether a commit after `commit` touched one of the paths (relative to `root`); False if it is unknown to git."""
    return bool(paths) and bool(_git(root, "log", "-1", "--format=%h", f"{commit}..HEAD", "--", *paths))


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

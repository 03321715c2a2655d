"""Git history of a benchmark's run: the date of its commit, and which of the measured files have changed since."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@cache
def head_commit(root: Path = ROOT) -> str:
    """Short hash of the commit at the first call, so that commits made during a run do not count; or 'unknown'."""
    return _git(root, "rev-parse", "--short", "HEAD") or "unknown"


def date_of(commit: str, root: Path = ROOT) -> str:
    """Date (YYYY-MM-DD) of a commit; empty if it is not in the history."""
    return _git(root, "show", "--no-patch", "--format=%cs", commit)


def is_missing(commit: str, root: Path = ROOT) -> bool:
    """Whether `root` has a history, but not this commit."""
    return bool(_git(root, "rev-parse", "HEAD")) and not date_of(commit, root)


def changed_since(commit: str, paths: Sequence[str], root: Path = ROOT) -> list[str]:
    """Files below `paths` (relative to `root`) that differ from those of `commit`; none if it is unknown to git.

    The files on disk are compared, so changes that are not committed count, and changes that were taken back do not.
    """
    return _git(root, "diff", "--name-only", commit, "--", *paths).splitlines() if paths else []


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""

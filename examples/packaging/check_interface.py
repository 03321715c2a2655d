"""List changes of the public interface that break callers: python examples/packaging/check_interface.py REF.

Compared are the functions of `geofold`, results and options, the controller and its contracts, as they are now and at a
git reference. Other modules may change as they like. Needs griffe (pip install "geofold[release]"); exits 1 if there
are such changes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[2]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PUBLIC = (
    "app.api.repair", "app.api.check", "app.api.constrain", "app.fix.fix", "app.batch.run.batch",
    "app.steering.steering.steer", "app.viewer.from_file.view", "app.result.Result", "modelling.options.RunOptions",
    "errors", "core.controller", "core.domain", "core.checks",
)  # fmt: skip
"""What users import, where it is defined."""


def main(reference: str) -> list[str]:
    """Return the breaking changes since a reference, one line each."""
    old = griffe.load_git("geofold", ref=reference, repo=ROOT)
    new = griffe.load("geofold", search_paths=[ROOT], try_relative_path=False)
    lines = []
    for name in PUBLIC:
        try:
            before = old[name]
        except KeyError:
            continue  # it is new
        try:
            after = new[name]
        except KeyError:
            lines.append(f"geofold.{name}: removed")
            continue
        changes = griffe.find_breaking_changes(before, after)
        lines += [COLOURS.sub("", change.explain(griffe.ExplanationStyle.ONE_LINE)) for change in changes]
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = main(sys.argv[1])
    print("\n".join(found) or f"nothing that callers of {sys.argv[1]} would notice")
    sys.exit(bool(found))

"""geofold moves protein backbones by their torsions, one streaming step at a time.

``check`` lists what is wrong, ``fix`` does what a structure needs, ``prepare`` makes it ready for a simulation,
``repair`` repairs loops, ``constrain`` brings residues of a peptide together, ``steer`` does so while the contacts
change, ``live`` does so by hand in a browser, ``view`` shows a trajectory and ``batch`` runs many jobs. They are
imported on first use, since torch and OpenMM take seconds to load.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""Type checkers assume True. `typing.TYPE_CHECKING` would cost an import, during which Ctrl-C could arrive."""

__version__ = "0.1.0"
__all__ = ["batch", "check", "constrain", "fix", "live", "prepare", "repair", "steer", "view"]

if TYPE_CHECKING:
    from typing import Any

    from geofold.app.api import check, constrain, repair
    from geofold.app.batch.run import batch
    from geofold.app.fix import fix
    from geofold.app.live.live import live
    from geofold.app.prepare import prepare
    from geofold.app.steering.steering import steer
    from geofold.app.viewer.from_file import view


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    if name in ("check", "constrain", "repair"):
        from geofold.app import api

        return getattr(api, name)
    if name == "fix":
        from geofold.app.fix import fix

        return fix
    if name == "live":
        from geofold.app.live.live import live

        return live
    if name == "prepare":
        from geofold.app.prepare import prepare

        return prepare
    if name == "batch":
        from geofold.app.batch.run import batch

        return batch
    if name == "steer":
        from geofold.app.steering.steering import steer

        return steer
    if name == "view":
        from geofold.app.viewer.from_file import view

        return view
    raise AttributeError(f"module 'geofold' has no attribute {name!r}")

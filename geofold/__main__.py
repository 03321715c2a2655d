"""``python -m geofold`` and the ``geofold`` command."""

import sys

from geofold.cli import main


def run() -> None:
    """Leave with the command line's exit status."""
    sys.exit(main())


if __name__ == "__main__":
    run()

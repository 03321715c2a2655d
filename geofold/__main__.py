"""``python -m geofold`` and the ``geofold`` command."""

import sys


def run() -> None:
    """Leave with the command line's exit status."""
    from geofold.cli import main

    sys.exit(main())


if __name__ == "__main__":
    run()

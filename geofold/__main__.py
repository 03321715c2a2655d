"""Entry point of ``python -m geofold`` and of the ``geofold`` command."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """Run the command line and exit with its status."""
    try:
        _open_closed_descriptors()
        import signal

        signal.signal(signal.SIGINT, _leave_at_once)
        from geofold.cli import main
    except KeyboardInterrupt:
        _leave_at_once()
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done and reported
    if status == INTERRUPTED:
        # after a Ctrl-C in code that Python runs from a string, Python would end itself by the signal instead
        os._exit(status)
    sys.exit(status)


INTERRUPTED = 130


def _leave_at_once(*_: object) -> None:
    """Handle Ctrl-C while modules load: no work has started, and an interrupted import raises unrelated errors."""
    os.write(2, b"geofold: interrupted; nothing was written\n")
    os._exit(INTERRUPTED)


def _open_closed_descriptors() -> None:
    """Open descriptors 0 to 2 if the shell closed them.

    Otherwise the next file to be opened would get one of these numbers, and library output would end up in it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")  # libraries assume that it exists


if __name__ == "__main__":
    run()

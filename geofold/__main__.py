"""``python -m geofold`` and the ``geofold`` command."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """Leave with the command line's exit status."""
    try:
        _open_closed_descriptors()
        import signal

        signal.signal(signal.SIGINT, _leave_at_once)
        from geofold.cli import main
    except KeyboardInterrupt:
        _leave_at_once()
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said
    if status == INTERRUPTED:
        # where Ctrl-C came within a text that Python executes, Python would end itself by the signal instead
        os._exit(status)
    sys.exit(status)


INTERRUPTED = 130


def _leave_at_once(*_: object) -> None:
    """Ctrl-C while modules load: nothing has begun, and an import that is broken off raises errors of its own."""
    os.write(2, b"geofold: interrupted; nothing was written\n")
    os._exit(INTERRUPTED)


def _open_closed_descriptors() -> None:
    """Hold descriptors 0 to 2 where the shell closed them: the next file that is opened would get their number, and
    what a library prints would land in it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8")  # libraries take it for granted


if __name__ == "__main__":
    run()

"""Standard output and standard error: a command prints through `say` and writes structures through `deliver`.

A standard output that cannot be written (full disk, closed pipe or descriptor) is an `OutputError`: one line on
standard error and exit status 2. Lines for a closed standard error are dropped.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from traceback import walk_tb
from typing import Any

from geofold.errors import OutputError
from geofold.terminal import printable_lines


def say(text: str, *, err: bool = False) -> None:
    """Print lines, with unprintable characters escaped.

    Parameters
    ----------
    text : str
        One or more lines, without the last line feed.
    err : bool
        Print on standard error instead of standard output.

    Raises
    ------
    OutputError
        If standard output cannot be written.
    """
    stream = sys.stderr if err else sys.stdout
    line = printable_lines(text) + "\n"
    try:
        if stream is None:
            raise OSError("it is closed")
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except (OSError, ValueError) as error:
        _abandon(stream)
        if not err:
            raise _refused(error) from error


def deliver(content: bytes) -> None:
    """Write bytes to standard output.

    Raises
    ------
    OutputError
        If standard output cannot be written.
    """
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except (OSError, ValueError) as error:
        _abandon(sys.stdout)
        raise _refused(error) from error


def unprinted(error: BaseException) -> OutputError | None:
    """Convert an error of the command-line library while it printed a help text; None for any other error."""
    if isinstance(error, SystemExit):  # raised by the library when the reader of a pipe is gone
        error = error.__context__ or error
        return _refused(error) if isinstance(error, BrokenPipeError) else None
    if isinstance(error, OSError) and any(f.f_code.co_name == "echo" for f, _ in walk_tb(error.__traceback__)):
        _abandon(sys.stdout)
        return _refused(error)
    return None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _refused(error: BaseException) -> OutputError:
    return OutputError(
        f"standard output cannot be written ({_reason(error)})",
        "one that takes everything",
        "free space, or keep the reader open",
    )


def finish_output() -> None:
    """Flush standard output, to which libraries may have printed.

    Raises
    ------
    OutputError
        If standard output cannot be written.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _abandon(sys.stdout)
        raise _refused(error) from error


def _abandon(stream: Any) -> None:
    """Discard a stream's buffer, which Python would otherwise try to write again at exit."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()

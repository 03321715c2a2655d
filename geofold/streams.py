"""Standard output and standard error: everything a command prints goes through `say`, a structure through `deliver`.

A standard output that cannot take what it is given (a full disk, a closed pipe or descriptor) is an output that cannot
be written: one line on standard error and exit status 2. Standard error that is closed is told nothing.
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
    """Print lines on standard output, or on standard error; what is no printable character is spelled out.

    Raises
    ------
    OutputError
        If standard output does not take them.
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
        If it does not take them.
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
    """What to say of an error that ended the library of the command line while it printed a help text; None if it was
    another error."""
    if isinstance(error, SystemExit):  # the library leaves this way when the reader of a pipe is gone
        error = error.__context__ or error
        return _refused(error) if isinstance(error, BrokenPipeError) else None
    if isinstance(error, OSError) and any(f.f_code.co_name == "echo" for f, _ in walk_tb(error.__traceback__)):
        _abandon(sys.stdout)
        return _refused(error)
    return None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _refused(error: BaseException) -> OutputError:
    return OutputError(f"standard output cannot be written ({_reason(error)})", "one that takes everything",
                       "free space, or keep the reader open")  # fmt: skip


def finish_output() -> None:
    """Hand on what libraries printed to standard output.

    Raises
    ------
    OutputError
        If it does not take it.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _abandon(sys.stdout)
        raise _refused(error) from error


def _abandon(stream: Any) -> None:
    """Let what is left in a stream's buffer go nowhere: Python would complain about it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()

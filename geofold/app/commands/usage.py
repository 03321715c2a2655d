"""Wrong command lines, reported in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WORDS = {
    "Input should be a valid integer, unable to parse string as an integer": "a whole number was expected",
    "Input should be a valid number, unable to parse string as a number": "a number was expected",
}
"""Texts of the validator of numbers, and what is printed instead."""
GROUPS = ("batch", "train", "data")
"""Commands that have commands of their own."""


def usage_line(mistake: Any, args: Sequence[str]) -> str:
    """Say what is wrong with a command line, and which help text to read.

    Parameters
    ----------
    mistake : UsageError
        The parser's error.
    args : sequence of str
        The command line without the program's name.
    """
    command = _command_path(mistake.ctx, args)
    given = " ".join(mistake.format_message().split())
    subcommands = getattr(getattr(mistake.ctx, "command", None), "commands", None)
    if given.startswith("Usage:") and subcommands:  # a group of commands without a command
        given = f"{command.removeprefix('geofold ')} needs a command: {', '.join(subcommands)}."
    for text, plain in WORDS.items():
        given = given.replace(text, plain)
    return f"{given.rstrip('.')}; see {command} --help"


def _command_path(context: Any, args: Sequence[str]) -> str:
    """Names of the command that was called; the parser does not always know the inner ones."""
    if context is None:  # an option of a known command lacks its value
        words = args[: 2 if args[0] in GROUPS else 1]
        return " ".join(["geofold", *(word for word in words if not word.startswith("-"))])
    path, command, names = "geofold", context.find_root().command, list(args)
    while names and names[0] in getattr(command, "commands", {}):
        command = command.commands[names[0]]
        path = f"{path} {names.pop(0)}"
    return path

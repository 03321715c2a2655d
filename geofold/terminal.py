"""Text from files, names and arguments, made fit for a terminal and for a shell.

A chain id may hold the escape sequence that clears a screen or the `$(...)` that a shell runs when the line is pasted.
Everything that is printed passes through `printable`, and every part of a printed command through `shell_quoted`.
"""

from __future__ import annotations

import shlex
from typing import Any


def printable(text: str) -> str:
    r"""The text on one line, every character without a glyph (controls, line ends, direction marks) as ``\x1b``."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def printable_lines(text: str) -> str:
    """`printable` line by line: line feeds stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable_values(value: Any) -> Any:
    """The same mappings and lists with every text `printable`, so that a line feed in a name starts no line."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: printable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(item) for item in value]
    return value


def shell_quoted(text: str) -> str:
    """One word of a command line that a POSIX shell reads back as the text, in printable characters.

    A text with others is written as ``$'...'``, which bash, zsh and ksh read.
    """
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(c if c.isprintable() and c not in "'\\" else _octal(c) for c in text) + "'"


def _escape(character: str) -> str:
    byte = _file_name_byte(character)
    return character.encode("unicode_escape").decode() if byte is None else f"\\x{byte:02x}"


def _octal(character: str) -> str:
    byte = _file_name_byte(character)
    content = character.encode("utf-8", "surrogatepass") if byte is None else bytes([byte])
    return "".join(f"\\{value:03o}" for value in content)


def _file_name_byte(character: str) -> int | None:
    """The byte of a file name that is not UTF-8, which Python holds as a lone surrogate (PEP 383)."""
    code = ord(character)
    return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else None

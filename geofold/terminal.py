"""Escaping of text from files, names and arguments for a terminal and for a shell.

A chain id may contain the escape sequence that clears a screen, or a `$(...)` that a shell runs when the line is
pasted. All printed text passes through `printable`, and every word of a printed command through `shell_quoted`.
"""

from __future__ import annotations

import shlex
from typing import Any


def printable(text: str) -> str:
    r"""Return the text on one line, with unprintable characters (controls, line ends) escaped as in ``\x1b``."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def printable_lines(text: str) -> str:
    """Apply `printable` to each line; line feeds are kept."""
    return "\n".join(map(printable, text.split("\n")))


def printable_values(value: Any) -> Any:
    """Apply `printable` to every text in nested mappings and lists, so that a name cannot start a new line."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: printable_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(item) for item in value]
    return value


def shell_quoted(text: str) -> str:
    """Quote a text as one word of a POSIX shell command, in printable characters.

    A text with unprintable characters becomes ``$'...'``, which bash, zsh and ksh understand.
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
    """Byte of a file name that is not UTF-8, which Python represents by a lone surrogate (PEP 383)."""
    code = ord(character)
    return code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else None

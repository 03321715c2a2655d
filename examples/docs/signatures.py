"""How the API pages read our docstrings; mkdocs.yml names this file as a griffe extension.

Docstrings here say "low, high : float" or "seed, altloc" once for several parameters, and griffe gives all of them the
first one's default, and type where none is written. Here each gets its own type from the signature, which also has the
defaults. Fields of named tuples, a line each, become a list.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

TYPED = re.compile(r"^\s*([\w*, ]+) : \S", re.MULTILINE)
FIELD = re.compile(r"^([a-z][\w, ]*) : ", re.MULTILINE)


class OwnTypes(griffe.Extension):
    """See the module."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """A function's documented parameters."""
        if func.docstring is not None and "Parameters\n" in func.docstring.value:
            _mend(func.docstring, {p.name: p.annotation for p in func.parameters})

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """A class's documented parameters, or a named tuple's fields."""
        if cls.docstring is None:
            return
        if any(str(base) == "NamedTuple" for base in cls.bases):
            cls.docstring.value = FIELD.sub(r"- `\1`: ", cls.docstring.value)
        elif "Parameters\n" in cls.docstring.value:
            _mend(cls.docstring, {name: getattr(member, "annotation", None) for name, member in cls.members.items()})


def _mend(docstring: griffe.Docstring, types: dict[str, Any]) -> None:
    """Types of their own for the parameters that have none in the text, and no defaults."""
    written = {name for names in TYPED.findall(docstring.value) for name in names.split(", ")}
    for section in docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.parameters:
            for parameter in section.value:
                parameter.value = None
                if parameter.name not in written:
                    parameter.annotation = types.get(parameter.name)

"""
The statements of sql/, each a file, with named parameters.

`:name` in a file becomes `$1`, `$2`, … once, at import, in the order that the caller names: mostly the fields of a
NamedTuple, whose values are then given as they stand. A line `-- include: name` is replaced by that other file; other
lines of comment stay in the file.
"""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import LiteralString

# What a parameter could be mistaken for comes first: comments, quoted texts and names, casts.
_TOKEN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"[^\"]*\"|::|:([a-z_]+)")
_COMMENT = re.compile(r"^ *--(?: include: (\w+))?.*\n", re.MULTILINE)


def load(name: str, parameters: Sequence[str] = ()) -> LiteralString:
    """The statement of sql/*name*.sql; raises ValueError where its parameters are not exactly *parameters*."""
    return numbered_parameters(fragment(name), parameters)


def fragment(name: str) -> LiteralString:
    """The text of sql/*name*.sql, with what it includes."""
    text = (files("cueapi.storage") / "sql" / f"{name}.sql").read_text("utf-8")
    return _COMMENT.sub(lambda found: fragment(found[1]) if found[1] else "", text)


def numbered_parameters(text: str, parameters: Sequence[str]) -> LiteralString:
    """*text* with a `$n` in the place of each `:name`."""
    used = {found[1] for found in _TOKEN.finditer(text) if found[1]}
    if used != set(parameters):
        raise ValueError(f"The statement uses {sorted(used)}, and is given {sorted(parameters)}.")
    numbers = {name: f"${number}" for number, name in enumerate(parameters, 1)}
    return _TOKEN.sub(lambda found: numbers[found[1]] if found[1] else found[0], text)

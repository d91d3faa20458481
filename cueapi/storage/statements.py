"""
The statements of sql/, each a file, with named parameters.

`:name` in a file becomes `$1`, `$2`, … once, at import, in the order that the caller names: mostly the fields of a
NamedTuple, whose values are then given as they stand. A line `-- include: name` is replaced by the text that the caller
gives under that name, else by that other file; other lines of comment stay in the file.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from inspect import get_annotations
from typing import LiteralString

# What a parameter could be mistaken for comes first: comments, quoted texts and names, casts.
_TOKEN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"[^\"]*\"|::|:([a-z_]+)")
_COMMENT = re.compile(r"^ *--(?: include: (\w+))?.*\n", re.MULTILINE)


def load(name: str, parameters: Sequence[str] = (), **texts: str) -> LiteralString:
    """The statement of sql/*name*.sql; raises ValueError where its parameters are not exactly *parameters*."""
    return numbered_parameters(_read(name, texts), parameters)


def load_both(name: str, parameters: Sequence[str]) -> tuple[LiteralString, LiteralString]:
    """
    The statement as it is for all cues, and for those of `:groups`, its last parameter.

    They are two, so that the first one keeps its plan. The condition takes the place of `-- include: in_groups`.
    """
    return (
        load(name, parameters, in_groups=""),
        load(name, [*parameters, "groups"], in_groups="       and c.group_name = any (:groups::text[])"),
    )


def _read(name: str, texts: Mapping[str, str]) -> str:
    """The text of sql/*name*.sql, with what it includes."""
    return _whole((files("cueapi.storage") / "sql" / f"{name}.sql").read_text("utf-8"), texts)


def _whole(text: str, texts: Mapping[str, str]) -> str:
    """*text* with what it includes in turn."""
    return _COMMENT.sub(lambda found: _included(found[1], texts) if found[1] else "", text)


def _included(name: str, texts: Mapping[str, str]) -> str:
    return _whole(texts[name] + "\n", texts) if name in texts else _read(name, texts)


def numbered_parameters(text: str, parameters: Sequence[str]) -> LiteralString:
    """*text* with a `$n` in the place of each `:name`."""
    used = {found[1] for found in _TOKEN.finditer(text) if found[1]}
    if used != set(parameters):
        raise ValueError(f"The statement uses {sorted(used)}, and is given {sorted(parameters)}.")
    numbers = {name: f"${number}" for number, name in enumerate(parameters, 1)}
    return _TOKEN.sub(lambda found: numbers[found[1]] if found[1] else found[0], text)


def columns_of(declared: type, pattern: str, *, but: Iterable[str] = ()) -> LiteralString:
    """*pattern* for the name of each column that a class declares, with commas; without those of *but*."""
    names = [name for name in get_annotations(declared) if name not in but]
    return ", ".join(pattern.format(name) for name in names)

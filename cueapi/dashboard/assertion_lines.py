"""Assertions as people type them, a line each: `metadata.items >= 1`."""

import json
import re
from typing import Any

# A field ends before the first of its blanks: a pattern that tries each of many takes quadratic time.
_LINE = re.compile(r"(?P<field>\S.*?)(?<!\s)\s+(?P<op>exists|!=|<=|>=|=|<|>|in)(?:\s+(?P<value>.+))?")


def lines_of(assertions: list[dict[str, Any]]) -> str:
    """Assertions as the contract shows them, a line each."""
    return "\n".join(_line_of(one) for one in assertions)


def _line_of(one: dict[str, Any]) -> str:
    value = "" if one["op"] == "exists" else f" {json.dumps(one['value'], ensure_ascii=False)}"
    return f"{one['field']} {one['op']}{value}"


def read_lines(text: str) -> list[dict[str, Any]]:
    """The assertions of some lines, as the contract takes them. Raises ValueError for a line of another form."""
    return [_read_line(line) for line in filter(None, map(str.strip, text.split("\n")))]


def _read_line(line: str) -> dict[str, Any]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"needs a field, an operator and a value, as in metadata.items >= 1: {line[:60]!r} has not")
    read = {"field": found["field"], "op": found["op"]}
    return read if found["value"] is None else read | {"value": _value_of(found["value"])}


def _value_of(text: str) -> object:
    """JSON; what is none is a text without its quotes."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> object:
    """NaN and Infinity, which are no JSON (RFC 8259)."""
    raise ValueError(name)

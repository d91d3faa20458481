"""Bodies that cost more than others of their size: many small values, deep nesting, combining marks, long numbers."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

MARKS = "\u0301\u0316"
"""Two combining marks of different classes: normalising a run of them takes quadratic time."""


Shape = Callable[[int], bytes]
"""A JSON value of at most so many bytes."""


def repeated(part: bytes) -> Shape:
    """A list of *part*, as often as fits."""
    return lambda size: b"[" + part * ((size - 3) // len(part)) + b"0]"


def many_keys(size: int) -> bytes:
    """As many keys as fit, each another one."""
    return b"{" + b",".join(b'"%06x":1' % number for number in range((size - 2) // 11)) + b"}"


def text(signs: str) -> Shape:
    """A text of *signs*."""
    return lambda size: b'"' + signs.encode() * ((size - 2) // len(signs.encode())) + b'"'


SHAPES: dict[str, Shape] = {
    "empty lists": repeated(b"[],"),
    "empty objects": repeated(b"{},"),
    "lists deep": repeated(b"[" * 95 + b"]" * 95 + b","),
    "objects deep": repeated(b'{"a":' * 49 + b"1" + b"}" * 49 + b","),
    "brackets without end": lambda size: b"[" * size,
    "keys": many_keys,
    "numbers": repeated(b"1,"),
    "exponents": repeated(b"1e5,"),
    "numbers of 299 digits": repeated(b"1" * 299 + b","),
    "numbers of 4,200 digits": repeated(b"1" * 4_200 + b","),
    "texts": repeated(b'"",'),
    "escapes": text("\\u0301"),
    "marks": text(MARKS),
    "a text and an escape": lambda size: b'"' + b"a" * (size - 8) + b'\\u0301"',
}


def within(key: str, value: bytes, others: dict[str, Any] | None = None) -> bytes:
    """An object with *value* under *key*, beside *others*."""
    return b'{"%s":%s%s' % (key.encode(), value, b"," + json.dumps(others).encode()[1:] if others else b"}")


def of_fields(model: type[BaseModel], size: int) -> bytes:
    """An object with every field of *model*, a text of marks in each, and objects within filled in the same way."""
    schema = model.model_json_schema()
    fields = [*fields_of(schema, schema)]
    filled = MARKS * max(size // len(fields) // 4 - 30, 1)
    return json.dumps(_filled(schema, schema, filled), ensure_ascii=False).encode()


def fields_of(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schemas of all values below *part*, in which each alternative counts."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    nested = [*part.get("properties", {}).values(), *part.get("anyOf", ()), *part.get("prefixItems", ())]
    nested += [
        part[name] for name in ("items", "additionalProperties", "propertyNames") if isinstance(part.get(name), dict)
    ]
    yield part
    for one in nested:
        yield from fields_of(one, schema)


def _filled(part: dict[str, Any], schema: dict[str, Any], filled: str) -> Any:
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    kinds = [one for one in part.get("anyOf", [part]) if one.get("type") != "null"]
    kind = kinds[0]
    if "$ref" in kind:
        return _filled(kind, schema, filled)
    if "properties" in kind:
        return {name: _filled(one, schema, filled) for name, one in kind["properties"].items()}
    if kind.get("type") == "array":
        return [filled]
    return {filled[:100]: filled} if kind.get("type") == "object" else filled

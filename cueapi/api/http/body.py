"""JSON in: a request's body, and a helpful message about what it may not hold."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from quart import request

from cueapi.api.http.incoming import incoming
from cueapi.api.http.json_text import parse
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.unknown import MOST_PROBLEMS, SENT_WITHOUT_MEANING, unknown_name
from cueapi.api.models.requests.bodies import Closed, most_entries, part_of, sent_names
from cueapi.api.models.values import PATTERNS
from cueapi.domain.errors import Invalid, Problem, Refusal

Body = TypeVar("Body", bound=BaseModel)

_PATTERN = re.compile("String should match pattern '(.*)'")
_FOUND = re.compile(" after validation, not [0-9]+$")

Path: TypeAlias = tuple[str | int, ...]
"""Where a field stands in a body."""


async def read(kind: type[Body]) -> Body:
    """The request's body as *kind*; refuses with every field that is wrong."""
    return await off_loop(as_body, kind, await read_bytes())


async def read_json() -> bytes:
    """The request's body as it came, which must be JSON, of any value."""
    data = await read_bytes()
    await off_loop(_check_json, data)
    return data


async def read_form() -> dict[str, str] | None:
    """What an HTML form sent (`application/x-www-form-urlencoded`); None where the body is JSON after all."""
    data = await read_bytes()
    if request.mimetype != "application/x-www-form-urlencoded" or data.lstrip().startswith(b"{"):
        return None
    try:
        return dict(parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise Invalid(Problem("body", "has too many fields")) from None


async def read_bytes() -> bytes:
    """The request's body as it came."""
    if request.mimetype.startswith("multipart/"):
        raise Refusal("unsupported_media_type", "The body must be JSON; multipart is not taken.")
    return await incoming().read()


def json_object(data: bytes) -> dict[str, Any]:
    """A body as a JSON object, whatever its Content-Type says; an empty one is `{}`."""
    if not data.strip():
        return {}
    value = parse(data)
    if not isinstance(value, dict):
        raise Invalid(Problem("body", "must be a JSON object"))
    return value


def _check_json(data: bytes) -> None:
    # What it says is let go here: on the loop that could take as long as reading it.
    parse(data)


def as_body(kind: type[Body], data: bytes) -> Body:
    """A body as *kind*."""
    value = json_object(data)
    # Here and not by pydantic, which would make an error of each of a hundred thousand.
    if crowded := [*_crowded(kind, value)]:
        raise Invalid(*(_problem(kind, path, "too_long", message) for path, message in crowded))
    unknown = [*islice(_unknown(kind, value), MOST_PROBLEMS)]
    if len(unknown) == MOST_PROBLEMS:
        raise Invalid(*(_problem(kind, path, "extra_forbidden", "") for path in unknown))
    try:
        return kind.model_validate({name: one for name, one in value.items() if name not in SENT_WITHOUT_MEANING})
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise Invalid(*(_problem(kind, one["loc"], one["type"], one["msg"]) for one in found[:MOST_PROBLEMS])) from None


def _unknown(kind: type[BaseModel], value: dict[str, Any], path: Path = ()) -> Iterator[Path]:
    """Where *value* has fields that a body of *kind* refuses."""
    for name, below in value.items():
        if name not in sent_names(kind):
            if issubclass(kind, Closed) and name not in SENT_WITHOUT_MEANING:
                yield (*path, name)
        elif isinstance(below, dict) and (part := part_of(kind, name)) is not None:
            yield from _unknown(part, below, (*path, name))
        elif isinstance(below, list) and (part := part_of(kind, name)) is not None:
            for number, one in enumerate(below):
                if isinstance(one, dict):
                    yield from _unknown(part, one, (*path, name, number))


def _crowded(kind: type[BaseModel], value: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Where *value* has lists and objects of more entries than a body of *kind* may have, and what is said of them."""
    for name, below in value.items():
        if not isinstance(below, dict | list):
            continue
        most, what = most_entries(kind, name), "Array" if isinstance(below, list) else "Object"
        if most is not None and len(below) > most:
            yield (*path, name), f"{what} should have at most {most} items"
        elif isinstance(below, dict) and (part := part_of(kind, name)) is not None:
            yield from _crowded(part, below, (*path, name))


def _problem(kind: type[BaseModel], path: Path, error: str, message: str) -> Problem:
    return Problem(".".join(["body", *map(str, path)]), _sentence(kind, path, error, message))


def _unknown_field(kind: type[BaseModel], name: str) -> str:
    """The sentence about a field that *kind* does not have: where it belongs, or what may be meant."""
    parts = ((field, part_of(kind, field)) for field in sent_names(kind))
    places = [f"`{field}.{name}`" for field, part in parts if part is not None and name in sent_names(part)]
    if places:
        return f"unknown field: did you mean {' or '.join(places)}?"
    return unknown_name("field", name, sent_names(kind))


def _sentence(kind: type[BaseModel], path: Path, error: str, message: str) -> str:
    """pydantic's message about a body of *kind*, in the words of JSON."""
    if error == "missing":
        return "is required"
    if error == "extra_forbidden":
        for name in path[:-1]:
            kind = part_of(kind, str(name)) or kind
        return _unknown_field(kind, str(path[-1]))
    if (found := _PATTERN.fullmatch(message)) is not None:
        return PATTERNS.get(found[1], f"must match {found[1]}")
    message = _FOUND.sub("", message).replace("List should", "Array should")
    for ours, theirs in (("object", "dictionary"), ("array", "list"), ("text", "string")):
        message = message.replace(f"valid {theirs}", f"valid {ours}")
    return message[0].lower() + message[1:]

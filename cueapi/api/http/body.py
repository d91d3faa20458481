"""JSON in: a request's body, and a helpful message about what it may not hold."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from sys import float_info
from typing import Any, NoReturn, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from quart import request

from cueapi.api.http.unknown import MOST_PROBLEMS, SENT_WITHOUT_MEANING, unknown_name
from cueapi.api.models.requests.bodies import Closed, part_of
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.outcome import DEPTH_LIMIT

# What json.loads lets pass and PostgreSQL or a double cannot hold can only be written with one of these.
_SUSPECT = re.compile(r"\\u|[0-9][eE]|[0-9]{300}")


async def read_object() -> dict[str, Any]:
    """The request's body as a JSON object, whatever its Content-Type says; an empty one is `{}`."""
    data = await read_bytes()
    if not data.strip():
        return {}
    value = parse(data)
    if not isinstance(value, dict):
        raise Invalid(Problem("body", "must be a JSON object"))
    return value


async def read_json(limit: int) -> tuple[bytes, Any]:
    """The request's body, which may be any JSON value of at most *limit* bytes: as it came, and what it says."""
    data = await read_bytes()
    if len(data) > limit:
        raise Refusal("request_too_large", f"The body has more than {limit // 1024} KiB.")
    return data, parse(data)


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
    data = await request.get_data(as_text=False)
    assert isinstance(data, bytes)
    return data


def parse(data: bytes) -> Any:  # noqa: ANN401 (JSON)
    """
    RFC 8259 JSON in UTF-8; a byte order mark is passed over. Of a repeated key the last counts.

    Refuses what the contract cannot carry.
    """
    try:
        text = data.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Refusal("invalid_json", "The body is not UTF-8.") from None
    except RecursionError:
        raise Refusal("invalid_json", _TOO_DEEP) from None
    except json.JSONDecodeError as error:
        raise Refusal("invalid_json", f"The body is not JSON: {str(error)[:200]}") from None
    except ValueError:
        # Python reads no whole number of more than 4,300 digits.
        raise Refusal("invalid_json", _TOO_LARGE) from None
    if text.count("[") + text.count("{") > DEPTH_LIMIT or _SUSPECT.search(text):
        _check(value, 1)
    return value


_TOO_LARGE = "The body holds a number that is beyond a double."


_TOO_DEEP = f"The body is nested more than {DEPTH_LIMIT} deep."


def _no_constant(name: str) -> NoReturn:
    raise Refusal("invalid_json", f"The body holds {name}, which is no JSON.")


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth > DEPTH_LIMIT:
            raise Refusal("invalid_json", _TOO_DEEP)
        if isinstance(value, dict):
            for key in value:
                _check_text(key)
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth + 1)
    elif isinstance(value, int | float) and not -float_info.max <= value <= float_info.max:
        raise Refusal("invalid_json", _TOO_LARGE)


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise Refusal("invalid_payload", "The body holds U+0000 or a lone surrogate, which cannot be stored.")


Body = TypeVar("Body", bound=BaseModel)

Path: TypeAlias = tuple[str | int, ...]
"""Where a field stands in a body."""


async def read(kind: type[Body]) -> Body:
    """The request's body as *kind*; refuses with every field that is wrong."""
    return validated(kind, await read_object())


def validated(kind: type[Body], value: dict[str, Any]) -> Body:
    """*value* as *kind*."""
    # Here and not by pydantic, which would make an error of each of a hundred thousand.
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
        if name not in kind.model_fields:
            if issubclass(kind, Closed) and name not in SENT_WITHOUT_MEANING:
                yield (*path, name)
        elif isinstance(below, dict) and (part := part_of(kind, name)) is not None:
            yield from _unknown(part, below, (*path, name))


def _problem(kind: type[BaseModel], path: Path, error: str, message: str) -> Problem:
    return Problem(".".join(["body", *map(str, path)]), _sentence(kind, path, error, message))


def _sentence(kind: type[BaseModel], path: Path, error: str, message: str) -> str:
    """pydantic's message about a body of *kind*, in the words of JSON."""
    if error == "missing":
        return "is required"
    if error == "extra_forbidden":
        for name in path[:-1]:
            kind = part_of(kind, str(name)) or kind
        return unknown_name("field", str(path[-1]), kind.model_fields)
    for ours, theirs in (("object", "dictionary"), ("array", "list"), ("text", "string")):
        message = message.replace(f"valid {theirs}", f"valid {ours}")
    return message[0].lower() + message[1:]

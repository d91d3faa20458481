"""Assertions: what a success report must say of the work, so that one that did nothing is no success."""

import json
import re
from collections.abc import Callable, Mapping
from operator import ge, gt, le, lt
from typing import Any, TypeAlias

from attrs import frozen

from cueapi.domain.errors import Problem

MOST = 10
"""Assertions of a cue."""

OPERATORS = ("exists", "=", "!=", "<", "<=", ">", ">=", "in")

FIELD_LIMIT, TEXT_LIMIT, CHOICES_LIMIT = 200, 500, 100
"""Characters of a field and of a text in a value; the most entries of a list."""

Scalar: TypeAlias = str | int | float | bool
Facts: TypeAlias = Mapping[str, Any]
"""What is known of a success, by the fields that assertions name; what is null is missing."""

NUMBERS = frozenset({"duration_ms", "artifacts.count", "result.length"})
TEXTS = frozenset({"external_id", "result_url", "summary"})
_METADATA = re.compile(r"metadata(\.[^.]+)+")
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


@frozen
class Assertion:
    """One of them: *field* *op* *value*; `exists` has no value."""

    field: str
    op: str
    value: Any = None

    def is_met(self, facts: Facts) -> bool:
        """Whether it holds; a missing field, or one of another JSON type than the value, meets none."""
        found = self._found(facts)
        if found is None:
            return False
        match self.op:
            case "exists":
                return True
            case "in":
                return any(_kind(one) == _kind(found) and one == found for one in self.value)
            case "=":
                return _kind(found) == _kind(self.value) and bool(found == self.value)
            case "!=":
                return _kind(found) == _kind(self.value) and bool(found != self.value)
            case _:
                return _kind(found) == _kind(self.value) and _ORDERS[self.op](found, self.value)

    def failure(self, facts: Facts) -> str:
        """Why it is not met, in a sentence: `metadata.items is 0, wanted >= 1`."""
        found = self._found(facts)
        wanted = self.op if self.op == "exists" else f"{self.op} {_shown(self.value)}"
        return f"{self.field} is {'missing' if found is None else _shown(found)}, wanted {wanted}"

    def _found(self, facts: Facts) -> Any:  # noqa: ANN401 (JSON)
        if not self.field.startswith("metadata."):
            return facts.get(self.field)
        found: Any = facts.get("metadata")
        for name in self.field.split(".")[1:]:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def first_unmet(assertions: tuple[Assertion, ...], facts: Facts) -> str | None:
    """What the first assertion that is not met says; None where all are."""
    return next((one.failure(facts) for one in assertions if not one.is_met(facts)), None)


def check_assertions(given: list[dict[str, Any]], where: str = "body.verification.assert") -> list[Problem]:
    """What is wrong with assertions: fields that are none, values that no field of theirs can ever be compared with."""
    problems = [Problem(where, f"may have {MOST} assertions")] if len(given) > MOST else []
    for number, one in enumerate(given[:MOST]):
        problems += [Problem(f"{where}.{number}.{name}", text) for name, text in _faults(one)]
    return problems


def read_assertions(given: list[dict[str, Any]]) -> tuple[Assertion, ...]:
    """Assertions that were checked, or stored."""
    return tuple(Assertion(one["field"], one["op"], one.get("value")) for one in given)


def described_assertions(assertions: tuple[Assertion, ...]) -> list[dict[str, Any]] | None:
    """In the form of the contract; None where there are none."""
    return [
        {"field": one.field, "op": one.op} | ({} if one.op == "exists" else {"value": one.value}) for one in assertions
    ] or None


def stored_assertions(assertions: tuple[Assertion, ...]) -> str | None:
    """As JSON, as they are stored and shown; None where there are none."""
    described = described_assertions(assertions)
    return None if described is None else json.dumps(described)


def _faults(given: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with one assertion, by its field."""
    name, op, value = given.get("field"), given.get("op"), given.get("value")
    if not isinstance(name, str) or not (name in NUMBERS | TEXTS or _METADATA.fullmatch(name)):
        known = ", ".join(sorted(NUMBERS | TEXTS))
        return [("field", f"must be metadata.NAME (and .NAME again, for each depth), or one of {known}")]
    if len(name) > FIELD_LIMIT:
        return [("field", f"may have {FIELD_LIMIT} characters")]
    if op not in OPERATORS:
        return [("op", f"must be one of {', '.join(OPERATORS)}")]
    text = _fault_of_value(name, op, value)
    return [("value", text)] if text else []


def _fault_of_value(name: str, op: str, value: object) -> str | None:
    if op == "exists":
        return None if value is None else "is of no use with exists; leave it out"
    if op == "in":
        if not isinstance(value, list) or not 0 < len(value) <= CHOICES_LIMIT:
            return f"must be a list of 1 to {CHOICES_LIMIT} texts, numbers or booleans"
        return next((text for one in value if (text := _fault_of_scalar(name, one))), None)
    if op in _ORDERS and isinstance(value, bool):
        return f"cannot be compared by {op}: a boolean is neither less nor more"
    return _fault_of_scalar(name, value)


def _fault_of_scalar(name: str, value: object) -> str | None:
    kind = _kind(value)
    if name in NUMBERS and kind != "number":
        return f"must be a number: {name} is one"
    if name in TEXTS and kind != "text":
        return f"must be a text: {name} is one"
    if kind not in {"number", "text", "boolean"}:
        return "must be a text, a number or a boolean"
    return f"may have {TEXT_LIMIT} characters" if isinstance(value, str) and len(value) > TEXT_LIMIT else None


def _kind(value: object) -> str:
    """The JSON type of a value: in Python `True` is a 1, in JSON it is none."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:99]}…"

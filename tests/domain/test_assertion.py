"""Assertions: which facts meet them, what is said of those that are not met, and which are refused."""

from typing import Any

import pytest

from cueapi.domain.assertion import (
    MOST,
    Assertion,
    check_assertions,
    first_unmet,
    read_assertions,
    stored_assertions,
)

FACTS: dict[str, Any] = {
    "metadata": {"items": 3, "a": {"b": {"c": "deep"}}, "done": True, "ratio": 0.5, "none": None, "list": [1], "": 1},
    "duration_ms": 1_200,
    "artifacts.count": 2,
    "result.length": 10,
    "external_id": "pay_7",
    "result_url": None,
    "summary": "Größe",
}

MET = [
    ("metadata.items", "exists", None),
    ("metadata.items", "=", 3),
    ("metadata.items", "=", 3.0),
    ("metadata.items", "!=", 4),
    ("metadata.items", ">=", 3),
    ("metadata.items", "in", [True, "3", 3]),
    ("metadata.a.b.c", "=", "deep"),
    ("metadata.a.b", "exists", None),
    ("metadata.done", "=", True),
    ("metadata.done", "!=", False),
    ("metadata.ratio", "<", 1),
    ("metadata.list", "exists", None),
    ("duration_ms", "<", 1_201),
    ("artifacts.count", ">", 1),
    ("result.length", "<=", 10),
    ("external_id", ">", "pay_6"),
    ("external_id", "in", ["pay_7"]),
    ("summary", "=", "Größe"),
]

UNMET = [
    ("metadata.items", ">", 3, "metadata.items is 3, wanted > 3"),
    ("metadata.items", "=", "3", 'metadata.items is 3, wanted = "3"'),
    ("metadata.items", "!=", "3", 'metadata.items is 3, wanted != "3"'),
    ("metadata.items", "=", True, "metadata.items is 3, wanted = true"),
    ("metadata.done", "=", 1, "metadata.done is true, wanted = 1"),
    ("metadata.done", "!=", 0, "metadata.done is true, wanted != 0"),
    ("metadata.done", "in", [1, "true"], 'metadata.done is true, wanted in [1, "true"]'),
    ("metadata.none", "exists", None, "metadata.none is missing, wanted exists"),
    ("metadata.none", "!=", 1, "metadata.none is missing, wanted != 1"),
    ("metadata.missing", "exists", None, "metadata.missing is missing, wanted exists"),
    ("metadata.items.below", "exists", None, "metadata.items.below is missing, wanted exists"),
    ("metadata.list", "=", 1, "metadata.list is [1], wanted = 1"),
    ("metadata.a.b.c", "<", 7, 'metadata.a.b.c is "deep", wanted < 7'),
    ("result_url", "exists", None, "result_url is missing, wanted exists"),
    ("result_url", "!=", "x", 'result_url is missing, wanted != "x"'),
    ("external_id", "in", ["pay_8"], 'external_id is "pay_7", wanted in ["pay_8"]'),
]


@pytest.mark.parametrize(("name", "op", "value"), MET)
def test_what_holds_is_met(name: str, op: str, value: object) -> None:
    assert first_unmet((Assertion(name, op, value),), FACTS) is None


@pytest.mark.parametrize(("name", "op", "value", "told"), UNMET)
def test_a_missing_field_or_one_of_another_json_type_meets_none_and_the_reason_says_what_was_found(
    name: str, op: str, value: object, told: str
) -> None:
    assert first_unmet((Assertion(name, op, value),), FACTS) == told


def test_where_nothing_is_known_no_assertion_is_met() -> None:
    every = [Assertion(name, op, value) for name, op, value in MET]

    assert [one for one in every if one.is_met({})] == []


def test_the_first_that_is_not_met_is_named_and_a_long_value_is_cut() -> None:
    assertions = (
        Assertion("metadata.items", ">=", 1),
        Assertion("metadata.x", "=", "y"),
        Assertion("summary", "=", "z"),
    )
    long = Assertion("metadata.text", "=", "b")

    assert first_unmet(assertions, FACTS) == 'metadata.x is missing, wanted = "y"'
    assert len(long.failure({"metadata": {"text": "a" * 9_000}})) < 150


GOOD = [
    {"field": "metadata.items", "op": ">=", "value": 1},
    {"field": "metadata.a b.ü", "op": "exists"},
    {"field": "duration_ms", "op": "in", "value": [1, 2.5]},
    {"field": "external_id", "op": "=", "value": "x" * 500},
    {"field": "metadata.done", "op": "!=", "value": True},
]

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "no field": ({"op": "exists"}, "field", "metadata.NAME"),
    "an unknown field": ({"field": "result", "op": "exists"}, "field", "result.length"),
    "metadata as a whole": ({"field": "metadata", "op": "exists"}, "field", "metadata.NAME"),
    "an empty name": ({"field": "metadata..a", "op": "exists"}, "field", "metadata.NAME"),
    "a dot at the end": ({"field": "metadata.a.", "op": "exists"}, "field", "metadata.NAME"),
    "a long field": ({"field": "metadata." + "a" * 200, "op": "exists"}, "field", "200 characters"),
    "no operator": ({"field": "metadata.a"}, "op", "one of exists"),
    "another operator": ({"field": "metadata.a", "op": "==", "value": 1}, "op", "one of exists"),
    "no value": ({"field": "metadata.a", "op": "="}, "value", "a text, a number or a boolean"),
    "a list": ({"field": "metadata.a", "op": "=", "value": [1]}, "value", "a text, a number or a boolean"),
    "an object": ({"field": "metadata.a", "op": "<", "value": {}}, "value", "a text, a number or a boolean"),
    "a value with exists": ({"field": "metadata.a", "op": "exists", "value": True}, "value", "leave it out"),
    "an order of booleans": ({"field": "metadata.a", "op": "<", "value": True}, "value", "neither less nor more"),
    "in a text": ({"field": "metadata.a", "op": "in", "value": "abc"}, "value", "a list of 1 to 100"),
    "in nothing": ({"field": "metadata.a", "op": "in", "value": []}, "value", "a list of 1 to 100"),
    "in too many": ({"field": "metadata.a", "op": "in", "value": [1] * 101}, "value", "a list of 1 to 100"),
    "in lists": ({"field": "metadata.a", "op": "in", "value": [[1]]}, "value", "a text, a number or a boolean"),
    "a number as text": ({"field": "artifacts.count", "op": ">", "value": "1"}, "value", "must be a number"),
    "a number as boolean": ({"field": "duration_ms", "op": "=", "value": True}, "value", "must be a number"),
    "a text as number": ({"field": "summary", "op": "=", "value": 1}, "value", "must be a text"),
    "a long text": ({"field": "summary", "op": "=", "value": "x" * 501}, "value", "500 characters"),
}  # fmt: skip


def test_good_ones_are_stored_and_read_as_they_were() -> None:
    assertions = read_assertions(GOOD)
    stored = stored_assertions(assertions)

    assert check_assertions(GOOD) == []
    assert stored is not None
    assert '"value"' not in stored.partition("}, {")[2].partition("}")[0]
    assert stored_assertions(()) is None


@pytest.mark.parametrize(("given", "name", "told"), BAD.values(), ids=BAD)
def test_one_that_nothing_could_ever_meet_is_refused_at_its_field(given: dict[str, Any], name: str, told: str) -> None:
    [problem] = check_assertions([GOOD[0], given])

    assert problem.field == f"body.verification.assert.1.{name}"
    assert told in problem.message


def test_there_are_ten_at_most() -> None:
    assert check_assertions(GOOD[:1] * MOST) == []
    assert [one.field for one in check_assertions(GOOD[:1] * (MOST + 1))] == ["body.verification.assert"]

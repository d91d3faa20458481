"""What a key may do."""

from datetime import UTC, datetime, timedelta

import pytest

from cueapi.domain.errors import Refusal
from cueapi.domain.scope import SCOPES, WHOLE, Grant

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("scope", SCOPES)
def test_no_scope_includes_another(scope: str) -> None:
    others = tuple(one for one in SCOPES if one != scope)

    with pytest.raises(Refusal) as refused:
        Grant(others).check(scope)  # type: ignore[arg-type]

    assert refused.value.code == "insufficient_scope"
    assert refused.value.extra == {"required": [scope], "granted": list(others)}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_is_enough_for_what_needs_it(scope: str) -> None:
    Grant((scope,)).check(scope)  # type: ignore[arg-type]


def test_what_needs_two_scopes_is_refused_to_a_key_with_one_of_them() -> None:
    Grant(("fire", "admin")).check_all("fire", "admin")
    with pytest.raises(Refusal):
        Grant(("fire",)).check_all("fire", "admin")


def test_what_states_no_scope_or_is_the_own_key_s_is_closed_to_a_key_with_every_scope() -> None:
    for scope, own in ((None, False), ("admin", True)):
        with pytest.raises(Refusal) as refused:
            Grant(SCOPES).check(scope, own=own)  # type: ignore[arg-type]
        assert refused.value.extra["required"] == ["own"]
        WHOLE.check(scope, own=own)  # type: ignore[arg-type]


LIMITED = Grant(("read", "admin"), ("a", "b"), NOW)


def test_a_key_makes_one_that_is_as_wide_and_lives_as_long() -> None:
    LIMITED.check_key(Grant(("read", "admin"), ("b", "a"), NOW))
    LIMITED.check_key(Grant(("read",), ("a",), NOW - timedelta(seconds=1)))
    WHOLE.check_key(WHOLE)


@pytest.mark.parametrize(
    ("wanted", "required"),
    [
        pytest.param(Grant(("read", "fire"), ("a",), NOW), ["fire"], id="another scope"),
        pytest.param(Grant(("read",), ("a", "c"), NOW), ["all groups"], id="another group"),
        pytest.param(Grant(("read",), None, NOW), ["all groups"], id="all groups"),
        pytest.param(Grant(("read",), ("a",), NOW + timedelta(seconds=1)), ["own"], id="longer"),
        pytest.param(Grant(("read",), ("a",)), ["own"], id="without end"),
        pytest.param(WHOLE, ["own"], id="the own key"),
    ],
)
def test_a_key_makes_none_that_is_wider_or_lives_longer(wanted: Grant, required: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        LIMITED.check_key(wanted)

    assert refused.value.code == "insufficient_scope"
    assert refused.value.extra == {"required": required, "granted": ["read", "admin"], "groups": ["a", "b"]}

"""What a key may do."""

import pytest

from cueapi.domain.errors import Refusal
from cueapi.domain.scope import SCOPES, WHOLE, Grant


@pytest.mark.parametrize("scope", SCOPES)
def test_no_scope_includes_another(scope: str) -> None:
    others = tuple(one for one in SCOPES if one != scope)

    with pytest.raises(Refusal) as refused:
        Grant(others, own=False).check(scope)  # type: ignore[arg-type]

    assert refused.value.code == "insufficient_scope"
    assert refused.value.extra == {"required": [scope], "granted": list(others)}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_is_enough_for_what_needs_it(scope: str) -> None:
    Grant((scope,), own=False).check(scope)  # type: ignore[arg-type]


def test_what_needs_two_scopes_is_refused_to_a_key_with_one_of_them() -> None:
    Grant(("fire", "admin"), own=False).check_all("fire", "admin")
    with pytest.raises(Refusal):
        Grant(("fire",), own=False).check_all("fire", "admin")


def test_what_states_no_scope_or_is_the_own_key_s_is_closed_to_a_key_with_every_scope() -> None:
    for scope, own in ((None, False), ("admin", True)):
        with pytest.raises(Refusal) as refused:
            Grant(SCOPES, own=False).check(scope, own=own)  # type: ignore[arg-type]
        assert refused.value.extra["required"] == ["own"]
        WHOLE.check(scope, own=own)  # type: ignore[arg-type]

"""Ids and secrets."""

import base64
import re
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.ids import (
    is_cue_id,
    new_alert_secret,
    new_api_key,
    new_cue_id,
    new_uuid7,
    new_webhook_secret,
    parse_uuid,
)

FORMS = {
    "cue": (new_cue_id, r"cue_[a-z0-9]{12}"),
    "API key": (new_api_key, r"cue_sk_[0-9a-f]{32}"),
    "webhook secret": (new_webhook_secret, r"whsec_[0-9a-f]{64}"),
    "alert secret": (new_alert_secret, r"[0-9a-f]{64}"),
    "execution": (lambda: str(new_uuid7()), r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
}


@pytest.mark.parametrize(("make", "form"), FORMS.values(), ids=FORMS.keys())
def test_each_is_of_its_form_and_never_comes_twice(make: object, form: str) -> None:
    assert callable(make)

    made = [make() for _ in range(2000)]

    assert all(re.fullmatch(form, text) for text in made)
    assert len(set(made)) == 2000


def test_an_id_of_an_execution_tells_when_it_was_made_and_sorts_by_it() -> None:
    before = time.time_ns() // 1_000_000
    first = new_uuid7()
    time.sleep(0.002)
    second = new_uuid7()

    assert before <= first.int >> 80 <= time.time_ns() // 1_000_000
    assert first < second
    assert (first.version, first.variant) == (7, UUID(int=0x8 << 60).variant)


def test_ids_that_are_made_within_a_millisecond_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_uuid7() for _ in range(10_000)]

    assert made == sorted(made)
    assert len({one.int >> 80 for one in made}) < len(made)


def test_a_webhook_secret_is_base64_as_it_stands() -> None:
    secret = new_webhook_secret().removeprefix("whsec_")

    assert base64.b64encode(base64.b64decode(secret, validate=True)).decode() == secret


@pytest.mark.parametrize(
    "text",
    ["", "cue_", "cue_ABCDEFGHIJKL", "cue_abcdefghijk", "cue_abcdefghijklm", "cue_abcdefghijkl\n", "cue_äbcdefghijkl"],
)
def test_what_cannot_be_a_cue_s_id_is_none(text: str) -> None:
    assert not is_cue_id(text)


def test_what_was_made_is_an_id() -> None:
    assert is_cue_id(new_cue_id())


@given(st.uuids())
def test_a_uuid_is_read_in_its_canonical_form_upper_case_or_lower(value: UUID) -> None:
    assert parse_uuid(str(value)) == parse_uuid(str(value).upper()) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "0" * 32,
        "{01234567-89ab-7cde-8f01-23456789abcd}",
        "urn:uuid:01234567-89ab-7cde-8f01-23456789abcd",
        "01234567-89ab-7cde-8f01-23456789abcg",
        " 01234567-89ab-7cde-8f01-23456789abcd",
        "0123456789ab-7cde-8f01-2345-6789abcd",
        "\x00",
    ],
)
def test_any_other_form_is_no_id(text: str) -> None:
    assert parse_uuid(text) is None


@given(st.text(max_size=50))
def test_no_text_is_too_strange_to_be_told_that_it_is_no_id(text: str) -> None:
    found = parse_uuid(text)

    assert found is None or str(found) == text.lower()

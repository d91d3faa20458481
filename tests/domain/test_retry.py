"""How often a try is repeated, and after which pause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.retry import DEFAULT_RETRY, NO_RETRY, Retry

RETRIES = st.builds(Retry, st.integers(1, 20), st.lists(st.integers(0, 10_000), min_size=1, max_size=10).map(tuple))


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        (DEFAULT_RETRY, [60.0, 300.0, 900.0, None]),
        (Retry(1, (5,)), [None]),
        (Retry(5, (2,)), [120.0, 120.0, 120.0, 120.0, None]),
        (Retry(3, (0, 7, 9)), [0.0, 420.0, None]),
        (NO_RETRY, [None, None]),
        (Retry(3, ()), [None]),
    ],
    ids=["the default", "one try", "the last pause repeats", "at once", "none", "no pauses"],
)
def test_the_pause_after_each_attempt(retry: Retry, pauses: list[float | None]) -> None:
    assert [retry.pause_after(attempt) for attempt in range(1, len(pauses) + 1)] == pauses


@given(RETRIES, st.integers(1, 40))
def test_an_attempt_follows_while_one_is_left_after_its_own_pause_or_the_last(retry: Retry, attempt: int) -> None:
    pause = retry.pause_after(attempt)

    last = len(retry.backoff_minutes) - 1
    expected = retry.backoff_minutes[min(attempt - 1, last)] * 60.0
    assert pause == (expected if attempt < retry.max_attempts else None)


@given(RETRIES)
def test_there_are_as_many_attempts_as_were_asked_for(retry: Retry) -> None:
    tries = 1
    while retry.pause_after(tries) is not None:
        tries += 1

    assert tries == retry.max_attempts


def test_what_a_report_came_to_before_the_first_attempt_waits_as_after_the_first() -> None:
    assert DEFAULT_RETRY.pause_after(0) == 60.0

"""When a target is taken for down, and how it comes back: as plain functions of counts and seconds."""

from datetime import UTC, datetime

import pytest

from cueapi.domain.attempt import Answered, Interrupted, Postponed, Result, Unreachable
from cueapi.domain.breaker import RULES, BreakerRules, DownTarget, TargetCounts, cannot_serve, waited_too_long, why

RESULTS: dict[str, tuple[Result, bool | None]] = {
    "no connection": (Unreachable("connection refused"), True),
    "no answer in time": (Unreachable("no answer within 30 s"), True),
    "502": (Answered(502), True),
    "503": (Answered(503), True),
    "503 with Retry-After": (Answered(503, retry_after="60"), True),
    "504": (Answered(504), True),
    "429": (Answered(429), True),
    "429 with Retry-After": (Answered(429, retry_after="60"), False),
    "500": (Answered(500), False),
    "404": (Answered(404), False),
    "410": (Answered(410), False),
    "200": (Answered(200), False),
    "a reported failure": (Answered(200, b'{"success": false}'), False),
    "a URL that our rules refuse": (Unreachable("10.0.0.1 is a private address", refused=True), None),
    "a shortage of our own": (Postponed("too many open files"), None),
    "an attempt that we cut": (Interrupted(), None),
}


@pytest.mark.parametrize(("result", "expected"), RESULTS.values(), ids=RESULTS.keys())
def test_only_what_says_that_nothing_can_be_served_counts_against_a_target(
    result: Result, expected: bool | None
) -> None:
    assert cannot_serve(result) is expected


def counted(*ended: bool, every: float = 1.0) -> tuple[TargetCounts, float]:
    """The counts after these attempts, one *every* so many seconds, and when the last one ended."""
    counts, now = TargetCounts(), 1000.0
    for failed in ended:
        now += every
        counts.add(failed, now)
    return counts, now


TRIPS = {
    "ten failures": ([True] * 10, True),
    "nine failures": ([True] * 9, False),
    "three of ten served, the first ones": ([False] * 3 + [True] * 7, True),
    "four of ten served": ([False] * 4 + [True] * 6, False),
    "all but one of the last five": ([True] * 20 + [False] + [True] * 4, False),
    "the last five, of too many that were served": ([False] * 20 + [True] * 5, False),
}


@pytest.mark.parametrize(("ended", "expected"), TRIPS.values(), ids=TRIPS.keys())
def test_it_opens_at_ten_attempts_of_which_seventy_per_cent_and_the_last_five_failed(
    ended: list[bool], expected: bool
) -> None:
    counts, now = counted(*ended)

    assert counts.trips(now) is expected


def test_what_is_older_than_five_minutes_does_not_count() -> None:
    counts, now = counted(*[True] * 9)
    later = now + RULES.window + 1

    counts.add(True, later)

    assert (counts.told(later), counts.trips(later)) == ((1, 1), False)


def test_failures_that_trickle_in_over_five_minutes_count_and_take_no_more_room() -> None:
    counts, now = counted(*[True] * 3000, every=0.1)

    assert counts.trips(now)
    assert len(counts._parts) <= 31


def test_a_target_that_has_closed_begins_anew() -> None:
    counts, now = counted(*[True] * 20)

    counts.restart(now)
    for _ in range(9):
        counts.add(True, now)

    assert not counts.trips(now)
    assert counts.since == now


def test_the_pause_doubles_from_thirty_seconds_to_fifteen_minutes() -> None:
    assert [RULES.pause_after(opens) for opens in (1, 2, 3, 4, 5, 6, 7, 5000)] == [30, 60, 120, 240, 480, 900, 900, 900]


def test_a_host_that_is_down_for_ten_minutes_is_probed_far_fewer_than_fifteen_times() -> None:
    passed, probes = 0.0, 0
    while (passed := passed + RULES.pause_after(probes + 1)) <= 600:
        probes += 1

    assert probes == 4


def test_places_double_every_second_until_all_are_had_again() -> None:
    seconds = [-1.0, 0.0, 0.9, 1.0, 2.5, 3.0, 5.9, 6.0, 1e9]

    assert [RULES.places(passed, 64) for passed in seconds] == [1, 1, 1, 2, 4, 8, 32, 64, 64]
    assert RULES.slow_start(64) == 6.0
    assert RULES.slow_start(50) == 6.0
    assert RULES.slow_start(1) == 0.0
    assert BreakerRules(doubling=0.1).places(0.35, 64) == 8


def test_what_a_failure_says_is_kept_in_a_few_words() -> None:
    assert why(Answered(503)) == "it answered 503"
    assert why(Unreachable("connection refused.\x00")) == "connection refused.�"
    assert len(why(Unreachable("x" * 5000))) == 500


def test_an_attempt_that_was_never_sent_says_since_when_the_target_was_down() -> None:
    target = DownTarget("a.example:443", datetime(2026, 5, 1, 9, tzinfo=UTC), "it answered 503")

    assert waited_too_long(target) == (
        "target down since 2026-05-01T09:00:00Z: a.example:443, it answered 503; nothing was sent"
    )

"""How an operation comes along: whatever happens, its sum is what matched."""

import pytest

from cueapi.domain.bulk import (
    DeadLetterState,
    Kind,
    Progress,
    SkipReason,
    Step,
    advanced,
    batch_size,
    dismiss_refusal,
    eta_seconds,
    is_expected,
    replay_refusal,
    rest_skipped,
)

DEAD = DeadLetterState("failed", is_dead=True, is_deleted=False, has_replay_in_flight=False, has_dead_replay=False)


def total(progress: Progress) -> int:
    return progress.done + progress.failed + sum(progress.skipped.values())


def test_steps_add_up_and_what_was_counted_and_not_met_is_skipped_at_the_end() -> None:
    first = advanced(Progress(10), Step("a", False, 3, 1, {SkipReason.IN_FLIGHT: 2}), Kind.REPLAY)
    last = advanced(first, Step("b", True, 2, 0, {SkipReason.IN_FLIGHT: 1}), Kind.REPLAY)

    assert (first.left, first.skipped) == (4, {"in_flight": 2})
    assert (last.done, last.failed, last.skipped) == (5, 1, {"in_flight": 3, "not_dead": 1})
    assert total(last) == last.matched == 10


def test_more_may_be_met_than_was_counted() -> None:
    last = advanced(Progress(2), Step("a", True, 3), Kind.PAUSE)

    assert (last.matched, last.done, last.skipped) == (3, 3, {})


def test_the_rest_of_a_cancelled_one_is_skipped() -> None:
    cancelled = rest_skipped(Progress(10, 3, 1, {"in_flight": 2}), SkipReason.CANCELLED)

    assert cancelled.skipped == {"in_flight": 2, "cancelled": 4}
    assert total(cancelled) == 10
    assert rest_skipped(cancelled, SkipReason.CANCELLED) == cancelled


STATES: dict[str, tuple[DeadLetterState | None, str | None, str | None]] = {
    "a dead letter": (DEAD, None, None),
    "nothing": (None, "not_found", "not_found"),
    "one of a deleted cue": (DeadLetterState("failed", True, True, False, False), "cue_deleted", "cue_deleted"),
    "one that runs": (DeadLetterState("retrying", False, False, False, False), "in_flight", "in_flight"),
    "one that succeeded": (DeadLetterState("success", False, False, False, False), "not_dead", "not_dead"),
    "one whose replay runs": (DeadLetterState("failed", True, False, True, False), "in_flight", None),
    "one whose replay failed": (DeadLetterState("failed", True, False, False, True), "superseded", None),
    "one that was dismissed": (DeadLetterState("failed", False, False, True, True), "not_dead", "not_dead"),
}


@pytest.mark.parametrize(("state", "replayed", "dismissed"), STATES.values(), ids=STATES.keys())
def test_what_is_replayed_and_dismissed(
    state: DeadLetterState | None, replayed: str | None, dismissed: str | None
) -> None:
    assert (replay_refusal(state), dismiss_refusal(state)) == (replayed, dismissed)


EXPECTED = {
    (1000, None): True,
    (1001, None): False,
    (1001, 1001): True,
    (10_000, 9_900): True,
    (10_000, 10_100): True,
    (10_000, 9_899): False,
    (10_000, 10_101): False,
    (5, 4): False,
    (0, 0): True,
    (0, 1): False,
}


@pytest.mark.parametrize(("asked", "begins"), EXPECTED.items(), ids=map(str, EXPECTED))
def test_many_begin_only_with_the_number_that_was_seen(asked: tuple[int, int | None], begins: bool) -> None:
    assert is_expected(*asked) is begins


def test_batches_follow_the_rate_and_are_never_larger_than_a_hundred() -> None:
    assert [batch_size(rate) for rate in (1, 3, 4, 50, 200, 400, 1000)] == [1, 1, 1, 12, 50, 100, 100]
    assert (eta_seconds(Progress(100, 40), 50), eta_seconds(Progress(5, 5), 50)) == (2, 0)

"""Restarts are arithmetic."""

from supervisor.restart import FailureLog, GiveUp, Patience, Policy, RestartAfter, Wait


def test_pauses_double_up_to_the_longest() -> None:
    policy = Policy(limit=10, first_pause=1.0, longest_pause=5.0)

    assert [policy.pause(failures) for failures in range(1, 6)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_first_pause_longer_than_the_longest_is_cut() -> None:
    assert Policy(first_pause=9.0, longest_pause=5.0).pause(1) == 5.0


def test_one_failure_more_than_the_limit_within_the_window_is_too_many() -> None:
    failures = FailureLog(Policy(limit=2, window=60.0))

    assert failures.record(0.0) == RestartAfter(1.0)
    assert failures.record(30.0) == RestartAfter(2.0)
    assert failures.record(59.0) == GiveUp(3)


def test_failures_older_than_the_window_are_forgiven() -> None:
    failures = FailureLog(Policy(limit=2, window=60.0))
    failures.record(0.0)
    failures.record(30.0)

    assert failures.record(60.0) == RestartAfter(2.0)
    assert failures.record(120.0) == RestartAfter(1.0)


def test_waiting_pauses_double_to_the_longest_and_stay_there() -> None:
    patience = Patience()

    pauses = [patience.record(lived=0.0).pause for _ in range(2000)]

    assert pauses[:5] == [1.0, 2.0, 4.0, 8.0, 15.0]
    assert pauses[-1] == 15.0


def test_only_the_first_wait_begins_an_episode() -> None:
    patience = Patience()

    assert [patience.record(lived=1.0).begun for _ in range(3)] == [True, False, False]


def test_a_life_that_lasted_begins_a_new_episode_with_a_short_pause() -> None:
    patience = Patience()
    patience.record(lived=0.0)
    patience.record(lived=0.0)

    assert patience.record(lived=15.1) == Wait(1.0, begun=True)

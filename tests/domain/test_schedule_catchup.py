from datetime import UTC, datetime, timedelta

import pytest

from cueapi.domain.catchup import Catchup, FiringPlan, Occurrence, Overlap, is_late, plan_firings

NOON = datetime(2026, 5, 14, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def every_minute(policy: Catchup, late: timedelta, overlap: Overlap = Overlap.ALLOW) -> FiringPlan:
    """What becomes at noon of a minute cue whose oldest unfired time is *late*."""
    return plan_firings(policy, overlap, cron="* * * * *", timezone="UTC", oldest=NOON - late, now=NOON)


@pytest.mark.parametrize("overlap", Overlap)
@pytest.mark.parametrize("policy", Catchup)
def test_times_that_are_a_minute_late_at_most_simply_fire(policy: Catchup, overlap: Overlap) -> None:
    assert every_minute(policy, MINUTE, overlap) == FiringPlan(
        fire=(Occurrence(NOON - MINUTE), Occurrence(NOON)), missed=None, next_run=NOON + MINUTE
    )
    assert every_minute(policy, timedelta(0), overlap).fire == (Occurrence(NOON),)


def test_latest_fires_the_newest_for_all_of_them() -> None:
    plan = every_minute(Catchup.LATEST, 10 * MINUTE)

    assert plan == FiringPlan(fire=(Occurrence(NOON, missed_runs=10),), missed=None, next_run=NOON + MINUTE)


def test_all_fires_each_oldest_first() -> None:
    plan = every_minute(Catchup.ALL, 3 * MINUTE)

    assert plan.fire == tuple(Occurrence(NOON - late * MINUTE) for late in (3, 2, 1, 0))
    assert plan.missed is None
    assert plan.next_run == NOON + MINUTE


def test_none_fires_what_is_punctual_and_records_one_for_the_rest() -> None:
    plan = every_minute(Catchup.NONE, 10 * MINUTE)

    assert plan.fire == (Occurrence(NOON - MINUTE), Occurrence(NOON))
    assert plan.missed == Occurrence(NOON - 2 * MINUTE, missed_runs=8)
    assert plan.next_run == NOON + MINUTE


def test_none_may_have_nothing_punctual() -> None:
    nine = NOON - timedelta(hours=3)

    plan = plan_firings(Catchup.NONE, Overlap.ALLOW, cron="0 9 * * *", timezone="UTC", oldest=nine, now=NOON)

    assert plan == FiringPlan(fire=(), missed=Occurrence(nine), next_run=nine + timedelta(days=1))


@pytest.mark.parametrize("policy", [Catchup.LATEST, Catchup.ALL])
def test_one_late_time_fires_and_stands_for_no_other(policy: Catchup) -> None:
    nine = NOON - timedelta(hours=3)

    plan = plan_firings(policy, Overlap.ALLOW, cron="0 9 * * *", timezone="UTC", oldest=nine, now=NOON)

    assert plan == FiringPlan(fire=(Occurrence(nine),), missed=None, next_run=nine + timedelta(days=1))


def test_all_acts_as_latest_where_overlap_is_skip() -> None:
    assert every_minute(Catchup.ALL, 10 * MINUTE, Overlap.SKIP) == every_minute(
        Catchup.LATEST, 10 * MINUTE, Overlap.SKIP
    )


@pytest.mark.parametrize(("unfired", "dropped"), [(999, 0), (1000, 0), (1001, 1), (1500, 500), (9000, 1000)])
def test_all_fires_the_newest_thousand_and_the_first_counts_those_dropped(unfired: int, dropped: int) -> None:
    plan = every_minute(Catchup.ALL, (unfired - 1) * MINUTE)

    fired = min(unfired, 1000)
    assert plan.fire[0] == Occurrence(NOON - (fired - 1) * MINUTE, missed_runs=dropped)
    assert plan.fire[1:] == tuple(Occurrence(NOON - late * MINUTE) for late in reversed(range(fired - 1)))


@pytest.mark.parametrize(("unfired", "counted"), [(1000, 999), (1001, 1000), (1002, 1000), (525_600, 1000)])
def test_counting_stops_at_a_thousand(unfired: int, counted: int) -> None:
    latest = every_minute(Catchup.LATEST, (unfired - 1) * MINUTE)
    none = every_minute(Catchup.NONE, (unfired + 1) * MINUTE)

    assert latest.fire == (Occurrence(NOON, missed_runs=counted),)
    assert none.missed == Occurrence(NOON - 2 * MINUTE, missed_runs=counted)


@pytest.mark.parametrize("policy", Catchup)
@pytest.mark.parametrize("late", [timedelta(0), MINUTE, timedelta(days=400)], ids=str)
def test_a_one_time_cue_always_fires(policy: Catchup, late: timedelta) -> None:
    plan = plan_firings(policy, Overlap.SKIP, cron=None, timezone="UTC", oldest=NOON - late, now=NOON)

    assert plan == FiringPlan(fire=(Occurrence(NOON - late),), missed=None, next_run=None)


@pytest.mark.parametrize("cron", [None, "* * * * *"])
def test_what_is_not_due_waits(cron: str | None) -> None:
    plan = plan_firings(Catchup.LATEST, Overlap.ALLOW, cron=cron, timezone="UTC", oldest=NOON + MINUTE, now=NOON)

    assert plan == FiringPlan(fire=(), missed=None, next_run=NOON + MINUTE)


def test_a_time_that_was_promised_fires_even_if_the_zone_has_other_rules_since() -> None:
    promised = NOON - timedelta(hours=2)

    plan = plan_firings(Catchup.LATEST, Overlap.ALLOW, cron="0 9 * * *", timezone="UTC", oldest=promised, now=NOON)

    assert plan.fire == (Occurrence(promised),)
    assert plan.next_run == NOON + timedelta(hours=21)


def test_unfired_times_follow_the_clock_of_the_zone() -> None:
    now = datetime(2026, 3, 8, 8, 0, tzinfo=UTC)

    plan = plan_firings(
        Catchup.ALL,
        Overlap.ALLOW,
        cron="30 2 * * *",
        timezone="America/New_York",
        oldest=datetime(2026, 3, 7, 7, 30, tzinfo=UTC),
        now=now,
    )

    assert plan == FiringPlan(
        fire=(
            Occurrence(datetime(2026, 3, 7, 7, 30, tzinfo=UTC)),
            Occurrence(datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
        ),
        missed=None,
        next_run=datetime(2026, 3, 9, 6, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("multiplier", "late", "told"),
    [
        (None, timedelta(days=30), False),
        (1, timedelta(minutes=60), False),
        (1, timedelta(minutes=61), True),
        (3, timedelta(hours=3), False),
        (3, timedelta(hours=3, seconds=1), True),
        (1, timedelta(seconds=59), False),
    ],
)
def test_a_firing_is_late_beyond_so_many_times_the_time_to_the_one_after(
    multiplier: int | None, late: timedelta, *, told: bool
) -> None:
    due = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)

    assert is_late(multiplier, cron="0 * * * *", timezone="UTC", due=due, now=due + late) is told
    assert is_late(multiplier, cron=None, timezone="UTC", due=due, now=due + late) is False

"""What a cue holds, and what a change makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.cue import (
    PAYLOAD_LIMIT,
    Callback,
    Cue,
    Schedule,
    ScheduleChange,
    changed,
    check_transport,
    payload_task,
    payload_text,
    plan_schedule,
    schedule_change,
)
from cueapi.domain.errors import Invalid, Refusal
from cueapi.domain.outcome import Mode
from cueapi.domain.retry import Retry
from cueapi.domain.verification import VerificationRules

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
DAILY = Schedule("recurring", cron="0 9 * * *")
NINE = datetime(2026, 3, 4, 9, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
ONCE = Schedule("once", at=LATER)
PASSED = Schedule("once", at=EARLIER)


def cue(schedule: Schedule = DAILY, **fields: Any) -> Cue:
    return Cue("morning", schedule, callback=Callback("https://handler.example/"), **fields)


SCHEDULES: dict[str, tuple[dict[str, Any], Schedule]] = {
    "recurring": ({"type": "recurring", "cron": "0 9 * * *"}, DAILY),
    "a cron says that it recurs": ({"cron": "0 9 * * *"}, DAILY),
    "once": ({"type": "once", "at": LATER.isoformat()}, ONCE),
    "a time says that it is once": ({"at": LATER.isoformat()}, ONCE),
    "in a zone": (
        {"cron": "0 9 * * *", "timezone": "Europe/Berlin"},
        evolve(DAILY, timezone="Europe/Berlin"),
    ),
    "with policies": (
        {"cron": "0 9 * * *", "catchup": "all", "overlap": "skip"},
        evolve(DAILY, catchup="all", overlap="skip"),
    ),
}


@pytest.mark.parametrize(("given", "expected"), SCHEDULES.values(), ids=SCHEDULES.keys())
def test_a_schedule_is_read(given: dict[str, Any], expected: Schedule) -> None:
    assert plan_schedule(given) == expected


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "invalid_schedule"),
    "another type": ({"type": "weekly", "cron": "0 9 * * *"}, "invalid_schedule"),
    "recurring without cron": ({"type": "recurring"}, "invalid_schedule"),
    "once without a time": ({"type": "once"}, "invalid_schedule"),
    "a cron of six fields": ({"cron": "0 0 9 * * *"}, "invalid_schedule"),
    "an unreadable time": ({"at": "soon"}, "invalid_schedule"),
    "an unknown zone": ({"cron": "0 9 * * *", "timezone": "Mars/Olympus"}, "invalid_timezone"),
}


@pytest.mark.parametrize(("given", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_schedule_is_refused_by_its_code(given: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        plan_schedule(given)

    assert refused.value.code == code


PATCHES: dict[str, tuple[dict[str, Any], Schedule]] = {
    "the zone alone": ({"timezone": "Asia/Tokyo"}, evolve(DAILY, timezone="Asia/Tokyo", catchup="all")),
    "the cron alone": ({"cron": "1 * * * *"}, evolve(DAILY, cron="1 * * * *", catchup="all")),
    "a policy alone": ({"catchup": "none"}, evolve(DAILY, catchup="none")),
    "to a time": ({"at": LATER.isoformat()}, evolve(ONCE, catchup="all")),
    "nothing": ({}, evolve(DAILY, catchup="all")),
}


@pytest.mark.parametrize(("given", "expected"), PATCHES.values(), ids=PATCHES.keys())
def test_what_a_new_schedule_leaves_out_stays(given: dict[str, Any], expected: Schedule) -> None:
    assert plan_schedule(given, before=evolve(DAILY, catchup="all")) == expected


def test_a_change_is_merged_one_level_deep_and_what_is_left_out_stays() -> None:
    before = cue(
        payload={"a": {"b": 1}},
        delivery={"timeout_seconds": 5},
        on_failure={"email": True, "webhook": None, "pause": False},
        retry=Retry(3, (1,)),
    )

    after = changed(
        before,
        {
            "payload": {"c": 2},
            "delivery": {"outcome_deadline_seconds": 60},
            "on_failure": {"pause": True},
            "retry": {"max_attempts": 9},
            "callback": {"method": "PUT"},
            "verification": {"mode": "manual"},
            "status": "paused",
            "unknown": 1,
        },
    )

    assert after.payload == {"c": 2}
    assert after.delivery == {"timeout_seconds": 5, "outcome_deadline_seconds": 60}
    assert after.on_failure == {"email": True, "webhook": None, "pause": True}
    assert after.retry == Retry(9, (1,))
    assert after.callback == Callback("https://handler.example/", "PUT")
    assert after.verification == VerificationRules("manual")
    assert (after.name, after.schedule, after.status) == ("morning", DAILY, "active")


@pytest.mark.parametrize("name", ["delivery", "alerts", "description"])
def test_what_may_be_absent_is_cleared_with_null(name: str) -> None:
    before = evolve(cue(), delivery={"timeout_seconds": 5}, alerts={"consecutive_failures": 2}, description="x")

    assert getattr(changed(before, {name: None}), name) is None


def test_headers_are_cleared_with_null_and_replaced_otherwise() -> None:
    before = evolve(cue(), callback=Callback("https://handler.example/", "POST", {"X-A": "1"}))

    assert changed(before, {"callback": {"headers": None}}).callback.headers == {}
    assert changed(before, {"callback": {"headers": {"X-B": "2"}}}).callback.headers == {"X-B": "2"}


def test_an_empty_change_changes_nothing() -> None:
    assert changed(cue(), {}) == cue()


TURNS: dict[str, tuple[Schedule, str, Schedule, str | None, ScheduleChange]] = {
    "nothing": (DAILY, "active", DAILY, None, ScheduleChange("active", None, moves=False)),
    "active again": (DAILY, "active", DAILY, "active", ScheduleChange("active", None, moves=False)),
    "paused again": (DAILY, "paused", DAILY, "paused", ScheduleChange("paused", None, moves=False)),
    "pause": (DAILY, "active", DAILY, "paused", ScheduleChange("paused", None, moves=True)),
    "resume": (DAILY, "paused", DAILY, "active", ScheduleChange("active", NINE, moves=True)),
    "a new schedule": (ONCE, "active", DAILY, None, ScheduleChange("active", NINE, moves=True)),
    "a new schedule while paused": (ONCE, "paused", DAILY, None, ScheduleChange("paused", None, moves=True)),
    "a new schedule and pause": (ONCE, "active", DAILY, "paused", ScheduleChange("paused", None, moves=True)),
    "a new schedule and resume": (ONCE, "paused", DAILY, "active", ScheduleChange("active", NINE, moves=True)),
    "a new time revives what was completed": (
        PASSED,
        "completed",
        ONCE,
        None,
        ScheduleChange("active", LATER, moves=True),
    ),
    "a new time revives what has failed": (PASSED, "failed", ONCE, None, ScheduleChange("active", LATER, moves=True)),
    "a new time for what was completed, paused": (
        PASSED,
        "completed",
        ONCE,
        "paused",
        ScheduleChange("paused", None, moves=True),
    ),
    "what failed is set active": (DAILY, "failed", DAILY, "active", ScheduleChange("active", NINE, moves=True)),
}


@pytest.mark.parametrize(("before", "status", "after", "wanted", "expected"), TURNS.values(), ids=TURNS.keys())
def test_what_a_change_makes_of_status_and_next_run(
    before: Schedule, status: str, after: Schedule, wanted: str | None, expected: ScheduleChange
) -> None:
    old, new = cue(before, status=status), cue(after, status=status)

    assert schedule_change(old, new, wanted, fired=False, now=NOW) == expected


IMPOSSIBLE: dict[str, tuple[Schedule, str, Schedule, str | None, bool, str]] = {
    "pause what was completed": (PASSED, "completed", PASSED, "paused", True, "invalid_state"),
    "pause what has failed": (PASSED, "failed", PASSED, "paused", True, "invalid_state"),
    "set what has fired active": (PASSED, "completed", PASSED, "active", True, "invalid_schedule"),
    "resume a time that has passed": (PASSED, "paused", PASSED, "active", False, "invalid_schedule"),
    "a new time that has passed": (ONCE, "active", PASSED, None, False, "invalid_schedule"),
}


@pytest.mark.parametrize(
    ("before", "status", "after", "wanted", "fired", "code"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys()
)
def test_a_change_that_cannot_be_is_refused(
    before: Schedule, status: str, after: Schedule, wanted: str | None, *, fired: bool, code: str
) -> None:
    old, new = cue(before, status=status), cue(after, status=status)

    with pytest.raises(Refusal) as refused:
        schedule_change(old, new, wanted, fired=fired, now=NOW)
    assert refused.value.code == code


@given(
    st.sampled_from([DAILY, ONCE, PASSED]),
    st.sampled_from(["active", "paused", "completed", "failed"]),
    st.sampled_from([DAILY, ONCE, PASSED]),
    st.sampled_from([None, "active", "paused"]),
    st.booleans(),
)
def test_an_active_cue_that_moves_fires_in_the_future_and_no_other_fires_at_all(
    before: Schedule, status: str, after: Schedule, wanted: str | None, fired: bool
) -> None:
    try:
        made = schedule_change(cue(before, status=status), cue(after, status=status), wanted, fired=fired, now=NOW)
    except Refusal:
        return

    assert made.status == (wanted or made.status)
    if not made.moves:
        assert (made.status, made.next_run, before) == (status, None, after)
    elif made.status == "active":
        assert made.next_run is not None
        assert made.next_run > NOW
    else:
        assert made.next_run is None


def test_a_payload_of_a_megabyte_is_taken_and_a_byte_more_is_refused() -> None:
    frame = len('{"k": ""}')

    assert len(payload_text({"k": "x" * (PAYLOAD_LIMIT - frame)})) == PAYLOAD_LIMIT
    with pytest.raises(Refusal) as refused:
        payload_text({"k": "x" * (PAYLOAD_LIMIT - frame + 1)})
    assert refused.value.code == "invalid_payload_size"


@pytest.mark.parametrize(
    ("payload", "task"), [({"task": "brief"}, "brief"), ({"task": 5}, None), ({"task": ["a"]}, None), ({}, None)]
)
def test_a_task_is_a_text(payload: dict[str, Any], task: str | None) -> None:
    assert payload_task(payload) == task


def test_a_webhook_needs_a_url() -> None:
    with pytest.raises(Invalid, match="needs a callback URL"):
        check_transport(Cue("n", DAILY), worker_evidence=False)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("allowed", [True, False], ids=["evidence allowed", "as it is"])
def test_a_worker_s_verification_needs_the_operator_where_it_asks_for_evidence(mode: Mode, *, allowed: bool) -> None:
    worker = Cue("n", DAILY, transport="worker", verification=VerificationRules(mode))

    if allowed or mode in {Mode.NONE, Mode.MANUAL}:
        assert check_transport(worker, worker_evidence=allowed) is worker
    else:
        with pytest.raises(Refusal) as refused:
            check_transport(worker, worker_evidence=allowed)
        assert refused.value.code == "unsupported_verification_for_transport"
        assert refused.value.extra["supported_worker_modes"] == ["none", "manual"]

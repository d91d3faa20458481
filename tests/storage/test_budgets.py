"""Budgets where executions are made: never exceeded, counted with the rows, and told of once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from cueapi.domain.audit import OPERATOR
from cueapi.domain.budget import DEFAULTS
from cueapi.domain.catchup import FiringPlan, Occurrence
from cueapi.domain.execution import succeeded
from cueapi.domain.ids import new_uuid7
from cueapi.domain.outcome import Report
from cueapi.domain.verification import VerificationRules, verify
from cueapi.storage import budgets, due_cues, fires
from cueapi.storage.database import Database
from cueapi.storage.due_cues import DueCue, PollResult, fire_due
from cueapi.storage.fires import FiredExecution, ManualFire
from cueapi.storage.transitions import apply_transitions, has_alerts
from tests.storage.rows import MONTHLY, ONCE, add_cue, add_user, ago, alert_types, claim, fence_of, look_up_cue

MINUTE = timedelta(minutes=1)
DAILY = {"budget_per": "day", "budget_max_runs": 2}


async def put(database: Database, user: int, scope: str, **fields: Any) -> None:
    budget = {**DEFAULTS, "per": "day", "max_runs": None, "max_cost": None, **fields}
    await budgets.put(database, user=user, scope=scope, budget=budget, act=OPERATOR)


async def fire(database: Database, *cue_ids: str, times: int = 1) -> PollResult:
    """Fire so many times of each cue in one statement."""
    moves = []
    for cue_id in cue_ids:
        cue = await look_up_cue(database, cue_id)
        fired = tuple(Occurrence(cue["next_run"] + number * MINUTE) for number in range(times))
        following = None if cue["cron"] is None else cue["next_run"] + times * MINUTE
        moves.append(DueCue(cue_id, cue["next_run"], cue["revision"], FiringPlan(fired, None, following)))
    return await fire_due(database, moves, MONTHLY)


async def by_hand(database: Database, user: int, cue_id: str) -> FiredExecution:
    manual_fire = ManualFire(new_uuid7())
    return await fires.fire(database, cue_id=cue_id, user=user, manual_fire=manual_fire, monthly=10**9)


async def statuses(database: Database) -> list[str]:
    return [row["status"] for row in await database.fetch("select status from executions order by scheduled_for, id")]


async def use(database: Database, user: int, scope: str) -> tuple[int, float, str]:
    row = await budgets.show(database, user=user, scope=scope)
    assert row is not None
    return row.budget_used_runs, row.budget_used_cost, row.budget_state


async def test_beyond_its_budget_a_cue_misses_its_times_and_says_why(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(hours=1), **DAILY)

    result = await fire(database, cue_id, times=4)

    cue = await look_up_cue(database, cue_id)
    rows = await database.fetch("select status, error_message from executions order by scheduled_for")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
    assert [row["status"] for row in rows] == ["pending", "pending", "missed", "missed"]
    assert {row["error_message"] for row in rows[2:]} == {f"Budget of 2 runs a day is reached; next period {tomorrow}"}
    assert (cue["budget_runs"], cue["consecutive_failures"], cue["status"]) == (2, 0, "active")
    assert (result.fired, result.missed, result.alerts) == (2, 2, ["budget_reached"])
    assert await alert_types(database) == ["budget_reached"]


async def test_one_alert_warns_and_one_tells_of_the_limit_a_period(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(hours=1), budget_per="day", budget_max_runs=5)

    told = [(await fire(database, cue_id)).alerts for _ in range(7)]

    assert told == [[], [], [], ["budget_warning"], ["budget_reached"], [], []]
    rows = await database.fetch("select alert_type, severity, cue_id, message from alerts order by created_at")
    assert [(row["alert_type"], row["severity"]) for row in rows] == [
        ("budget_warning", "warning"), ("budget_reached", "critical"),
    ]  # fmt: skip
    assert {row["cue_id"] for row in rows} == {cue_id}
    assert rows[0]["message"].startswith("4 of 5 runs used; next period 2")


async def test_a_new_period_begins_with_nothing_used(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(hours=1), group_name="g", **DAILY)
    await put(database, user, "group:g", max_runs=2)
    await fire(database, cue_id, times=3)
    for table, column in (("cues", "budget_begins_at"), ("budgets", "begins_at")):
        await database.execute(f"update {table} set {column} = {column} - interval '1 day'")

    await fire(database, cue_id, times=3)

    rows = await database.fetch(
        "select subject, resolved_at is not null as over from incidents order by opened_at, subject"
    )
    assert sorted(map(tuple, rows)) == sorted([(one, over) for one in (cue_id, "group:g") for over in (True, False)])
    assert sorted(await statuses(database)) == ["missed"] * 2 + ["pending"] * 4
    assert (await look_up_cue(database, cue_id))["budget_runs"] == 2
    assert await use(database, user, "group:g") == (2, 0.0, "reached")


async def test_a_group_s_budget_and_the_account_s_let_the_earliest_through(database: Database) -> None:
    user, other = await add_user(database), await add_user(database)
    at = ago(hours=1)
    group = [await add_cue(database, user, next_run=at + n * MINUTE, group_name="g") for n in range(4)]
    own = await add_cue(database, user, next_run=at, group_name="g", budget_per="day", budget_max_runs=1)
    rest = [await add_cue(database, user, next_run=at + (10 + n) * MINUTE) for n in range(3)]
    stranger = await add_cue(database, other, next_run=at, group_name="g")
    await put(database, user, "group:g", max_runs=3)
    await put(database, user, "account", max_runs=4)

    await fire(database, *group, own, *rest, stranger)

    begun = {row["cue_id"] for row in await database.fetch("select cue_id from executions where status = 'pending'")}
    assert begun == {own, group[0], group[1], rest[0], stranger}
    assert (await use(database, user, "group:g"), await use(database, user, "account")) == (
        (3, 0.0, "reached"), (4, 0.0, "reached"),
    )  # fmt: skip
    assert (await look_up_cue(database, own))["budget_runs"] == 1


async def test_what_one_budget_refuses_uses_nothing_of_another(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(hours=1), group_name="g", **DAILY)
    for scope in ("group:g", "account"):
        await put(database, user, scope, max_runs=100)

    await fire(database, cue_id, times=6)

    assert [await use(database, user, scope) for scope in ("group:g", "account")] == [(2, 0.0, "ok")] * 2


async def test_a_budget_that_is_not_reached_pauses_nothing_and_is_not_named(database: Database) -> None:
    user, at = await add_user(database), ago(hours=1)
    three = [await add_cue(database, user, next_run=at + n * MINUTE, group_name="g") for n in range(3)]
    own = await add_cue(
        database, user, next_run=at + 5 * MINUTE, budget_per="day", budget_max_runs=2, budget_on_limit="pause"
    )
    await put(database, user, "group:g", max_runs=2, on_limit="pause")
    await put(database, user, "account", max_runs=1)

    await fire(database, *three, own, times=3)

    missed = await database.fetch("select distinct error_message from executions where status = 'missed'")
    assert [(await look_up_cue(database, one))["status"] for one in (*three, own)] == ["active"] * 4
    assert [row["error_message"].partition(" is ")[0] for row in missed] == ["Budget of 1 run a day"]
    assert [await use(database, user, scope) for scope in ("group:g", "account")] == [
        (1, 0.0, "ok"), (1, 0.0, "reached"),
    ]  # fmt: skip


async def test_16_pollers_with_1000_due_cues_and_a_group_budget_of_100_make_exactly_100(database: Database) -> None:
    user = await add_user(database)
    await database.execute(
        "insert into cues (id, user_id, name, group_name, status, transport, schedule_type, cron, timezone, catchup,"
        "                  overlap, callback_url, callback_method, callback_host, payload, max_attempts,"
        "                  backoff_minutes, verification, next_run)"
        " select 'cue_' || lpad(n::text, 12, '0'), $1, 'n' || n, 'g', 'active', 'webhook', 'recurring', '* * * * *',"
        "        'UTC', 'latest', 'allow', 'http://127.0.0.1:9/', 'POST', '127.0.0.1:9', '{}', 4, '{1}', 'none',"
        "        now() - interval '1 minute' from generate_series(1, 1000) n",
        user,
    )
    await put(database, user, "group:g", max_runs=100)

    async def poll() -> None:
        # Smaller batches than a daemon's: the pollers are to meet.
        while rows := await due_cues.due(database, 40):
            plans = [
                DueCue(row.id, row.next_run, row.revision, FiringPlan((Occurrence(row.next_run),), None, ago(hours=-1)))
                for row in rows
            ]
            await fire_due(database, plans, MONTHLY)

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(poll)

    row = await database.fetch_one(
        "select count(*) filter (where status = 'pending') as begun,"
        "       count(*) filter (where status = 'missed') as missed from executions"
    )
    assert (row["begun"], row["missed"]) == (100, 900)
    assert await use(database, user, "group:g") == (100, 0.0, "reached")
    assert (await alert_types(database)).count("budget_reached") == 1


async def test_racers_by_hand_never_exceed_a_budget_either(database: Database) -> None:
    user = await add_user(database)
    cues = [await add_cue(database, user, group_name="g") for _ in range(4)]
    await put(database, user, "group:g", max_runs=5)
    made = []

    async def race(cue_id: str) -> None:
        made.append((await by_hand(database, user, cue_id)).id)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(24):
                nursery.start_soon(race, cues[number % 4])

    assert len([one for one in made if one is not None]) == 5
    assert len(await statuses(database)) == 5


async def test_by_hand_it_is_said_when_the_next_period_begins(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, budget_per="month", budget_max_runs=1, timezone="Asia/Tokyo")

    first, second = [await by_hand(database, user, cue_id) for _ in range(2)]

    assert (first.id is not None, first.alerts, second.id, second.known) == (True, ["budget_reached"], None, True)
    assert second.budget_reached is not None
    assert second.budget_reached.startswith("Budget of 1 run a month is reached; next period ")
    # Midnight in Tokyo.
    assert second.budget_ends is not None
    assert second.budget_ends.hour == 15
    assert (await look_up_cue(database, cue_id))["fired_count"] == 1


async def test_a_budget_that_pauses_says_so_and_who_did_it(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(hours=1), **DAILY, budget_on_limit="pause")
    once = await add_cue(database, user, **ONCE, next_run=ago(hours=1), group_name="g")
    other = await add_cue(database, user, next_run=ago(hours=1), group_name="g")
    await put(database, user, "group:g", max_runs=1, on_limit="pause")
    await by_hand(database, user, other)

    await fire(database, cue_id, times=2)
    before = (await look_up_cue(database, cue_id))["status"]
    await fire(database, cue_id, once, other)

    cues = [await look_up_cue(database, one) for one in (cue_id, once, other)]
    assert before == "active"
    assert [(cue["status"], cue["next_run"], cue["consecutive_failures"]) for cue in cues] == [
        ("paused", None, 0), ("failed", None, 0), ("paused", None, 0),
    ]  # fmt: skip
    assert "Budget of 2 runs a day is reached" in cues[0]["pause_reason"]
    rows = await database.fetch("select subject_id, actor_kind, reason from audit where action = 'cue.paused'")
    assert {(row["subject_id"], row["actor_kind"]) for row in rows} == {(cue_id, "system"), (other, "system")}
    assert all("Budget of" in row["reason"] for row in rows)


async def test_cost_is_added_with_the_outcome_and_stops_what_comes_after(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(
        database, user, next_run=ago(hours=1), group_name="g", budget_per="week", budget_max_cost="0.3"
    )
    for scope in ("account", "group:g"):
        await put(database, user, scope, max_cost=100.0)
    await fire(database, cue_id, times=3)

    told = []
    for delivery in await claim(database):
        report = Report(success=True, metadata={"cost": 0.1})
        written = await apply_transitions(
            database,
            [succeeded(await fence_of(database, delivery.execution_id), report, verify(VerificationRules(), report))],
        )
        told.append((written.alerts, has_alerts(written)))
    await fire(database, cue_id)

    cue = await look_up_cue(database, cue_id)
    last = await database.fetch_one("select * from executions order by scheduled_for desc limit 1")
    # In decimals: three tenths are 0.3.
    assert str(cue["budget_cost"]) == "0.3"
    assert last["status"] == "missed"
    assert last["error_message"].startswith("Budget of cost 0.3 a week is reached; next period ")
    assert [await use(database, user, scope) for scope in ("account", "group:g")] == [(3, 0.3, "ok")] * 2
    assert await alert_types(database) == ["budget_reached"]
    # The notifier is woken, and the metric of alerts counts it.
    assert told == [((), False), ((), False), (("budget_reached",), True)]


@pytest.mark.parametrize("cost", [-1, True, "3", None, [1]], ids=str)
async def test_what_is_no_cost_costs_nothing(database: Database, cost: object) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, next_run=ago(hours=1), budget_per="day", budget_max_cost="1")
    await fire(database, cue_id)
    (delivery,) = await claim(database)

    report = Report(success=True, metadata={"cost": cost})
    await apply_transitions(
        database,
        [succeeded(await fence_of(database, delivery.execution_id), report, verify(VerificationRules(), report))],
    )

    assert (await look_up_cue(database, cue_id))["budget_cost"] == 0


PERIODS = {
    "an hour": ("hour", "UTC", "2026-03-04T05:00:00Z", "2026-03-04T06:00:00Z"),
    "a day": ("day", "America/Los_Angeles", "2026-03-03T08:00:00Z", "2026-03-04T08:00:00Z"),
    "a week, which begins on Monday": ("week", "UTC", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"),
    "a month with daylight saving in it": (
        "month", "Europe/Berlin", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z",
    ),
    "a zone that is not known": ("day", "Nowhere/Land", "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z"),
}  # fmt: skip


@pytest.mark.parametrize(("per", "zone", "begins", "ends"), PERIODS.values(), ids=PERIODS)
async def test_a_period_follows_the_calendar_of_its_zone(
    database: Database, per: str, zone: str, begins: str, ends: str
) -> None:
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

    row = await database.fetch_one(
        "select budget_begin($1, $2, $3) as begins, budget_end($1, $2, $3) as ends", per, zone, moment
    )

    assert (row["begins"], row["ends"]) == (datetime.fromisoformat(begins), datetime.fromisoformat(ends))

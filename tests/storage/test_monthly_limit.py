"""The month's limit: a day of grace, then executions that end at once; and one alert a day."""

from uuid import UUID

import pytest

from cueapi.domain.catchup import FiringPlan, Occurrence
from cueapi.domain.ids import new_uuid7
from cueapi.storage import fires
from cueapi.storage.database import Database, Row
from cueapi.storage.due_cues import DueCue, fire_due
from cueapi.storage.fires import ManualFire
from tests.storage.rows import (
    MONTHLY,
    ONCE,
    add_cue,
    add_user,
    ago,
    alert_types,
    claim,
    look_up,
    look_up_cue,
    queued,
)

DUE = ago(seconds=5)


async def spend(database: Database, user: int, executions: int) -> None:
    """So many executions have begun this month."""
    await database.execute(
        "insert into usage (user_id, month, executions)"
        " values ($1, date_trunc('month', now() at time zone 'utc')::date, $2)",
        user,
        executions,
    )


async def end_grace(database: Database) -> None:
    await database.execute("update users set grace_until = now() - interval '1 second' where grace_until is not null")


async def fire_by_hand(database: Database, cue_id: str, user: int, monthly: int = 300) -> UUID:
    made = await fires.fire(database, cue_id=cue_id, user=user, manual_fire=ManualFire(new_uuid7()), monthly=monthly)
    assert made is not None
    return UUID(str(made["id"]))


async def fire_on_time(database: Database, cue_id: str) -> Row:
    """The execution of a turn of a due cue."""
    row = await look_up_cue(database, cue_id)
    firings = FiringPlan((Occurrence(DUE),), None, None if row["schedule_type"] == "once" else ago(seconds=-60))
    await fire_due(database, [DueCue(cue_id, row["next_run"], row["revision"], firings)], MONTHLY)
    (made,) = await database.fetch("select * from executions where cue_id = $1", cue_id)
    return made


async def test_below_the_limit_nothing_is_said_and_at_it_a_day_of_grace_begins(database: Database) -> None:
    user = await add_user(database, plan="free")
    cue_id = await add_cue(database, user)
    await spend(database, user, 299)
    await fire_by_hand(database, cue_id, user)
    before = await database.fetch("select grace_until from users")
    await claim(database)

    first = await fire_by_hand(database, cue_id, user)

    (row,) = await database.fetch("select grace_until - now() as grace from users")
    assert before[0]["grace_until"] is None
    assert (await look_up(database, first))["status"] == "pending"
    assert 86_000 < row["grace"].total_seconds() <= 86_400
    assert await alert_types(database) == []


async def test_after_the_grace_an_execution_ends_at_once_and_is_no_failure_in_a_row(database: Database) -> None:
    user = await add_user(database, plan="free", alert_webhook_url="http://127.0.0.1:9/", alert_webhook_secret="a" * 64)
    cue_id = await add_cue(
        database, user, next_run=DUE, on_failure_webhook="http://127.0.0.1:9/", on_failure_pause=True
    )
    await spend(database, user, 300)
    await fire_by_hand(database, cue_id, user)
    await end_grace(database)

    manual_fire = await look_up(database, await fire_by_hand(database, cue_id, user))
    await database.execute("delete from executions")
    on_time = await fire_on_time(database, cue_id)

    for row in (manual_fire, on_time):
        assert (row["status"], row["error_message"]) == ("failed", "Monthly execution limit reached")
        assert row["finished_at"] is not None
    cue = await look_up_cue(database, cue_id)
    assert (cue["status"], cue["consecutive_failures"]) == ("active", 0)
    assert (cue["fired_count"], cue["run_count"]) == (3, 2)
    assert len(await queued(database)) == 1
    assert await alert_types(database) == ["execution_failed"]
    assert [row["kind"] for row in await database.fetch("select kind from notifications")] == ["alert_webhook"]


async def test_the_alert_comes_once_a_day(database: Database) -> None:
    user = await add_user(database, plan="free")
    cue_id = await add_cue(database, user)
    await spend(database, user, 300)
    await fire_by_hand(database, cue_id, user)
    await end_grace(database)

    for _ in range(3):
        await fire_by_hand(database, cue_id, user)
    await database.execute("update alert_gates set raised_at = raised_at - interval '23 hours'")
    await fire_by_hand(database, cue_id, user)
    within = await alert_types(database)
    await database.execute("update alert_gates set raised_at = raised_at - interval '1 hour'")
    await fire_by_hand(database, cue_id, user)

    assert within == ["execution_failed"]
    assert await alert_types(database) == ["execution_failed"] * 2


async def test_a_one_time_cue_that_meets_a_spent_month_has_failed(database: Database) -> None:
    user = await add_user(database, plan="free", grace_month=ago().date().replace(day=1), grace_until=ago(hours=1))
    cue_id = await add_cue(database, user, next_run=DUE, schedule_at=DUE, **ONCE)
    await spend(database, user, 300)

    made = await fire_on_time(database, cue_id)

    cue = await look_up_cue(database, cue_id)
    (row,) = await database.fetch("select live_cues from users")
    assert (made["status"], cue["status"], cue["next_run"], row["live_cues"]) == ("failed", "failed", None, 0)


async def test_a_new_month_has_room_again_and_a_grace_of_its_own(database: Database) -> None:
    user = await add_user(
        database, plan="free", grace_month=ago(days=40).date().replace(day=1), grace_until=ago(days=30)
    )
    cue_id = await add_cue(database, user)

    roomy = await look_up(database, await fire_by_hand(database, cue_id, user))
    await spend(database, user, 300)
    graceful = await look_up(database, await fire_by_hand(database, cue_id, user))

    assert (roomy["status"], graceful["status"]) == ("pending", "pending")


@pytest.mark.parametrize(("own", "status"), [(500, "pending"), (10, "failed")], ids=["more", "less"])
async def test_a_users_own_limit_comes_before_the_plans(database: Database, own: int, status: str) -> None:
    month = ago().date().replace(day=1)
    user = await add_user(
        database, plan="free", monthly_execution_limit=own, grace_month=month, grace_until=ago(hours=1)
    )
    cue_id = await add_cue(database, user, next_run=DUE)
    await spend(database, user, 400)

    assert (await fire_on_time(database, cue_id))["status"] == status

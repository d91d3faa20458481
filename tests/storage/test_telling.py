"""Of what mails tell, and reminders: nothing that opens is silenced by what others have to say."""

import json
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import trio

from cueapi.domain.audit import SYSTEM
from cueapi.domain.incident import IncidentKind
from cueapi.storage import incidents
from cueapi.storage.database import Database
from cueapi.storage.quarantine import quarantine_cue, quarantine_execution
from tests.storage.rows import add_cue, add_execution, add_user, ago, notified, wait_for_locks
from tests.storage.test_incidents import BAD, ONE_TRY, settle


async def flap(database: Database, user: int) -> str:
    """A cue whose failures use up the mails of the hour about failures."""
    cue_id = await add_cue(database, user, name="flapping", **ONE_TRY)
    for _ in range(12):
        await settle(database, cue_id, BAD)
    assert await notified(database) == ["failure_mail"] * 10
    return cue_id


async def mailed_incidents(database: Database) -> list[tuple[str, str]]:
    """Kind and cue of each incident whose begin a mail of its own tells."""
    rows = await database.fetch("select content from notifications where kind = 'incident_mail' order by id")
    told = [json.loads(row["content"])["incident"] for row in rows]
    return [(one["kind"], one["cue_id"]) for one in told]


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_cue_that_begins_to_fail_is_told_of_when_another_has_used_up_the_mails(
    database: Database, failures: int
) -> None:
    user = await add_user(database)
    await flap(database, user)
    other = await add_cue(database, user, **ONE_TRY)

    await settle(database, other, *[BAD] * failures)
    await settle(database, other, BAD)

    assert await mailed_incidents(database) == [(IncidentKind.FAILING, other)]


async def test_so_is_what_is_set_aside(database: Database) -> None:
    user = await add_user(database)
    await flap(database, user)
    cue_id, other = [await add_cue(database, user) for _ in range(2)]

    await quarantine_cue(database, cue_id=cue_id, revision=0, reason="no such minute")
    for _ in range(2):
        await quarantine_execution(database, await add_execution(database, other), reason="cannot be read")

    assert await mailed_incidents(database) == [(IncidentKind.SET_ASIDE, one) for one in (cue_id, other)]


async def test_a_cue_that_wants_no_mails_has_none_when_they_are_used_up_either(database: Database) -> None:
    user = await add_user(database)
    await flap(database, user)
    quiet = await add_cue(database, user, on_failure_email=False, **ONE_TRY)
    muted = await add_cue(database, user, **ONE_TRY)
    await database.execute("insert into mutes values ($1, 'cue', $2)", user, muted)

    for cue_id in (quiet, muted):
        await settle(database, cue_id, BAD)

    assert await mailed_incidents(database) == []


async def reminding(database: Database, **columns: object) -> dict[str, Any]:
    """Who looks after the one incident of a new cue that asks for reminders, and which it is."""
    user = await add_user(database)
    cue_id = await add_cue(database, user, **{"alert_renotify_minutes": 60, **ONE_TRY, **columns})
    await settle(database, cue_id, BAD)
    (row,) = await database.fetch("select id from incidents where cue_id = $1", cue_id)
    return {"incident": row["id"], "user": user, "act": SYSTEM.text()}


async def reminded_at(database: Database, one: dict[str, Any]) -> datetime | None:
    """When it is told of again."""
    (row,) = await database.fetch("select remind_at from incidents where id = $1", one["incident"])
    return cast("datetime | None", row["remind_at"])


async def test_what_was_acknowledged_is_not_told_of_again_after_a_snooze(database: Database) -> None:
    one = await reminding(database)

    await incidents.acknowledge(database, **one, note=None)
    await incidents.snooze(database, **one, until=ago(minutes=-10))

    assert await reminded_at(database, one) is None


async def test_a_snooze_puts_a_reminder_off_and_asks_for_none(database: Database) -> None:
    asked, unasked = await reminding(database), await reminding(database, alert_renotify_minutes=None)
    soon, later = ago(minutes=-10), ago(hours=-2)

    first = await reminded_at(database, asked)
    await incidents.snooze(database, **asked, until=soon)
    second = await reminded_at(database, asked)
    await incidents.snooze(database, **asked, until=later)
    await incidents.snooze(database, **unasked, until=soon)

    assert first == second
    assert (await reminded_at(database, asked), await reminded_at(database, unasked)) == (later, None)


async def test_incidents_of_no_cue_are_snoozed_without_a_reminder(database: Database) -> None:
    user = await add_user(database)
    await database.execute("select open_incident($1, 'target_down', 'h', 'h', 'h is down', 'critical')", user)
    (row,) = await database.fetch("select id from incidents")
    one = {"incident": row["id"], "user": user, "act": SYSTEM.text()}

    await incidents.snooze(database, **one, until=ago(minutes=-10))

    assert await reminded_at(database, one) is None


async def test_what_no_cue_asks_for_holds_no_reminder_of_others_back(database: Database) -> None:
    one, other = await reminding(database), await add_user(database)
    await database.execute(
        "insert into incidents (id, user_id, kind, subject, name, severity, title, remind_at)"
        " select gen_random_uuid(), $1, 'target_down', n::text, 'h', 'critical', 'h is down', now() - interval '1 day'"
        "  from generate_series(1, 600) n",
        other,
    )
    await database.execute(
        "update incidents set remind_at = now() - interval '1 second' where id = $1", one["incident"]
    )

    told = [await incidents.tend(database) for _ in range(3)]

    assert told == [[], [one["user"]], []]
    (left,) = await database.fetch("select count(*) from incidents where remind_at <= now()")
    assert left["count"] == 0


@pytest.mark.parametrize("seen", [None, "acknowledged", "snoozed"])
async def test_reminders_that_a_cue_asks_for_later_come_of_what_is_open(database: Database, seen: str | None) -> None:
    one, later = await reminding(database, alert_renotify_minutes=None), ago(hours=-2)
    if seen == "acknowledged":
        await incidents.acknowledge(database, **one, note=None)
    elif seen == "snoozed":
        await incidents.snooze(database, **one, until=later)

    found = []
    for minutes in (5, 60, 0, None):
        (row,) = await database.fetch("update cues set alert_renotify_minutes = $1 returning now() as now", minutes)
        found.append(await reminded_at(database, one))
        if minutes and seen is None:
            assert found[-1] == row["now"] + timedelta(minutes=minutes)

    if seen is not None:
        assert found == [None if seen == "acknowledged" else later] * 2 + [None] * 2
    assert found[2:] == [None] * 2


@pytest.mark.parametrize("what", ["failure", "quarantine"])
async def test_a_change_of_the_reminders_and_what_opens_at_once_do_not_miss_each_other(
    database: Database, what: str
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, **ONE_TRY)

    async def open_one() -> None:
        if what == "failure":
            await settle(database, cue_id, BAD)
        else:
            await quarantine_execution(database, await add_execution(database, cue_id), reason="cannot be read")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, database.transaction() as tx:
            await tx.execute("update cues set alert_renotify_minutes = 5 where id = $1", cue_id)
            nursery.start_soon(open_one)
            await wait_for_locks(database)

    (row,) = await database.fetch("select remind_at from incidents")
    assert row["remind_at"] is not None

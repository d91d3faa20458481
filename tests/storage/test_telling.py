"""Of what mails tell, and reminders: nothing that opens is silenced by what others have to say."""

import json

import pytest

from cueapi.domain.incident import IncidentKind
from cueapi.storage.database import Database
from cueapi.storage.quarantine import quarantine_cue, quarantine_execution
from tests.storage.rows import add_cue, add_execution, add_user, notified
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

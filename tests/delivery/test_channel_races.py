"""What is to be told on a channel while another session admits, or deletes, at the same moment."""

import json

import pytest
import trio

from cueapi.delivery.quarantine import Quarantine
from cueapi.domain.attempt import evaluate_attempt
from cueapi.storage import channels
from cueapi.storage.database import Database
from cueapi.storage.session import prepare
from cueapi.trio_asyncpg.pool import open_pool
from tests.delivery.test_channels import add_channel
from tests.storage.rows import add_cue, add_execution, add_user, ago, claim, look_up, wait_for_locks
from tests.storage.test_incidents import BAD, GOOD, incidents, settle

OPENING = "select open_incident($1, 'target_down', $2, $2, $2, 'critical')"


@pytest.mark.parametrize("events", ["{opened,resolved,reminder,digest}", "{opened,resolved}"])
async def test_a_message_that_comes_to_wait_in_the_middle_of_an_admission_is_told_by_the_next(
    database: Database, database_url: str, events: str
) -> None:
    user = await add_user(database, email_verified_at=None)
    await add_channel(database, user)
    await database.execute("update channels set events = $1::text::notice_event[]", events)
    await database.execute(OPENING, user, "earlier")
    await channels.admit(database)
    await database.execute(OPENING, user, "first")

    async with open_pool(database_url, size=2, init=prepare) as pool, trio.open_nursery() as nursery:
        other = Database(pool)
        async with other.transaction() as tx:
            # The admission has found what waits, and is held up where it counts it.
            await tx.execute("select from channel_gates for update")
            nursery.start_soon(channels.admit, database)
            await wait_for_locks(other)
            await other.execute(OPENING, user, "second")
    before = await waiting(database)
    await channels.admit(database)

    assert before == [("opened", False, "earlier"), ("opened", False, "first"), ("opened", True, "second")]
    assert await waiting(database) == [(event, False, title) for event, _, title in before]


async def waiting(database: Database) -> list[tuple[str, bool, str]]:
    """The messages for channels: of what, whether they are held back, and what they tell."""
    rows = await database.fetch(
        "select event, held, content from notifications where channel_id is not null order by id"
    )
    return [(row["event"], row["held"], json.loads(row["content"])["incident"]["title"]) for row in rows]


async def test_a_result_is_stored_as_it_is_while_a_channel_that_would_be_told_is_deleted(
    database: Database, database_url: str
) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, max_attempts=1)
    await settle(database, cue_id, BAD)
    await add_channel(database, user)
    execution = await add_execution(database, cue_id)
    (delivery,) = await claim(database)
    success = evaluate_attempt(delivery, GOOD, duration=0.1, now=ago())

    async with open_pool(database_url, size=2, init=prepare) as pool, trio.open_nursery() as nursery:
        other = Database(pool)
        async with other.transaction() as tx:
            await tx.execute("delete from channels")
            nursery.start_soon(Quarantine(database).apply_transitions, [success])
            await wait_for_locks(other)

    (incident,) = await incidents(database)
    assert (await look_up(database, execution))["status"] == "success"
    assert incident["resolved_by_execution_id"] == execution

"""Rows by the hundred thousand: cues that are due some other day, and a history of executions."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from cueapi.daemon import resources
from cueapi.storage.database import Database
from cueapi.storage.schema import migrate
from tests.benchmarks.scene import open_database
from tests.storage.own_postgres import OwnPostgres

PORTION = 50_000
"""Rows a statement: it must be done before the product's patience with a statement ends."""

# $1 user, $2 and $3 the numbers of the first and the last; the first is due in a day.
CUES = """
insert into cues (id, user_id, name, status, transport, schedule_type, cron, timezone, catchup, overlap, callback_url,
                  callback_method, callback_host, payload, task, max_attempts, backoff_minutes,
                  verification, next_run)
select 'cue_' || lpad($1::bigint::text, 3, '0') || lpad(number::text, 9, '0'), $1, 'cue ' || number, 'active',
       'webhook', 'recurring', '0 9 * * *', 'UTC', 'latest', 'allow', 'http://127.0.0.1:9/run', 'POST',
       '127.0.0.1:9', '{"task": "daily_brief", "limit": 10}', 'daily_brief', 4, '{1,5,15}',
       'none',
       now() + interval '1 day' + number * interval '1 second'
  from generate_series($2::int, $3::int) as number
"""

# Likewise, delivered each with an outcome, 8 seconds apart, in turns of $4 cues; $5 how many there will be.
EXECUTIONS = """
insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, attempts,
                        started_at, last_attempt_at, delivered_at, finished_at, http_status, payload, task,
                        outcome_attempt, outcome_success, outcome_recorded_at, outcome_state, created_at)
select uuidv7(at - now()), 'cue_' || lpad($1::bigint::text, 3, '0') || lpad((number % $4::int)::text, 9, '0'), $1,
       'webhook', 'scheduled', at, 'success', at, 1, at, at, at, at, 200, '{"task": "daily_brief", "limit": 10}',
       'daily_brief', 1, true, at, 'reported_success', at
  from generate_series($2::int, $3::int) as number,
       lateral (select now() - ($5::int - number) * interval '8 seconds' as at) moment
"""


@asynccontextmanager
async def open_storage(server: OwnPostgres) -> AsyncIterator[Database]:
    """A new database with the product's schema, reached as the daemon reaches it. There is no daemon."""
    async with open_database(server) as url, resources.open_database(url, size=2) as database:
        await migrate(database)
        yield database


async def add_crowd(database: Database, user: int, count: int) -> None:
    """So many active cues of *user*, none of them due today. Nobody is told."""
    async with database.transaction() as tx:
        # It counts the user's cues one by one, which takes as long as their square.
        await tx.execute("alter table cues disable trigger user")
        for first, last in _portions(count):
            await tx.execute(CUES, user, first, last)
        await tx.execute("alter table cues enable trigger user")
        await tx.execute("update users set live_cues = live_cues + $2 where id = $1", user, count)
    await database.execute("analyze")


async def add_history(database: Database, user: int, count: int, cues: int) -> None:
    """So many executions of the first *cues* of the user's crowd, the newest of now."""
    for first, last in _portions(count):
        await database.execute(EXECUTIONS, user, first, last, cues, count)
    await database.execute("analyze")


def _portions(count: int) -> Iterator[tuple[int, int]]:
    for first in range(0, count, PORTION):
        yield first, min(first + PORTION, count) - 1

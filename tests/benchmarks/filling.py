"""Rows to work on, put into the database behind the daemon's back, and the word that tells the daemon of them."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import trio
from attrs import frozen

from cueapi.storage.notify import notify
from tests.benchmarks.scene import PATIENCE, Scene

NEVER = datetime(2200, 1, 1, tzinfo=UTC)
NOBODY = 0
"""The number of no daemon: every one listens."""

# $1 user, $2 how many, $3 the first one's time, $4 seconds from one to the next, $5 transport, $6 URL, $7 host
CUES = """
insert into cues (id, user_id, name, status, transport, schedule_type, schedule_at, next_run, timezone, catchup,
                  overlap, callback_url, callback_method, callback_host, payload, task, max_attempts,
                  backoff_minutes, verification)
select 'cue_' || substr(md5(random()::text), 1, 12), $1, 'cue ' || uuidv7(), 'active', $5, 'once', at, at, 'UTC',
       'latest', 'allow', $6, 'POST', $7, '{"task": "daily_brief", "limit": 10}', 'daily_brief', 4,
       '{1,5,15}', 'none'
  from generate_series(0, $2::int - 1) as number,
       lateral (select $3::timestamptz + number * $4::float8 * interval '1 second' as at) moment
"""


@frozen
class Batch:
    """So many one-time cues from *first* on, *step* seconds apart; webhooks to *url*, worker cues without one."""

    count: int
    first: datetime
    step: float = 0.0
    url: str | None = None


async def add_cues(scene: Scene, batch: Batch) -> None:
    """Make *batch*, and wake the poller for its first."""
    transport, host = ("worker", None) if batch.url is None else ("webhook", urlsplit(batch.url).netloc)
    await scene.database.execute(CUES, scene.user, batch.count, batch.first, batch.step, transport, batch.url, host)
    await notify(scene.database, f"{NOBODY} cue:{batch.first.timestamp()}")


# $1 user, $2 how many executions of each cue, due now.
QUEUE = """
with made as (
    insert into executions (id, cue_id, user_id, transport, triggered_by, scheduled_for, status, ready_at, payload,
                            task)
    select uuidv7(), id, user_id, transport, 'manual_fire', now(), 'pending', now(), payload, task
      from cues, generate_series(1, $2::int)
     where user_id = $1
 returning id, cue_id, user_id, transport, ready_at
)
insert into outbox (execution_id, cue_id, user_id, host, ready_at)
select m.id, m.cue_id, m.user_id, c.callback_host, m.ready_at
  from made m
  join cues c on c.id = m.cue_id
 where m.transport = 'webhook'
"""


async def queue_executions(scene: Scene, each: int = 1) -> None:
    """Have so many executions of *each* cue wait, for their delivery or for a worker. Nobody is told."""
    await scene.database.execute(QUEUE, scene.user, each)


async def deliver_all(scene: Scene) -> float:
    """Seconds from the word to the daemon until the last result of what waited was written down."""
    (row,) = await scene.database.fetch("select clock_timestamp() as now")
    await notify(scene.database, f"{NOBODY} delivery")
    await outbox_empty(scene)
    (last,) = await scene.database.fetch("select max(updated_at) as at from executions")
    return float((last["at"] - row["now"]).total_seconds())


async def outbox_empty(scene: Scene) -> None:
    """Return when nothing waits for its delivery, or for its result to be written."""
    with trio.fail_after(PATIENCE):
        while await scene.database.fetch("select from outbox limit 1"):
            await trio.sleep(0.05)


async def moment(scene: Scene, seconds: float) -> datetime:
    """So many *seconds* from now, by PostgreSQL's clock."""
    (row,) = await scene.database.fetch("select clock_timestamp() + $1::float8 * interval '1 second' as at", seconds)
    at: datetime = row["at"]
    return at

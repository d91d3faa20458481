"""What the poll reads and writes: due cues become executions and outbox rows, a batch a statement."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from attrs import frozen

from cueapi.domain.catchup import FiringPlan
from cueapi.domain.ids import new_uuid7
from cueapi.storage.database import Executor, Row, fetch_value
from cueapi.storage.statements import load


class DueCueRow(Row):
    """A cue whose time has come: what its firings are computed from, and what the poll is fenced by."""

    id: str
    next_run: datetime
    revision: int
    cron: str | None
    timezone: str
    catchup: str
    overlap: str
    now: datetime
    window_multiplier: int | None


# PostgreSQL's now() decides what is due.
DUE = """
select id, next_run, revision, cron, timezone, catchup, overlap, clock_timestamp() as now,
       alert_missed_window_multiplier as window_multiplier
  from cues
 where next_run <= now()
   and status = 'active'
   and deleted_at is null
 order by next_run
 limit $1
"""


async def due(db: Executor, limit: int) -> list[DueCueRow]:
    """The cues whose time has come, the latest ones last."""
    return await db.fetch(DUE, limit, row=DueCueRow)


@frozen
class DueCue:
    """
    What a poll found of a cue, and what it makes of it.

    *late*: its user wants an alert about the delay. *next_local* is what the clock of its zone shows at the next run.
    """

    cue_id: str
    seen: datetime
    revision: int
    firings: FiringPlan
    late: bool = False
    next_local: datetime | None = None


class PollResult(Row):
    """What a poll has moved: cues, executions by kind, the types of alerts, whose, and whose workers have work."""

    held: int
    alerts: list[str]
    fired: int
    missed: int
    workers: list[int] | None
    users: list[int] | None


class DueCues(NamedTuple):
    """The parameters of a poll, each of them JSON: cues, their firings, and the executions a month of each plan."""

    due_cues: str
    firings: str
    monthly: str


FIRE_DUE = load("fire_due", DueCues._fields)


async def fire_due(db: Executor, due_cues: Iterable[DueCue], monthly: Mapping[str, int]) -> PollResult:
    """
    Fire what still stands as it was read.

    *monthly* is how many executions each plan has in a month.
    """
    moves, firings = [], []
    for due_cue in due_cues:
        plan = due_cue.firings
        moves.append(
            {
                "cue": due_cue.cue_id,
                "seen": due_cue.seen.isoformat(),
                "revision": due_cue.revision,
                "next": plan.next_run and plan.next_run.isoformat(),
                "local": due_cue.next_local and due_cue.next_local.isoformat(),
                "late": due_cue.late,
            }
        )
        for firing, missed in [(plan.missed, True), *((firing, False) for firing in plan.fire)]:
            if firing is not None:
                firings.append(
                    {
                        "id": str(new_uuid7()),
                        "cue": due_cue.cue_id,
                        "scheduled_for": firing.scheduled_for.isoformat(),
                        "missed_runs": firing.missed_runs,
                        "missed": missed,
                    }
                )
    parameters = DueCues(json.dumps(moves), json.dumps(firings), json.dumps(dict(monthly)))
    result = await db.fetch_one(FIRE_DUE, *parameters, row=PollResult)
    assert result is not None
    return result


# Not by `min`: PostgreSQL finds the least value of a domain by no index.
AHEAD = """
select extract(epoch from (select next_run from cues where status = 'active' and next_run is not null
                            order by next_run limit 1)
                          - clock_timestamp())::float8 as next_due
"""


async def ahead(db: Executor) -> float | None:
    """In how many seconds the next cue is due; None where none is."""
    return await fetch_value(db, AHEAD, kind=float)


class ReminderRow(Row):
    """In how many seconds something comes due; with a user where workers can claim it then."""

    due_in: float
    user_id: int | None


# Executions of workers also just after their time: it may be what the poll was woken for.
REMINDERS = """
select extract(epoch from ready_at - clock_timestamp())::float8 as due_in, null::bigint as user_id
  from (select distinct ready_at
          from outbox
         where claimed_by is null
           and waits_until is null
           and ready_at > now()
           and ready_at <= now() + $1::float8 * interval '1 second'
         order by ready_at
         limit 1000) deliveries
 union all
select extract(epoch from ready_at - clock_timestamp())::float8, user_id
  from (select distinct ready_at, user_id
          from executions
         where transport = 'worker'
           and status in ('pending', 'retrying')
           and claim is null
           and ready_at > now() - interval '1 second'
           and ready_at <= now() + $1::float8 * interval '1 second'
         order by ready_at
         limit 1000) work
"""


async def reminders(db: Executor, within: float) -> list[tuple[float, int | None]]:
    """
    In how many seconds what waits comes due, of what does *within* so many.

    Deliveries, and with the user what workers can claim then.
    """
    return [(row.due_in, row.user_id) for row in await db.fetch(REMINDERS, within, row=ReminderRow)]

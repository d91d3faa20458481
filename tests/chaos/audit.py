"""The audit: what was promised, held against what PostgreSQL and the receiver have seen."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain

import trio
from attrs import frozen

from cueapi.storage.database import Database, Row
from tests.chaos.ledger import Ledger, Try
from tests.receiver import Receiver
from tests.storage.recounting import differences

SETTLED_WITHIN = 120.0
"""Seconds in which everything ends, once nothing is broken any more: siblings and the recorder pause for 15 at most."""

MINUTE = timedelta(minutes=1)
LATE = timedelta(seconds=5)
"""A minute that was so young when its cue was paused may have come too late."""

OPEN = """
with owner as (select id from users where email = $1)
select format('execution %s is %s', e.id, e.status) as what
  from executions e where e.user_id in (select id from owner) and e.finished_at is null
 union all
select format('delivery of %s waits, held by daemon %s until %s', o.execution_id, o.claimed_by, o.lease_until)
  from outbox o where o.user_id in (select id from owner)
 union all
select format('%s is still to come at %s', c.id, c.next_run)
  from cues c where c.user_id in (select id from owner)
   and (c.next_run <= now() or c.schedule_type = 'once' and c.next_run is not null)
"""


async def settled(database: Database, ledger: Ledger, within: float = SETTLED_WITHIN) -> None:
    """Return as soon as everything has ended that will; fails after *within* seconds, and tells of what has not."""
    left: list[Row] = []
    with trio.move_on_after(within):
        while left := await database.fetch(OPEN, ledger.email):
            await trio.sleep(0.05)
    assert not left, [row["what"] for row in left[:10]]


@frozen
class Found:
    """What there is of one account."""

    executions: dict[str, Row]
    cues: dict[str, Row]
    arrivals: Counter[Try]
    logged: Counter[str]
    counted: int
    open: list[str]

    def scheduled(self, cue_id: str) -> list[datetime]:
        """The times for which a cue was fired by its schedule."""
        rows = self.executions.values()
        return [row["scheduled_for"] for row in rows if (row["cue_id"], row["triggered_by"]) == (cue_id, "scheduled")]


async def audit(database: Database, receiver: Receiver, ledger: Ledger) -> list[str]:
    """Each promise that was broken, as a sentence."""
    found = await _look(database, receiver, ledger)
    checks = (_not_as_promised, _never_fired, _never_asked_for, _never_seen, _seen_too_often, _miscounted)
    return [*found.open, *await differences(database), *chain.from_iterable(check(found, ledger) for check in checks)]


async def _look(database: Database, receiver: Receiver, ledger: Ledger) -> Found:
    (user,) = await database.fetch("select id from users where email = $1", ledger.email)
    executions = await database.fetch("select * from executions where user_id = $1", user["id"])
    cues = await database.fetch("select * from cues where user_id = $1", user["id"])
    logged = await database.fetch("select a.execution_id from attempts a")
    (usage,) = await database.fetch("select sum(executions)::int as counted from usage where user_id = $1", user["id"])
    return Found(
        {str(row["id"]): row for row in executions},
        {row["id"]: row for row in cues},
        arrivals(receiver),
        Counter(str(row["execution_id"]) for row in logged),
        usage["counted"],
        [row["what"] for row in await database.fetch(OPEN, ledger.email)],
    )


def arrivals(receiver: Receiver) -> Counter[Try]:
    """How often each try was seen."""
    return Counter(
        (str(request.header("x-cueapi-execution-id")), int(request.header("x-cueapi-attempt") or 0))
        for request in receiver.requests
    )


def _not_as_promised(found: Found, ledger: Ledger) -> Iterator[str]:
    for one, row in found.executions.items():
        kind = ledger.cues.get(row["cue_id"])
        if kind is None:
            continue
        if row["status"] != kind.status or row["attempts"] not in kind.tries:
            yield f"{kind.name} execution {one} is {row['status']} after {row['attempts']} tries"
        if row["claim"] is not None or row["lease_until"] is not None:
            yield f"execution {one} has ended and is still claimed"
    for cue_id in ledger.once:
        kind, status = ledger.cues[cue_id], found.cues[cue_id]["status"]
        if status != ("completed" if kind.status == "success" else "failed"):
            yield f"one-time {kind.name} cue {cue_id} is {status}"


def _never_fired(found: Found, ledger: Ledger) -> Iterator[str]:
    for execution, cue_id in ledger.fires.items():
        if execution not in found.executions or found.executions[execution]["cue_id"] != cue_id:
            yield f"execution {execution}, which was answered, is lost"
    for cue_id, at in ledger.once.items():
        if found.scheduled(cue_id) != [at]:
            yield f"cue {cue_id} should have fired at {at} and did so at {found.scheduled(cue_id)}"
    for cue_id, made in ledger.minutely.items():
        times = found.scheduled(cue_id)
        begun = made.replace(second=0, microsecond=0)
        due = {begun + MINUTE * number for number in range(1, 1_000)}
        missing = {at for at in due if at < found.cues[cue_id]["updated_at"] - LATE} - set(times)
        # It may have been made a moment before the full minute, and stored after it.
        if missing or set(times) - due - {begun} or len(times) > len(set(times)):
            yield f"cue {cue_id} fires every minute from {made} on, and did so at {times}"


def _never_asked_for(found: Found, ledger: Ledger) -> Iterator[str]:
    for cue_id in found.cues.keys() - ledger.cues.keys():
        yield f"nobody was told of cue {cue_id}"
    for one, row in found.executions.items():
        if row["triggered_by"] != "scheduled" and one not in ledger.fires:
            yield f"nobody was told of execution {one}"


def _never_seen(found: Found, _: Ledger) -> Iterator[str]:
    for one, row in found.executions.items():
        seen = {number for execution, number in found.arrivals if execution == one}
        if seen != set(range(1, row["attempts"] + 1)):
            yield f"execution {one} had {row['attempts']} tries, and seen were {sorted(seen)}"


def _seen_too_often(found: Found, ledger: Ledger) -> Iterator[str]:
    in_flight = Counter(chain.from_iterable(ledger.faults))
    for (execution, number), times in found.arrivals.items():
        if execution in found.executions and times > 1 + in_flight[execution, number]:
            faults = in_flight[execution, number]
            yield f"try {number} of {execution} was seen {times} times and in flight at {faults} faults"


def _miscounted(found: Found, _: Ledger) -> Iterator[str]:
    if found.counted != len(found.executions):
        yield f"{len(found.executions)} executions count as {found.counted} for the month"
    for one, row in found.executions.items():
        if found.logged[one] != row["attempts"]:
            yield f"execution {one} had {row['attempts']} tries, of which {found.logged[one]} are in its log"

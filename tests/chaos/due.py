"""One-time cues by the thousand, written behind the daemon's back and due at once, and what the ledger says of them."""

from datetime import datetime
from typing import Any

from attrs import frozen

from cueapi.storage.database import Database
from tests.chaos.ledger import Kind, Ledger
from tests.receiver import Receiver

# $1 how many, $2 URL, $3 host, $4 the moment of the first; a millisecond from one to the next. $5 attempts at most
DUE = """
insert into cues (id, user_id, name, status, transport, schedule_type, schedule_at, next_run, timezone, catchup,
                  overlap, callback_url, callback_method, callback_host, payload, max_attempts, backoff_minutes,
                  verification, on_failure_email)
select 'cue_' || lpad(n::text, 12, '0'), u.id, 'cue ' || n, 'active', 'webhook', 'once', at, at, 'UTC', 'latest',
       'allow', $2, 'POST', $3, '{}', $5::int, '{0}', 'none', false
  from (select min(id) as id from users) u, generate_series(1, $1::int) as n,
       lateral (select $4::timestamptz + n * interval '1 millisecond' as at) moment
"""
COUNTED = "update users set live_cues = live_cues + $1 where id = (select min(id) from users)"


@frozen
class Due:
    """So many cues of the first account, all for one handler, the first due at *first* and the others soon after."""

    number: int
    handler: Receiver
    first: datetime
    max_attempts: int = 1

    async def write(self, database: Database) -> None:
        """Make them. Nobody is told: the next poll finds them."""
        host = f"127.0.0.1:{self.handler.port}"
        async with database.transaction() as tx:
            # It counts an account's cues one by one, which takes as long as their square.
            await tx.execute("alter table cues disable trigger cues_live_made")
            await tx.execute(DUE, self.number, self.handler.url(), host, self.first, self.max_attempts)
            await tx.execute("alter table cues enable trigger cues_live_made")
            await tx.execute(COUNTED, self.number)

    async def promise(self, database: Database, ledger: Ledger, kind: Kind) -> None:
        """Have *ledger* say that each is executed for its time, and what comes of that."""
        for row in await database.fetch("select id, schedule_at from cues where schedule_type = 'once'"):
            ledger.cues[row["id"]] = kind
            ledger.once[row["id"]] = row["schedule_at"]


async def number_of(database: Database, statement: str, *values: Any) -> int:
    """The one figure that *statement* finds."""
    row = await database.fetch_one(statement, *values)
    return int(row[0])

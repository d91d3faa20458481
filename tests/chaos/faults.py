"""Faults: what is broken, and what was in flight in that moment."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import LiteralString
from uuid import UUID

import psutil
from attrs import field, frozen

from cueapi.storage.database import Database, R, StorageUnavailable
from cueapi.storage.outbox import ClaimedRow
from cueapi.trio_asyncpg.pool import open_pool
from tests.chaos.ledger import Try
from tests.storage.own_postgres import OwnPostgres

AUDITOR = "audit"
"""The application_name of connections that are not the daemon's."""

IN_FLIGHT = """
select e.id, e.attempts
  from outbox o
  join executions e on e.id = o.execution_id
 where o.claimed_by = coalesce($1, o.claimed_by) and o.cue_id = coalesce($2, o.cue_id)
"""


async def in_flight(database: Database, daemon: int | None = None, cue: str | None = None) -> frozenset[Try]:
    """The tries that some daemon holds, or the one of that number; of every cue, or of this one."""
    rows = await database.fetch(IN_FLIGHT, daemon, cue)
    return frozenset((str(row["id"]), row["attempts"]) for row in rows)


CUT = """
select pg_terminate_backend(pid)
  from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and application_name <> $1
"""


async def cut_all(database: Database) -> int:
    """Terminate every connection to this database but the audit's own; how many there were."""
    return len(await database.fetch(CUT, AUDITOR))


@asynccontextmanager
async def open_auditor(dsn: str) -> AsyncIterator[Database]:
    """Connections that no fault cuts."""
    async with open_pool(dsn, size=2, server_settings={"application_name": AUDITOR}) as pool:
        yield Database(pool)


@contextmanager
def held(server: OwnPostgres) -> Iterator[None]:
    """For the length of the block no process of *server* runs: it takes connections, and answers nobody."""
    processes = [psutil.Process(server.pid)]
    try:
        # The parent first: from then on there are no new ones.
        processes[0].suspend()
        for child in processes[0].children(recursive=True):
            child.suspend()
            processes.append(child)
        yield
    finally:
        for process in reversed(processes):
            process.resume()


@frozen
class Deaf(Database):
    """A database whose connection breaks after its first claim: deliveries are claimed, and nobody hears of it."""

    missed: list[UUID] = field(factory=list)

    async def fetch(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows."""
        rows = await Database.fetch(self, statement, *values, row=row)
        # A claim of nothing has a row, too, with its counters.
        claimed = [one.id for one in rows if isinstance(one, ClaimedRow) and one.id is not None]
        if claimed and not self.missed:
            self.missed.extend(claimed)
            raise StorageUnavailable("the connection broke before the answer")
        return rows

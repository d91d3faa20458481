"""Whether what a session has set, locked and listens to stays with its connection: behind some poolers it does not."""

import trio

from cueapi.storage.database import Database, fetch_value, open_listener

CHANNEL = "cueapi_session_probe"
NOTIFY = "notify cueapi_session_probe"

SERVER_PROCESS = "select pg_backend_pid() as pid"

PATIENCE = 10.0
"""Seconds in which a notification arrives that arrives at all."""


async def keeps_sessions(dsn: str, database: Database) -> bool:
    """
    False behind a pooler by transaction or by statement, which keeps neither LISTEN nor an advisory lock.

    Without a pooler that is known after one query: the process that answers is the one that greeted us. Behind one, a
    connection that listens and asks nothing must hear what another one announces.
    """
    async with open_listener(dsn, CHANNEL, heartbeat=2 * PATIENCE) as (listener, db):
        answering = await fetch_value(db, SERVER_PROCESS, kind=int)
        if answering == db.connection.get_server_pid():
            return True
        if answering == await fetch_value(database, SERVER_PROCESS, kind=int):
            return False
        with trio.move_on_after(PATIENCE):
            await database.execute(NOTIFY)
            return await listener.next() is not None
    return False

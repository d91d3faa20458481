"""A pooler that takes our sessions away is found by what it does; one that keeps them passes."""

import trio

from cueapi.storage.database import Database
from cueapi.storage.pooler import keeps_sessions
from cueapi.storage.session import prepare
from cueapi.trio_asyncpg.pool import open_pool
from tests.storage.pooler import pooler


async def keeps(dsn: str) -> bool:
    """What is found out of the server at *dsn*."""
    async with open_pool(dsn, size=2, init=prepare) as pool:
        return await keeps_sessions(dsn, Database(pool))


async def test_without_a_pooler_and_behind_one_by_session_sessions_are_kept(database_url: str) -> None:
    with trio.fail_after(60):
        async with pooler(database_url, by_transaction=False) as pooled:
            assert (await keeps(database_url), await keeps(pooled)) == (True, True)


async def test_a_pooler_by_transaction_is_found(database_url: str) -> None:
    with trio.fail_after(60):
        async with pooler(database_url, by_transaction=True) as pooled:
            assert await keeps(pooled) is False

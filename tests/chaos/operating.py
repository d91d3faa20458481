"""A process that does nothing but work on operations: `python -m tests.chaos.operating DSN`, until it is killed."""

import sys

import trio

from cueapi.delivery.bulk_works import works
from cueapi.delivery.operations import Operations
from cueapi.metrics import Metrics
from cueapi.storage.database import Database
from cueapi.storage.session import prepare
from cueapi.trio_asyncpg.pool import open_pool
from tests.delivery.siblings import alive, quiet_hub
from tests.storage.rows import MONTHLY


async def operate(dsn: str) -> None:
    """Work, and say so on standard output as soon as it has begun."""
    async with open_pool(dsn, size=2, init=prepare) as pool:
        sibling = Operations(Database(pool), quiet_hub(), works(MONTHLY), Metrics())
        async with alive(sibling.run):
            print("up", flush=True)
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(operate, sys.argv[1])

"""pgqueuer: a queue on asyncpg, woken by NOTIFY."""

import asyncio
import json
import time
from datetime import timedelta

import asyncpg
from pgqueuer import AsyncpgPoolDriver, PgQueuer, Queries
from pgqueuer.models import Job

from tests.benchmarks.programs.job import AT_ONCE, PAD, Posts, session, task


async def main() -> None:
    given = task()
    async with asyncpg.create_pool(given.dsn, min_size=2, max_size=10) as pool, session() as client:
        posts, driver = Posts(given.url, client), AsyncpgPoolDriver(pool)
        queries = Queries(driver)
        await queries.install()
        bodies = [json.dumps({"number": number, "pad": PAD}).encode() for number in range(given.count)]
        delay = timedelta(seconds=given.due - time.time())
        await queries.enqueue(["post"] * given.count, bodies, [0] * given.count, [delay] * given.count)
        queue = PgQueuer(driver)

        @queue.entrypoint("post", concurrency_limit=AT_ONCE)
        async def post(job: Job) -> None:
            await posts.post(job.payload or b"")

        await queue.run(dequeue_timeout=timedelta(seconds=0.2), batch_size=AT_ONCE)


asyncio.run(main())

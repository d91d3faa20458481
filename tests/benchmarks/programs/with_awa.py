"""awa-pg: a queue with a core in Rust."""

import asyncio
import json
from dataclasses import dataclass

import awa

from tests.benchmarks.programs.job import AT_ONCE, PAD, Posts, session, task


@dataclass
class Post:
    number: int
    pad: str


async def main() -> None:
    given = task()
    async with session() as client:
        posts, queue = Posts(given.url, client), awa.AsyncClient(given.dsn)
        await queue.migrate()

        @queue.task(Post, queue="posts")
        async def post(job: awa.Job) -> None:
            await posts.post(json.dumps({"number": job.args.number, "pad": job.args.pad}).encode())

        jobs = [Post(number, PAD) for number in range(given.count)]
        await queue.insert_many_copy(jobs, queue="posts", max_attempts=4, run_at=given.moment)
        await queue.start([("posts", AT_ONCE)], poll_interval_ms=100, promote_interval_ms=200)
        await asyncio.Event().wait()


asyncio.run(main())

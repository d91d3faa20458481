"""procrastinate: a queue on psycopg."""

import asyncio
import json

import procrastinate

from tests.benchmarks.programs.job import AT_ONCE, PAD, Posts, session, task


async def main() -> None:
    given = task()
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=given.dsn, max_size=10))
    async with session() as client, app.open_async():
        posts = Posts(given.url, client)
        await app.schema_manager.apply_schema_async()

        @app.task(name="post", queue="posts", retry=procrastinate.RetryStrategy(max_attempts=4, wait=60))
        async def post(number: int, pad: str) -> None:
            await posts.post(json.dumps({"number": number, "pad": pad}).encode())

        jobs = [{"number": number, "pad": PAD} for number in range(given.count)]
        await post.configure(schedule_at=given.moment).batch_defer_async(*jobs)
        await app.run_worker_async(
            queues=["posts"], concurrency=AT_ONCE, fetch_job_polling_interval=0.2, install_signal_handlers=False,
            delete_jobs="successful",
        )  # fmt: skip


asyncio.run(main())

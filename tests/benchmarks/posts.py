"""
The bare program that deliveries are compared with: httpx on Trio, a client a task, signed bodies, nothing stored.

`python -m tests.benchmarks.posts URL COUNT TASKS` prints how many posts it made a second.
"""

import hashlib
import hmac
import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import trio

SECRET = b"whsec_0123456789abcdef0123456789abcdef"


async def post_all(url: str, posts: int, tasks: int) -> float:
    """Post *posts* times with *tasks* tasks; how many a second."""
    tls = httpx.create_ssl_context(trust_env=False)
    left = iter(range(posts))
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(verify=tls, trust_env=False, timeout=30))
            for _ in range(tasks)
        ]
        begun = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number, client in enumerate(clients):
                nursery.start_soon(_post, client, url, left, name=f"post {number}")
        return posts / (time.perf_counter() - begun)


async def _post(client: httpx.AsyncClient, url: str, left: Iterator[int]) -> None:
    for number in left:
        identity, timestamp = str(uuid.uuid4()), int(time.time())
        body = _body(identity, number)
        headers = {
            "User-Agent": "CueAPI/1.0",
            "X-CueAPI-Signature": f"v1={_sign(f'{timestamp}.'.encode() + body).hex()}",
            "X-CueAPI-Timestamp": str(timestamp),
            "X-CueAPI-Cue-Id": "cue_0123456789ab",
            "X-CueAPI-Execution-Id": identity,
            "X-CueAPI-Scheduled-For": "2026-01-01T00:00:00Z",
            "X-CueAPI-Attempt": "1",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": f"v1,{_sign(f'{identity}.{timestamp}.'.encode() + body).hex()}",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        (await client.post(url, content=body, headers=headers)).raise_for_status()


def _body(identity: str, number: int) -> bytes:
    fields = {
        "execution_id": identity,
        "cue_id": "cue_0123456789ab",
        "name": f"cue {number}",
        "scheduled_for": "2026-01-01T00:00:00Z",
        "attempt": 1,
        "payload": {"task": "daily_brief", "limit": 10},
    }
    return json.dumps(fields, sort_keys=True).encode()


def _sign(content: bytes) -> bytes:
    return hmac.digest(SECRET, content, hashlib.sha256)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trio.run(post_all, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

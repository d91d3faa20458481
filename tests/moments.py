"""Moments as the tests need them: still to come when it is asked for them, and brought forward, not waited for."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from cueapi.storage.database import Executor
from cueapi.storage.notify import notify
from tests.conftest import Api, cue

BEYOND = {"type": "once", "at": "2091-05-01T09:00:00Z"}
"""A schedule that no test lives to see."""


async def post_soon(
    api: Api, seconds: float, url: str | None = None, *, key: str | None = None, **fields: Any
) -> tuple[httpx.Response, dict[str, Any]]:
    """
    The answer to a new one-time cue that is due so soon, and its body; under an Idempotency-Key where one is given.

    Where the machine was too slow to ask for it before that time, it is due later.
    """
    headers = {} if key is None else {"Idempotency_Key": key}
    body = {}

    async def post(at: datetime) -> httpx.Response:
        body.update(cue(url, schedule={"type": "once", "at": at.isoformat()}, **fields))
        return await api.ask("POST", "/v1/cues", body, **headers)

    return await ask_soon(seconds, post), body


async def ask_soon(
    seconds: float, ask: Callable[[datetime], Awaitable[httpx.Response]], *, refused: int = 400
) -> httpx.Response:
    """What is answered to *ask* for a moment so soon; where the machine was too slow for it, for a later one."""
    while True:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        response = await ask(at)
        if response.status_code != refused or datetime.now(UTC) < at:
            return response
        seconds *= 2


async def make_due(db: Executor, *cue_ids: str) -> None:
    """These one-time cues are due now, and each daemon hears of it."""
    await db.execute("update cues set next_run = now(), schedule_at = now() where id = any($1)", list(cue_ids))
    await notify(db, "test cue:0")


def moment_of(body: dict[str, Any]) -> datetime:
    """When the cue of that body is due."""
    return datetime.fromisoformat(body["schedule"]["at"])

"""What a page lists of one moment has an order all the same: nothing changes its place between two looks."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from cueapi.domain.ids import new_uuid7
from cueapi.storage import browser_sessions
from cueapi.storage.dashboard import execution, now, workers
from cueapi.storage.database import Database
from tests.storage.rows import add_cue, add_execution, add_user, ago, insert

SAME = ago(minutes=5)
"""The moment of all."""

RUNNING = {"status": "delivering", "attempts": 1, "claimed_by_worker": "w", "claimed_at": SAME, "last_attempt_at": SAME}


async def add_executions(database: Database, cue_id: str, **columns: Any) -> list[UUID]:
    """Four, and their ids in order; what was made last has the smallest."""
    ids = [new_uuid7() for _ in range(4)]
    for one in reversed(ids):
        await add_execution(database, cue_id, id=one, created_at=SAME, **columns)
    return ids


async def first_page(database: Database, user: int, kind: str) -> list[object]:
    """What the first page lists of this kind."""
    page = await now.read(database, user, step=timedelta(minutes=5), steps=2)
    return [line.id for line in (*page.cues, *page.executions) if line.kind == kind]


@pytest.mark.parametrize(
    ("kind", "columns", "shown"),
    [
        ("next", {"next_run": SAME}, 10),
        ("failing", {"consecutive_failures": 1, "last_run": SAME}, 20),
        ("late", {"transport": "worker"}, 20),
    ],
)
async def test_of_many_cues_of_one_moment_the_first_page_shows_always_the_same(
    database: Database, kind: str, columns: dict[str, Any], shown: int
) -> None:
    user = await add_user(database)
    names = [f"cue_a{number:011}" for number in range(24)]
    for name in reversed(names):
        made = await add_cue(database, user, id=name, **columns)
        if kind == "late":
            await add_execution(database, made, ready_at=SAME)

    assert await first_page(database, user, kind) == names[:shown]


async def test_what_runs_and_what_a_worker_holds_since_one_moment_is_listed_by_id(database: Database) -> None:
    user = await add_user(database)
    ids = await add_executions(database, await add_cue(database, user, transport="worker"), **RUNNING)

    assert await first_page(database, user, "running") == ids
    assert [one.id for one in (await workers.read(database, user)).held] == ids


async def test_what_repeats_an_execution_and_its_alerts_of_one_moment_are_listed_by_id(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user)
    one = await add_execution(database, cue_id)
    replays = await add_executions(database, cue_id, triggered_by="replay", replayed_from=one)
    alerts = [new_uuid7() for _ in range(4)]
    raised = {"user_id": user, "execution_id": one, "alert_type": "missed_run", "severity": "warning", "message": "x"}
    for alert in reversed(alerts):
        columns = raised | {"id": alert, "created_at": SAME}
        await database.execute(insert("alerts", columns), *columns.values())

    details = await execution.read(database, execution=one, user=user)

    assert details is not None
    assert [row.id for row in details.related] == [*replays, *alerts]


async def test_sessions_of_one_moment_are_listed_by_what_they_are_known_by(database: Database) -> None:
    user = await add_user(database)
    await database.execute(
        "insert into api_keys (hash, id, user_id, name, prefix, scopes, own)"
        " values ('key', 'key_000000000000', $1, 'x', 'x', '{read}', true)",
        user,
    )
    hashes = [bytes([number]) for number in range(4)]
    for one in hashes:
        columns = {"hash": one, "user_id": user, "key_hash": b"key", "browser": "x", "address": "x", "created_at": SAME}
        await database.execute(insert("browser_sessions", columns), *columns.values())

    assert [row.hash for row in await browser_sessions.listed(database, user)] == hashes

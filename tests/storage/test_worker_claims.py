"""Of any number of workers who claim, one wins; and each gets what it can do."""

from uuid import UUID, uuid4

import pytest
import trio

from cueapi.domain.audit import SYSTEM
from cueapi.storage import cue_deletion, worker_claims, workers
from cueapi.storage.database import Database
from cueapi.storage.worker_claims import ClaimRequest
from tests.storage.rows import (
    TERMS,
    add_cue,
    add_execution,
    add_user,
    ago,
    claim_as_worker,
)


async def test_of_many_workers_at_once_one_wins_each_execution(database: Database) -> None:
    user = await add_user(database)
    cue_id = await add_cue(database, user, transport="worker")
    for _ in range(6):
        made = [await add_execution(database, cue_id) for _ in range(20)]
        won: list[tuple[str, UUID]] = []

        async def next_ones(worker: str, won: list[tuple[str, UUID]] = won) -> None:
            while rows := await claim_as_worker(database, user, worker, most=3):
                won.extend((worker, row["id"]) for row in rows)

        async def each(worker: str, won: list[tuple[str, UUID]] = won, made: list[UUID] = made) -> None:
            for execution in reversed(made):
                ours = await worker_claims.claim_one(
                    database, user=user, execution=execution, worker=worker, terms=TERMS
                )
                won.extend([(worker, execution)] if ours else [])

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for worker in ("a", "b"):
                    nursery.start_soon(next_ones, worker)
                    nursery.start_soon(each, f"{worker}-one")

        holders = await database.fetch(
            "select id, claimed_by_worker, attempts from executions where id = any ($1)", made
        )
        assert sorted(won) == sorted((row["claimed_by_worker"], row["id"]) for row in holders)
        assert {row["attempts"] for row in holders} == {1}
    assert (await database.fetch_one("select executions from usage"))["executions"] == 120


async def test_a_worker_s_claim_has_a_lease_and_a_deadline_the_cue_s_own_first(database: Database) -> None:
    user = await add_user(database)
    plain = await add_execution(database, await add_cue(database, user, transport="worker"))
    dated = await add_execution(
        database, await add_cue(database, user, transport="worker", outcome_deadline_seconds=60)
    )

    await claim_as_worker(database, user)

    rows = await database.fetch(
        "select id, extract(epoch from lease_until - claimed_at)::float8 as lease,"
        "       extract(epoch from outcome_deadline_at - claimed_at)::float8 as deadline from executions"
    )
    assert {row["id"]: (row["lease"], row["deadline"]) for row in rows} == {
        plain: (900.0, 14_400.0),
        dated: (900.0, 60.0),
    }


WISHES: dict[str, tuple[list[str] | None, list[str] | None, str | None, list[str]]] = {
    "anything, where it sent no handlers": (None, None, None, ["brief", "mail", "none"]),
    "the handlers of its last heartbeat": (["mail"], None, None, ["mail"]),
    "by the name of the cue": (["nightly"], None, None, ["none"]),
    "handlers that come with the claim": (["mail"], ["brief", "nightly"], None, ["brief", "none"]),
    "one task": (None, None, "mail", ["mail"]),
    "a task that is not among its handlers": (["brief"], None, "mail", []),
    "handlers for which there is nothing": (["other"], None, None, []),
}


@pytest.mark.parametrize(("registered", "given", "task", "expected"), WISHES.values(), ids=WISHES.keys())
async def test_a_worker_gets_what_it_can_do_the_oldest_first(
    database: Database,
    registered: list[str] | None,
    given: list[str] | None,
    task: str | None,
    expected: list[str],
) -> None:
    user = await add_user(database)
    await workers.heartbeat(database, user=user, worker="w", handlers=registered)
    for age, (name, kind) in enumerate([("morning", "brief"), ("post", "mail"), ("nightly", None)]):
        cue_id = await add_cue(database, user, name=name, task=kind, transport="worker")
        await add_execution(database, cue_id, ready_at=ago(seconds=10 - age))

    rows = await worker_claims.claim_work(database, ClaimRequest(user, "w", 10, given, task), TERMS)

    assert [row["task"] or "none" for row in rows] == expected


async def test_a_worker_gets_nothing_of_others_nothing_early_and_nothing_of_deleted_cues(database: Database) -> None:
    user, stranger = await add_user(database), await add_user(database)
    theirs = await add_execution(database, await add_cue(database, stranger, transport="worker"))
    early = await add_execution(database, await add_cue(database, user, transport="worker"), ready_at=ago(hours=-1))
    cue_id = await add_cue(database, user, transport="worker")
    orphan = await add_execution(database, cue_id)
    webhook = await add_execution(database, await add_cue(database, user))
    await cue_deletion.delete(database, cue_ids=[cue_id], user=user, act=SYSTEM)

    got = await claim_as_worker(database, user)
    single = [
        await worker_claims.claim_one(database, user=user, execution=execution, worker="w", terms=TERMS)
        for execution in (theirs, early, orphan, webhook, uuid4())
    ]
    shown = await worker_claims.claimable(database, user=user, task=None, most=10)

    assert (got, shown) == ([], [])
    assert single == [None] * 5


async def test_only_the_holder_extends_a_lease(database: Database) -> None:
    user = await add_user(database)
    execution = await add_execution(database, await add_cue(database, user, transport="worker"))

    async def extend(worker: str | None) -> bool:
        held = await worker_claims.extend_lease(database, user=user, execution=execution, worker=worker, lease=60.0)
        return held is not None

    before = await extend("w")
    await claim_as_worker(database, user, "w")

    assert before is False
    assert [await extend(worker) for worker in ("other", "w", None)] == [False, True, True]

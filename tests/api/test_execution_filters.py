"""Which executions a list has: by statuses, worker, evidence, type of result, name of the cue."""

from typing import Any

import pytest
import trio

from cueapi.storage.database import Database
from tests.conftest import Api, cue
from tests.storage.rows import add_execution, ago

ROWS: dict[str, dict[str, Any]] = {
    "pending": {"status": "pending", "created_at": ago(minutes=1)},
    "waits": {"status": "retrying", "ready_at": ago(days=-1), "created_at": ago(minutes=2)},
    "ready": {"status": "retrying", "ready_at": ago(hours=1), "created_at": ago(minutes=3)},
    "missed": {"status": "missed", "created_at": ago(minutes=4)},
    "of w1": {"status": "failed", "claimed_by_worker": "w1", "summary": "half", "created_at": ago(minutes=5)},
    "of w2": {"status": "success", "claimed_by_worker": "w2", "result_type": "pdf", "created_at": ago(minutes=6)},
    "judged": {"status": "success", "validation_state": "missing", "created_at": ago(minutes=7)},
}
"""Executions of a cue named `first`, the newest first."""

QUERIES = {
    "status__in=failed,missed": ["missed", "of w1"],
    "status__in=retrying": ["waits"],
    "status__in=retry_ready,pending,pending": ["pending", "ready"],
    "status__in=success,failed&status=failed": ["of w1"],
    "status__in=delivering,outcome_timeout": [],
    "status__in=": [*ROWS],
    "worker_id=w1": ["of w1"],
    "worker_id=w": [],
    "has_evidence=true": ["of w1", "of w2"],
    "has_evidence=0": ["pending", "waits", "ready", "missed", "judged"],
    "has_evidence=true&status__in=success,missed": ["of w2"],
    "result_type=pdf": ["of w2"],
    "result_type=PDF": [],
    "cue_name=first": [*ROWS],
    "cue_name=first&worker_id=w2&result_type=pdf&has_evidence=1&status__in=success": ["of w2"],
    "cue_name=firs": [],
    "cue_name=second&status__in=missed": [],
}

WRONG = [
    "status__in=failed,lost",
    "status__in=failed,",
    "status__in=failed, missed",
    "has_evidence=maybe",
]


async def test_a_list_has_what_each_filter_says(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        first, second = [await api.post("/v1/cues", cue(name=name)) for name in ("first", "second")]
        other = await api.register("other@example.com")
        others = await other.post("/v1/cues", cue(name="first"))
        for cue_id, row in ((second["id"], "pending"), (others["id"], "of w1")):
            await add_execution(database, cue_id, **ROWS[row])
        names = {str(await add_execution(database, first["id"], **row)): name for name, row in ROWS.items()}
        found = {query: await api.get(f"/v1/executions?cue_id={first['id']}&{query}") for query in QUERIES}
        totals = {query: (await api.get(f"/v1/cues/{first['id']}/executions?{query}"))["total"] for query in (
            "status__in=failed,missed", "worker_id=w1", "has_evidence=true", "result_type=pdf")}  # fmt: skip
        by_name = await api.get("/v1/executions?cue_name=second")

    shown = {query: [names[one["id"]] for one in page["executions"]] for query, page in found.items()}
    assert shown == QUERIES
    assert {query: page["total"] for query, page in found.items()} == {q: len(rows) for q, rows in QUERIES.items()}
    assert [*totals.values()] == [2, 1, 2, 1]
    assert [one["cue_id"] for one in by_name["executions"]] == [second["id"]]


async def test_several_statuses_are_one_list_in_order_page_by_page(api: Api, database: Database) -> None:
    query = "status__in=failed,missed,success&limit=2"
    with trio.fail_after(20):
        made, gone = [await api.post("/v1/cues", cue()) for _ in range(2)]
        statuses = ("success", "failed", "missed", "failed", "success")
        newest = [
            str(await add_execution(database, made["id"], status=status, created_at=ago(minutes=number)))
            for number, status in enumerate(statuses)
        ]
        await add_execution(database, made["id"], status="pending")
        await add_execution(database, gone["id"], status="failed")
        await api.ask("DELETE", f"/v1/cues/{gone['id']}")
        by_offset = [await api.get(f"/v1/executions?{query}&offset={offset}") for offset in (0, 2, 4, 6)]
        behind = await api.get(f"/v1/executions?{query}&cursor={by_offset[0]['next_cursor']}")
        last = await api.get(f"/v1/executions?{query}&cursor={behind['next_cursor']}")

    pages = [[one["id"] for one in page["executions"]] for page in (*by_offset, behind, last)]
    assert pages == [newest[:2], newest[2:4], newest[4:], [], newest[2:4], newest[4:]]
    assert [page["total"] for page in by_offset] == [5] * 4
    assert (behind["has_more"], last["has_more"], last["next_cursor"]) == (True, False, None)


@pytest.mark.parametrize("query", WRONG)
async def test_a_word_that_no_status_has_is_refused(api: Api, query: str) -> None:
    with trio.fail_after(10):
        refused = await api.refused("GET", f"/v1/executions?{query}")

    assert refused[:2] == (400, "invalid_filter")
    assert query.partition("=")[0] in refused[2]


async def test_a_cursor_belongs_to_each_of_the_filters(api: Api, database: Database) -> None:
    said = "cue_name=first&status__in=failed,success&worker_id=w&has_evidence=true&result_type=pdf"
    row = {"status": "failed", "claimed_by_worker": "w", "result_type": "pdf"}
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(name="first"))
        for _ in range(2):
            await add_execution(database, made["id"], **row)
        page = await api.get(f"/v1/executions?{said}&limit=1")
        same = await api.get(
            f"/v1/executions?{said.replace('failed,success', 'success,failed')}&cursor={page['next_cursor']}"
        )
        others = ["&".join(part for part in said.split("&") if part != left_out) for left_out in said.split("&")]
        refused = [await api.refused("GET", f"/v1/executions?{one}&cursor={page['next_cursor']}") for one in others]

    assert (len(same["executions"]), same["next_cursor"]) == (1, None)
    assert [one[:2] for one in refused] == [(400, "invalid_filter")] * 5


async def test_claimable_takes_the_agent_before_it_cuts_at_fifty(api: Api) -> None:
    with trio.fail_after(20):
        cues = [
            await api.post("/v1/cues", cue(payload=payload))
            for payload in ({"agent": "a", "task": "t"}, {"agent": "b", "task": "t"}, {"agent": "b"}, {"agent": 5}, {})
        ]
        for _ in range(50):
            await api.post(f"/v1/cues/{cues[0]['id']}/fire")
        fired = [(await api.post(f"/v1/cues/{one['id']}/fire"))["id"] for one in cues]
        long = await api.post("/v1/cues", cue(payload={"agent": "x" * 300}))
        await api.post(f"/v1/cues/{long['id']}/fire")
        queries = ("agent=b", "agent=b&task=t", "agent=5", "agent=c", f"agent={'x' * 300}")
        found = [(await api.get(f"/v1/executions/claimable?{query}"))["executions"] for query in queries]

    assert [[one["execution_id"] for one in work] for work in found] == [[fired[1], fired[2]], [fired[1]], [], [], []]


async def test_a_call_that_waits_for_an_agent_is_answered_by_its_work_alone(api: Api) -> None:
    answered: list[Any] = []

    async def wait() -> None:
        answered.extend((await api.get("/v1/executions/claimable?agent=b&wait_seconds=20"))["executions"])

    with trio.fail_after(20):
        other, wanted = [await api.post("/v1/cues", cue(payload={"agent": agent})) for agent in ("a", "b")]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await api.post(f"/v1/cues/{other['id']}/fire")
            fired = await api.post(f"/v1/cues/{wanted['id']}/fire")

    assert [one["execution_id"] for one in answered] == [fired["id"]]

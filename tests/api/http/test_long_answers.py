"""A long answer is made beside the event loop, and goes out part by part."""

import json

import pytest
import trio

from cueapi.api.http.quart_app import PART
from cueapi.storage.database import Database
from tests.api.http.holding import ROUNDS, held, send, steps
from tests.conftest import RunningDaemon, cue
from tests.storage.rows import add_execution

PAYLOAD = {"x": "a" * 900_000}

ASKED = {
    "cues": ("GET", "/v1/cues?limit=100", {}),
    "claimable work": ("GET", "/v1/executions/claimable", {}),
    "claimed work": ("POST", "/v1/worker/heartbeat", {"worker_id": "w", "claim": 50}),
    "workers": ("GET", "/v1/workers", {}),
}


@pytest.mark.parametrize(("method", "path", "body"), ASKED.values(), ids=ASKED)
async def test_no_long_answer_holds_the_loop(
    daemon: RunningDaemon, database: Database, method: str, path: str, body: dict[str, object]
) -> None:
    api = await daemon.api.register()
    made = await api.post("/v1/cues", {**cue(payload=PAYLOAD), "callback": None, "transport": "worker"})
    await database.execute(
        "insert into workers (user_id, worker_id, handlers)"
        " select u.id, 'w' || n, array(select repeat('a', 240) || h from generate_series(1, 1000) h)"
        "   from users u, generate_series(1, 100) n"
    )
    copies = (
        "insert into cues select (jsonb_populate_record(c, jsonb_build_object('id', 'cue_' || lpad(n::text, 12, '0'),"
    )
    copies += " 'name', 'copy ' || n))).* from cues c, generate_series(1, 39) n"
    await database.execute(copies)

    with trio.fail_after(120):
        for _ in range(ROUNDS):
            for _ in range(40):
                await add_execution(database, made["id"])
            with steps() as measured:
                told = await send(daemon, path, json.dumps(body).encode(), key=api.key, method=method)
            assert told.startswith(b"HTTP/1.1 200")
            assert len(told) > 20_000_000
            assert measured.beside
            if measured.longest < held():
                return
    pytest.fail(f"{measured.task} held the loop for {measured.longest:.3f} s of the processor's time")


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART])
async def test_an_answer_of_any_length_comes_whole(daemon: RunningDaemon, size: int) -> None:
    api = await daemon.api.register()
    made = await api.post("/v1/cues", cue(payload={"x": "a" * size}))

    with trio.fail_after(20):
        told = await send(daemon, f"/v1/cues/{made['id']}", b"", key=api.key, method="GET")

    head, _, content = told.partition(b"\r\n\r\n")
    assert f"content-length: {len(content)}".encode() in head.lower()
    assert len(json.loads(content)["payload"]["x"]) == size


async def test_the_description_of_the_api_is_made_beside_the_loop(daemon: RunningDaemon) -> None:
    await send(daemon, "/status", b"", method="GET")  # what an app does at its first request is not looked at
    with trio.fail_after(30), steps() as measured:
        told = await send(daemon, "/openapi.json", b"", method="GET")

    assert told.startswith(b"HTTP/1.1 200")
    assert measured.beside
    assert measured.longest < held()

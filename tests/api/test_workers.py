import base64
import json
from datetime import timedelta
from typing import Any

import trio

from cueapi.api.http.cursors import Cursor
from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.api.work import MOMENT, NO_IDS, claimed, fired, report, shown, wrong_fields
from tests.conftest import Api, cue
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago

WORKER = {
    "worker_id": str, "last_heartbeat": str, "seconds_since_heartbeat": int, "heartbeat_status": str,
    "handlers": list, "registered_since": str,
}  # fmt: skip
WORK = {
    "execution_id": str, "cue_id": str, "cue_name": str, "task": str, "scheduled_for": str, "payload": dict,
    "attempt": int, "lease_seconds": int,
}  # fmt: skip

WRONG_HEARTBEATS = [
    Refused("handlers are text", {"handlers": "print"}, 422, "validation_error", "body.handlers"),
    Refused("a handler is a number", {"handlers": [1]}, 422, "validation_error", "body.handlers.0"),
    Refused("worker_id is a number", {"worker_id": 1}, 422, "validation_error", "body.worker_id"),
    Refused("worker_id is too long", {"worker_id": "x" * 256}, 422, "validation_error", "body.worker_id"),
    Refused("claim is negative", {"claim": -1}, 422, "validation_error", "body.claim"),
    Refused("claim is too many", {"claim": 51}, 422, "validation_error", "body.claim"),
    Refused("claim is true", {"claim": True}, 422, "validation_error", "body.claim"),
    Refused("a wait too long", {"wait_seconds": 31}, 422, "validation_error", "body.wait_seconds"),
    Refused("a wait below nothing", {"wait_seconds": -1}, 422, "validation_error", "body.wait_seconds"),
    Refused("running is text", {"running": "x"}, 422, "validation_error", "body.running"),
    Refused("a list", [], 422, "validation_error", "body: must be a JSON object"),
]

WRONG_CLAIMS = [
    Refused("no worker_id", {"worker_id": ""}, 422, "validation_error", "body.worker_id"),
    Refused("worker_id is a number", {"worker_id": 5}, 422, "validation_error", "body.worker_id"),
    Refused("worker_id is too long", {"worker_id": "x" * 256}, 422, "validation_error", "body.worker_id"),
    Refused("task is a number", {"task": 1}, 422, "validation_error", "body.task"),
]

CALLERS = 24


async def beat(api: Api, **body: object) -> dict[str, Any]:
    """A worker's heartbeat."""
    return await api.post("/v1/worker/heartbeat", body)


def behind(name: object) -> str:
    """A cursor that goes on behind a worker of this name."""
    content = json.dumps(["2030-01-01T00:00:00Z", name, Cursor.over().filters])
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


async def claim_next(api: Api, **body: object) -> str | None:
    """The execution that claim-next gives; None where there is nothing."""
    response = await api.ask("POST", "/v1/executions/claim", body)
    if response.status_code == 200:
        return str(response.json()["execution_id"])
    assert (response.status_code, response.json()["error"]["code"]) == (409, "claim_failed")
    return None


async def test_a_heartbeat_with_nothing_but_handlers_is_the_default_worker_s_and_claims_nothing(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api, payload={"task": "print"})
        answered = await beat(api, handlers=["print", "scan"])
        (worker,) = (await api.get("/v1/workers"))["workers"]
        execution = await shown(api, one)

    assert set(answered) == {"acknowledged", "server_time", "worker_id"}
    assert (answered["acknowledged"], answered["worker_id"]) == (True, "default")
    assert MOMENT.fullmatch(answered["server_time"])
    assert wrong_fields(worker, WORKER) == {}
    assert (worker["worker_id"], worker["handlers"]) == ("default", ["print", "scan"])
    assert (worker["heartbeat_status"], worker["last_heartbeat"]) == ("active", answered["server_time"])
    assert execution["status"] == "pending"


async def test_a_heartbeat_without_a_body_is_taken(api: Api) -> None:
    with trio.fail_after(20):
        answered = await api.post("/v1/worker/heartbeat")

    assert (answered["acknowledged"], answered["worker_id"]) == (True, "default")


async def test_a_heartbeat_with_a_wrong_field_is_refused_by_name_and_registers_nobody(api: Api) -> None:
    with trio.fail_after(20):
        found = await surprises(api, "POST", "/v1/worker/heartbeat", WRONG_HEARTBEATS)
        listed = await api.get("/v1/workers")

    assert found == {}
    assert listed["workers"] == []


async def test_workers_are_listed_by_how_long_they_are_silent(api: Api, database: Database) -> None:
    silences = {"w1": 0, "w2": 165, "w3": 180, "w4": 885, "w5": 900}
    with trio.fail_after(20):
        for worker in silences:
            await beat(api, worker_id=worker, handlers=["a"])
        await (await api.register("other@example.com")).post("/v1/worker/heartbeat", {"worker_id": "theirs"})
        for worker, seconds in silences.items():
            await database.execute(
                "update workers set last_heartbeat = $2 where worker_id = $1", worker, ago(seconds=seconds)
            )
        listed = (await api.get("/v1/workers"))["workers"]

    assert [wrong_fields(worker, WORKER) for worker in listed] == [{}] * 5
    assert {worker["worker_id"]: worker["heartbeat_status"] for worker in listed} == {
        "w1": "active",
        "w2": "active",
        "w3": "stale",
        "w4": "stale",
        "w5": "dead",
    }
    assert [silences[worker["worker_id"]] <= worker["seconds_since_heartbeat"] for worker in listed] == [True] * 5


async def test_a_worker_keeps_its_first_day_and_takes_the_handlers_that_it_names_last(api: Api) -> None:
    with trio.fail_after(20):
        await beat(api, worker_id="w", handlers=["a"])
        (first,) = (await api.get("/v1/workers"))["workers"]
        await beat(api, worker_id="w", handlers=["b"])
        (second,) = (await api.get("/v1/workers"))["workers"]

    assert (first["handlers"], second["handlers"]) == (["a"], ["b"])
    assert first["registered_since"] == second["registered_since"]
    assert first["last_heartbeat"] < second["last_heartbeat"]


async def test_a_worker_is_forgotten_by_its_name_whatever_the_name_is(api: Api) -> None:
    with trio.fail_after(20):
        other = await api.register("other@example.com")
        await beat(other, worker_id="theirs")
        names = {"w1": "w1", "host:8/a b": "host:8/a%20b", "ä": "%C3%A4", "/opt/w1": "%2Fopt%2Fw1", "//x": "//x"}
        for name in names:
            await beat(api, worker_id=name)
        gone = [(await api.ask("DELETE", f"/v1/workers/{path}")) for path in names.values()]
        missing = [
            await api.refused("DELETE", f"/v1/workers/{path}")
            for path in ("w1", "theirs", "%00", "a%00b", "%ED%A0%80", "x" * 3_000)
        ]

        assert [(response.status_code, response.content) for response in gone] == [(204, b"")] * 5
        assert [refusal[:2] for refusal in missing] == [(404, "worker_not_found")] * 6
        assert (await api.get("/v1/workers"))["workers"] == []
        assert len((await other.get("/v1/workers"))["workers"]) == 1


async def test_claim_next_takes_the_oldest_that_the_last_heartbeat_s_handlers_can_do(
    api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        other = await fired(api, payload={"task": "scan"})
        by_task = await fired(api, payload={"task": "print"})
        by_name = await fired(api, name="brief", payload={"task": "write"})
        await beat(api, worker_id="w1", handlers=["scan"])
        await beat(api, worker_id="w1", handlers=["print", "brief"])

        assert await claim_next(api, worker_id="w1") == by_task
        assert await claim_next(api, worker_id="w1") == by_name
        assert await claim_next(api, worker_id="w1") is None
        assert await claim_next(api, worker_id="w2") == other
        assert (await shown(api, other))["claimed_by_worker"] == "w2"


async def test_claim_next_of_a_worker_that_named_no_handlers_takes_anything_in_order(
    api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        made = [await api.post("/v1/cues", cue(payload={"task": task})) for task in ("a", "b", "c")]
        late, oldest, middle = [
            str(await add_execution(database, each["id"], ready_at=ago(minutes=minutes)))
            for each, minutes in zip(made, (1, 9, 5), strict=True)
        ]
        await beat(api, worker_id="w", handlers=[])

        assert [await claim_next(api, worker_id="w") for _ in range(4)] == [oldest, middle, late, None]


async def test_claim_next_of_one_task_takes_that_task_alone(api: Api) -> None:
    with trio.fail_after(20):
        first = await fired(api, payload={"task": "a"})
        second = await fired(api, payload={"task": "b"})

        assert await claim_next(api, task="b") == second
        assert await claim_next(api, task="b") is None
        assert await claim_next(api) == first
        assert (await shown(api, first))["claimed_by_worker"] == "default"


async def test_a_claim_begins_an_attempt_with_a_lease_and_a_deadline(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api)
        answered = await api.post(f"/v1/executions/{one}/claim", {"worker_id": "w1"})
        held = await shown(api, one)
        again = await api.refused("POST", f"/v1/executions/{one}/claim", {"worker_id": "w1"})
        deadline = ago().fromisoformat(held["outcome_deadline_at"]) - ago().fromisoformat(held["claimed_at"])

    url = answered.pop("report_url")
    assert answered == {"claimed": True, "execution_id": one, "lease_seconds": 900}
    assert "/v1/report/run_" in url
    assert (held["status"], held["attempts"], held["claimed_by_worker"]) == ("delivering", 1, "w1")
    assert held["started_at"] == held["last_attempt_at"] == held["claimed_at"]
    assert deadline == timedelta(seconds=14_400)
    assert again[:2] == (409, "claim_failed")
    assert (await api.get("/v1/executions/claimable"))["executions"] == []


async def test_the_cue_s_own_deadline_holds_for_its_workers(api: Api) -> None:
    with trio.fail_after(20):
        held = await shown(api, await claimed(api, delivery={"outcome_deadline_seconds": 90}))

    deadline = ago().fromisoformat(held["outcome_deadline_at"]) - ago().fromisoformat(held["claimed_at"])
    assert deadline == timedelta(seconds=90)


async def test_a_claim_without_a_body_is_the_default_worker_s(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api)
        answered = await api.post(f"/v1/executions/{one}/claim")

    assert answered["claimed"] is True
    assert (await shown(api, one))["claimed_by_worker"] == "default"


async def test_the_worker_that_the_header_names_claims_where_the_body_names_none(api: Api) -> None:
    named = {"X_Worker_Id": "w9"}
    one, other, third = [await fired(api) for _ in range(3)]
    await api.post(f"/v1/executions/{one}/claim", **named)
    await api.post("/v1/executions/claim", **named)
    beat = await api.post("/v1/worker/heartbeat", {"claim": 1}, **named)
    shown = [(await api.get(f"/v1/executions/{each}"))["claimed_by_worker"] for each in (one, other, third)]
    extended = await api.ask("POST", f"/v1/executions/{one}/heartbeat", **named)
    long = await api.refused("POST", f"/v1/executions/{one}/claim", X_Worker_Id="x" * 256)

    assert beat["worker_id"] == "w9"
    assert shown == ["w9"] * 3
    assert extended.status_code == 200
    assert long[:2] == (422, "validation_error")


async def test_what_has_ended_waits_or_is_a_webhook_s_is_not_claimed(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            ended = await claimed(api)
            await report(api, ended, success=True)
            waiting = await claimed(api)
            await report(api, waiting, success=False)
            made = await api.post("/v1/cues", cue(receiver.url()))
            webhook = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            refusals = [
                (await api.refused("POST", f"/v1/executions/{one}/claim"))[:2] for one in (ended, waiting, webhook)
            ]

    assert refusals == [(409, "claim_failed")] * 3
    assert (await shown(api, webhook))["claimed_by_worker"] is None


async def race(api: Api, path: str) -> list[tuple[str, Any]]:
    """What the winners among many callers are answered, with their names."""
    won = []

    async def call(worker: str) -> None:
        response = await api.ask("POST", path, {"worker_id": worker})
        if response.status_code == 200:
            won.append((worker, response.json()["execution_id"]))
        else:
            assert (response.status_code, response.json()["error"]["code"]) == (409, "claim_failed")

    async with trio.open_nursery() as nursery:
        for number in range(CALLERS):
            nursery.start_soon(call, f"w{number}")
    return won


async def test_of_callers_that_race_for_one_execution_exactly_one_wins(api: Api) -> None:
    with trio.fail_after(60):
        for _ in range(10):
            one = await fired(api)
            won = await race(api, f"/v1/executions/{one}/claim")
            held = await shown(api, one)

            assert won == [(held["claimed_by_worker"], one)]
            assert held["attempts"] == 1


async def test_of_callers_that_race_for_the_next_execution_each_gets_one_of_its_own(api: Api) -> None:
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue())
        for _ in range(5):
            ones = {(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(5)}
            won = await race(api, "/v1/executions/claim")

            assert sorted(execution for _, execution in won) == sorted(ones)


async def test_the_heartbeat_of_an_execution_extends_its_lease_for_whom_it_belongs_to(
    api: Api, database: Database
) -> None:
    path = "/v1/executions/{}/heartbeat"
    with trio.fail_after(20):
        one = await claimed(api, "w1")
        await database.execute("update executions set lease_until = now() + interval '1 second'")
        extended = await api.post(path.format(one), X_Worker_Id="w1")
        nameless = await api.post(path.format(one), {})
        stranger = await api.refused("POST", path.format(one), X_Worker_Id="w2")
        row = await database.fetch_one("select lease_until from executions")

    assert set(extended) == {"execution_id", "lease_extended_until", "acknowledged", "report_url"}
    assert (extended["execution_id"], extended["acknowledged"]) == (one, True)
    assert MOMENT.fullmatch(extended["lease_extended_until"])
    assert extended["lease_extended_until"] < nameless["lease_extended_until"]
    assert ago().fromisoformat(nameless["lease_extended_until"]) == row["lease_until"]
    assert 890 < (row["lease_until"] - ago()).total_seconds() <= 900
    assert stranger[:2] == (403, "not_execution_owner")


async def test_the_heartbeat_of_an_execution_that_nobody_holds_is_refused(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver(["hang"]) as receiver:
            pending = await fired(api)
            ended = await claimed(api)
            await report(api, ended, success=True)
            retrying = await claimed(api)
            await report(api, retrying, success=False)
            made = await api.post("/v1/cues", cue(receiver.url(), delivery={"timeout_seconds": 1}))
            webhook = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await receiver.wait_for(1)
            refusals = [
                (await api.refused("POST", f"/v1/executions/{one}/heartbeat", X_Worker_Id="w1"))[:2]
                for one in (pending, ended, retrying, webhook)
            ]
            await api.execution(webhook, "retrying")

    assert refusals == [(409, "execution_not_claiming")] * 4


async def test_a_heartbeat_with_claim_takes_what_its_handlers_can_do(api: Api) -> None:
    with trio.fail_after(20):
        ones = [await fired(api, payload={"task": "print", "n": number}) for number in range(3)]
        other = await fired(api, name="brief", payload={"task": "write"})
        left = await fired(api, payload={"task": "scan"})
        first = await beat(api, worker_id="w1", handlers=["print", "brief"], claim=2)
        second = await beat(api, worker_id="w1", handlers=["print", "brief"], claim=50)
        none = await beat(api, worker_id="w1", handlers=["print", "brief"], claim=50)
        held = await shown(api, ones[0])

    assert [work["execution_id"] for work in first["executions"]] == ones[:2]
    assert [work["execution_id"] for work in second["executions"]] == [ones[2], other]
    assert none["executions"] == []
    assert [wrong_fields(work, WORK) for work in first["executions"]] == [{}, {}]
    assert first["executions"][1]["payload"] == {"task": "print", "n": 1}
    assert (first["executions"][0]["attempt"], first["executions"][0]["lease_seconds"]) == (1, 900)
    assert (held["status"], held["claimed_by_worker"], held["attempts"]) == ("delivering", "w1", 1)
    assert (await shown(api, left))["status"] == "pending"


async def test_a_heartbeat_with_claim_and_no_handlers_takes_anything(api: Api) -> None:
    with trio.fail_after(20):
        one, other = await fired(api, payload={"task": "print"}), await fired(api)
        answered = await beat(api, claim=50)

    assert [work["execution_id"] for work in answered["executions"]] == [one, other]
    assert [work["task"] for work in answered["executions"]] == ["print", None]
    assert answered["worker_id"] == "default"


async def test_a_heartbeat_that_claims_none_takes_none(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api)
        answered = await beat(api, claim=0)

    assert answered["executions"] == []
    assert (await shown(api, one))["status"] == "pending"


async def test_heartbeats_that_claim_at_once_share_the_work_and_nothing_goes_twice(api: Api) -> None:
    got: list[str] = []

    async def work(worker: str) -> None:
        while executions := (await beat(api, worker_id=worker, claim=7))["executions"]:
            got.extend(one["execution_id"] for one in executions)

    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue())
        ones = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(60)]
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(work, f"w{number}")

    assert sorted(got) == sorted(ones)


async def test_a_claim_with_a_wrong_field_is_refused_and_takes_nothing(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api)

        assert await surprises(api, "POST", "/v1/executions/claim", WRONG_CLAIMS) == {}
        assert await surprises(api, "POST", f"/v1/executions/{one}/claim", WRONG_CLAIMS) == {}
        assert (await shown(api, one))["status"] == "pending"


async def test_the_rows_of_workers_survive_ids_that_are_none(api: Api) -> None:
    with trio.fail_after(20):
        answered = await beat(api, running=NO_IDS[:2], handlers=["a" * 255, "ü"])

    assert answered["acknowledged"] is True


async def test_of_a_deleted_cue_nobody_holds_a_lease(api: Api) -> None:
    made = await api.post("/v1/cues", cue())
    execution = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
    await api.post(f"/v1/executions/{execution}/claim", {"worker_id": "w1"})
    await api.ask("DELETE", f"/v1/cues/{made['id']}")

    refused = await api.refused("POST", f"/v1/executions/{execution}/heartbeat", {}, X_Worker_Id="w1")

    assert refused[:2] == (404, "execution_not_found")


async def test_a_task_that_is_a_whole_text_is_work_like_any_other_but_no_name_for_a_handler(
    api: Api, database: Database
) -> None:
    # Incompressible, as an index would have it.
    (row,) = await database.fetch("select string_agg(md5(n::text), '') as text from generate_series(1, 200) n")
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(payload={"task": row["text"]}))
        await api.post(f"/v1/cues/{made['id']}/fire")
        other = await api.post("/v1/cues", cue(payload={"task": "short"}))
        await api.post(f"/v1/cues/{other['id']}/fire", {"payload_override": {"task": row["text"]}})
        beat = await api.post("/v1/worker/heartbeat", {"worker_id": "w", "claim": 2})

    assert [(one["task"], one["payload"]["task"]) for one in beat["executions"]] == [(None, row["text"])] * 2


async def test_a_worker_s_name_is_read_from_the_header_as_it_is_from_a_body(api: Api) -> None:
    with trio.fail_after(20):
        execution = await claimed(api, "würm-1")
        beat = await api.client.post(
            f"/v1/executions/{execution}/heartbeat",
            headers=[(b"Authorization", f"Bearer {api.key}".encode()), (b"X-Worker-Id", "würm-1".encode())],
        )

    assert beat.status_code == 200


async def test_workers_are_listed_by_pages_the_one_heard_of_last_first(api: Api, database: Database) -> None:
    await database.execute(
        "insert into workers (user_id, worker_id, last_heartbeat)"
        " select u.id, 'w é' || n, now() - n / 3 * interval '1 minute' from users u, generate_series(1, 130) n"
    )
    seen, cursor, pages = [], "", []

    with trio.fail_after(20):
        first = await api.get("/v1/workers")
        while not pages or cursor:
            page = await api.get(f"/v1/workers?limit=50&cursor={cursor}")
            seen += page["workers"]
            pages.append(page["has_more"])
            cursor = page["next_cursor"]
        damaged = [await api.refused("GET", f"/v1/workers?cursor={behind(name)}") for name in ("\x00", 5, "\ud800")]

    assert (len(first["workers"]), first["has_more"]) == (100, True)
    assert pages == [True, True, False]
    assert len({one["worker_id"] for one in seen}) == len(seen) == 130
    assert [one["last_heartbeat"] for one in seen] == sorted((one["last_heartbeat"] for one in seen), reverse=True)
    assert {one[:2] for one in damaged} == {(400, "invalid_filter")}


async def test_an_account_has_a_thousand_workers_however_many_are_new_at_once(api: Api, database: Database) -> None:
    await database.execute(
        "insert into workers (user_id, worker_id) select u.id, 'w' || n from users u, generate_series(1, 995) n"
    )
    statuses = []

    async def introduce(worker: str) -> None:
        statuses.append((await api.ask("POST", "/v1/worker/heartbeat", {"worker_id": worker})).status_code)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(24):
                nursery.start_soon(introduce, f"new-{number // 2}")
        full = await api.refused("POST", "/v1/worker/heartbeat", {"worker_id": "another"})
        known = await api.ask("POST", "/v1/worker/heartbeat", {"worker_id": "w7", "handlers": ["print"]})
        await database.execute("update workers set last_heartbeat = now() - interval '25 hours' where worker_id = 'w8'")
        in_its_place = await api.ask("POST", "/v1/worker/heartbeat", {"worker_id": "another"})

    names = {row["worker_id"] for row in await database.fetch("select worker_id from workers")}
    assert sorted(statuses) == [200] * 10 + [403] * 14
    assert full[:2] == (403, "worker_limit_exceeded")
    assert (known.status_code, in_its_place.status_code) == (200, 200)
    assert len(names) == 1_000
    assert "w8" not in names

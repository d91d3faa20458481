"""Targets: listed with what waits for them, probed when asked, and shown beside what waits."""

from typing import Any

import pytest
import trio
from attrs import evolve

from cueapi.domain.audit import SYSTEM
from cueapi.settings import Settings
from cueapi.storage import target_pages, targets
from cueapi.storage.database import Database, Executor
from cueapi.storage.target_pages import AskedProbe
from cueapi.storage.targets import TargetKey, Trip
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import until
from tests.receiver import Receiver, open_receiver
from tests.storage.rows import CUE, add_cue, add_execution, add_user, claim

TRIP = Trip("it answered 503", 12, 11)
SHOWN = {
    "host", "state", "since", "reason", "failure_rate", "attempts", "opens", "waiting", "oldest_waiting_at",
    "next_probe_at", "cues",
}  # fmt: skip


async def opened(database: Database, receiver: Receiver, *, pause: float = 3000.0, user: int = 1) -> TargetKey:
    """The host of *receiver* is down; it is probed after *pause* seconds."""
    target = TargetKey(user, f"127.0.0.1:{receiver.port}")
    assert await targets.open_target(database, target, TRIP, pause=min(pause, 800.0))
    return target


async def fired(api: Api, database: Database, receiver: Receiver, **fields: Any) -> tuple[TargetKey, str, str]:
    """The host of *receiver* is down: a cue of it, and an execution of that which waits."""
    made = await api.post("/v1/cues", cue(receiver.url(), **fields))
    target = await opened(database, receiver)
    execution = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
    with trio.fail_after(60):
        while (await api.get(f"/v1/executions/{execution}"))["waiting_for"] is None:
            await trio.sleep(0.02)
    return target, made["id"], execution


async def test_what_waits_says_for_what_and_uses_no_attempt(api: Api, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        target, cue_id, execution = await fired(api, database, receiver)

        shown = await api.get(f"/v1/executions/{execution}")
        (listed,) = (await api.get("/v1/executions"))["executions"]

        assert (shown["status"], shown["attempts"]) == ("pending", 0)
        assert shown["waiting_for"] == listed["waiting_for"]
        assert set(shown["waiting_for"]) == {"kind", "host", "since", "next_probe_at"}
        assert (shown["waiting_for"]["kind"], shown["waiting_for"]["host"]) == ("target", target.host)
        assert (await api.get(f"/v1/cues/{cue_id}"))["target_state"] == "open"
        assert receiver.requests == []


async def test_a_mended_url_frees_what_waits_at_once(api: Api, database: Database) -> None:
    async with open_receiver([200]) as down, open_receiver([200]) as other:
        _, cue_id, execution = await fired(api, database, down)

        changed = await api.patch(f"/v1/cues/{cue_id}", {"callback": {"url": other.url()}})
        shown = await api.execution(execution)

    assert changed["target_state"] == "closed"
    assert (shown["status"], shown["attempts"], shown["waiting_for"]) == ("success", 1, None)
    assert (len(down.requests), len(other.requests)) == (0, 1)


async def test_a_host_that_is_down_is_forgotten_with_the_last_cue_that_calls_it(
    settings: Settings, database: Database
) -> None:
    async with (
        open_receiver([200]) as down,
        running(settings.model_copy(update={"poller_interval_seconds": 1})) as daemon,
    ):
        api = await daemon.api.register()
        made = [await api.post("/v1/cues", cue(down.url())) for _ in range(3)]
        target = await opened(database, down)
        await api.patch(f"/v1/cues/{made[0]['id']}", {"callback": {"url": "http://127.0.0.1:9/"}})
        await api.patch(f"/v1/cues/{made[1]['id']}", {"status": "paused"})
        still = [one["host"] for one in (await api.get("/v1/targets?state=open"))["targets"]]
        await api.ask("DELETE", f"/v1/cues/{made[2]['id']}")
        with trio.fail_after(60):
            while (await api.get("/v1/targets?state=open"))["targets"]:
                await trio.sleep(0.05)

        (incident,) = (await api.get("/v1/incidents?kind=target_down"))["incidents"]
        resumed = await api.patch(f"/v1/cues/{made[1]['id']}", {"status": "active"})

    assert still == [target.host]
    assert (incident["status"], incident["resolution"]) == ("resolved", "no active cue calls it any more")
    assert resumed["target_state"] == "closed"


async def test_a_probe_that_is_asked_for_closes_a_target_that_serves_again(api: Api, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        target, cue_id, execution = await fired(api, database, receiver)

        assert await api.post(f"/v1/targets/{target.host}/probe") == {"host": target.host, "probed": True}
        shown = await api.execution(execution)
        with trio.fail_after(60):
            while (await api.get(f"/v1/cues/{cue_id}"))["target_state"] != "closed":
                await trio.sleep(0.02)

    assert (shown["status"], shown["attempts"]) == ("success", 1)
    (audited,) = await database.fetch("select actor_kind, subject_id from audit where action = 'target.probed'")
    assert tuple(audited) == ("key", target.host)


async def test_a_probe_can_be_asked_for_once_in_thirty_seconds(api: Api, database: Database) -> None:
    async with open_receiver([503]) as receiver:
        target, _, _ = await fired(api, database, receiver, retry={"max_attempts": 5, "backoff_minutes": [0]})
        await api.post(f"/v1/targets/{target.host}/probe")
        with trio.fail_after(60):
            await receiver.wait_for(1)
            while not (await api.get("/v1/targets?state=open"))["targets"]:
                await trio.sleep(0.02)
            await until(lambda: waits(database))

        answer = await api.ask("POST", f"/v1/targets/{target.host}/probe")

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["Retry-After"]) <= 30


async def test_of_two_who_ask_for_a_probe_at_once_the_other_waits_for_as_long_as_it_may_not(database: Database) -> None:
    user = await add_user(database)
    target = TargetKey(user, CUE["callback_host"])
    await add_execution(database, await add_cue(database, user))
    await targets.open_target(database, target, TRIP, pause=800.0)
    assert await claim(database) == []
    heard: list[AskedProbe] = []

    async def ask(tx: Executor) -> None:
        heard.append(await target_pages.ask_for_probe(tx, target, pause=30.0, act=SYSTEM))

    with trio.fail_after(20):
        async with database.transaction() as late, trio.open_nursery() as nursery:
            # It has begun before the one that is heard, and has seen nothing of that.
            await late.fetch("select now()")
            async with database.transaction() as first:
                await ask(first)
                nursery.start_soon(ask, late)
                await until(lambda: database.fetch(WAITING))

    assert [(one.is_asked, one.is_awaited) for one in heard] == [(True, True), (False, True)]
    # No more than some seconds of a loaded machine are over.
    assert 1.0 < heard[1].pause <= 30.0


WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def waits(database: Database) -> bool:
    return bool(await database.fetch("select from outbox where waits_until is not null and claimed_by is null"))


async def test_where_nothing_waits_nothing_is_probed(api: Api, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        target = await opened(database, receiver)
        closed = (await api.post("/v1/cues", cue("http://127.0.0.1:9/")))["callback"]["url"]

        assert closed == "http://127.0.0.1:9/"
        for host in (target.host, "127.0.0.1:9", "0x7F.1:9"):
            known = host.replace("0x7F.1", "127.0.0.1")
            assert await api.post(f"/v1/targets/{host}/probe") == {"host": known, "probed": False}
            assert await api.post(f"/v1/targets/{host}/probe/") == {"host": known, "probed": False}


@pytest.mark.parametrize("forced", [False, True])
async def test_what_a_hold_of_everything_stops_is_not_probed_and_uses_no_ask(
    api: Api, database: Database, *, forced: bool
) -> None:
    async with open_receiver([200]) as receiver:
        target, cue_id, _ = await fired(api, database, receiver)
        await api.ask("PUT", "/v1/hold", {"mode": "everything"})
        if forced:
            await api.post(f"/v1/cues/{cue_id}/fire?force=true")
            with trio.fail_after(60):
                await until(lambda: database.fetch("select from outbox where forced and waits_until is not null"))

        answer = await api.post(f"/v1/targets/{target.host}/probe")
        audited = await database.fetch("select from audit where action = 'target.probed'")
        await api.ask("DELETE", "/v1/hold")

    assert (answer["probed"], len(audited)) == (forced, int(forced))


@pytest.mark.parametrize("host", ["other.example:443", "127.0.0.1", "%00", "a/b:1"])
async def test_a_host_that_no_cue_calls_is_no_target(api: Api, host: str) -> None:
    status, code, _ = await api.refused("POST", f"/v1/targets/{host}/probe")

    assert (status, code) == (404, "target_not_found")


async def test_a_host_of_another_account_is_no_target(api: Api, database: Database) -> None:
    stranger = await add_user(database)
    await add_cue(database, stranger, callback_host="theirs.example:443")
    await targets.open_target(database, TargetKey(stranger, "theirs.example:443"), TRIP, pause=60.0)

    assert (await api.refused("POST", "/v1/targets/theirs.example:443/probe"))[0] == 404
    assert (await api.get("/v1/targets"))["targets"] == []


async def test_targets_are_listed_by_their_hosts_with_what_waits_for_them(api: Api, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        target, _, _ = await fired(api, database, receiver)
        await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        await api.post("/v1/cues", cue("http://127.0.0.1:9/other"))
        await api.post("/v1/cues", cue())

        page = await api.get("/v1/targets")
        found = {one["host"]: one for one in page["targets"]}

    assert [set(one) for one in page["targets"]] == [SHOWN, SHOWN]
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    down, up = found[target.host], found["127.0.0.1:9"]
    assert (down["state"], down["reason"], down["failure_rate"], down["attempts"], down["opens"]) == (
        "open", "it answered 503", 0.917, 12, 1,
    )  # fmt: skip
    assert (down["waiting"], down["cues"]) == (1, 1)
    assert None not in (down["since"], down["next_probe_at"], down["oldest_waiting_at"])
    assert up == {
        "host": "127.0.0.1:9", "state": "closed", "since": None, "reason": None, "failure_rate": None, "attempts": None,
        "opens": None, "waiting": 0, "oldest_waiting_at": None, "next_probe_at": None, "cues": 2,
    }  # fmt: skip


async def test_targets_are_paged_by_their_hosts_and_filtered_by_their_state(api: Api, database: Database) -> None:
    names = [f"h{number}.example:443" for number in range(5)]
    for name in reversed(names):
        await add_cue(database, 1, callback_host=name)
    await targets.open_target(database, TargetKey(1, names[3]), TRIP, pause=60.0)

    seen, cursor = [], ""
    while cursor is not None:
        page = await api.get(f"/v1/targets?limit=2&cursor={cursor}")
        seen += [one["host"] for one in page["targets"]]
        cursor = page["next_cursor"]

    assert seen == names
    assert [one["host"] for one in (await api.get("/v1/targets?state=open"))["targets"]] == [names[3]]
    closed = await api.get("/v1/targets?state=closed&limit=3")
    assert [one["host"] for one in closed["targets"]] == names[:3]
    assert closed["has_more"]
    assert (await api.refused("GET", "/v1/targets?state=gone"))[:2] == (400, "invalid_filter")
    assert (await api.refused("GET", "/v1/targets?limit=0"))[:2] == (422, "validation_error")
    assert (await api.refused("GET", "/v1/targets?cursor=zzzz!!"))[:2] == (400, "invalid_filter")


@pytest.mark.parametrize("seconds", [59, 604_801, "600", 1.5])
async def test_a_wait_has_its_bounds(api: Api, seconds: object) -> None:
    body = cue("http://127.0.0.1:9/", delivery={"max_wait_seconds": seconds})

    assert (await api.refused("POST", "/v1/cues", body))[:2] == (422, "validation_error")


async def test_what_waits_goes_by_the_wait_that_its_cue_has_now(api: Api, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        _, cue_id, _ = await fired(api, database, receiver, delivery={"max_wait_seconds": 600})
        (before,) = await database.fetch("select waits_until, now() as now from outbox")

        changed = await api.patch(f"/v1/cues/{cue_id}", {"delivery": {"max_wait_seconds": 7200}})
        (after,) = await database.fetch("select waits_until from outbox")
        await api.patch(f"/v1/cues/{cue_id}", {"delivery": None})
        (cleared,) = await database.fetch("select waits_until from outbox")

    assert changed["delivery"] == {"max_wait_seconds": 7200}
    assert 500 < (before["waits_until"] - before["now"]).total_seconds() <= 600
    assert (after["waits_until"] - before["waits_until"]).total_seconds() == 6600
    assert (cleared["waits_until"] - before["waits_until"]).total_seconds() == 85_800


async def test_a_worker_cue_has_no_target(api: Api) -> None:
    assert (await api.post("/v1/cues", cue()))["target_state"] is None


async def test_metrics_count_targets_and_what_waits_for_them_and_name_no_host(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    async with open_receiver([200]) as receiver:
        target, _, _ = await fired(api, database, receiver)
        text = (await daemon.client.get("/metrics")).text
        queue = (await api.get("/health"))["queue"]

    for line in (
        'cueapi_targets{state="open"} 1.0', 'cueapi_targets{state="half_open"} 0.0',
        "cueapi_deliveries_waiting_for_target 1.0", 'cueapi_backlog{kind="deliveries"} 0.0',
    ):  # fmt: skip
        assert line in text
    assert target.host not in text
    # It is the host that keeps it waiting, and no daemon that is late.
    assert (queue["pending_outbox"], queue["oldest_due_seconds"]) == (1, 0.0)


async def test_without_the_breaker_what_waited_is_sent(settings: Settings, database: Database) -> None:
    async with open_receiver([200]) as receiver:
        async with running(settings) as daemon:
            api = await daemon.api.register()
            _, _, execution = await fired(api, database, receiver)
        async with running(settings.model_copy(update={"breaker": False})) as daemon:
            shown = await evolve(api, client=daemon.client).execution(execution)

    assert (shown["status"], shown["attempts"]) == ("success", 1)

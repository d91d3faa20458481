"""Hints by `/v1/events`: what is told, to whom, over which daemons, and how streams end."""

from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import trio

from cueapi.settings import Settings
from cueapi.storage.database import Database
from cueapi.storage.notify import notify
from tests.api.events import Followed, follow, ten_requests
from tests.api.work import claimed, fired, report
from tests.conftest import Api, cue, running
from tests.receiver import open_receiver


def key(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.key}"}


async def opened(followed: Followed) -> None:
    """Return when the stream has begun."""
    while not followed.heard:
        await trio.sleep(0.01)


async def test_what_an_account_does_is_hinted_at_to_it_and_to_no_other(api: Api) -> None:
    with trio.fail_after(30):
        other = await api.register("other@example.com")
        async with (
            follow(api.client, "/v1/events", **key(api)) as ours,
            follow(api.client, "/v1/events", **key(other)) as theirs,
        ):
            await opened(ours)
            await opened(theirs)
            await api.post("/v1/cues", cue())
            await ours.until_told("cues")
            await api.post("/v1/worker/heartbeat", {"worker_id": "w1"})
            await ours.until_told("workers")

    assert ours.response.headers["content-type"] == "text/event-stream"
    assert ours.response.headers["cache-control"] == "no-store"
    assert theirs.topics == []


async def test_an_execution_that_runs_and_ends_is_hinted_at(api: Api) -> None:
    with trio.fail_after(30):
        async with open_receiver([500]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), retry={"max_attempts": 1}))
            async with follow(api.client, "/v1/events", **key(api)) as followed:
                await opened(followed)
                fired = await api.post(f"/v1/cues/{made['id']}/fire")
                await followed.until_told("alerts")
                ended = await api.get(f"/v1/executions/{fired['id']}")

    assert ended["status"] == "failed"
    assert {"executions", "cues", "alerts"} <= {*followed.topics}


async def test_what_a_poll_fires_and_a_worker_reports_is_hinted_at(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue(name="w"))
        async with follow(api.client, "/v1/events", **key(api)) as followed:
            await opened(followed)
            await database.execute("update cues set next_run = now() where id = $1", made["id"])
            await notify(database, "test cue:0")
            await followed.until_told("executions")
            execution = await claimed(api)
            before = len(followed.topics)
            await report(api, execution, success=False, retry=False)
            while "alerts" not in followed.topics[before:]:
                await trio.sleep(0.01)


async def test_a_report_by_its_url_is_hinted_at_to_the_account_that_it_is_of(api: Api) -> None:
    with trio.fail_after(30):
        await fired(api)
        (work,) = (await api.post("/v1/worker/heartbeat", {"claim": 1}))["executions"]
        async with follow(api.client, "/v1/events", **key(api)) as followed:
            await opened(followed)
            refused = await api.client.post("/v1/report/run_none/success")
            assert (await api.client.post(urlsplit(work["report_url"]).path + "/success")).status_code == 200
            await followed.until_told("alerts")

    assert refused.status_code == 404
    assert {*followed.topics} == {"executions", "cues", "alerts"}


async def test_what_is_done_about_problems_is_hinted_at(api: Api) -> None:
    with trio.fail_after(30):
        for method, path, body, topic in (
            ("PUT", "/v1/mutes", {"account": True}, "alerts"),
            ("PUT", "/v1/hold", None, "cues"),
            ("PUT", "/v1/budgets/account", {"per": "day", "max_runs": 1}, "cues"),
        ):
            async with follow(api.client, "/v1/events", **key(api)) as followed:
                await opened(followed)
                assert (await api.ask(method, path, body)).status_code == 200
                await followed.until_told(topic)


async def test_two_daemons_hint_at_what_the_other_one_does(settings: Settings) -> None:
    with trio.fail_after(40):
        async with running(settings) as first, running(settings) as second:
            api = await first.api.register()
            there = Api(second.client, api.key)
            async with follow(first.client, "/v1/events", **key(api)) as followed:
                await opened(followed)
                with trio.fail_after(3 + await ten_requests(there)):
                    while "cues" not in followed.topics:
                        await there.post("/v1/cues", cue())
                        await trio.sleep(0.1)


async def test_a_replaced_key_ends_its_streams_on_every_daemon_within_a_second(settings: Settings) -> None:
    with trio.fail_after(40):
        async with running(settings) as first, running(settings) as second:
            api = await first.api.register()
            other = await api.register("other@example.com")
            async with AsyncExitStack() as stack:
                ours = [
                    await stack.enter_async_context(follow(daemon.client, "/v1/events", **key(api)))
                    for daemon in (first, second)
                ]
                theirs = await stack.enter_async_context(follow(first.client, "/v1/events", **key(other)))
                for followed in (*ours, theirs):
                    await opened(followed)
                taken = await ten_requests(api)
                await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
                with trio.fail_after(1.5 + taken):
                    for followed in ours:
                        await followed.over.wait()
                ended = theirs.over.is_set()

    assert not ended


async def test_a_drain_ends_fifty_streams_at_once_and_tells_them_to_come_back(settings: Settings) -> None:
    with trio.fail_after(60):
        async with running(settings) as daemon:
            apis = [await daemon.api.register(f"a{number}@example.com") for number in range(3)]
            async with AsyncExitStack() as stack:
                streams = [
                    await stack.enter_async_context(follow(daemon.client, "/v1/events", **key(apis[number % 3])))
                    for number in range(50)
                ]
                for followed in streams:
                    await opened(followed)
                begun = trio.current_time()
                daemon.stop("a drain")
                for followed in streams:
                    await followed.over.wait()
                lasted = trio.current_time() - begun

    assert all(followed.heard[-1] == "retry: 2000\n\n" for followed in streams)
    assert lasted < 5


async def test_the_twenty_first_stream_of_an_account_is_not_opened(api: Api) -> None:
    with trio.fail_after(60):
        async with AsyncExitStack() as stack:
            for _ in range(20):
                await opened(await stack.enter_async_context(follow(api.client, "/v1/events", **key(api))))
            full = await api.ask("GET", "/v1/events")
            other = await api.register("other@example.com")
            async with follow(api.client, "/v1/events", **key(other)) as theirs:
                await opened(theirs)
        status = 204
        while status == 204:
            async with api.client.stream("GET", "/v1/events", headers=key(api)) as again:
                status = again.status_code

    assert (full.status_code, full.content) == (204, b"")
    assert status == 200


async def test_a_stream_wants_a_key_and_a_head_of_it_ends(api: Api) -> None:
    with trio.fail_after(20):
        refused = await Api(api.client).refused("GET", "/v1/events")
        head = await api.ask("HEAD", "/v1/events")

    assert refused[:2] == (401, "invalid_api_key")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")

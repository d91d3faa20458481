"""Hints for pages, by the cookie: only while the session serves, and never to a form's reader who is signed out."""

import pytest
import trio

from cueapi.settings import Settings
from tests.api.events import Followed, follow, ten_requests
from tests.conftest import Api, RunningDaemon, cue, running
from tests.dashboard.browsing import Browser, signed_in


def cookie(browser: Browser) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


async def opened(followed: Followed) -> None:
    """Return when the stream has begun."""
    while not followed.heard:
        await trio.sleep(0.01)


async def test_a_page_is_told_what_its_account_changes_and_nothing_of_others(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        other = await api.register("other@example.com")
        browser = await signed_in(daemon, api)
        async with follow(daemon.client, "/ui/events", **cookie(browser)) as followed:
            await opened(followed)
            await other.post("/v1/cues", cue())
            await api.post("/v1/worker/heartbeat", {})
            await followed.until_told("workers")

    assert followed.response.headers["content-type"] == "text/event-stream"
    assert "cues" not in followed.topics


async def test_an_action_of_a_page_is_hinted_at(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue())
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues")
        async with follow(daemon.client, "/ui/events", **cookie(browser)) as followed:
            await opened(followed)
            await browser.post(f"/ui/cues/{made['id']}/pause")
            await followed.until_told("cues")


@pytest.mark.parametrize("way", ["sign-out", "end of all", "another key"])
async def test_the_end_of_a_session_ends_its_streams_on_every_daemon_within_a_second(
    settings: Settings, way: str
) -> None:
    with trio.fail_after(60):
        async with running(settings) as first, running(settings) as second:
            api = await first.api.register()
            browser = await signed_in(first, api)
            async with (
                follow(first.client, "/ui/events", **cookie(browser)) as here,
                follow(second.client, "/ui/events", **cookie(browser)) as there,
            ):
                await opened(here)
                await opened(there)
                taken = await ten_requests(api)
                await end(way, browser, api)
                with trio.fail_after(2 + taken):  # a second, and what the machine takes
                    await here.over.wait()
                    await there.over.wait()


async def end(way: str, browser: Browser, api: Api) -> None:
    if way == "another key":
        await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
    elif way == "sign-out":
        await browser.post("/ui/sign-out")
    else:
        await browser.post("/ui/account/sessions/end-all")


async def test_without_a_session_there_is_no_stream_and_no_page(daemon: RunningDaemon, api: Api) -> None:
    accept = {"Accept": "text/event-stream"}
    with trio.fail_after(20):
        answers = [
            await daemon.client.get("/ui/events", headers=accept | headers)
            for headers in ({}, {"Authorization": f"Bearer {api.key}"}, {"Cookie": "cueapi_session=x"})
        ]

    assert [(one.status_code, one.content) for one in answers] == [(401, b"")] * 3

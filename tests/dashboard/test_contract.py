"""The contract, called in the process: as a program calls it, but for who asks."""

import pytest
import trio
from structlog.testing import capture_logs

from cueapi.settings import Settings
from tests.conftest import Api, RunningDaemon, running
from tests.dashboard.browsing import signed_in


async def test_an_action_counts_against_the_limit_of_the_account_and_is_refused_beyond_it(settings: Settings) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"rate_limit_per_minute": 3})) as daemon:
            api = await daemon.api.register()
            person = await signed_in(daemon, api)
            statuses = [(await person.post("/ui/account/key/show")).status_code for _ in range(4)]
            refused = await person.post("/ui/account/key/show")
            program = await api.ask("GET", "/v1/auth/me")
            page = await person.get("/ui/account")

    assert statuses == [200, 200, 200, 429]
    assert (refused.status_code, refused.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
    assert program.status_code == 429
    assert page.status_code == 200


async def test_page_and_call_are_two_lines_of_the_log_under_one_request_id(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)

    with capture_logs() as lines:
        page = await person.post("/ui/account/webhook-secret/show")

    told = [(line["method"], line["route"], line["status"]) for line in lines if line["event"] == "request_answered"]
    assert told == [
        ("GET", "/v1/auth/webhook-secret", 200),
        ("POST", "/ui/account/<name>/show", 200),
    ]
    assert "X-RateLimit-Limit" not in page.headers
    assert len(page.headers.get_list("X-Request-Id")) == 1


@pytest.mark.parametrize("name", ["cueapi.caller", "Cueapi-Caller", "X-Cueapi-Caller", "Remote-Addr"])
async def test_no_header_of_a_request_says_who_asks(daemon: RunningDaemon, api: Api, name: str) -> None:
    answer = await daemon.client.get("/v1/auth/me", headers={name: "1"})

    assert answer.status_code == 401


async def test_without_a_dashboard_there_is_nothing_at_its_paths(settings: Settings) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"dashboard": False})) as daemon:
            answers = [
                await daemon.client.get(path, headers={"Accept": "text/html"})
                for path in ("/", "/ui", "/ui/sign-in", "/ui/static/style.css", "/favicon.ico")
            ]

    assert {(one.status_code, one.json()["error"]["code"]) for one in answers} == {(404, "not_found")}

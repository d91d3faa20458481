"""Forms of other pages do nothing: every POST route of the dashboard, as the app knows them."""

import re

import pytest
import trio
from attrs import frozen

from cueapi.api.http.app import make_app
from cueapi.daemon.resources import Resources
from cueapi.daemon.routes import api_resources, request_gate
from cueapi.daemon.wiring import Wiring
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, running
from tests.dashboard.browsing import SAME_ORIGIN, Browser, browser, signed_in

SIGNED_OUT = {"dashboard.ui.sign_in.enter", "dashboard.ui.entering.enter"}
"""Endpoints of forms that stand on pages without a session: their origin is checked, and there is no token."""

FOREIGN_ORIGINS = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another host of the site": {"Sec-Fetch-Site": "same-site"},
    "no page": {"Sec-Fetch-Site": "none"},
    "another site that claims our origin": {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
    "another origin": {"Origin": "https://evil.example"},
    "our name by another scheme": {"Origin": "https://{host}"},
    "our name on another port": {"Origin": "http://127.0.0.1:1"},
    "our name as a prefix": {"Origin": "{own}.evil.example"},
    "a hidden origin": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "nothing": {},
}


@frozen
class Form:
    """Where a form is sent."""

    endpoint: str
    path: str


def forms(resources: Resources) -> list[Form]:
    """Every POST route below /ui, with some text for each part of its path."""
    wiring = Wiring.make(resources)
    app = make_app(request_gate(resources, wiring), api_resources(resources, wiring))
    return [
        Form(rule.endpoint, re.sub(r"<[^>]*>", "key", rule.rule))
        for rule in app.url_map.iter_rules()
        if "POST" in (rule.methods or ()) and rule.rule.startswith("/ui")
    ]


@pytest.fixture
async def person(daemon: RunningDaemon, api: Api) -> Browser:
    """A browser that is signed in."""
    return await signed_in(daemon, api)


async def state(database: Database) -> list[str]:
    """What an action could change, sessions aside: whether they were looked at is noted."""
    tables = (
        "users", "api_keys", "cues", "executions", "alerts", "workers", "notifications", "sign_in_links", "holds",
        "mutes", "channels", "budgets", "operations", "incidents", "targets", "address_links", "audit",
    )  # fmt: skip
    return [
        str(row["held"])
        for table in tables
        for row in await database.fetch(f"select json_agg(t)::text as held from {table} t")
    ]


async def test_there_are_forms(daemon: RunningDaemon) -> None:
    found = {form.endpoint for form in forms(daemon.resources)}

    assert found >= SIGNED_OUT | {"dashboard.ui.sign_in.leave", "dashboard.ui.account.replace_secret"}


@pytest.mark.parametrize("headers", FOREIGN_ORIGINS.values(), ids=FOREIGN_ORIGINS.keys())
async def test_no_form_is_taken_from_another_origin_whatever_it_brings(
    daemon: RunningDaemon, person: Browser, database: Database, headers: dict[str, str]
) -> None:
    own, before = daemon.address, await state(database)
    named = {
        name.replace("-", "_"): value.format(own=own, host=own.partition("://")[2]) for name, value in headers.items()
    }

    with trio.fail_after(120):
        answers = [
            (form.path, await person.send("POST", form.path, {"form_token": person.form_token}, **named))
            for form in forms(daemon.resources)
        ]

    assert {path: answer.status_code for path, answer in answers} == {path: 403 for path, _ in answers}
    assert all("csrf_failed" in answer.text and "set-cookie" not in answer.headers for _, answer in answers)
    assert await state(database) == before
    assert (await person.get("/ui/account")).status_code == 200


@pytest.mark.parametrize("token", ["", "0" * 64, "ü", "another session's"], ids=["none", "made up", "odd", "other"])
async def test_no_form_is_taken_without_the_token_of_its_session(
    daemon: RunningDaemon, person: Browser, api: Api, database: Database, token: str
) -> None:
    other = await signed_in(daemon, api)
    sent, before = other.form_token if token == "another session's" else token, await state(database)

    with trio.fail_after(120):
        answers = {
            form.path: (await person.send("POST", form.path, {"form_token": sent}, **SAME_ORIGIN)).status_code
            for form in forms(daemon.resources)
            if form.endpoint not in SIGNED_OUT
        }

    assert set(answers.values()) == {403}
    assert await state(database) == before


async def test_no_form_does_anything_without_a_session(
    daemon: RunningDaemon, person: Browser, database: Database
) -> None:
    before = await state(database)

    with trio.fail_after(120):
        answers = {
            form.path: await browser(daemon).send("POST", form.path, {"form_token": person.form_token}, **SAME_ORIGIN)
            for form in forms(daemon.resources)
            if form.endpoint not in SIGNED_OUT
        }

    assert {answer.status_code for answer in answers.values()} == {303}
    assert {answer.headers["Location"] for answer in answers.values()} == {"/ui/sign-in"}
    assert await state(database) == before


async def test_a_browser_that_tells_only_its_origin_is_heard(daemon: RunningDaemon, person: Browser) -> None:
    data = {"form_token": person.form_token}

    answer = await person.send("POST", "/ui/account/key/show", data, Origin=daemon.address)

    assert answer.status_code == 200


@pytest.mark.parametrize("origins", ["*", "https://app.example"])
async def test_origins_that_may_call_the_contract_may_not_read_pages(settings: Settings, origins: str) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"cors_origins": origins})) as daemon:
            person = await signed_in(daemon, await daemon.api.register())
            page = await person.get("/ui/account", Origin="https://app.example")
            call = await daemon.client.get("/v1/info", headers={"Origin": "https://app.example"})

    assert [name for name in page.headers if name.startswith("access-control")] == []
    assert "access-control-allow-origin" in call.headers


async def test_no_page_of_the_dashboard_is_open_to_pages_of_others(daemon: RunningDaemon, person: Browser) -> None:
    page = await person.get("/ui/account", Origin="https://evil.example")

    assert "Access-Control-Allow-Origin" not in page.headers
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers.get_list("Referrer-Policy") == ["same-origin"]
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

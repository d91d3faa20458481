"""Signing in with a key or by a mailed link, and signing out."""

import re
from pathlib import Path

import pytest
import trio
from pydantic import SecretStr

from cueapi.dashboard.sign_in import FAILURES, own_path
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.mailing import mailing
from tests.api.signing_in import printed
from tests.conftest import Api, RunningDaemon, running
from tests.dashboard.browsing import SAME_ORIGIN, Browser, browser, path_in, signed_in, target, text_of
from tests.process import HANG

WRONG = "cue_sk_" + "0" * 32


async def test_a_person_without_a_session_is_led_to_the_sign_in_page_and_back(daemon: RunningDaemon, api: Api) -> None:
    person = browser(daemon)

    away = target(await person.get("/ui/cues?status=paused&q=a%20b"))
    page = await person.get(away)
    wanted = re.findall(r'name="next" value="([^"]*)"', page.text)
    back = await person.send("POST", "/ui/sign-in", {"api_key": api.key, "next": "/ui/cues?status=paused&q=a%20b"},
                             **SAME_ORIGIN)  # fmt: skip

    assert away == "/ui/sign-in?next=/ui/cues%3Fstatus%3Dpaused%26q%3Da%2520b"
    assert wanted[0] == "/ui/cues?status=paused&amp;q=a%20b"
    assert target(back) == "/ui/cues?status=paused&q=a%20b"


async def test_a_fragment_or_a_stream_without_a_session_is_an_empty_401(daemon: RunningDaemon) -> None:
    person = browser(daemon)

    answers = [await person.send("GET", "/ui/account", X_Fragment="1"),
               await person.send("GET", "/ui/account", Accept="text/event-stream")]  # fmt: skip

    assert [(one.status_code, one.content) for one in answers] == [(401, b"")] * 2


@pytest.mark.parametrize("key", [WRONG, "", "x", "cue_sk_" + "ü" * 32], ids=["unknown", "empty", "short", "odd"])
async def test_a_wrong_key_is_refused_beside_its_field_and_not_shown_again(daemon: RunningDaemon, key: str) -> None:
    person = browser(daemon)

    answer = await person.send("POST", "/ui/sign-in", {"api_key": key, "next": "/ui/alerts"}, **SAME_ORIGIN)

    assert answer.status_code == 401
    assert 'id="api_key-problem" role="alert">This key opens no account here' in answer.text
    assert 'name="next" value="/ui/alerts"' in answer.text
    assert person.cookies == {}
    assert not key or key == "x" or key not in answer.text


async def test_a_session_begins_with_a_cookie_that_no_script_reads_and_no_other_site_sends(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    answer = await browser(daemon).send("POST", "/ui/sign-in", {"api_key": api.key}, **SAME_ORIGIN)

    (line,) = answer.headers.get_list("set-cookie")
    token = re.match(r"cueapi_session=([A-Za-z0-9_-]{43});", line)
    assert token is not None
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"} <= set(line.split("; "))
    assert "Secure" not in line
    (row,) = await database.fetch("select s::text as kept from browser_sessions s")
    assert token[1] not in row["kept"]


@pytest.mark.parametrize(
    ("base_url", "name", "path"),
    [
        ("https://cue.example", "__Host-cueapi_session", "/"),
        ("https://host.example/cue", "cueapi_session", "/cue"),
    ],
)
async def test_where_the_server_is_reached_by_https_the_cookie_is_for_https_only(
    settings: Settings, base_url: str, name: str, path: str
) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"base_url": base_url})) as daemon:
            api = await daemon.api.register()
            answer = await browser(daemon).send("POST", "/ui/sign-in", {"api_key": api.key}, **SAME_ORIGIN)

    (line,) = answer.headers.get_list("set-cookie")
    assert line.startswith(f"{name}=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", f"Path={path}"} <= set(line.split("; "))


async def test_a_session_that_the_browser_brought_along_is_not_the_one_that_begins(
    daemon: RunningDaemon, api: Api
) -> None:
    planted = Browser(daemon.client, {"cueapi_session": "A" * 43})
    former = await signed_in(daemon, api)
    before = dict(former.cookies)

    await planted.sign_in(api.key)
    await former.sign_in(api.key)

    assert planted.cookies["cueapi_session"] != "A" * 43
    assert former.cookies != before
    assert target(await Browser(daemon.client, before).get("/ui/account")).startswith("/ui/sign-in")
    assert target(await Browser(daemon.client, {"cueapi_session": "A" * 43}).get("/ui")).startswith("/ui/sign-in")


async def test_neither_a_key_opens_a_page_nor_a_session_the_contract(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)

    page = await browser(daemon).get("/ui/account", Authorization=f"Bearer {api.key}")
    call = await person.send("GET", "/v1/auth/me")

    assert target(page).startswith("/ui/sign-in")
    assert call.status_code == 401


async def test_who_signs_out_is_out_also_with_the_cookie_of_before(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)
    cookies = dict(person.cookies)

    answer = await person.post("/ui/sign-out")

    assert target(answer) == "/ui/sign-in"
    assert person.cookies == {}
    assert target(await Browser(daemon.client, cookies).get("/ui")).startswith("/ui/sign-in")


@pytest.mark.parametrize(
    ("column", "ago", "serves"),
    [
        ("seen_at", "12 hours 1 minute", False),
        ("seen_at", "11 hours 59 minutes", True),
        ("created_at", "30 days 1 minute", False),
        ("created_at", "29 days 23 hours", True),
    ],
)
async def test_a_session_serves_for_twelve_hours_idle_and_thirty_days_in_all(
    daemon: RunningDaemon, api: Api, database: Database, column: str, ago: str, serves: bool
) -> None:
    person = await signed_in(daemon, api)
    await database.execute(f"update browser_sessions set {column} = now() - interval '{ago}'")

    answers = [(await person.get("/ui/account")).status_code for _ in range(2)]

    assert answers == [200 if serves else 303] * 2
    # Of one that is idle for so long the janitor may have removed the row meanwhile.
    used = await database.fetch("select from browser_sessions where seen_at > now() - interval '1 minute'")
    assert len(used) == (serves or column == "created_at")


async def test_the_eleventh_failed_sign_in_of_an_address_within_a_minute_is_refused_and_a_right_key_with_it(
    daemon: RunningDaemon, api: Api
) -> None:
    person = browser(daemon)
    await person.sign_in(api.key)

    async def attempt(key: str) -> int:
        return (await browser(daemon).send("POST", "/ui/sign-in", {"api_key": key}, **SAME_ORIGIN)).status_code

    right = [await attempt(api.key) for _ in range(FAILURES + 2)]
    wrong = [await attempt(WRONG) for _ in range(FAILURES)]
    late = await browser(daemon).send("POST", "/ui/sign-in", {"api_key": api.key}, **SAME_ORIGIN)
    link = await browser(daemon).send("POST", "/ui/enter/none", {"email": ""}, **SAME_ORIGIN)

    assert right == [303] * (FAILURES + 2)
    assert wrong == [401] * FAILURES
    assert (late.status_code, link.status_code) == (429, 429)
    assert late.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 1 <= int(late.headers["Retry-After"]) <= 60
    assert "Too often" in late.text
    assert (await person.get("/ui/account")).status_code == 200


async def test_two_daemons_with_a_redis_share_the_count_of_failed_sign_ins(settings: Settings, redis_url: str) -> None:
    shared = settings.model_copy(update={"redis_url": SecretStr(redis_url)})
    statuses = []
    with trio.fail_after(HANG):
        async with running(shared) as one, running(shared) as other:
            api = await one.api.register()
            for daemon, key in [*((one, api.key),) * 3, *((one, WRONG),) * 5, *((other, WRONG),) * 5, (one, api.key)]:
                answer = await browser(daemon).send("POST", "/ui/sign-in", {"api_key": key}, **SAME_ORIGIN)
                statuses.append(answer.status_code)

    assert statuses == [303] * 3 + [401] * 10 + [429]


async def test_of_many_wrong_keys_at_once_no_more_than_ten_are_looked_at(daemon: RunningDaemon, api: Api) -> None:
    statuses: list[int] = []

    async def attempt() -> None:
        answer = await Browser(daemon.client).send("POST", "/ui/sign-in", {"api_key": WRONG}, **SAME_ORIGIN)
        statuses.append(answer.status_code)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(2 * FAILURES):
                nursery.start_soon(attempt)

    assert sorted(statuses) == [401] * FAILURES + [429] * FAILURES


@pytest.mark.parametrize(
    "wanted",
    [
        "", "/", "//evil.example", "https://evil.example/ui/", "/uix", "/v1/cues", "\\ui", "/ui/\\evil",
        "/ui/../v1/cues", "/ui/%2e%2e/v1", "/ui/.%2E/", "/ui\r\nX: y", "/ui/\t/evil.example",
        "javascript:alert(1)", "/UI", "ui/",
    ],
)  # fmt: skip
def test_a_sign_in_leads_to_no_path_outside_of_the_dashboard(wanted: str) -> None:
    assert own_path(wanted) == "/ui"


@pytest.mark.parametrize(
    "wanted", ["/ui", "/ui/", "/ui/cues?q=../x", "/ui?range=day", "/ui/executions/0190-a#attempt-2"]
)
def test_a_sign_in_leads_to_the_page_that_was_asked_for(wanted: str) -> None:
    assert own_path(wanted) == wanted


async def test_in_development_a_link_is_printed_and_signs_in_once_behind_a_button(
    daemon: RunningDaemon, capsys: pytest.CaptureFixture[str], database: Database
) -> None:
    person = browser(daemon)

    sent = await person.send("POST", "/ui/sign-in", {"email": " New@Example.com "}, **SAME_ORIGIN)
    ((email, link),) = printed(capsys)
    scanned = [await browser(daemon).get(path_in(link)) for _ in range(2)]
    entered = await person.send("POST", path_in(link), {}, **SAME_ORIGIN)
    again = await browser(daemon).send("POST", path_in(link), {}, **SAME_ORIGIN)

    assert (sent.status_code, email) == (200, "New@example.com")
    assert "standard error" in sent.text
    assert [(one.status_code, "Sign in as New@example.com?" in one.text) for one in scanned] == [(200, True)] * 2
    assert target(entered) == "/ui"
    assert (again.status_code, "does not work" in again.text) == (400, True)
    assert "New@example.com" in (await person.get("/ui/account")).text
    (row,) = await database.fetch("select count(*) as links from sign_in_links")
    assert row["links"] == 0


async def test_a_link_is_sent_to_the_address_of_the_account_however_it_was_typed(
    daemon: RunningDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    await daemon.api.register("mike@example.com")
    sent = []
    for typed in ("MIKE@example.com", "m\u0130ke@example.com"):
        await browser(daemon).send("POST", "/ui/sign-in", {"email": typed}, **SAME_ORIGIN)
        sent += [email for email, _ in printed(capsys)]

    assert sent == ["mike@example.com", "m\u0130ke@example.com"]


async def test_a_mailed_link_signs_in_and_shows_the_new_key_of_an_account_that_was_not_verified(
    settings: Settings,
) -> None:
    with trio.fail_after(60):
        async with mailing(settings) as mailed:
            squatter = await mailed.daemon.api.register("you@example.com")
            there = await signed_in(mailed.daemon, squatter)
            owner = browser(mailed.daemon)
            sent = await owner.send("POST", "/ui/sign-in", {"email": "you@example.com"}, **SAME_ORIGIN)
            link = await mailed.link_to("you@example.com", "Sign in to CueAPI", "/ui/enter/")
            entered = await owner.send("POST", link, {}, **SAME_ORIGIN)
            inside = await owner.get("/ui/account")
            out = await there.get("/ui/account")
            dead = await squatter.ask("GET", "/v1/auth/me")

    assert "Look at your mail" in sent.text
    assert (entered.status_code, entered.headers["Cache-Control"]) == (200, "no-store")
    assert re.search(r"cue_sk_[0-9a-f]{32}", entered.text)
    assert (inside.status_code, out.status_code, dead.status_code) == (200, 303, 401)


@pytest.mark.parametrize("email", ["", "you", "a@b@c", "=?utf-8?q?x?=@example.com"])
async def test_what_is_no_address_is_refused_beside_its_field_and_kept(daemon: RunningDaemon, email: str) -> None:
    answer = await browser(daemon).send("POST", "/ui/sign-in", {"email": email}, **SAME_ORIGIN)

    assert answer.status_code == 422
    assert 'id="email-problem"' in answer.text
    assert f'value="{email}"' in answer.text


async def test_the_answer_does_not_tell_whether_an_address_may_sign_in(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"allow_register": False})) as daemon:
            answer = await browser(daemon).send("POST", "/ui/sign-in", {"email": "no@example.com"}, **SAME_ORIGIN)

    assert (answer.status_code, "standard error" in text_of(answer)) == (200, True)
    assert printed(capsys) == []


async def test_where_no_mail_leaves_in_production_no_link_is_offered(settings: Settings, tmp_path: Path) -> None:
    production = settings.model_copy(update={"env": "production", "base_url": "https://cue.example"})
    with trio.fail_after(60):
        async with running(production) as daemon:
            page = await browser(daemon).get("/ui/sign-in")
            answer = await browser(daemon).send("POST", "/ui/sign-in", {"email": "a@example.com"}, **SAME_ORIGIN)

    assert 'name="email"' not in page.text
    assert (answer.status_code, "SMTP_URL" in answer.text) == (503, True)

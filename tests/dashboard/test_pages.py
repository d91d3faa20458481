"""What every page has: where it is found, its files, its failures, its fragment."""

import re

import pytest
import trio

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, running
from tests.dashboard.browsing import SAME_ORIGIN, Browser, browser, signed_in, target, text_of

PAGES = ("/ui", "/ui/account", "/ui/system")


async def test_the_root_leads_people_to_the_dashboard_and_tells_programs_what_it_told_them(
    daemon: RunningDaemon,
) -> None:
    person = await daemon.client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    slash = await daemon.client.get("/ui/", headers={"Accept": "text/html"})
    programs = [await daemon.client.get("/", headers={"Accept": kind}) for kind in ("*/*", "application/json")]

    assert (target(person), target(slash)) == ("/ui", "/ui/sign-in?next=/ui/")
    assert [(one.status_code, one.json()["error"]["code"]) for one in programs] == [(404, "not_found")] * 2


async def test_an_unknown_page_is_a_page(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)

    answers = [
        await person.get(path) for path in ("/ui/nothing", "/ui/account/nothing", "/ui/static/style.css", "/ui/%00")
    ]

    assert {(one.status_code, one.headers["Content-Type"]) for one in answers} == {(404, "text/html; charset=utf-8")}
    assert "Nothing here There is nothing at this path." in text_of(answers[0])
    assert 'aria-label="Pages"' in answers[0].text


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_but_files_that_may_be_kept_for_a_year(
    daemon: RunningDaemon, api: Api, path: str
) -> None:
    person = await signed_in(daemon, api)

    page = await person.get(path)
    links = re.findall(r'<(?:link|script|img)[^>]* (?:href|src)="([^"]*)"', page.text)
    files = [await person.get(link) for link in links]

    assert page.status_code == 200
    assert all(re.fullmatch(r"/ui/static/[a-z]+\.[0-9a-f]{12}\.(css|svg|js)", link) for link in links)
    assert {(file.status_code, file.headers["Cache-Control"]) for file in files} == {
        (200, "public, max-age=31536000, immutable")
    }
    assert not re.search(r"<style|<script>| style=| on[a-z]+=", page.text)


@pytest.mark.parametrize("path", PAGES)
async def test_a_fragment_is_the_main_part_of_the_same_page(daemon: RunningDaemon, api: Api, path: str) -> None:
    person = await signed_in(daemon, api)

    page, fragment = await person.get(path), await person.get(path, X_Fragment="1")
    ids = [set(re.findall(r' id="([^"]*)"', one.text.partition("<main")[2])) for one in (page, fragment)]

    assert fragment.status_code == 200
    assert ('<nav class="nav"' in page.text, '<nav class="nav"' in fragment.text) == (True, False)
    assert ids[0] == ids[1]
    assert "X-Fragment" in page.headers["Vary"]


async def test_the_page_about_the_system_says_what_runs(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)
    with trio.fail_after(60):
        while (await api.get("/health"))["status"] != "healthy":
            await trio.sleep(0.05)

    said = text_of(await person.get("/ui/system"))

    assert "Everything runs." in said
    for sibling in ("notifier", "poller", "recorder", "wakeups"):
        assert re.search(rf"{sibling} ● running 0 20\d\d-", said)
    assert re.search(r"Channel deliveries 0 \d", said)
    assert re.search(r"Database pool \d+ \d+ connections to PostgreSQL", said)
    assert re.search(r"PostgreSQL \d\d\.\d", said)
    assert re.search(r"tzdata 20\d\d[a-z]", said)
    assert re.search(r"1 \S+:127\.0\.0\.1:\d+ · this one ● alive", said)


@pytest.mark.parametrize("below", ["/cue", ""], ids=["a proxy that hands it on", "a proxy that takes it away"])
async def test_the_dashboard_works_below_a_path(settings: Settings, below: str) -> None:
    origin = "http://host.example"
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"base_url": f"{origin}/cue"})) as daemon:
            api = await daemon.api.register()
            assert (await daemon.client.get(f"{below}/v1/info")).status_code == 200
            person = browser(daemon)
            away = await person.get(f"{below}/ui/account")
            form = await person.get(f"{below}{target(away).removeprefix('/cue')}")
            entered = await person.send(
                "POST", f"{below}/ui/sign-in", {"api_key": api.key, "next": "/ui/account"}, Origin=origin
            )
            page = await person.get(f"{below}/ui/account")
            unknown = await daemon.client.get("/cuex/v1/info")

    assert target(away) == "/cue/ui/sign-in?next=/ui/account"
    assert 'action="/cue/ui/sign-in"' in form.text
    assert target(entered) == "/cue/ui/account"
    assert "Path=/cue" in entered.headers["set-cookie"]
    links = re.findall(r' (?:href|action|src)="([^"]*)"', page.text)
    assert {link for link in links if not link.startswith(("/cue/ui", "#"))} == set()
    assert '<a href="/cue/ui/account" aria-current="page">' in page.text
    assert unknown.status_code == 404


async def test_where_the_database_cannot_answer_the_page_says_so(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    person = await signed_in(daemon, api)
    await database.execute("alter table browser_sessions rename to elsewhere")

    page = await person.get("/ui/account")

    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "Not now The database cannot do this now; nothing was done." in text_of(page)
    assert page.headers["Retry-After"] == "5"


async def test_a_body_that_is_no_form_or_too_large_is_refused_with_a_page(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)

    large = await browser(daemon).send("POST", "/ui/sign-in", {"api_key": "x" * 20_000}, **SAME_ORIGIN)
    many = await person.post("/ui/account", {f"f{number}": "" for number in range(1_001)})
    json = await daemon.client.post(
        "/ui/account", json={}, headers=SAME_ORIGIN | {"Cookie": f"cueapi_session={person.cookies['cueapi_session']}"}
    )

    assert [(one.status_code, one.headers["Content-Type"]) for one in (large, many, json)] == [
        (status, "text/html; charset=utf-8") for status in (413, 400, 415)
    ]


async def test_the_document_of_the_contract_leaves_the_dashboard_out(daemon: RunningDaemon) -> None:
    document = (await daemon.client.get("/openapi.json")).json()

    assert not [path for path in document["paths"] if path.startswith(("/ui", "/favicon")) or path == "/"]


async def test_cookies_that_open_nothing_are_looked_at_as_often_as_requests_without_a_key(settings: Settings) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"rate_limit_per_minute": 3})) as daemon:
            guessed = [await Browser(daemon.client, {"cueapi_session": f"guess-{n}"}).get("/ui") for n in range(4)]
            sound = await browser(daemon).get("/ui/sign-in")

    assert [one.status_code for one in guessed] == [303, 303, 303, 429]
    assert sound.status_code == 200


async def test_a_cookie_that_opens_nothing_is_no_error(daemon: RunningDaemon) -> None:
    cookies = ["", "x", "x" * 5_000, "%00", '"', "=; ="]

    answers = [await Browser(daemon.client, {"cueapi_session": text}).get("/ui/account") for text in cookies]

    assert [target(one) for one in answers] == ["/ui/sign-in?next=/ui/account"] * len(cookies)

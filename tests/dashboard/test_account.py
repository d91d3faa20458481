"""The page of the account: limits and use, key and secrets, sessions."""

import re

import pytest
import trio
from attrs import evolve

from cueapi.cli import operator
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue, running
from tests.dashboard.browsing import Browser, browser, signed_in, target, text_of

KEY = re.compile(r"cue_sk_[0-9a-f]{32}")
SECRETS = {
    "key": (KEY, "/v1/auth/key", "api_key"),
    "webhook-secret": (re.compile(r"whsec_[0-9a-f]{64}"), "/v1/auth/webhook-secret", "webhook_secret"),
    "alert-webhook-secret": (
        re.compile(r'id="secret">([0-9a-f]{64})<'), "/v1/auth/alert-webhook-secret", "alert_webhook_secret",
    ),
}  # fmt: skip


async def test_the_page_shows_address_limits_and_what_was_used(settings: Settings) -> None:
    with trio.fail_after(60):
        async with running(settings.model_copy(update={"active_cue_limit": 1_200})) as daemon:
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue())
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            await api.post(f"/v1/executions/{fired['id']}/claim")
            page = await (await signed_in(daemon, api)).get("/ui/account")

    said = text_of(page)
    assert "Active cues 1 of 1,200" in said
    assert "Executions this month 1 of 1,000,000,000" in said
    assert "Requests a minute 6,000" in said
    assert 'value="you@example.com"' in page.text
    assert not KEY.search(page.text)


@pytest.mark.parametrize("name", SECRETS)
async def test_a_secret_is_shown_at_a_button_and_stands_on_no_page_that_is_kept(
    daemon: RunningDaemon, api: Api, name: str
) -> None:
    pattern, path, field = SECRETS[name]
    person = await signed_in(daemon, api)

    shown = await person.post(f"/ui/account/{name}/show")
    got = await person.get(f"/ui/account/{name}/show")

    told = (await api.get(path))[field]
    assert (shown.status_code, shown.headers["Cache-Control"]) == (200, "no-store")
    assert pattern.findall(shown.text) == [told]
    assert (target(got), told in got.text) == ("/ui/account", False)


@pytest.mark.parametrize("name", ["webhook-secret", "alert-webhook-secret"])
async def test_a_replaced_secret_is_shown_once_and_the_session_goes_on(
    daemon: RunningDaemon, api: Api, name: str
) -> None:
    pattern, path, field = SECRETS[name]
    person, before = await signed_in(daemon, api), (await api.get(path))[field]

    replaced = await person.post(f"/ui/account/{name}/replace")

    told = (await api.get(path))[field]
    assert (replaced.status_code, replaced.headers["Cache-Control"]) == (200, "no-store")
    assert pattern.findall(replaced.text) == [told]
    assert told != before
    assert (await person.get("/ui/account")).status_code == 200


async def test_a_replaced_key_ends_the_key_of_before_and_every_session_but_begins_one_for_this_browser(
    daemon: RunningDaemon, api: Api
) -> None:
    person, other = await signed_in(daemon, api), await signed_in(daemon, api)
    former = dict(person.cookies)

    replaced = await person.post("/ui/account/key/replace")
    (key,) = KEY.findall(replaced.text)

    assert key != api.key
    assert (await api.ask("GET", "/v1/auth/me")).status_code == 401
    assert (await evolve(api, key=key).ask("GET", "/v1/auth/me")).status_code == 200
    assert [(await one.get("/ui/account")).status_code for one in (person, other)] == [200, 303]
    assert (await Browser(daemon.client, former).get("/ui/account")).status_code == 303
    assert (await person.post("/ui/account/key/show")).status_code == 200


async def test_the_form_on_the_page_of_a_new_key_belongs_to_the_session_that_begins_with_it(
    daemon: RunningDaemon, api: Api
) -> None:
    person = await signed_in(daemon, api)
    replaced = await person.post("/ui/account/key/replace")
    person.form_token = re.findall(r'name="form_token" value="([0-9a-f]{64})"', replaced.text)[0]

    assert target(await person.post("/ui/sign-out")) == "/ui/sign-in"


async def test_of_two_replacements_of_a_key_at_once_one_is_signed_out_or_both_are_done(
    daemon: RunningDaemon, api: Api
) -> None:
    people, keys = [await signed_in(daemon, api) for _ in range(2)], []

    async def replace(person: Browser) -> None:
        keys.extend(KEY.findall((await person.post("/ui/account/key/replace")).text))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for person in people:
                nursery.start_soon(replace, person)

    live = [key for key in keys if (await evolve(api, key=key).ask("GET", "/v1/auth/me")).status_code == 200]
    assert len(live) == 1


@pytest.mark.parametrize("by", ["the contract", "the operator", "revocation"])
async def test_a_replaced_key_ends_its_sessions_on_another_daemon_within_a_second(settings: Settings, by: str) -> None:
    with trio.fail_after(120):
        async with running(settings) as one, running(settings) as other:
            api = await one.api.register()
            person = await signed_in(other, api)
            match by:
                case "the contract":
                    await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
                case "the operator":
                    await operator.new_key(settings, "you@example.com")
                case _:
                    await operator.revoke(settings, "you@example.com")
            # Not after a second: a session is remembered by no daemon.
            after = await person.get("/ui/account")

    assert target(after).startswith("/ui/sign-in")


async def test_a_session_that_begins_while_the_key_is_replaced_does_not_outlive_it(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    person = browser(daemon)
    async with database.transaction() as db:
        await db.execute("update api_keys set rotated_at = now(), encrypted = null")
        await person.sign_in(api.key)

    assert target(await person.get("/ui/account")).startswith("/ui/sign-in")


async def test_sessions_are_listed_with_browser_and_address_and_each_can_be_ended(
    daemon: RunningDaemon, api: Api
) -> None:
    person, other = await signed_in(daemon, api), browser(daemon)
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0 <b>"
    await other.send("POST", "/ui/sign-in", {"api_key": api.key}, Sec_Fetch_Site="same-origin", User_Agent=firefox)

    page = await person.get("/ui/account")
    sessions = re.findall(r'name="session" value="([0-9a-f]{64})"', page.text)
    ended = await person.post("/ui/account/sessions/end", {"session": sessions[0]})
    notice = await person.get(target(ended))

    assert "Firefox on Linux" in page.text
    assert "<b>" not in page.text
    assert len(sessions) == 2
    assert "The session has ended." in notice.text
    assert "The session has ended." not in (await person.get("/ui/account")).text
    assert target(await other.get("/ui/account")).startswith("/ui/sign-in")


async def test_the_present_session_can_be_ended_too(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)
    (session,) = re.findall(r'name="session" value="([0-9a-f]{64})"', (await person.get("/ui/account")).text)

    assert target(await person.post("/ui/account/sessions/end", {"session": session})) == "/ui/sign-in"
    assert person.cookies == {}


async def test_a_session_of_another_account_cannot_be_ended_nor_is_it_seen(daemon: RunningDaemon, api: Api) -> None:
    stranger = await signed_in(daemon, await daemon.api.register("other@example.com"))
    person = await signed_in(daemon, api)
    (session,) = re.findall(r'name="session" value="([0-9a-f]{64})"', (await stranger.get("/ui/account")).text)

    answers = [await person.post("/ui/account/sessions/end", {"session": text}) for text in (session, "", "xyz", "00")]

    assert {(one.status_code, one.headers["Content-Type"]) for one in answers} == {(404, "text/html; charset=utf-8")}
    assert session not in (await person.get("/ui/account")).text
    assert (await stranger.get("/ui/account")).status_code == 200


async def test_signing_out_everywhere_ends_the_sessions_of_browsers_and_programs_and_leaves_the_key(
    daemon: RunningDaemon, api: Api
) -> None:
    people = [await signed_in(daemon, api) for _ in range(2)]
    token = (await api.post("/v1/auth/session/refresh"))["session_token"]

    answer = await people[0].post("/ui/account/sessions/end-all")

    assert target(answer) == "/ui/sign-in"
    assert [(await one.get("/ui")).status_code for one in people] == [303, 303]
    assert (await evolve(api, key=token).ask("GET", "/v1/auth/me")).status_code == 401
    assert (await api.ask("GET", "/v1/auth/me")).status_code == 200


async def test_what_the_contract_refuses_stands_beside_its_field_and_what_was_typed_stays(
    daemon: RunningDaemon, api: Api
) -> None:
    await daemon.api.register("other@example.com")
    person = await signed_in(daemon, api)

    taken = await person.post("/ui/account", {"email": "other@example.com", "alert_webhook_url": ""})
    wrong = await person.post("/ui/account", {"email": "you at home", "alert_webhook_url": "http://10.0.0.1/"})
    unsafe = await person.post("/ui/account", {"email": "you@example.com", "alert_webhook_url": "http://10.0.0.1/"})

    assert (taken.status_code, wrong.status_code, unsafe.status_code) == (409, 422, 400)
    assert 'id="email-problem" role="alert">There is an account with this e-mail address.' in taken.text
    assert 'value="you at home" maxlength="2048" aria-invalid="true"' in wrong.text
    assert 'id="alert_webhook_url-problem"' in unsafe.text
    assert 'value="http://10.0.0.1/"' in unsafe.text


async def test_what_is_saved_is_said_once(daemon: RunningDaemon, api: Api) -> None:
    person = await signed_in(daemon, api)

    saved = await person.post("/ui/account", {"email": "me@example.com", "alert_webhook_url": "https://example.com/a"})
    page, again = await person.get(target(saved)), await person.get("/ui/account")

    assert ("Saved." in page.text, "Saved." in again.text) == (True, False)
    assert ((await api.get("/v1/auth/me"))["email"], 'value="https://example.com/a"' in page.text) == (
        "me@example.com",
        True,
    )


async def test_a_notice_that_the_session_has_not_written_is_not_shown(daemon: RunningDaemon, api: Api) -> None:
    person, other = await signed_in(daemon, api), await signed_in(daemon, api)
    await other.post("/ui/account", {"email": "you@example.com"})
    person.cookies["cueapi_notice"] = other.cookies["cueapi_notice"]

    pages = [await person.get("/ui/account")]
    for made_up in ("x", "x.y", ".", "eyJ0ZXh0IjogIngifQ==.00"):
        person.cookies["cueapi_notice"] = made_up
        pages.append(await person.get("/ui/account"))

    assert {(page.status_code, 'class="notice"' in page.text) for page in pages} == {(200, False)}

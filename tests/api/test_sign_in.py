"""Signing in over HTTP: device code, magic link, button, poll; and everybody who must not get in."""

from collections import Counter

import pytest
import trio
from attrs import evolve
from structlog.testing import capture_logs

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.signing_in import (
    CODE,
    EMAIL,
    begin,
    path_of,
    poll,
    press,
    printed,
    sign_in,
    submit,
    token_of,
)
from tests.conftest import SECRET, Api, RunningDaemon, running
from tests.process import HANG

Printed = pytest.CaptureFixture[str]


async def delete_expired(database: Database) -> None:
    await database.execute("update device_codes set expires_at = now() - interval '1 second'")


async def test_a_new_user_walks_from_a_code_to_a_key_that_works(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    with trio.fail_after(20):
        url = await begin(daemon.api)
        form = await daemon.client.get(path_of(url))
        waiting = await poll(daemon.api)
        sent = await daemon.client.post(path_of(url), data={"code": CODE, "email": EMAIL})
        told = await poll(daemon.api)
        ((address, link),) = printed(capsys)
        opened = [await daemon.client.get(path_of(link)) for _ in range(2)]
        unchanged = (await poll(daemon.api), await database.fetch("select id from users"))
        approved = await press(daemon, opened[0])
        got = await poll(daemon.api)
        again = await poll(daemon.api)
        me = await evolve(daemon.api, key=got["api_key"]).get("/v1/auth/me")

    assert url == f"http://localhost:{daemon.resources.listener.getsockname()[1]}/auth/device?code={CODE}"
    assert (form.status_code, form.text.count(CODE) >= 1, 'name="email"' in form.text) == (200, True, True)
    assert (waiting, told) == ({"status": "pending"}, {"status": "email_sent"})
    assert (sent.status_code, EMAIL in sent.text, address) == (200, True, EMAIL)
    assert link.startswith(f"http://localhost:{daemon.resources.listener.getsockname()[1]}/v1/auth/verify?token=")
    assert [page.status_code for page in opened] == [200, 200]
    assert all(EMAIL in page.text and CODE in page.text for page in opened)
    assert unchanged == ({"status": "email_sent"}, [])
    assert (approved.status_code, "signed in" in approved.text) == (200, True)
    assert set(got) == {"status", "email", "api_key", "session_token"}
    assert (got["status"], got["email"], again) == ("approved", EMAIL, {"status": "claimed"})
    assert me["email"] == EMAIL


async def test_an_existing_user_gets_the_key_that_works_already(daemon: RunningDaemon, capsys: Printed) -> None:
    user = await daemon.api.register("You@Example.com")

    got = await sign_in(daemon, capsys, "you@example.com")

    assert (got["status"], got["api_key"]) == ("approved", user.key)
    assert (await user.get("/v1/auth/me"))["email"] == "You@example.com"


async def test_a_link_goes_to_the_address_of_the_account_and_one_that_resembles_it_has_another_account(
    daemon: RunningDaemon, capsys: Printed
) -> None:
    with trio.fail_after(20):
        user = await daemon.api.register("mike@example.com")
        await begin(daemon.api)
        await submit(daemon.api, email="MIKE@Example.com")
        ((address, _),) = printed(capsys)
        # PostgreSQL's lower() makes an i of it, in most locales.
        got = await sign_in(daemon, capsys, "m\u0130ke@example.com", "OTHER-CODE")

    assert address == "mike@example.com"
    assert (got["status"], got["email"]) == ("approved", "m\u0130ke@example.com")
    assert got["api_key"] != user.key


async def test_where_the_key_cannot_be_decrypted_an_existing_user_gets_a_session_and_is_told(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    await daemon.api.register("you@example.com")
    await database.execute("update api_keys set encrypted = null")

    got = await sign_in(daemon, capsys, "you@example.com")
    session = await daemon.api.post("/v1/auth/session", {"token": got["session_token"]})

    assert (got["existing_user"], "api_key" in got) == (True, False)
    assert (await evolve(daemon.api, key=session["session_token"]).get("/v1/auth/me"))["email"] == "you@example.com"


async def test_the_button_works_once_for_any_number_who_press_it(daemon: RunningDaemon, capsys: Printed) -> None:
    statuses: Counter[int] = Counter()
    for number in range(4):
        code = f"{CODE}-{number}"
        await begin(daemon.api, code)
        await submit(daemon.api, code, f"{number}@example.com")
        ((_, link),) = printed(capsys)

        async def press_it(link: str = link) -> None:
            statuses[(await daemon.api.ask("POST", "/v1/auth/verify", token_of(link))).status_code] += 1

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(press_it)

    assert statuses == {200: 4, 400: 28}


async def test_an_approved_sign_in_is_claimed_by_one_of_many_polls(daemon: RunningDaemon, capsys: Printed) -> None:
    await begin(daemon.api)
    await submit(daemon.api)
    ((_, link),) = printed(capsys)
    await daemon.api.post("/v1/auth/verify", token_of(link))
    answers: list[str] = []

    async def ask() -> None:
        answers.append((await poll(daemon.api))["status"])

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(ask)

    assert Counter(answers) == {"approved": 1, "claimed": 15}


async def test_a_link_that_is_unknown_used_expired_or_replaced_says_so(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    await begin(daemon.api)
    await submit(daemon.api)
    await submit(daemon.api, email="other@example.com")
    (_, replaced), (_, used) = printed(capsys)
    await daemon.api.post("/v1/auth/verify", token_of(used))
    await begin(daemon.api, "EXPIRED-CODE")
    await submit(daemon.api, "EXPIRED-CODE", "late@example.com")
    ((_, expired),) = printed(capsys)
    await database.execute("update device_codes set expires_at = now() where code = 'EXPIRED-CODE'")
    links = {
        "not valid": f"/v1/auth/verify?token=guessed&device_code={CODE}",
        "newer one": path_of(replaced),
        "used already": path_of(used),
        "has expired": path_of(expired),
    }

    for words, link in links.items():
        page = await daemon.client.get(link)
        status, code, message = await daemon.api.refused("POST", "/v1/auth/verify", token_of(link))

        assert (page.status_code, words in page.text, page.headers["content-type"]) == (
            400,
            True,
            "text/html; charset=utf-8",
        )
        assert (status, code, words in message) == (400, "invalid_token", True)


async def test_the_button_is_answered_in_the_form_that_it_was_sent_in_or_that_is_asked_for(
    daemon: RunningDaemon, capsys: Printed
) -> None:
    kinds = {}
    for number, (form, accept) in enumerate(
        [(True, "*/*"), (False, "*/*"), (True, "application/json"), (False, "text/html")]
    ):
        code = f"{CODE}-{number}"
        await begin(daemon.api, code)
        await submit(daemon.api, code, f"{number}@example.com")
        ((_, link),) = printed(capsys)
        content = {"data": token_of(link)} if form else {"json": token_of(link)}
        answered = await daemon.client.post("/v1/auth/verify", headers={"Accept": accept}, **content)
        kinds[form, accept] = (answered.status_code, answered.headers["content-type"].partition(";")[0])

    assert kinds == {
        (True, "*/*"): (200, "text/html"),
        (False, "*/*"): (200, "application/json"),
        (True, "application/json"): (200, "application/json"),
        (False, "text/html"): (200, "text/html"),
    }


async def test_with_registration_closed_a_stranger_gets_the_same_answer_and_no_link(
    settings: Settings, database: Database, capsys: Printed
) -> None:
    async with running(settings) as opened:
        await opened.api.register("known@example.com")
    async with running(settings.model_copy(update={"allow_register": False})) as closed:
        for code, email in (("stranger-code", EMAIL), ("known-code", "known@example.com")):
            await begin(closed.api, code)
            await submit(closed.api, code, email)
        links = printed(capsys)
        statuses = [(await poll(closed.api, code))["status"] for code in ("stranger-code", "known-code")]

    assert [address for address, _ in links] == ["known@example.com"]
    assert statuses == ["email_sent", "email_sent"]
    assert len(await database.fetch("select id from users")) == 1


async def test_a_revoked_user_gets_no_link_and_one_that_was_sent_before_opens_nothing(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    await daemon.api.register("you@example.com")
    await begin(daemon.api, "before")
    await submit(daemon.api, "before", "you@example.com")
    ((_, link),) = printed(capsys)
    await database.execute("update users set revoked_at = now()")

    await begin(daemon.api, "behind")
    await submit(daemon.api, "behind", "you@example.com")

    assert printed(capsys) == []
    assert await daemon.api.refused("POST", "/v1/auth/verify", token_of(link)) == (
        400,
        "invalid_token",
        "This link is not valid, or a newer one was sent.",
    )
    assert (await poll(daemon.api, "before"))["status"] == "email_sent"


@pytest.mark.parametrize(
    "code",
    [
        "",
        "12345",
        "x" * 41,
        "tab\tcode",
        "code\n",
        "Win 1 coin",
        "evil.example",
        "evil/code",
        "a_code",
        "cödecode",
        "１２３４５６",
    ],
    ids=repr,
)
async def test_a_device_code_is_6_to_40_letters_digits_and_hyphens_since_it_stands_in_a_mail(
    daemon: RunningDaemon, code: str
) -> None:
    assert (await daemon.api.refused("POST", "/v1/auth/device-code", {"device_code": code}))[:2] == (
        400,
        "invalid_device_code",
    )


async def test_a_code_is_taken_once_until_it_has_expired(daemon: RunningDaemon, database: Database) -> None:
    await begin(daemon.api, "x" * 40)
    taken = await daemon.api.refused("POST", "/v1/auth/device-code", {"device_code": "x" * 40})
    await delete_expired(database)
    await begin(daemon.api, "x" * 40)

    assert taken[:2] == (409, "device_code_exists")
    assert await poll(daemon.api, "x" * 40) == {"status": "pending"}


async def test_an_address_is_refused_for_a_code_that_is_unknown_expired_or_confirmed(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    async def refused(code: str, email: str = EMAIL) -> tuple[int, str]:
        body = {"device_code": code, "email": email}
        return (await daemon.api.refused("POST", "/v1/auth/device-code/submit-email", body))[:2]

    await begin(daemon.api, "late-code")
    await delete_expired(database)
    await sign_in(daemon, capsys, EMAIL)

    assert await refused("unknown-code") == (404, "device_code_not_found")
    assert await refused("no\u0001code") == (404, "device_code_not_found")
    assert await refused("late-code") == (400, "device_code_expired")
    assert await refused(CODE) == (400, "invalid_status")
    assert await refused(CODE, "no address") == (422, "validation_error")
    assert await poll(daemon.api, "late-code") == await poll(daemon.api, "unknown-code") == {"status": "expired"}


async def test_without_smtp_production_says_that_it_cannot_send_mail(settings: Settings, capsys: Printed) -> None:
    async with running(settings.model_copy(update={"env": "production"})) as daemon:
        await begin(daemon.api)
        body = {"device_code": CODE, "email": EMAIL}
        refused = await daemon.api.refused("POST", "/v1/auth/device-code/submit-email", body)
        page = await daemon.client.post("/auth/device", data={"code": CODE, "email": EMAIL})

    assert refused[:2] == (503, "email_not_configured")
    assert (page.status_code, "SMTP_URL" in page.text) == (503, True)
    assert printed(capsys) == []


async def test_signing_in_has_limits_of_its_own(daemon: RunningDaemon, capsys: Printed) -> None:
    made = [await daemon.api.ask("POST", "/v1/auth/device-code", {"device_code": f"code-{n}"}) for n in range(6)]
    links = [
        await daemon.api.ask(
            "POST", "/v1/auth/device-code/submit-email", {"device_code": f"code-{n % 5}", "email": email}
        )
        for n, email in enumerate([EMAIL] * 3 + [EMAIL.upper()] + [f"{n}@example.com" for n in range(6)])
    ]
    other = await daemon.client.post("/auth/device", data={"code": "code-1", "email": "last@example.com"})
    polls = [await daemon.api.ask("POST", "/v1/auth/device-code/poll", {"device_code": "code-0"}) for _ in range(31)]

    assert [one.status_code for one in made] == [201] * 5 + [429]
    assert [one.status_code for one in links] == [200] * 3 + [429] + [200] * 6
    assert other.status_code == 429
    assert [one.status_code for one in polls] == [200] * 30 + [429]
    assert {one.json()["error"]["code"] for one in (made[-1], links[3], polls[-1])} == {"rate_limit_exceeded"}
    assert all(int(one.headers["Retry-After"]) >= 1 for one in (made[-1], links[3], other, polls[-1]))
    assert 1 <= int(polls[-1].headers["Retry-After"]) <= 60


async def test_addresses_that_are_made_up_are_counted_apart_from_those_of_accounts(
    daemon: RunningDaemon, capsys: Printed
) -> None:
    body = {"device_code": CODE, "email": EMAIL}
    await begin(daemon.api)
    path = "/v1/auth/device-code/submit-email"
    with trio.fail_after(20):
        made_up = [(await daemon.api.ask("POST", path, body)).status_code for _ in range(4)]
        await daemon.api.register(EMAIL)
        known = [(await daemon.api.ask("POST", path, body)).status_code for _ in range(4)]

    assert (made_up, known) == ([200, 200, 200, 429], [200, 200, 200, 429])
    assert len(printed(capsys)) == 6


async def test_what_a_stranger_writes_is_text_on_every_page_and_never_markup(
    daemon: RunningDaemon, capsys: Printed
) -> None:
    url, markup = await begin(daemon.api), """<script>alert(1)</script>"'&"""
    form = await daemon.client.get("/auth/device", params={"code": markup})
    wrong = await daemon.client.post(path_of(url), data={"code": markup, "email": '"><b>'})
    sent = await daemon.client.post(path_of(url), data={"code": CODE, "email": "a'b@example.com"})
    ((_, link),) = printed(capsys)
    confirm = await daemon.client.get(path_of(link))
    approved = await press(daemon, confirm)

    pages = [form, wrong, sent, confirm, approved]
    assert [page.status_code for page in pages] == [400, 422, 200, 200, 200]
    assert all("<script" not in page.text and "<b>" not in page.text for page in pages)
    assert "&lt;script&gt;" in wrong.text
    assert (await poll(daemon.api))["status"] == "approved"


async def test_pages_load_nothing_from_elsewhere_and_allow_no_inline_code(daemon: RunningDaemon) -> None:
    url = await begin(daemon.api)
    page = await daemon.client.get(path_of(url))
    style = await daemon.client.get("/static/style.css")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in page.text.replace(daemon.address, "")
    assert "style=" not in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")


async def test_pages_know_the_path_under_which_the_server_is_reached(settings: Settings, capsys: Printed) -> None:
    async with running(settings.model_copy(update={"base_url": "https://example.com/cue"})) as daemon:
        url = await begin(daemon.api)
        page = await daemon.client.get("/auth/device", params={"code": CODE})
        await submit(daemon.api)
        ((_, link),) = printed(capsys)

    assert url == f"https://example.com/cue/auth/device?code={CODE}"
    assert link.startswith("https://example.com/cue/v1/auth/verify?token=")
    assert 'href="/cue/static/style.css"' in page.text


async def test_neither_links_nor_addresses_nor_codes_are_logged(settings: Settings, capsys: Printed) -> None:
    with capture_logs() as lines:
        async with running(settings) as daemon:
            got = await sign_in(daemon, capsys, "quiet@example.com")
    logged = str(lines)

    routes = {line["route"] for line in lines if line["event"] == "request_answered"}
    assert routes >= {"/v1/auth/device-code/submit-email", "/v1/auth/verify", "/v1/auth/device-code/poll"}
    assert SECRET not in logged
    assert not [word for word in ("quiet@", CODE, "token", got["api_key"], got["session_token"]) if word in logged]


async def test_the_strange_is_refused_and_nothing_answers_500(daemon: RunningDaemon) -> None:
    queries = ["", "?code=%00", "?code=%ED%A0%80", "?code=" + "x" * 5000, "?code=a&code=b"]
    pages = [await daemon.client.get(f"/auth/device{query}") for query in queries]
    links = [await daemon.client.get(f"/v1/auth/verify{query.replace('code', 'device_code')}") for query in queries]
    posts = [
        await daemon.client.post(path, content=content, headers={"Content-Type": "application/x-www-form-urlencoded"})
        for path in ("/auth/device", "/v1/auth/verify")
        for content in (b"", b"\xff\xfe", b"token=%00&device_code=%00", b"&".join([b"a=1"] * 100), b"{", b"[]")
    ]
    polled = [await daemon.api.ask("POST", "/v1/auth/device-code/poll", body) for body in ({}, {"device_code": 5})]

    assert {page.status_code for page in pages + links} == {400}
    assert {post.status_code for post in posts} <= {400, 422}
    assert {one.status_code for one in polled} == {422}


async def test_a_user_who_signed_in_can_be_found_by_the_operator(
    daemon: RunningDaemon, database: Database, capsys: Printed
) -> None:
    got = await sign_in(daemon, capsys, EMAIL)
    user = Api(daemon.client, got["api_key"])

    shown = await user.get("/v1/auth/key")
    secret = (await user.get("/v1/auth/webhook-secret"))["webhook_secret"]
    (row,) = await database.fetch("select plan from users")

    assert shown["api_key"] == got["api_key"]
    assert (row["plan"], secret[:6]) == ("self_hosted", "whsec_")


async def test_polls_of_a_code_that_was_made_up_are_not_counted_by_that_code(daemon: RunningDaemon) -> None:
    codes = ["made-up-code", "x" * 900, "made\tup", "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4"]
    with trio.fail_after(HANG):
        found = {code: [await poll(daemon.api, code) for _ in range(31)] for code in codes}

    assert found == {code: [{"status": "expired"}] * 31 for code in codes}

"""Whose mail box it is: shown by a link, before anything that was known to others is handed on."""

from collections import Counter
from datetime import datetime

import pytest
import trio
from attrs import evolve

from cueapi.cli import operator
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.mailing import KEY, mailing
from tests.api.signing_in import poll, printed, sign_in, token_of
from tests.conftest import Api, RunningDaemon
from tests.delivery.siblings import until

OWNER, STRANGER, NEW = "owner@example.com", "stranger@example.com", "new@example.com"
SURE = {"X_Confirm_Destructive": "true"}


async def test_a_confirmed_registration_ends_the_key_of_before_and_hands_the_owner_a_new_one_once(
    settings: Settings,
) -> None:
    async with mailing(settings) as post:
        first = await post.daemon.api.register(OWNER)
        before = await first.get("/v1/auth/me")
        link = await post.link_to(OWNER)
        opened = [await post.daemon.client.get(link) for _ in range(2)]
        unchanged = await first.get("/v1/auth/me")
        confirmed, again = await post.press(link), await post.press(link)
        dead = await first.refused("GET", "/v1/auth/me")
        after = await evolve(first, key=KEY.findall(confirmed.text)[0]).get("/v1/auth/me")

    assert before["email_verified"] is unchanged["email_verified"] is False
    assert [(page.status_code, OWNER in page.text, KEY.search(page.text)) for page in opened] == [(200, True, None)] * 2
    assert (confirmed.status_code, confirmed.headers["cache-control"]) == (200, "no-store")
    assert (again.status_code, KEY.search(again.text)) == (400, None)
    assert dead[:2] == (401, "key_rotated")
    assert (after["email"], after["email_verified"], after["pending_email"]) == (OWNER, True, None)


async def test_who_registers_anothers_address_is_out_once_its_owner_signs_in_by_mail(settings: Settings) -> None:
    async with mailing(settings) as post:
        stranger = await post.daemon.api.register(OWNER)
        await stranger.patch("/v1/auth/me", {"email": STRANGER})
        loophole = await post.link_to(STRANGER)
        page = await post.press(await post.sign_in_link(OWNER))
        got = await poll(post.daemon.api)
        dead = await stranger.refused("GET", "/v1/auth/me")
        late = await post.press(loophole)
        me = await evolve(stranger, key=got["api_key"]).get("/v1/auth/me")

    assert "replace its webhook secrets" in page.text
    assert KEY.findall(page.text) == [got["api_key"]]
    assert got["api_key"] != stranger.key
    assert dead[:2] == (401, "key_rotated")
    assert late.status_code == 400
    assert (me["email"], me["email_verified"]) == (OWNER, True)


async def test_a_session_from_before_the_first_confirmed_link_is_dead_and_so_is_its_token(
    settings: Settings, database: Database
) -> None:
    async with mailing(settings) as post:
        await post.daemon.api.register(OWNER)
        await post.press(await post.sign_in_link(OWNER))
        signed_in = await poll(post.daemon.api)
        session = await post.daemon.api.post("/v1/auth/session", {"token": signed_in["session_token"]})
        await post.press(await post.sign_in_link(OWNER, "SECOND-CODE"))
        token = (await poll(post.daemon.api, "SECOND-CODE"))["session_token"]
        # As if both had been made by another, before the address was shown to be anyone's.
        await database.execute("update users set email_verified_at = null")
        await post.press(await post.sign_in_link(OWNER, "THIRD-CODE"))
        refused = [
            await evolve(post.daemon.api, key=session["session_token"]).refused("GET", "/v1/auth/me"),
            await post.daemon.api.refused("POST", "/v1/auth/session", {"token": token}),
        ]

    assert [one[:2] for one in refused] == [(401, "invalid_session"), (401, "invalid_token")]


async def test_of_all_links_of_an_account_that_are_confirmed_at_once_one_replaces_the_key(
    settings: Settings, database: Database
) -> None:
    async with mailing(settings) as post:
        for number in range(3):
            email, code, pages = f"owner{number}@example.com", f"CODE-{number}", list[str]()
            await post.daemon.api.register(email)
            sign_in_link = token_of(await post.sign_in_link(email, code))
            fields = {"token": (await post.link_to(email)).partition("token=")[2]}

            async def press(path: str, fields: dict[str, str], pages: list[str] = pages) -> None:
                pages.append((await post.daemon.client.post(path, data=fields)).text)

            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(press, "/auth/confirm", fields)
                        nursery.start_soon(press, "/v1/auth/verify", sign_in_link)
            keys = [key for page in pages for key in KEY.findall(page)]
            me = await evolve(post.daemon.api, key=keys[0]).get("/v1/auth/me")

            assert (len(keys), me["email"], me["email_verified"]) == (1, email, True)
        live = await database.fetch("select from api_keys where rotated_at is null")

    assert len(live) == 3


async def test_another_address_counts_once_its_link_is_confirmed_and_the_former_one_is_told(settings: Settings) -> None:
    async with mailing(settings) as post:
        user = await post.join(OWNER)
        await user.patch("/v1/auth/me", {"email": NEW})
        asked = await user.get("/v1/auth/me")
        warned = (await post.mail_to(OWNER, "another address was asked for")).get_content()
        link = await post.link_to(NEW)
        page = await post.daemon.client.get(link)
        confirmed = await post.press(link)
        told = (await post.mail_to(OWNER, "the address was changed")).get_content()
        changed = await user.get("/v1/auth/me")

    assert (asked["email"], asked["email_verified"], asked["pending_email"]) == (OWNER, True, NEW)
    assert "/v1/auth/key/regenerate" in warned
    assert (OWNER in page.text, NEW in page.text) == (True, True)
    assert (confirmed.status_code, KEY.search(confirmed.text)) == (200, None)
    assert "Where from:  127.0.0.1" in told
    assert (changed["email"], changed["email_verified"], changed["pending_email"]) == (NEW, True, None)


async def test_a_link_that_waits_dies_with_the_key(settings: Settings) -> None:
    async with mailing(settings) as post:
        thief = await post.join(OWNER)
        await thief.patch("/v1/auth/me", {"email": STRANGER})
        link = await post.link_to(STRANGER)
        renewed = await thief.post("/v1/auth/key/regenerate", **SURE)
        late = await post.press(link)
        me = await evolve(thief, key=renewed["api_key"]).get("/v1/auth/me")

    assert late.status_code == 400
    assert (me["email"], me["pending_email"]) == (OWNER, None)


async def test_an_address_that_another_account_got_meanwhile_is_refused_and_nothing_changes(settings: Settings) -> None:
    async with mailing(settings) as post:
        user = await post.join(OWNER)
        await user.patch("/v1/auth/me", {"email": NEW})
        link = await post.link_to(NEW)
        await post.daemon.api.register(NEW.upper())
        refused = await user.refused("PATCH", "/v1/auth/me", {"email": NEW})
        page = await post.press(link)
        me = await user.get("/v1/auth/me")

    assert refused[:2] == (409, "duplicate_email")
    assert (page.status_code, "There is an account with this e-mail address" in page.text) == (409, True)
    assert me["email"] == OWNER


async def test_the_newest_link_to_an_address_works_and_none_after_a_day(settings: Settings, database: Database) -> None:
    async with mailing(settings) as post:
        user = await post.daemon.api.register(OWNER)
        first = await post.link_to(OWNER)
        await user.patch("/v1/auth/me", {"email": OWNER})
        await until(lambda: len(post.box.mails) == 2)
        second = await post.link_to(OWNER)
        (kept,) = await database.fetch("select expires_at - now() as left from address_links")
        pages = [await post.press(link) for link in (first, "/auth/confirm?token=%00", "/auth/confirm")]
        await database.execute("update address_links set expires_at = now()")
        pages.append(await post.press(second))
        await database.execute("update address_links set expires_at = now() + interval '1 hour'")
        in_time = await post.press(second)

    assert first != second
    assert 86_000 < kept["left"].total_seconds() <= 86_400
    assert [page.status_code for page in pages] == [400] * 4
    assert in_time.status_code == 200


async def test_asking_for_addresses_is_limited_like_every_link(settings: Settings) -> None:
    async with mailing(settings) as post:
        user = await post.join(OWNER)
        asked = [await user.ask("PATCH", "/v1/auth/me", {"email": NEW}) for _ in range(4)]
        others = [await user.ask("PATCH", "/v1/auth/me", {"email": f"{n}@example.com"}) for n in range(7)]

    assert [one.status_code for one in asked] == [200] * 3 + [429]
    assert Counter(one.status_code for one in others) == {200: 6, 429: 1}


async def test_an_address_that_was_never_confirmed_is_told_nothing(settings: Settings, database: Database) -> None:
    async with mailing(settings) as post:
        user = await post.daemon.api.register(OWNER)
        await user.post("/v1/auth/webhook-secret/regenerate", **SURE)
        renewed = await user.post("/v1/auth/key/regenerate", **SURE)
        await evolve(user, key=renewed["api_key"]).patch("/v1/auth/me", {"email": NEW})
        await post.link_to(NEW)
        await until(lambda: _none_waits(database))
        told = [(mail["To"], mail["Subject"]) for mail in post.box.mails]

    assert sorted(told) == [(NEW, "Confirm your address for CueAPI"), (OWNER, "Confirm your address for CueAPI")]


async def _none_waits(database: Database) -> bool:
    return not await database.fetch("select from notifications")


async def test_accounts_of_the_operator_and_of_a_sign_in_are_verified_and_keep_their_key(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with mailing(settings) as post:
        await operator.add_user(settings, OWNER)
        added = evolve(post.daemon.api, key=capsys.readouterr().out.split()[-1])
        await post.press(await post.sign_in_link(OWNER))
        same = await poll(post.daemon.api)
        await post.press(await post.sign_in_link(NEW, "SECOND-CODE"))
        made = evolve(post.daemon.api, key=(await poll(post.daemon.api, "SECOND-CODE"))["api_key"])
        known = await post.daemon.api.register(STRANGER)
        await operator.verify(settings, STRANGER)
        shown = [await one.get("/v1/auth/me") for one in (added, made, known)]

    assert same["api_key"] == added.key
    assert [one["email_verified"] for one in shown] == [True] * 3


async def test_without_mail_a_printed_link_ends_no_key_and_an_address_changes_at_once(
    daemon: RunningDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    user = await daemon.api.register(OWNER)
    got = await sign_in(daemon, capsys, OWNER)
    await user.patch("/v1/auth/me", {"email": NEW})
    me = await user.get("/v1/auth/me")

    assert got["api_key"] == user.key
    assert (me["email"], me["email_verified"], me["pending_email"]) == (NEW, False, None)
    assert printed(capsys) == []


async def test_an_address_that_the_account_had_changed_without_mail_is_not_verified_any_more(
    daemon: RunningDaemon, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await operator.add_user(settings, OWNER)
    user = Api(daemon.client, capsys.readouterr().out.split()[-1])
    shown = []
    for email in (OWNER.title(), NEW):
        await user.patch("/v1/auth/me", {"email": email})
        shown.append((await user.get("/v1/auth/me"))["email_verified"])

    assert shown == [True, False]


CHANGES = [
    ("/v1/auth/key/regenerate", "the API key was replaced", "every session have ended"),
    ("/v1/auth/webhook-secret/regenerate?overlap_hours=1", "the webhook secret was replaced", "webhooks are signed"),
    ("/v1/auth/alert-webhook-secret/regenerate", "the alert webhook secret was replaced", "alert webhooks are signed"),
]


@pytest.mark.parametrize(("path", "subject", "words"), CHANGES)
async def test_the_owner_is_told_of_a_key_or_a_secret_that_was_replaced(
    settings: Settings, path: str, subject: str, words: str
) -> None:
    async with mailing(settings) as post:
        user = await post.join(OWNER)
        await user.refused("POST", path)
        answer = await user.post(path, **SURE)
        mail = await post.mail_to(OWNER, subject)
        text = " ".join(mail.get_content().split())

    secrets = [value for value in answer.values() if isinstance(value, str)]
    moment = datetime.fromisoformat(text.partition("When: ")[2].split()[0])
    assert mail["Subject"] == f"CueAPI: {subject}"
    assert words in text
    assert moment.tzinfo is not None
    assert "Where from: 127.0.0.1" in text
    assert "If not, replace the key at once" in text
    assert [one for one in secrets if one in text] == []
    assert len(post.box.mails) == 1


async def test_the_operator_who_makes_a_new_key_has_its_owner_told(settings: Settings) -> None:
    async with mailing(settings) as post:
        await post.join(OWNER)
        own = settings.model_copy(
            update={"smtp_url": post.daemon.resources.settings.smtp_url, "email_from": "a@b.example"}
        )
        await operator.new_key(own, OWNER)
        await post.daemon.api.register(NEW)
        text = (await post.mail_to(OWNER, "the API key was replaced")).get_content()

    assert "Where from:  the server's operator" in text


async def test_at_most_ten_mails_an_hour_tell_of_changes(settings: Settings, database: Database) -> None:
    async with mailing(settings) as post:
        user = await post.join(OWNER)
        for _ in range(12):
            await user.post("/v1/auth/webhook-secret/regenerate", **SURE)
        await until(lambda: _none_waits(database))

    assert len(post.box.mails) == 10


@pytest.mark.parametrize("then", ["right@example.com", OWNER])
async def test_an_address_that_another_was_asked_for_after_is_never_the_accounts(settings: Settings, then: str) -> None:
    async with mailing(settings) as post:
        me = await post.join(OWNER)
        await me.patch("/v1/auth/me", {"email": "typo@example.com"})
        typo = await post.link_to("typo@example.com")
        await me.patch("/v1/auth/me", {"email": then})
        shown = await me.get("/v1/auth/me")
        pressed = await post.press(typo)
        after = await me.get("/v1/auth/me")

    assert (shown["email"], shown["pending_email"]) == (OWNER, None if then == OWNER else then)
    assert pressed.status_code == 400
    assert (after["email"], after["pending_email"]) == (OWNER, shown["pending_email"])


async def test_where_mail_is_sent_a_key_that_may_do_less_than_the_accounts_own_asks_for_no_other_address(
    settings: Settings,
) -> None:
    async with mailing(settings) as post:
        me = await post.join(OWNER)
        key = await me.post("/v1/keys", {"name": "limited", "scopes": ["admin"]})
        limited = evolve(me, key=key["api_key"])
        refused = await limited.refused("PATCH", "/v1/auth/me", {"email": STRANGER})
        await limited.patch("/v1/auth/me", {"alert_webhook_url": ""})
        after = await me.get("/v1/auth/me")

    assert refused[:2] == (403, "insufficient_scope")
    assert (after["email"], after["pending_email"]) == (OWNER, None)

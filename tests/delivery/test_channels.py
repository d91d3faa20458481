"""Channels of every kind, to real receivers: what arrives, what is signed, what is too much, and what is gone."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
import trio

from cueapi.domain.attempt import Unreachable, evaluate_attempt
from cueapi.domain.notification import channel_message_id
from cueapi.settings import Settings
from cueapi.storage import channels, notifications
from cueapi.storage.clock import steady
from cueapi.storage.database import Database, Transaction
from cueapi.storage.notifications import Notification, NotificationHeadroom
from cueapi.storage.transitions import apply_transitions
from tests.api.work import claimed, report
from tests.conftest import Api
from tests.delivery.siblings import until
from tests.delivery.test_notifier import is_signed, mailing_to_a_user
from tests.receiver import Received, Receiver, open_receiver
from tests.storage.rows import add_cue, add_execution, add_user, ago, claim, wait_for_locks

ONE_TRY = {"retry": {"max_attempts": 1}}


async def failed(api: Api, **fields: Any) -> str:
    execution = await claimed(api, **ONE_TRY, **fields)
    await report(api, execution, success=False, error="no paper")
    return execution


async def recover(api: Api, execution: str) -> None:
    replay = (await api.post(f"/v1/executions/{execution}/replay"))["id"]
    await api.post(f"/v1/executions/{replay}/claim")
    await report(api, replay, success=True)


async def channel(api: Api, kind: str, **fields: Any) -> dict[str, Any]:
    return await api.post("/v1/channels", {"kind": kind, "name": kind, **fields})


def told(receiver: Receiver, path: str) -> list[Received]:
    return [one for one in receiver.requests if one.path == path]


async def test_a_channel_of_a_group_hears_the_end_of_what_it_heard_begin_wherever_its_cue_is_then(api: Api) -> None:
    with trio.fail_after(60):
        async with open_receiver() as receiver:
            for group in ("day", "night"):
                await channel(api, "webhook", url=receiver.url(f"/{group}"), groups=[group])
            execution = await failed(api, group="day")
            await receiver.wait_for(1)
            cue_id = (await api.get(f"/v1/executions/{execution}"))["cue_id"]
            await api.patch(f"/v1/cues/{cue_id}", {"group": "night"})
            await recover(api, execution)
            await receiver.wait_for(3)

    events = {path: [json.loads(one.body)["event"] for one in told(receiver, path)] for path in ("/day", "/night")}
    assert events == {"/day": ["incident.opened", "incident.resolved"], "/night": ["incident.resolved"]}


async def test_each_service_is_told_of_begin_and_end_in_its_own_form(api: Api) -> None:
    with trio.fail_after(60):
        async with open_receiver() as receiver:
            for kind in ("slack", "discord"):
                await channel(api, kind, url=receiver.url(f"/{kind}"))
            await channel(api, "ntfy", url=receiver.url("/"), topic="cue", token="tk_1")
            made = await channel(api, "webhook", url=receiver.url("/webhook"))
            await recover(api, await failed(api, name="<a> & @channel"))
            await receiver.wait_for(8)
            (incident,) = (await api.get("/v1/incidents"))["incidents"]
            shown = await api.get(f"/v1/channels/{made['id']}")

    hooks, ntfy = told(receiver, "/webhook"), told(receiver, "/")
    events = [json.loads(one.body)["event"] for one in hooks]
    ended = json.loads(hooks[events.index("incident.resolved")].body)["incident"]
    assert sorted(events) == ["incident.opened", "incident.resolved"]
    assert ended == incident
    assert all(is_signed(one, made["secret"]) for one in hooks)
    assert {one.header("webhook-id") for one in hooks} == {
        f"{event}-{incident['id']}-{made['id']}" for event in ("opened", "resolved")
    }
    assert "secret" not in shown
    assert any("&lt;a&gt; &amp; " in json.loads(one.body)["text"] for one in told(receiver, "/slack"))
    assert all(json.loads(one.body)["allowed_mentions"] == {"parse": []} for one in told(receiver, "/discord"))
    assert {json.loads(one.body)["topic"] for one in ntfy} == {"cue"}
    assert {one.header("authorization") for one in ntfy} == {"Bearer tk_1"}


async def test_a_channel_hears_only_of_what_it_asks_for_and_of_nothing_that_is_muted(
    api: Api, database: Database
) -> None:
    with trio.fail_after(60):
        async with open_receiver() as receiver:
            await channel(api, "webhook", url=receiver.url("/ends"), on=["resolved"])
            await channel(api, "webhook", url=receiver.url("/late"), kinds=["late"])
            await channel(api, "webhook", url=receiver.url("/night"), groups=["night"], on=["opened"])
            await recover(api, await failed(api, name="day"))
            muted = await api.post("/v1/cues", {"name": "muted", "schedule": {"type": "recurring", "cron": "0 0 1 1 *"},
                                                "transport": "worker", **ONE_TRY})  # fmt: skip
            assert (await api.ask("PUT", "/v1/mutes", {"cue_id": muted["id"]})).status_code == 200
            execution = (await api.post(f"/v1/cues/{muted['id']}/fire"))["id"]
            await api.post(f"/v1/executions/{execution}/claim")
            await report(api, execution, success=False)
            await failed(api, name="night", group="night")
            await receiver.wait_for(2)
            await until(lambda: nothing_to_tell(database))
            kept = (await api.get("/v1/incidents"))["incidents"]

    named = {(one.path, json.loads(one.body)["incident"]["subject"]["name"]) for one in receiver.requests}
    assert named == {("/ends", "day"), ("/night", "night")}
    assert {one["subject"]["name"] for one in kept} == {"day", "night", "muted"}


async def nothing_to_tell(database: Database) -> bool:
    return not await database.fetch("select from notifications")


async def test_a_group_s_channel_hears_of_its_budget_and_its_mute_silences_that(database: Database) -> None:
    user = await add_user(database, email_verified_at=None)
    for group in ("night", "day"):
        await add_channel(database, user, f"{{{group}}}")
    opening = "select open_incident($1, 'budget', $2, $2, 'The budget is reached', 'warning')"

    for scope in ("group:night", "account"):
        await database.execute(opening, user, scope)
    told = await database.fetch(
        "select c.groups::text as groups, n.content #>> '{incident,subject,id}' as subject"
        "  from notifications n join channels c on c.id = n.channel_id"
    )
    await database.execute("insert into mutes values ($1, 'group', 'day')", user)
    await database.execute(opening, user, "group:day")

    assert [tuple(row) for row in told] == [("{night}", "group:night")]
    assert await rows_of(database, "notifications") == 1


async def test_a_place_that_is_gone_disables_its_channel_and_the_others_are_told(api: Api) -> None:
    with trio.fail_after(60):
        async with open_receiver({"/gone": [410, 200], "/other": [200]}) as receiver:
            gone = await channel(api, "slack", url=receiver.url("/gone"))
            await channel(api, "webhook", url=receiver.url("/other"), kinds=["channel_failing"])
            await failed(api)
            await receiver.wait_for(2)
            disabled = await api.get(f"/v1/channels/{gone['id']}")
            (incident,) = (await api.get("/v1/incidents?kind=channel_failing"))["incidents"]
            tested = await api.post(f"/v1/channels/{gone['id']}/test")
            enabled = await api.patch(f"/v1/channels/{gone['id']}", {"enabled": True})
            await receiver.wait_for(4)
            ended = await api.get(f"/v1/incidents/{incident['id']}")

    assert disabled["last_error"] == "the channel answered 410"
    assert disabled["disabled_at"] is not None
    assert incident["subject"] == {"kind": "channel", "id": gone["id"], "name": "slack"}
    assert tested == {"delivered": True, "status": 200, "error": None}
    assert (enabled["disabled_at"], enabled["last_error"], ended["status"]) == (None, None, "resolved")


async def test_a_place_that_leads_elsewhere_is_not_followed_and_one_that_answers_without_end_is_not_read(
    api: Api,
) -> None:
    with trio.fail_after(60):
        async with open_receiver() as inside, open_receiver({}) as receiver:
            receiver.script = {
                "/moved": [(code, b"", {"Location": inside.url("/secret")}) for code in (302, 307)],
                "/huge": ["huge"],
            }
            moved = await channel(api, "slack", url=receiver.url("/moved"))
            huge = await channel(api, "slack", url=receiver.url("/huge"))
            tested = [await api.post(f"/v1/channels/{one['id']}/test") for one in (moved, moved, huge)]
            shown = await api.get(f"/v1/channels/{huge['id']}")

    assert tested == [
        {"delivered": False, "status": 302, "error": "the channel answered 302"},
        {"delivered": False, "status": 307, "error": "the channel answered 307"},
        {"delivered": True, "status": 200, "error": None},
    ]
    assert inside.requests == []
    assert shown["last_error"] is None


async def test_five_days_of_failures_disable_a_channel(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        async with open_receiver([500]) as receiver:
            made = await channel(api, "webhook", url=receiver.url("/hook"))
            await database.execute("update channels set failing_since = now() - interval '5 days 1 minute'")
            await failed(api)
            await until(lambda: _disabled(api, made["id"]))


async def _disabled(api: Api, identity: str) -> bool:
    return (await api.get(f"/v1/channels/{identity}"))["disabled_at"] is not None


async def test_a_message_that_failed_comes_again_under_its_id(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        async with open_receiver([500, 429, 200]) as receiver:
            await channel(api, "webhook", url=receiver.url("/hook"))
            await failed(api)
            await receiver.wait_for(1)
            await until(lambda: _put_off(database))
            await database.execute("update notifications set ready_at = now()")
            await failed(api, name="another")
            await receiver.wait_for(4)

    ids = [one.header("webhook-id") for one in receiver.requests]
    assert len(set(ids)) == 2
    assert len(ids) >= 4


async def _put_off(database: Database) -> bool:
    rows = await database.fetch("select claim, attempts from notifications where kind = 'channel_message'")
    return [(row["claim"], row["attempts"]) for row in rows] == [(None, 1)]


async def test_of_many_at_once_twenty_are_told_one_by_one_and_the_rest_in_one_digest(database: Database) -> None:
    user = await add_user(database)
    await add_channel(database, user)
    opening = (
        "select open_incident($1, 'target_down', n::text, n::text, 'host ' || n || ' is down', 'critical')"
        "  from generate_series($2::int, $3::int) n"
    )

    await database.execute(opening, user, 1, 600)
    await channels.admit(database)
    await database.execute(opening, user, 601, 1_000)
    await channels.admit(database)
    await channels.admit(database)

    rows = await database.fetch(
        "select event, held, content, extract(epoch from ready_at - now()) as due_in from notifications"
        " where kind = 'channel_message' order by id"
    )
    (digest,) = (row for row in rows if row["event"] == "digest")
    content = json.loads(digest["content"])
    assert [row["event"] for row in rows].count("opened") == 20
    assert not any(row["held"] for row in rows)
    assert (content["opened"], len(content["titles"])) == (980, 10)
    assert 0 < digest["due_in"] <= 60
    mails = await database.fetch("select 1 as one from notifications where kind = 'incident_mail'")
    assert len(mails) == 10


async def test_after_a_digest_the_next_one_comes_five_minutes_later(database: Database) -> None:
    user = await add_user(database)
    await add_channel(database, user)
    opening = "select open_incident($1, 'target_down', $2, $2, 'down', 'critical')"

    for number in range(25):
        await database.execute(opening, user, f"a{number}")
    await channels.admit(database)
    await database.execute("delete from notifications")
    for number in range(5):
        await database.execute(opening, user, f"b{number}")
    await channels.admit(database)

    (row,) = await database.fetch(
        "select event, extract(epoch from ready_at - now()) as due_in from notifications where channel_id is not null"
    )
    assert row["event"] == "digest"
    assert 290 < row["due_in"] <= 321


class Died(Exception):
    """A daemon ends in the middle."""


async def cut_short(database: Database, step: Callable[[Transaction], Awaitable[object]]) -> None:
    """Do *step* as a daemon that dies before it has committed."""
    with suppress(Died):
        async with database.transaction() as tx:
            await step(tx)
            raise Died


async def rows_of(database: Database, table: str) -> int:
    return len(await database.fetch(f"select 1 as one from {table}"))


async def test_wherever_a_daemon_dies_nothing_is_lost_and_nothing_is_told_under_another_id(database: Database) -> None:
    user = await add_user(database)
    await add_channel(database, user)
    await add_execution(database, await add_cue(database, user, on_failure_email=False, max_attempts=1))
    (delivery,) = await claim(database)
    failure = evaluate_attempt(delivery, Unreachable("refused"), duration=0.1, now=ago())

    await cut_short(database, lambda tx: apply_transitions(tx, [failure]))
    undecided = await rows_of(database, "incidents")
    for _ in range(2):
        await apply_transitions(database, [failure])
    await cut_short(database, channels.admit)
    for _ in range(2):
        await channels.admit(database)
    (of_the_dead,) = await claim_messages(database, daemon=1)
    (again,) = await claim_messages(database, daemon=2)
    await notifications.remove(database, of_the_dead)
    waiting = await rows_of(database, "notifications")
    await notifications.remove(database, again)

    assert (undecided, await rows_of(database, "incidents")) == (0, 1)
    assert (again.attempt, message_id(again)) == (1, message_id(of_the_dead))
    assert (waiting, await rows_of(database, "notifications")) == (1, 0)


async def claim_messages(database: Database, *, daemon: int) -> list[Notification]:
    headroom = NotificationHeadroom(10, {}, 10)
    return await notifications.claim(database, daemon=daemon, headroom=headroom, lease=60.0, claimed_at=steady())


def message_id(message: Notification) -> str:
    assert message.channel is not None
    return channel_message_id(message.content, message.channel.id, message.id)


async def add_channel(database: Database, user: int, groups: str | None = None) -> None:
    await database.execute(
        "insert into channels (id, user_id, kind, name, shown, config, confirmed_at, events, groups)"
        " values (gen_random_uuid(), $1, 'slack', 's', 'x', decode(repeat('00', 40), 'hex'), now(),"
        " '{opened,resolved,reminder,digest}', $2::text::cue_group[])",
        user, groups,
    )  # fmt: skip


async def test_a_channel_that_was_mended_is_not_disabled_by_what_its_former_place_answers(
    api: Api, database: Database
) -> None:
    made = await channel(api, "slack", url="http://127.0.0.1:9/old")
    (before,) = await database.fetch("select config from channels")
    await api.patch(f"/v1/channels/{made['id']}", {"url": "http://127.0.0.1:9/new"})
    (now,) = await database.fetch("select config from channels")

    told = {"channel": UUID(made["id"]), "error": "the channel answered 410", "gone": True}
    late = await channels.fail(database, config=before["config"], **told)
    after = await api.get(f"/v1/channels/{made['id']}")
    due = await channels.fail(database, config=now["config"], **told)

    assert (late, after["disabled_at"], after["last_error"]) == (None, None, None)
    assert due is not None
    assert due.is_disabled


@pytest.mark.parametrize(
    ("change", "behind"),
    [
        ({"url": "http://127.0.0.1:10/"}, (None, None)),
        ({"topic": "new"}, (None, None)),
        ({"token": None}, (None, None)),
        ({"name": "new"}, ("2026-01-02T03:04:05Z", "the channel answered 500")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_channel_that_leads_elsewhere_now_has_no_failures_behind_it(
    api: Api, database: Database, change: dict[str, Any], behind: tuple[str | None, str | None]
) -> None:
    made = await channel(api, "ntfy", url="http://127.0.0.1:9/", topic="old", token="tk_1")
    await database.execute(
        "update channels set failing_since = '2026-01-02 03:04:05Z', last_error = 'the channel answered 500'"
    )

    changed = await api.patch(f"/v1/channels/{made['id']}", change)

    assert (changed["failing_since"], changed["last_error"]) == behind


async def test_of_two_changes_at_once_neither_undoes_the_other(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        made = await channel(api, "slack", url="http://127.0.0.1:9/T0/B0/old1")
        path = f"/v1/channels/{made['id']}"
        async with trio.open_nursery() as nursery:
            async with database.transaction() as tx:
                await tx.fetch("select from channels for update")
                nursery.start_soon(api.patch, path, {"url": "http://127.0.0.1:9/T0/B0/new2"})
                await wait_for_locks(database)
                nursery.start_soon(api.patch, path, {"name": "on call"})
                await wait_for_locks(database, 2)
        shown = await api.get(path)

    assert (shown["name"], shown["url"]) == ("on call", "http://127.0.0.1:9/…new2")


async def test_a_mail_box_hears_of_nothing_before_its_owner_has_agreed(settings: Settings) -> None:
    with trio.fail_after(60):
        async with mailing_to_a_user(settings) as mailed:
            own = await channel(mailed.api, "email", address="you@example.com")
            other = await channel(mailed.api, "email", address="team@example.com")
            tested = await mailed.api.post(f"/v1/channels/{other['id']}/test")
            link = await mailed.post.link_to("team@example.com")
            page = await mailed.post.press(link)
            again = await mailed.daemon.client.get(link)
            await recover(mailed.api, await failed(mailed.api, name="brief", on_failure={"email": False}))
            await mailed.post.mail_to("team@example.com", "brief recovered after")
            await mailed.post.mail_to("you@example.com", "brief recovered after")
            shown = await mailed.api.get(f"/v1/channels/{other['id']}")

    assert (own["confirmed"], other["confirmed"], shown["confirmed"]) == (True, False, True)
    assert tested["delivered"] is False
    assert (page.status_code, again.status_code) == (200, 400)
    subjects = [(mail["To"], mail["Subject"]) for mail in mailed.box.mails if "brief" in mail["Subject"]]
    assert sorted(to for to, _ in subjects) == ["team@example.com"] * 2 + ["you@example.com"] * 2


async def test_a_link_that_has_expired_is_sent_again_for_the_same_address_and_none_once_it_is_confirmed(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(60):
        async with mailing_to_a_user(settings) as mailed:
            address = "team@example.com"
            made = await channel(mailed.api, "email", address=address)
            path = f"/v1/channels/{made['id']}"
            old = await mailed.post.link_to(address)
            await database.execute("update channels set confirm_until = now() - interval '1 second'")
            expired = await mailed.post.press(old)
            del mailed.box.mails[:]
            asked = await mailed.api.patch(path, {"address": address})
            new = await mailed.post.link_to(address)
            dead, pressed = await mailed.post.press(old), await mailed.post.press(new)
            later = [await mailed.api.patch(path, {"address": address, "name": f"team {n}"}) for n in range(4)]
            others = await mailed.api.patch(path, {"address": "other@example.com"})
            await mailed.post.link_to("other@example.com")

    assert new != old
    assert (expired.status_code, asked["confirmed"], dead.status_code, pressed.status_code) == (400, False, 400, 200)
    assert [one["confirmed"] for one in later] == [True] * 4
    assert others["confirmed"] is False
    assert len([mail for mail in mailed.box.mails if mail["To"] == address]) == 1


async def test_begin_and_end_are_mailed_to_the_accounts_address(settings: Settings) -> None:
    with trio.fail_after(60):
        async with mailing_to_a_user(settings) as mailed:
            await recover(mailed.api, await failed(mailed.api, name="brief"))
            opened = await mailed.post.mail_to("you@example.com", "brief failed", "Incident:")
            await mailed.post.mail_to("you@example.com", "brief recovered after")

    assert "Since:" in opened.get_content()
    assert len(mailed.box.mails) == 2


async def test_what_no_channel_can_be_is_refused(api: Api) -> None:
    public = "https://example.com/hook"
    wrong = [
        ({"kind": "slack"}, 422, "validation_error"),
        ({"kind": "slack", "url": public, "topic": "a"}, 422, "validation_error"),
        ({"kind": "ntfy", "url": public}, 422, "validation_error"),
        ({"kind": "ntfy", "url": public, "topic": "a/b"}, 422, "validation_error"),
        ({"kind": "ntfy", "url": f"{public}/cue", "topic": "cue"}, 422, "validation_error"),
        ({"kind": "pager", "url": public}, 422, "validation_error"),
        ({"kind": "webhook", "url": public, "on": []}, 422, "validation_error"),
        ({"kind": "webhook", "url": public, "on": ["digest", "digest"]}, 422, "validation_error"),
        ({"kind": "webhook", "url": public, "on": ["closed"]}, 422, "validation_error"),
        ({"kind": "webhook", "url": public, "groups": ["Night"]}, 422, "validation_error"),
        ({"kind": "webhook", "url": "http://10.0.0.1/"}, 400, "invalid_channel_url"),
        ({"kind": "email", "address": "you@example.com"}, 503, "email_not_configured"),
    ]
    address = await api.refused(
        "POST", "/v1/channels", {"name": "c", "kind": "email", "address": "a@b.example\nBcc: c@d"}
    )
    assert address[2].startswith("body.address: is no e-mail address")
    for body, status, code in wrong:
        assert (await api.refused("POST", "/v1/channels", {"name": "c", **body}))[:2] == (status, code), body


async def test_a_user_has_twenty_channels_at_most_and_no_other_sees_them(api: Api, database: Database) -> None:
    other = await api.register("other@example.com")
    made = [await channel(api, "slack", url="http://127.0.0.1:9/T0/B0/secret") for _ in range(20)]
    refused = await api.refused("POST", "/v1/channels", {"kind": "slack", "name": "c", "url": "http://127.0.0.1:9/"})
    path = f"/v1/channels/{made[0]['id']}"

    assert refused[:2] == (403, "channel_limit_exceeded")
    assert made[0]["url"] == "http://127.0.0.1:9/…cret"
    assert (await other.get("/v1/channels"))["channels"] == []
    for method, place in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/test")):
        assert (await other.refused(method, place))[:2] == (404, "channel_not_found")
    assert (await api.ask("DELETE", path)).status_code == 204
    (row,) = await database.fetch("select count(*) as stored from channels where shown like '%secret%'")
    assert row["stored"] == 0
    actions = await database.fetch("select action from audit where action like 'channel.%' order by id")
    assert [row["action"] for row in actions] == ["channel.created"] * 20 + ["channel.deleted"]


async def test_a_repeat_shows_no_secret_again(api: Api) -> None:
    body = {"kind": "webhook", "name": "hook", "url": "http://127.0.0.1:9/"}
    first = await api.post("/v1/channels", body, Idempotency_Key="k")
    again = await api.post("/v1/channels", body, Idempotency_Key="k")

    assert first["secret"].startswith("whsec_")
    assert again == {name: value for name, value in first.items() if name != "secret"}


async def test_a_channel_that_refused_the_begin_hears_of_it_before_the_end(api: Api, database: Database) -> None:
    with trio.fail_after(60):
        async with open_receiver([500, 200, 200]) as receiver:
            await channel(api, "slack", url=receiver.url("/slack"))
            execution = await failed(api, name="job")
            await receiver.wait_for(1)
            await recover(api, execution)
            while len(await database.fetch("select from notifications where not held")) < 2:
                await trio.sleep(0.05)
            early = len(receiver.requests)
            await database.execute("update notifications set ready_at = now()")
            await receiver.wait_for(3)

    assert early == 1
    assert ["failing" in one.body.decode() for one in receiver.requests] == [True, True, False]


async def test_a_message_that_waits_for_the_one_before_it_puts_no_other_off(database: Database) -> None:
    user = await add_user(database)
    await add_channel(database, user)
    (incident,) = await database.fetch("select open_incident($1, 'budget', 'a', 'a', 'reached', 'warning') as id", user)
    await database.execute("select resolve_incident($1, 'budget', 'a')", user)
    await channels.admit(database)
    await database.execute("delete from notifications where channel_id is null")
    await database.execute("update notifications set ready_at = now() + interval '1 minute' where event = 'opened'")

    (daemon,) = await database.fetch("insert into daemons (instance) values ('here') returning number")
    claimed_now = await notifications.claim(
        database, daemon=daemon["number"], headroom=NotificationHeadroom(8, {}, 4), lease=60.0, claimed_at=steady()
    )
    due_in = await notifications.ahead(database)

    assert incident["id"] is not None
    assert claimed_now == []
    assert due_in is not None
    assert 30 < due_in <= 60


async def test_a_digest_says_what_is_over(database: Database) -> None:
    user = await add_user(database)
    await add_channel(database, user)
    moving = {"opened": "open_incident($1, 'budget', n::text, 'cue ' || n, 'reached', 'warning')",
              "resolved": "resolve_incident($1, 'budget', n::text)"}  # fmt: skip
    for statement in moving.values():
        await database.execute(f"select {statement} from generate_series(1, 24) n", user)  # type: ignore[arg-type] # of ours
        await channels.admit(database)

    (digest,) = await database.fetch("select content ->> 'titles' as titles from notifications where event = 'digest'")
    titles = json.loads(digest["titles"])
    assert [title.endswith("recovered") for title in titles] == [False] * 4 + [True] * 4

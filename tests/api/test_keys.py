"""Keys of an account: made, listed, renamed, rotated and ended, and never wider than who makes them."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trio
from attrs import evolve

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.keys import made, with_key
from tests.api.mailing import KEY, mailing
from tests.api.refusals import Refused, surprises
from tests.api.test_accounts import SURE
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import until
from tests.moments import ask_soon
from tests.wakeups.test_long_poll import waits

EVERY = ("read", "fire", "work", "write", "admin")

BAD = [
    Refused("no name", {"scopes": ["read"]}, 422, "validation_error", "body.name: is required"),
    Refused("an empty name", {"name": "", "scopes": ["read"]}, 422, "validation_error", "body.name"),
    Refused("blanks", {"name": "  ", "scopes": ["read"]}, 422, "validation_error", "body.name"),
    Refused("a long name", {"name": "n" * 101, "scopes": ["read"]}, 422, "validation_error", "body.name"),
    Refused("no scopes", {"name": "ci"}, 422, "validation_error", "body.scopes: is required"),
    Refused("empty scopes", {"name": "ci", "scopes": []}, 422, "validation_error", "body.scopes"),
    Refused("a strange scope", {"name": "ci", "scopes": ["root"]}, 422, "validation_error", "body.scopes.0"),
    Refused("own", {"name": "ci", "scopes": ["own"]}, 422, "validation_error", "body.scopes.0"),
    Refused("empty groups", {"name": "ci", "scopes": ["read"], "groups": []}, 422, "validation_error", "body.groups"),
    Refused("a bad group", {"name": "c", "scopes": ["read"], "groups": ["A"]}, 422, "validation_error", "groups.0"),
    Refused(
        "too many groups", {"name": "ci", "scopes": ["read"], "groups": [f"g{n}" for n in range(21)]}, 422,
        "validation_error", "body.groups",
    ),
    Refused("no moment", {"name": "ci", "scopes": ["read"], "expires_at": "soon"}, 422, "validation_error", "ISO 8601"),
    Refused("past", {"name": "ci", "scopes": ["read"], "expires_at": "2020-01-01"}, 422, "validation_error", "future"),
    Refused(
        "the end of time", {"name": "ci", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59.9999999Z"}, 422,
        "validation_error", "2 to 9998",
    ),
    Refused("unknown", {"name": "ci", "scopes": ["read"], "own": True}, 422, "validation_error", "body.own"),
]  # fmt: skip


def later(**duration: float) -> str:
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


async def refusal(api: Api, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    status, code, _ = await api.refused(method, path, body, **headers)
    return status, code


async def test_a_key_is_shown_once_and_does_what_its_scopes_say_and_nothing_else(api: Api) -> None:
    shown = await made(api, "write", "read", "read", groups=["night", "night"], expires_at=later(days=1))
    listed = await api.get("/v1/keys")
    ci = evolve(api, key=shown["api_key"])
    me = await ci.get("/v1/auth/me")
    refused = await ci.ask("POST", "/v1/worker/heartbeat", {})

    assert re.fullmatch(r"key_[a-z0-9]{12}", shown["id"])
    assert re.fullmatch(r"cue_sk_[0-9a-f]{32}", shown["api_key"])
    assert (shown["name"], shown["scopes"], shown["groups"]) == ("ci", ["read", "write"], ["night"])
    assert shown["prefix"] == shown["api_key"][:14]
    assert [one["name"] for one in listed["keys"]] == ["ci", "Account key"]
    assert [one["own"] for one in listed["keys"]] == [False, True]
    assert shown["api_key"] not in str(listed)
    assert {**listed["keys"][0], "api_key": shown["api_key"]} == shown
    assert me["key"] == {name: shown[name] for name in ("id", "name", "own", "scopes", "groups", "expires_at")}
    assert refused.status_code == 403
    error = refused.json()["error"]
    assert (error["code"], error["required"], error["granted"]) == ("insufficient_scope", ["work"], ["read", "write"])


async def test_a_key_is_told_of_both_scopes_where_the_body_says_which_of_them_is_needed(api: Api) -> None:
    reader, writer = await with_key(api, "read"), await with_key(api, "write")
    pause, replay = ({"kind": kind, "filter": {"group": "night"}, "dry_run": True} for kind in ("pause", "replay"))

    refused = [await one.ask("POST", "/v1/operations", body) for one, body in ((reader, pause), (writer, replay))]

    assert [one.status_code for one in refused] == [403, 403]
    assert [one.json()["error"]["required"] for one in refused] == [["write", "fire"], ["fire"]]
    assert "the scope write or fire; this one has read" in refused[0].json()["error"]["message"]


async def test_the_own_key_and_sessions_may_do_everything(api: Api) -> None:
    session = evolve(api, key=(await api.post("/v1/auth/session/refresh"))["session_token"])

    with_own, with_session = await api.get("/v1/auth/me"), await session.get("/v1/auth/me")

    assert (with_own["key"]["own"], with_own["key"]["scopes"], with_own["key"]["groups"]) == (True, [*EVERY], None)
    assert with_session["key"] is None
    assert (await made(session))["api_key"]


async def test_what_is_no_key_is_refused_with_the_reason(api: Api) -> None:
    assert await surprises(api, "POST", "/v1/keys", BAD) == {}


async def test_keys_are_the_account_s_alone(daemon: RunningDaemon, api: Api) -> None:
    key, other = await made(api), await daemon.api.register("other@example.com")

    answers = [
        await refusal(other, "PATCH", f"/v1/keys/{key['id']}", {"name": "x"}),
        await refusal(other, "POST", f"/v1/keys/{key['id']}/rotate"),
        await refusal(other, "DELETE", f"/v1/keys/{key['id']}"),
        await refusal(api, "DELETE", "/v1/keys/key_000000000000"),
        await refusal(api, "DELETE", "/v1/keys/%00"),
    ]

    assert answers == [(404, "key_not_found")] * 5
    assert len((await other.get("/v1/keys"))["keys"]) == 1
    assert await evolve(api, key=key["api_key"]).get("/v1/auth/me")


async def test_another_name_is_told_by_the_key_at_once(api: Api) -> None:
    key = await made(api)
    ci = evolve(api, key=key["api_key"])
    await ci.get("/v1/auth/me")

    renamed = await api.patch(f"/v1/keys/{key['id']}", {"name": "deploy"})
    refused = await refusal(api, "PATCH", f"/v1/keys/{key['id']}", {"name": "x", "scopes": ["admin"]})

    assert (renamed["name"], renamed["id"]) == ("deploy", key["id"])
    assert (await ci.get("/v1/auth/me"))["key"]["name"] == "deploy"
    assert refused == (422, "validation_error")


async def test_a_rotated_key_serves_for_its_overlap_beside_the_new_one(api: Api, database: Database) -> None:
    key = await made(api, "read", groups=["night"])
    former = evolve(api, key=key["api_key"])

    rotated = await api.post(f"/v1/keys/{key['id']}/rotate", {"overlap_seconds": 3600})
    both = [(await evolve(api, key=one["api_key"]).get("/v1/auth/me"))["key"] for one in (key, rotated)]
    at_once = await api.post(f"/v1/keys/{key['id']}/rotate")

    same = ("id", "name", "scopes", "groups", "created_at", "expires_at")
    assert {name: rotated[name] for name in same} == {name: key[name] for name in same}
    assert rotated["api_key"] != key["api_key"]
    assert rotated["former_serves_until"] > datetime.now(UTC).isoformat()
    assert [one["id"] for one in both] == [key["id"]] * 2
    assert both[0]["expires_at"] is not None
    assert at_once["former_serves_until"] is None
    for one in (former, evolve(api, key=rotated["api_key"])):
        assert await refusal(one, "GET", "/v1/auth/me") == (401, "key_rotated")
    assert (await api.get("/v1/keys"))["keys"][0]["prefix"] == at_once["prefix"]
    assert len(await database.fetch("select from api_keys where rotated_at is null")) == 2


async def test_the_former_text_is_promised_no_longer_than_its_key_lives(api: Api) -> None:
    key = await made(api, "read", expires_at=later(minutes=5))
    rotated = await api.post(f"/v1/keys/{key['id']}/rotate", {"overlap_seconds": 3600})

    assert rotated["former_serves_until"] == rotated["expires_at"] == key["expires_at"]


async def test_the_former_text_ends_with_its_overlap_whatever_is_remembered(api: Api) -> None:
    key = await made(api)
    former = evolve(api, key=key["api_key"])
    await api.post(f"/v1/keys/{key['id']}/rotate", {"overlap_seconds": 1})
    await former.ask("GET", "/v1/auth/me")

    with trio.fail_after(20):
        while (response := await former.ask("GET", "/v1/auth/me")).status_code == 200:
            await trio.sleep(0.05)

    assert response.json()["error"]["code"] == "key_rotated"


async def test_a_key_expires_by_the_clock_and_says_so(api: Api) -> None:
    body = {"name": "ci", "scopes": ["read"]}
    asked = await ask_soon(
        1, lambda at: api.ask("POST", "/v1/keys", body | {"expires_at": at.isoformat()}), refused=422
    )
    key = asked.json()
    ci = evolve(api, key=key["api_key"])
    await ci.ask("GET", "/v1/auth/me")

    with trio.fail_after(20):
        while (response := await ci.ask("GET", "/v1/auth/me")).status_code == 200:
            await trio.sleep(0.05)

    assert (response.status_code, response.json()["error"]["code"]) == (401, "key_expired")
    assert [one["own"] for one in (await api.get("/v1/keys"))["keys"]] == [True]
    assert await refusal(api, "POST", f"/v1/keys/{key['id']}/rotate") == (404, "key_not_found")


@pytest.mark.parametrize("how", ["deleted", "rotated", "revoked"])
async def test_a_dead_key_is_dead_on_every_daemon(settings: Settings, database: Database, how: str) -> None:
    with trio.fail_after(60):
        async with running(settings) as here, running(settings) as there:
            api = await here.api.register()
            key = await made(api)
            elsewhere = Api(there.client, key["api_key"])
            await elsewhere.get("/v1/auth/me")
            if how == "revoked":
                await database.execute("update api_keys set rotated_at = now() - interval '24 hours'")
                await database.execute("select pg_notify('cueapi', 'command account:' || min(id)) from users")
            elif how == "deleted":
                assert (await api.ask("DELETE", f"/v1/keys/{key['id']}")).status_code == 204
            else:
                await api.post(f"/v1/keys/{key['id']}/rotate")
            while (response := await elsewhere.ask("GET", "/v1/auth/me")).status_code == 200:
                await trio.sleep(0.01)

    codes = {"deleted": "invalid_api_key", "revoked": "invalid_api_key", "rotated": "key_rotated"}
    assert response.json()["error"]["code"] == codes[how]


async def test_a_worker_that_waits_gets_nothing_once_its_key_has_ended(daemon: RunningDaemon, api: Api) -> None:
    key = await made(api, "work")
    worker, answers = evolve(api, key=key["api_key"]), []
    waiting = await api.post("/v1/cues", cue())

    async def wait() -> None:
        answers.append(await worker.ask("POST", "/v1/worker/heartbeat", {"claim": 1, "wait_seconds": 30}))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await waits(daemon, 1)
            # It has looked once: what looks has a connection.
            await until(lambda: not daemon.resources.database.pool.in_use)
            await api.ask("DELETE", f"/v1/keys/{key['id']}")
            fired = await api.post(f"/v1/cues/{waiting['id']}/fire")

    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (401, "invalid_api_key")
    assert (await api.get(f"/v1/executions/{fired['id']}"))["status"] == "pending"


async def test_the_own_key_is_replaced_and_not_deleted_and_other_keys_outlive_it(api: Api) -> None:
    key = await made(api)
    own = next(one for one in (await api.get("/v1/keys"))["keys"] if one["own"])

    deleted = await refusal(api, "DELETE", f"/v1/keys/{own['id']}")
    replaced = evolve(api, key=(await api.post("/v1/auth/key/regenerate", **SURE))["api_key"])
    rotated = await replaced.post(f"/v1/keys/{own['id']}/rotate", {"overlap_seconds": 60})
    newest = evolve(api, key=rotated["api_key"])

    assert deleted == (409, "invalid_state")
    # The former text is let in for its overlap, and gets nothing that lasts longer.
    assert (await replaced.get("/v1/auth/me"))["key"]["own"] is True
    for method, path, body in (
        ("GET", "/v1/auth/key", None), ("POST", "/v1/auth/session/refresh", None),
        ("POST", f"/v1/keys/{own['id']}/rotate", None), ("POST", "/v1/keys", {"name": "for ever", "scopes": ["read"]}),
    ):  # fmt: skip
        assert await refusal(replaced, method, path, body) == (403, "insufficient_scope"), path
    assert await refusal(replaced, "POST", "/v1/auth/key/regenerate", **SURE) == (403, "insufficient_scope")
    assert [one["id"] for one in (await newest.get("/v1/keys"))["keys"]] == [key["id"], own["id"]]
    assert (await newest.get("/v1/auth/key"))["api_key"] == rotated["api_key"]
    assert (await replaced.get("/v1/auth/me"))["key"]["own"]
    assert await evolve(api, key=key["api_key"]).get("/v1/auth/me")


async def test_only_the_own_key_and_sessions_reach_what_opens_the_whole_account(api: Api) -> None:
    own = next(one for one in (await api.get("/v1/keys"))["keys"] if one["own"])
    wide = await with_key(api, *EVERY)

    answers = [
        await wide.ask("GET", "/v1/auth/key"),
        await wide.ask("POST", "/v1/auth/key/regenerate", **SURE),
        await wide.ask("POST", "/v1/auth/session/refresh"),
        await wide.ask("POST", f"/v1/keys/{own['id']}/rotate"),
    ]

    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(403, "insufficient_scope")] * 4
    assert {tuple(one.json()["error"]["required"]) for one in answers} == {("own",)}
    assert await api.get("/v1/auth/key")


async def test_a_key_makes_and_rotates_none_that_may_do_more_or_lives_longer(api: Api) -> None:
    soon, late = later(hours=1), later(hours=2)
    ci = await with_key(api, "read", "admin", groups=["a", "b"], expires_at=soon)
    wide = await made(api, "write", groups=["a"], expires_at=soon)
    longer = await made(api, "read", groups=["a"])
    fits = {"scopes": ["read"], "groups": ["a"], "expires_at": soon}

    refused = [
        await refusal(ci, "POST", "/v1/keys", {"name": "x", **fits, **change})
        for change in ({"scopes": ["read", "fire"]}, {"groups": ["a", "c"]}, {"groups": None}, {"expires_at": late},
                       {"expires_at": None})
    ]  # fmt: skip
    refused += [await refusal(ci, "POST", f"/v1/keys/{one['id']}/rotate") for one in (wide, longer)]
    narrow = await ci.post("/v1/keys", {"name": "x", **fits})

    assert refused == [(403, "insufficient_scope")] * 7
    assert (narrow["scopes"], narrow["groups"]) == (["read"], ["a"])
    assert (await ci.post(f"/v1/keys/{narrow['id']}/rotate"))["api_key"]


async def test_keys_of_other_groups_do_not_exist_for_a_key_of_groups(api: Api) -> None:
    ci = await with_key(api, "read", "admin", groups=["a"])
    others = [await made(api, "read"), await made(api, "read", groups=["b"]), await made(api, groups=["a", "b"])]

    answers = [await refusal(ci, "DELETE", f"/v1/keys/{one['id']}") for one in others]
    answers += [await refusal(ci, "PATCH", f"/v1/keys/{one['id']}", {"name": "x"}) for one in others]

    assert answers == [(404, "key_not_found")] * 6
    assert [one["groups"] for one in (await ci.get("/v1/keys"))["keys"]] == [["a"]]


async def test_an_account_has_a_hundred_keys_however_many_ask_at_once(api: Api, database: Database) -> None:
    await database.execute(
        "insert into api_keys (hash, id, user_id, name, prefix, scopes, expires_at)"
        " select sha256(n::text::bytea), 'key_' || lpad(n::text, 12, '0'), u.id, 'n', '', '{read}',"
        "        case when n > 95 then now() - interval '1 day' end"
        "   from users u, generate_series(1, 120) n"
    )
    statuses = []

    async def make() -> None:
        statuses.append((await api.ask("POST", "/v1/keys", {"name": "ci", "scopes": ["read"]})).status_code)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(make)
    refused = await refusal(api, "POST", "/v1/keys", {"name": "ci", "scopes": ["read"]})
    await api.ask("DELETE", "/v1/keys/key_000000000001")

    assert sorted(statuses) == [201] * 5 + [403] * 7
    assert refused == (403, "key_limit_exceeded")
    assert (await made(api))["id"]


async def test_a_repeat_under_an_idempotency_key_leaves_the_text_out(api: Api, database: Database) -> None:
    body, once = {"name": "ci", "scopes": ["read"]}, {"Idempotency_Key": "k"}
    first = await api.ask("POST", "/v1/keys", body, **once)
    again = await api.ask("POST", "/v1/keys", body, **once)
    key_id = first.json()["id"]
    rotated = await api.ask("POST", f"/v1/keys/{key_id}/rotate", {}, **once)
    repeated = await api.ask("POST", f"/v1/keys/{key_id}/rotate", {}, **once)

    assert (first.status_code, again.status_code, again.headers["Idempotent-Replayed"]) == (201, 201, "true")
    assert again.json() == {name: value for name, value in first.json().items() if name != "api_key"}
    assert repeated.json() == {name: value for name, value in rotated.json().items() if name != "api_key"}
    assert len(await database.fetch("select from api_keys where not own and rotated_at is null")) == 1


async def test_what_a_key_may_do_is_checked_before_a_repeat_is_answered(api: Api) -> None:
    there = await api.post("/v1/cues", cue(group="b"))
    narrow = await with_key(api, "read", "admin", groups=["a"])
    cue_body, key_body = cue(group="b"), {"name": "wide", "scopes": ["write"]}
    asked = [
        ("POST", "/v1/cues", cue_body), ("POST", f"/v1/cues/{there['id']}/fire", {}), ("POST", "/v1/keys", key_body),
    ]  # fmt: skip
    for method, path, body in asked:
        assert (await api.ask(method, path, body, Idempotency_Key="k")).status_code < 300

    in_groups = await with_key(api, *EVERY, groups=["a"])
    by_scope = [await refusal(narrow, method, path, body, Idempotency_Key="k") for method, path, body in asked]
    by_group = [await refusal(in_groups, method, path, body, Idempotency_Key="k") for method, path, body in asked]

    assert by_scope == [(403, "insufficient_scope")] * 3
    assert by_group == [(403, "insufficient_scope"), (404, "cue_not_found"), (403, "insufficient_scope")]


async def test_a_key_shows_the_minute_and_the_address_of_its_last_use_from_the_only_statement_of_many_calls(
    api: Api, database: Database
) -> None:
    await database.execute("create table touched (at timestamptz default now())")
    await database.execute(
        "create function note_touch() returns trigger language plpgsql as"
        " $$ begin insert into touched default values; return null; end $$"
    )
    await database.execute(
        "create trigger noted after update of last_used_at on api_keys for each statement execute function note_touch()"
    )
    key = await made(api)
    ci = evolve(api, key=key["api_key"])
    begun = datetime.now(UTC).replace(second=0, microsecond=0)
    for _ in range(5):
        await ci.get("/v1/auth/me")

    with trio.fail_after(30):
        while (shown := (await api.get("/v1/keys"))["keys"][0])["last_used_at"] is None:
            await trio.sleep(0.05)

    used = datetime.fromisoformat(shown["last_used_at"])
    assert begun <= used <= datetime.now(UTC)
    assert (used.second, used.microsecond) == (0, 0)
    assert shown["last_used_from"] == "127.0.0.1"
    assert 1 <= len(await database.fetch("select from touched")) <= 3  # of both keys; a minute may begin meanwhile


async def test_each_change_of_a_key_says_who_did_it(api: Api, database: Database) -> None:
    own = next(one for one in (await api.get("/v1/keys"))["keys"] if one["own"])
    key = await made(api, "read", "admin")
    ci = evolve(api, key=key["api_key"])
    await ci.patch(f"/v1/keys/{key['id']}", {"name": "deploy"})
    await ci.patch(f"/v1/keys/{key['id']}", {"name": "deploy"})
    await api.post(f"/v1/keys/{key['id']}/rotate", X_Reason="it was in a log")
    await api.ask("DELETE", f"/v1/keys/{key['id']}")
    await api.post("/v1/auth/key/regenerate", **SURE)

    rows = await database.fetch("select * from audit where subject_kind = 'key' order by id")
    told = [(row["action"], row["actor_kind"], row["actor_id"], row["subject_id"], row["reason"]) for row in rows]
    assert told == [
        ("key.created", "key", own["id"], key["id"], None),
        ("key.renamed", "key", key["id"], key["id"], None),
        ("key.rotated", "key", own["id"], key["id"], "it was in a log"),
        ("key.deleted", "key", own["id"], key["id"], None),
        ("key.replaced", "key", own["id"], own["id"], None),
    ]
    assert "cue_sk_" not in str([dict(row) for row in rows])
    assert '"to" : "deploy"' in rows[1]["changes"]


async def test_of_many_rotations_at_once_one_text_serves(api: Api) -> None:
    key, texts = await made(api), []

    async def rotate() -> None:
        texts.append((await api.post(f"/v1/keys/{key['id']}/rotate"))["api_key"])

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(rotate)
    statuses = [(await evolve(api, key=text).ask("GET", "/v1/auth/me")).status_code for text in texts]

    assert sorted(statuses) == [200] + [401] * 5


async def test_a_key_that_has_ended_meanwhile_makes_no_other_one(api: Api, database: Database) -> None:
    key = await made(api, "admin")
    ci = evolve(api, key=key["api_key"])
    await ci.get("/v1/keys") if "read" in key["scopes"] else await ci.ask("GET", "/v1/keys")
    await database.execute("delete from api_keys where id = $1", key["id"])  # and no daemon has heard of it

    answers = await partial(ci.ask, "POST", "/v1/keys")({"name": "x", "scopes": ["admin"]})

    assert answers.status_code == 401
    assert len((await api.get("/v1/keys"))["keys"]) == 1


async def test_the_owner_is_told_by_mail_of_keys_that_are_made_or_replaced_and_of_another_alert_url(
    settings: Settings,
) -> None:
    async with mailing(settings) as post:
        user = await post.join("owner@example.com")
        key = await user.post("/v1/keys", {"name": "ci\nWhen:  never", "scopes": ["read"]})
        of_made = (await post.mail_to("owner@example.com", "an API key was made")).get_content()
        await user.post(f"/v1/keys/{key['id']}/rotate")
        of_rotated = (await post.mail_to("owner@example.com", "an API key was replaced")).get_content()
        for url in ("https://example.com/a", "https://example.com/a"):
            await user.patch("/v1/auth/me", {"alert_webhook_url": url})
        of_url = (await post.mail_to("owner@example.com", "the alert URL was changed")).get_content()
        await user.post("/v1/auth/key/regenerate", **SURE)
        await post.mail_to("owner@example.com", "the API key was replaced")
        told = [mail["Subject"] for mail in post.box.mails]

    assert "Key:         ci When:  never\n" in of_made.replace("\r", "")
    assert "Key:  " in of_rotated
    assert "Key:  " not in of_url
    assert key["api_key"] not in of_made
    assert told.count("CueAPI: the alert URL was changed") == 1


async def test_the_first_link_of_an_address_ends_every_key_that_someone_else_may_have_made(settings: Settings) -> None:
    async with mailing(settings) as post:
        squatter = await post.daemon.api.register("owner@example.com")
        key = await made(squatter, *EVERY)
        page = await post.press(await post.link_to("owner@example.com"))
        owner = evolve(squatter, key=KEY.findall(page.text)[0])
        answer = await evolve(squatter, key=key["api_key"]).ask("GET", "/v1/auth/me")
        left = (await owner.get("/v1/keys"))["keys"]

    assert answer.status_code == 401
    assert [one["own"] for one in left] == [True]

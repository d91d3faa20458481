import re
from base64 import b64decode, b64encode
from datetime import datetime
from hashlib import sha256
from hmac import digest

import pytest
import trio
from pydantic import SecretStr

from cueapi.api.http.auth import LIFETIME
from cueapi.domain.audit import SYSTEM
from cueapi.settings import Settings
from cueapi.storage import accounts, own_keys, users
from cueapi.storage.api_keys import KeyText, NewKey
from cueapi.storage.database import Database
from tests.api.refusals import Refused, surprises
from tests.conftest import Api, RunningDaemon, cue, running
from tests.process import HANG
from tests.receiver import Received, open_receiver

SURE = {"X_Confirm_Destructive": "true"}
KEY = re.compile(r"cue_sk_[0-9a-f]{32}")
WEBHOOK_SECRET = re.compile(r"whsec_[0-9a-f]{64}")
ALERT_SECRET = re.compile(r"[0-9a-f]{64}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")

BAD_ADDRESSES = [
    Refused("missing", {}, 422, "validation_error", "body.email: is required"),
    Refused("null", {"email": None}, 422, "validation_error", "body.email"),
    Refused("a number", {"email": 5}, 422, "validation_error", "body.email: input should be a valid text"),
    Refused("empty", {"email": ""}, 422, "validation_error", "body.email: is no e-mail address"),
    Refused("no at", {"email": "you.example.com"}, 422, "validation_error", "@-sign"),
    Refused("no domain", {"email": "you@"}, 422, "validation_error", "after the @-sign"),
    Refused("no name", {"email": "@example.com"}, 422, "validation_error", "before the @-sign"),
    Refused("two ats", {"email": "a@b@example.com"}, 422, "validation_error", "is no e-mail address"),
    Refused("a space", {"email": "you two@example.com"}, 422, "validation_error", "is no e-mail address"),
    Refused("a line", {"email": "you@example.com\nBcc: all@example.com"}, 422, "validation_error", "is no e-mail"),
    Refused("too long", {"email": "a" * 65 + "@example.com"}, 422, "validation_error", "too long"),
    Refused("much too long", {"email": "a@" + "b" * 10_000 + ".com"}, 422, "validation_error", "at most 254"),
    Refused("longer than a body", {"email": "a@" + "b" * 16_400 + ".com"}, 413, "request_too_large", "16 KiB"),
    Refused("no object", ["you@example.com"], 422, "validation_error", "body: must be a JSON object"),
]

BAD_CHANGES = [
    Refused("nothing", {}, 422, "no_fields", "email, alert_webhook_url, or both"),
    Refused("nothing that counts", {"email": None}, 422, "no_fields", "alert_webhook_url"),
    Refused("a bad address", {"email": "you@"}, 422, "validation_error", "body.email"),
    Refused("no address", {"email": ""}, 422, "validation_error", "body.email"),
    Refused("a plan of one's own", {"plan": "free", "email": "b@example.com"}, 422, "validation_error", "body.plan"),
    Refused("a number", {"alert_webhook_url": 5}, 422, "validation_error", "body.alert_webhook_url"),
    Refused("no URL", {"alert_webhook_url": "alerts"}, 400, "invalid_alert_webhook_url", "http:// or https://"),
    Refused("ftp", {"alert_webhook_url": "ftp://a.example"}, 400, "invalid_alert_webhook_url", "http:// or https://"),
    Refused("private", {"alert_webhook_url": "http://10.0.0.1/"}, 400, "invalid_alert_webhook_url", "private address"),
    Refused("IPv6", {"alert_webhook_url": "http://[::1]/"}, 400, "invalid_alert_webhook_url", "CALLBACK_ALLOW=::1"),
    Refused("a user", {"alert_webhook_url": "https://me:pw@a.example"}, 400, "invalid_alert_webhook_url", "user name"),
]

NO_KEYS = {
    "": "invalid_api_key",
    "Bearer": "invalid_api_key",
    "Basic eW91OnNlY3JldA==": "invalid_api_key",
    "cue_sk_00000000000000000000000000000000": "invalid_api_key",
    "Bearer cue_sk_00000000000000000000000000000000": "invalid_api_key",
    "Bearer cue_sk_": "invalid_api_key",
    "Bearer not.a.session": "invalid_session",
}

SECRETS = ["/v1/auth/key", "/v1/auth/webhook-secret", "/v1/auth/alert-webhook-secret"]


def with_settings(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


async def test_a_new_account_gets_a_key_that_works(daemon: RunningDaemon) -> None:
    with trio.fail_after(HANG):
        response = await daemon.api.ask("POST", "/v1/auth/register", {"email": "You@Example.com"})
        answer = response.json()
        me = await Api(daemon.client, answer["api_key"]).get("/v1/auth/me")

    assert response.status_code == 201
    assert answer == {"api_key": answer["api_key"], "email": "You@example.com"}
    assert KEY.fullmatch(answer["api_key"])
    assert me["email"] == "You@example.com"


async def test_an_address_has_one_account_however_it_is_written(daemon: RunningDaemon) -> None:
    with trio.fail_after(HANG):
        await daemon.api.register("you@example.com")
        again = await daemon.api.refused("POST", "/v1/auth/register", {"email": "YOU@Example.COM"})

    assert again == (409, "duplicate_email", "There is an account with this e-mail address.")


async def test_of_many_registrations_of_one_address_at_once_one_succeeds(daemon: RunningDaemon) -> None:
    statuses = []

    async def register(number: int) -> None:
        email = "you@example.com" if number % 2 else "You@Example.com"
        response = await daemon.api.ask("POST", "/v1/auth/register", {"email": email})
        statuses.append(response.status_code)

    with trio.fail_after(HANG):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(register, number)

    assert sorted(statuses) == [201] + [409] * 7


async def test_an_address_registers_so_many_accounts_an_hour_and_what_is_refused_for_another_reason_does_not_count(
    settings: Settings,
) -> None:
    with trio.fail_after(20):
        async with running(with_settings(settings, register_limit_per_hour=2)) as daemon:
            await daemon.api.refused("POST", "/v1/auth/register", {"email": "no address"})
            made = [await daemon.api.ask("POST", "/v1/auth/register", {"email": f"{n}@example.com"}) for n in range(3)]
            me = await Api(daemon.client, made[0].json()["api_key"]).ask("GET", "/v1/auth/me")

    assert [one.status_code for one in made] == [201, 201, 429]
    assert made[-1].json()["error"]["code"] == "rate_limit_exceeded"
    assert 3_590 < int(made[-1].headers["Retry-After"]) <= 3_600
    assert me.status_code == 200


async def test_what_is_no_address_is_refused_with_the_reason(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        found = await surprises(daemon.api, "POST", "/v1/auth/register", BAD_ADDRESSES)
        await daemon.api.register("zoë@bücher.example")

    assert found == {}


async def test_closed_registration_looks_like_no_path(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(with_settings(settings, allow_register=False)) as daemon:
            refused = await daemon.api.refused("POST", "/v1/auth/register", {"email": "you@example.com"})

    assert refused[:2] == (404, "not_found")
    assert "closed" in refused[2]


async def test_an_account_shows_its_limits_and_what_it_uses(owner: Api) -> None:
    with trio.fail_after(HANG):
        paused = await owner.post("/v1/cues", cue())
        await owner.post("/v1/cues", cue())
        gone = await owner.post("/v1/cues", cue())
        await owner.patch(f"/v1/cues/{paused['id']}", {"status": "paused"})
        await owner.ask("DELETE", f"/v1/cues/{gone['id']}")
        await owner.post(f"/v1/cues/{paused['id']}/fire")
        await owner.post(f"/v1/cues/{paused['id']}/fire")
        await owner.post("/v1/worker/heartbeat", {"claim": 1})
        me = await owner.get("/v1/auth/me")

    assert me == {
        "email": "you@example.com",
        "email_verified": False,
        "pending_email": None,
        "plan": "self_hosted",
        "active_cues": 2,
        "active_cue_limit": 1_000_000,
        "executions_this_month": 1,
        "monthly_execution_limit": 1_000_000_000,
        "rate_limit_per_minute": 6_000,
        "has_webhook_secret": True,
        "api_key_prefix": me["api_key_prefix"],
        "alert_webhook_url": None,
        "key": {
            "id": me["key"]["id"],
            "name": "Account key",
            "own": True,
            "scopes": ["read", "fire", "work", "write", "admin"],
            "groups": None,
            "expires_at": None,
        },
    }
    assert owner.key.startswith(me["api_key_prefix"])
    assert 8 <= len(me["api_key_prefix"]) < 20


async def test_the_default_plan_and_its_numbers_are_the_operators(settings: Settings) -> None:
    own = with_settings(settings, default_plan="free", monthly_execution_limit=500)
    with trio.fail_after(20):
        async with running(own) as daemon:
            me = await (await daemon.api.register()).get("/v1/auth/me")

    assert (me["plan"], me["active_cue_limit"], me["monthly_execution_limit"]) == ("free", 10, 500)
    assert me["rate_limit_per_minute"] == 60


async def test_the_address_and_the_alert_url_can_be_changed_and_the_url_cleared(owner: Api) -> None:
    url = "https://alerts.invalid/cueapi"
    with trio.fail_after(HANG):
        first = await owner.patch("/v1/auth/me", {"alert_webhook_url": url})
        with_url = await owner.get("/v1/auth/me")
        second = await owner.patch("/v1/auth/me", {"email": "other@example.com"})
        renamed = await owner.get("/v1/auth/me")
        await owner.patch("/v1/auth/me", {"alert_webhook_url": "", "email": "Other@Example.com"})
        cleared = await owner.get("/v1/auth/me")

    assert set(first) == {"updated_at"}
    assert MOMENT.fullmatch(first["updated_at"])
    assert datetime.fromisoformat(first["updated_at"]) < datetime.fromisoformat(second["updated_at"])
    assert (with_url["email"], with_url["alert_webhook_url"]) == ("you@example.com", url)
    assert (renamed["email"], renamed["alert_webhook_url"]) == ("other@example.com", url)
    assert (cleared["email"], cleared["alert_webhook_url"]) == ("Other@example.com", None)


async def test_a_change_that_cannot_be_is_refused_and_changes_nothing(owner: Api) -> None:
    with trio.fail_after(20):
        await owner.register("taken@example.com")
        before = await owner.get("/v1/auth/me")
        found = await surprises(owner, "PATCH", "/v1/auth/me", BAD_CHANGES)
        taken = await owner.refused("PATCH", "/v1/auth/me", {"email": "TAKEN@example.com"})
        after = await owner.get("/v1/auth/me")

    assert found == {}
    assert taken[:2] == (409, "duplicate_email")
    assert after == before


async def test_nothing_is_replaced_without_a_confirmation(api: Api) -> None:
    with trio.fail_after(HANG):
        before = [await api.get(path) for path in SECRETS]
        bare = [await api.refused("POST", f"{path}/regenerate") for path in SECRETS]
        denied = [await api.refused("POST", f"{path}/regenerate", X_Confirm_Destructive="false") for path in SECRETS]
        after = [await api.get(path) for path in SECRETS]

    assert {answer[:2] for answer in bare + denied} == {(400, "confirmation_required")}
    assert "X-Confirm-Destructive: true" in bare[0][2]
    assert after == before


async def test_the_key_is_shown_again_to_whoever_has_it(api: Api) -> None:
    with trio.fail_after(HANG):
        shown = await api.get("/v1/auth/key")

    assert shown == {"api_key": api.key}


async def test_a_key_of_another_session_secret_cannot_be_shown_but_works(
    settings: Settings, database: Database
) -> None:
    other = with_settings(settings, session_secret=SecretStr("another secret of the tests, just as long"))
    with trio.fail_after(20):
        async with running(settings) as daemon:
            api = await daemon.api.register()
        # Else the daemon would not start: all on one database share one secret.
        await database.execute("delete from meta where key = 'session_secret'")
        async with running(other) as daemon:
            api = Api(daemon.client, api.key)
            me = await api.get("/v1/auth/me")
            response = await api.ask("GET", "/v1/auth/key")
            renewed = await api.post("/v1/auth/key/regenerate", **SURE)
            shown = await Api(daemon.client, renewed["api_key"]).get("/v1/auth/key")

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (410, "key_not_recoverable")
    assert error["prefix"] == me["api_key_prefix"]
    assert "SESSION_SECRET" in error["message"]
    assert shown == {"api_key": renewed["api_key"]}


async def test_a_replaced_key_is_dead_at_once_and_says_so(api: Api) -> None:
    with trio.fail_after(HANG):
        await api.get("/v1/auth/me")
        answer = await api.post("/v1/auth/key/regenerate", **SURE)
        renewed = Api(api.client, answer["api_key"])
        old = await api.refused("GET", "/v1/auth/me")
        me = await renewed.get("/v1/auth/me")
        shown = await renewed.get("/v1/auth/key")

    assert answer == {"api_key": answer["api_key"], "previous_key_revoked": True}
    assert KEY.fullmatch(answer["api_key"])
    assert answer["api_key"] != api.key
    assert old[:2] == (401, "key_rotated")
    assert "replaced" in old[2]
    assert answer["api_key"].startswith(me["api_key_prefix"])
    assert shown == {"api_key": answer["api_key"]}


async def test_a_replaced_key_dies_on_another_daemon_at_once(settings: Settings) -> None:
    with trio.fail_after(30):
        async with running(settings) as here, running(settings) as there:
            api = await here.api.register()
            elsewhere = Api(there.client, api.key)
            await elsewhere.get("/v1/auth/me")
            await api.post("/v1/auth/key/regenerate", **SURE)
            with trio.fail_after(LIFETIME / 2):  # for so long the other daemon would remember it
                while (response := await elsewhere.ask("GET", "/v1/auth/me")).status_code == 200:
                    await trio.sleep(0.01)  # The other daemon has no event that we could wait for.

    assert response.json()["error"]["code"] == "key_rotated"


async def test_of_many_replacements_of_a_key_at_once_one_key_stays(daemon: RunningDaemon) -> None:
    answers = []

    async def regenerate(api: Api) -> None:
        response = await api.ask("POST", "/v1/auth/key/regenerate", **SURE)
        answers.append((response.status_code, response.json()))

    alive = []
    with trio.fail_after(20):
        for number in range(5):
            answers.clear()
            api = await daemon.api.register(f"you{number}@example.com")
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(regenerate, api)
            keys = [answer["api_key"] for status, answer in answers if status == 200]
            refused = [(status, answer["error"]["code"]) for status, answer in answers if status != 200]
            working = [await Api(daemon.client, key).ask("GET", "/v1/auth/me") for key in keys]
            alive.append(sum(response.status_code == 200 for response in working))
            assert set(refused) <= {(401, "key_rotated")}

    assert alive == [1] * 5


async def test_each_account_has_secrets_of_its_own(api: Api) -> None:
    with trio.fail_after(HANG):
        other = await api.register("other@example.com")
        mine = await api.get("/v1/auth/webhook-secret")
        again = await api.get("/v1/auth/webhook-secret")
        theirs = await other.get("/v1/auth/webhook-secret")
        my_alerts = await api.get("/v1/auth/alert-webhook-secret")
        my_alerts_again = await api.get("/v1/auth/alert-webhook-secret")
        their_alerts = await other.get("/v1/auth/alert-webhook-secret")

    assert set(mine) == {"webhook_secret"}
    assert WEBHOOK_SECRET.fullmatch(mine["webhook_secret"])
    assert again == mine
    assert theirs != mine
    assert set(my_alerts) == {"alert_webhook_secret"}
    assert ALERT_SECRET.fullmatch(my_alerts["alert_webhook_secret"])
    assert my_alerts_again == my_alerts
    assert their_alerts != my_alerts


async def test_secrets_are_replaced_for_one_account_only(api: Api) -> None:
    with trio.fail_after(HANG):
        other = await api.register("other@example.com")
        before = await other.get("/v1/auth/webhook-secret"), await other.get("/v1/auth/alert-webhook-secret")
        old = await api.get("/v1/auth/webhook-secret"), await api.get("/v1/auth/alert-webhook-secret")
        webhook = await api.post("/v1/auth/webhook-secret/regenerate", **SURE)
        alert = await api.post("/v1/auth/alert-webhook-secret/regenerate", **SURE)
        shown = await api.get("/v1/auth/webhook-secret"), await api.get("/v1/auth/alert-webhook-secret")
        after = await other.get("/v1/auth/webhook-secret"), await other.get("/v1/auth/alert-webhook-secret")

    assert webhook == {**shown[0], "previous_secret_revoked": True}
    assert alert == {**shown[1], "previous_secret_revoked": True}
    assert shown[0] != old[0]
    assert shown[1] != old[1]
    assert after == before


def timestamped(request: Received) -> bytes:
    return request.header("x-cueapi-timestamp").encode() + b"." + request.body


def cueapi_signature(secret: str, request: Received) -> str:
    return "v1=" + digest(secret.encode(), timestamped(request), sha256).hex()


def standard_signature(secret: str, request: Received) -> str:
    content = request.header("webhook-id").encode() + b"." + timestamped(request)
    return "v1," + b64encode(digest(b64decode(secret.removeprefix("whsec_")), content, sha256)).decode()


async def test_a_replaced_webhook_secret_signs_beside_the_new_one_for_the_overlap_asked_for(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver() as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            old = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
            answer = await api.post("/v1/auth/webhook-secret/regenerate?overlap_hours=1", **SURE)
            await api.post(f"/v1/cues/{made['id']}/fire")
            await receiver.wait_for(1)
            final = await api.post("/v1/auth/webhook-secret/regenerate", **SURE)
            await api.post(f"/v1/cues/{made['id']}/fire")
            during, after = await receiver.wait_for(2)

    new = answer["webhook_secret"]
    assert answer == {"webhook_secret": new, "previous_secret_revoked": False}
    assert during.header("x-cueapi-signature") == cueapi_signature(new, during)
    signatures = during.header("webhook-signature").split(" ")
    assert sorted(signatures) == sorted([standard_signature(new, during), standard_signature(old, during)])
    assert final["previous_secret_revoked"] is True
    assert after.header("x-cueapi-signature") == cueapi_signature(final["webhook_secret"], after)
    assert after.header("webhook-signature") == standard_signature(final["webhook_secret"], after)


async def test_an_overlap_is_from_one_hour_to_seventy_two(api: Api) -> None:
    path = "/v1/auth/webhook-secret/regenerate?overlap_hours="
    with trio.fail_after(HANG):
        before = await api.get("/v1/auth/webhook-secret")
        refused = [await api.refused("POST", path + hours, **SURE) for hours in ("73", "-1", "1.5", "soon")]
        after = await api.get("/v1/auth/webhook-secret")
        longest = await api.post(path + "72", **SURE)

    assert {answer[:2] for answer in refused} == {(422, "validation_error")}
    assert all("query.overlap_hours" in answer[2] and "72" in answer[2] for answer in refused)
    assert after == before
    assert longest["previous_secret_revoked"] is False


async def test_who_shows_no_valid_key_is_told_so_everywhere(daemon: RunningDaemon) -> None:
    with trio.fail_after(HANG):
        answers = {
            (header, path): await daemon.api.refused("GET", path, Authorization=header)
            for header in NO_KEYS
            for path in ("/v1/auth/me", "/v1/auth/key", "/v1/cues")
        }
        without = await daemon.api.refused("PATCH", "/v1/auth/me", {"email": "you@example.com"})

    assert {key: answer[:2] for key, answer in answers.items()} == {key: (401, NO_KEYS[key[0]]) for key in answers}
    assert without == (401, "invalid_api_key", "Send the header Authorization: Bearer YOUR_API_KEY.")


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("nope", "This is no API key: a key is cue_sk_ and 32 hexadecimal digits."),
        ("cue_sk_", "This is no API key: a key is cue_sk_ and 32 hexadecimal digits."),
        ("cue_sk_" + "A" * 32, "This is no API key: a key is cue_sk_ and 32 hexadecimal digits."),
        ("cue_sk_" + "a" * 32, "This API key is not known."),
        ("a.b.c", "This session is not valid."),
    ],
)
async def test_a_refused_token_is_called_what_it_is(daemon: RunningDaemon, token: str, message: str) -> None:
    _, code, told = await Api(daemon.client, token).refused("GET", "/v1/cues")

    assert told == message
    assert code == ("invalid_session" if "." in token else "invalid_api_key")


async def test_who_was_revoked_a_moment_ago_gets_no_new_key_and_no_new_cue(
    daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(20):
        api = await daemon.api.register()
        made = await api.post("/v1/cues", cue())
        # Nobody is told: the daemon remembers the key, as it does until it has heard of the revocation.
        (user,) = await database.fetch("select id from users")
        await database.execute(users.REVOKE, user["id"], SYSTEM.text())
        remembered = await api.ask("GET", "/v1/cues")
        rotated = await api.refused("POST", "/v1/auth/key/regenerate", {}, **SURE)
        created = await api.ask("POST", "/v1/cues", cue())
        resumed = await api.ask("PATCH", f"/v1/cues/{made['id']}", {"status": "active"})

    active = await database.fetch("select 1 from cues where status = 'active'")
    assert remembered.status_code == 200
    assert rotated[:2] == (401, "invalid_api_key")
    assert (created.is_success, resumed.is_success, active) == (False, False, [])


async def test_of_many_who_replace_one_key_at_once_one_does(daemon: RunningDaemon) -> None:
    with trio.fail_after(30):
        for number in range(3):
            api = await daemon.api.register(f"many{number}@example.com")
            answers: list[int] = []

            async def rotate(api: Api = api, answers: list[int] = answers) -> None:
                answers.append((await api.ask("POST", "/v1/auth/key/regenerate", {}, **SURE)).status_code)

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(rotate)

            assert sorted(answers) == [200, 401, 401, 401, 401]


async def test_a_key_that_is_replaced_while_a_transaction_waits_opens_nothing_in_it(
    api: Api, database: Database
) -> None:
    async with database.transaction() as tx:
        await tx.execute("select now()")  # which stands still from here on
        await api.post("/v1/auth/key/regenerate", {}, **SURE)
        with pytest.raises(accounts.Rotated):
            await accounts.by_key(tx, sha256(api.key.encode()).digest(), plans={})


async def test_a_replaced_key_dies_on_every_daemon_also_if_the_one_that_replaced_it_says_nothing_more(
    daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(20):
        api = await daemon.api.register()
        await api.get("/v1/cues")
        (user,) = await database.fetch("select id from users")
        async with database.transaction() as tx:
            await accounts.lock(tx, user["id"])
            new = NewKey("key_000000000000", "Account key", ["read"], None, None)
            text = KeyText(b"new", "cue_sk_new", bytes(37))
            await own_keys.replace_own(tx, user=user["id"], text=text, new=new, act=SYSTEM)
        while (refused := await api.ask("GET", "/v1/cues")).is_success:
            await trio.sleep(0.02)

    assert refused.json()["error"]["code"] == "key_rotated"

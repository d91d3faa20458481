"""Who is told of alerts and failures: by webhook and mail, each with attempts of its own, lost in no crash."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from hmac import digest

import pytest
import trio
from attrs import frozen
from standardwebhooks import Webhook as Verifier
from structlog.testing import capture_logs

from cueapi.settings import Settings
from cueapi.storage import daemons, notifications
from cueapi.storage.database import Database
from cueapi.storage.notifications import NotificationHeadroom
from tests.api.mailing import Mailing, mailing
from tests.api.work import claimed, report
from tests.conftest import Api, RunningDaemon, cue, running
from tests.delivery.siblings import until
from tests.net.mail_server import Box
from tests.receiver import Received, open_receiver
from tests.scarcity import no_file_left

FINAL = {"success": False, "error": "no paper", "retry": False}


@frozen
class Mailed:
    """A daemon that sends mail, a user of it whose address is verified, and the box that it sends to."""

    post: Mailing
    api: Api

    @property
    def daemon(self) -> RunningDaemon:
        return self.post.daemon

    @property
    def box(self) -> Box:
        return self.post.box


@asynccontextmanager
async def mailing_to_a_user(settings: Settings) -> AsyncIterator[Mailed]:
    async with mailing(settings) as post:
        yield Mailed(post, await post.join("you@example.com"))


async def fail(api: Api, times: int = 1, **fields: object) -> list[str]:
    """Executions of a new worker cue with *fields* that fail for good."""
    made = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, **fields))
    ids = []
    for _ in range(times):
        ids.append((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
        await api.post(f"/v1/executions/{ids[-1]}/claim")
        await api.post(f"/v1/executions/{ids[-1]}/outcome", FINAL)
    return ids


async def count(database: Database) -> int:
    row = await database.fetch_one("select count(*) as waiting from notifications")
    assert row is not None
    return int(row["waiting"])


def is_signed(request: Received, secret: str) -> bool:
    """Both ways: as a receiver checks it by hand, and as the libraries of Standard Webhooks do."""
    timestamp = request.header("x-cueapi-timestamp") or ""
    said = digest(secret.encode(), timestamp.encode() + b"." + request.body, sha256).hex()
    key, message = b64decode(secret.removeprefix("whsec_")), request.header("webhook-id") or ""
    content = f"{message}.{timestamp}.".encode() + request.body
    standard = b64encode(digest(key, content, sha256)).decode()
    assert Verifier(secret).verify(request.body, dict(request.headers)) == json.loads(request.body)
    assert request.header("webhook-timestamp") == timestamp
    assert request.header("webhook-signature") == f"v1,{standard}"
    return request.header("x-cueapi-signature") == f"v1={said}"


async def test_an_alert_is_posted_to_the_users_url_and_signed_with_the_alert_secret(
    api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        async with open_receiver() as receiver:
            await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url("/alerts")})
            (execution,) = await fail(api)
            (request,) = await receiver.wait_for(1)
            await until(lambda: _empty(database))
            (alert,) = (await api.get("/v1/alerts"))["alerts"]
            secret = (await api.get("/v1/auth/alert-webhook-secret"))["alert_webhook_secret"]

    told = json.loads(request.body)
    assert is_signed(request, secret)
    assert request.body == json.dumps(told, sort_keys=True).encode()
    assert told == {
        "alert_id": alert["id"],
        "alert_type": "execution_failed",
        "severity": "critical",
        "message": alert["message"],
        "execution_id": execution,
        "cue_id": alert["cue_id"],
        "created_at": alert["created_at"],
        "metadata": alert["metadata"],
        "incident_id": alert["incident_id"],
    }
    assert request.header("x-cueapi-alert-id") == alert["id"]
    assert request.header("x-cueapi-alert-type") == "execution_failed"
    assert request.header("webhook-id") == alert["id"]
    assert request.header("content-type") == "application/json"


async def _empty(database: Database) -> bool:
    return await count(database) == 0


async def test_a_failure_is_posted_to_the_cues_own_url_and_signed_with_the_webhook_secret(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver({"/work": [(500, b"out of paper")], "/failed": [200]}) as receiver:
            hook = {"webhook": receiver.url("/failed")}
            body = cue(receiver.url("/work"), on_failure=hook, retry={"max_attempts": 1})
            made = await api.post("/v1/cues", body)
            execution = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            _, request = await receiver.wait_for(2)
            secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]

    told = json.loads(request.body)
    failed_at = datetime.fromisoformat(told.pop("failed_at"))
    assert request.path == "/failed"
    assert is_signed(request, secret)
    assert request.header("webhook-id") == f"failure-{execution}"
    assert abs((datetime.now(UTC) - failed_at).total_seconds()) < 30
    assert told == {
        "event": "cue.failed",
        "cue_id": made["id"],
        "cue_name": made["name"],
        "execution_id": execution,
        "attempts": 1,
        "last_http_status": 500,
        "last_error": "The handler answered 500.",
    }


async def test_a_failure_is_told_by_mail_unless_the_cue_says_otherwise(settings: Settings) -> None:
    with trio.fail_after(30):
        async with mailing_to_a_user(settings) as mailed:
            await fail(mailed.api, on_failure={"email": False})
            (execution,) = await fail(mailed.api, name="nightly-report")
            await until(lambda: mailed.box.mails)

    (mail,) = mailed.box.mails
    assert (mail["To"], mail["Subject"]) == ("you@example.com", "CueAPI: nightly-report failed")
    assert "Reason:     no paper" in mail.get_content()
    assert re.search(rf"http://localhost:[0-9]+/ui/executions/{execution}\s", mail.get_content())


async def test_without_a_dashboard_a_failure_mail_leads_to_the_contract(settings: Settings) -> None:
    with trio.fail_after(30):
        async with mailing_to_a_user(settings.model_copy(update={"dashboard": False})) as mailed:
            (execution,) = await fail(mailed.api)
            await until(lambda: mailed.box.mails)

    assert f"/v1/executions/{execution}" in mailed.box.mails[0].get_content()


async def test_a_failure_is_mailed_to_no_address_that_was_not_confirmed(settings: Settings, database: Database) -> None:
    with trio.fail_after(30):
        async with mailing_to_a_user(settings) as mailed:
            stranger = await mailed.daemon.api.register("victim@example.com")
            await mailed.post.link_to("victim@example.com")
            await fail(stranger)
            await fail(mailed.api)
            await until(lambda: len(mailed.box.mails) == 2)
            await until(lambda: _empty(database))

    assert [mail["To"] for mail in mailed.box.mails] == ["victim@example.com", "you@example.com"]


async def test_a_user_gets_ten_mails_an_hour_and_the_tenth_says_so(settings: Settings, database: Database) -> None:
    with trio.fail_after(60):
        async with mailing_to_a_user(settings) as mailed:
            other = await mailed.post.join("other@example.com")
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(fail, mailed.api, 3)
            await fail(other)
            await until(lambda: len(mailed.box.mails) >= 11)
            await until(lambda: _empty(database))
            within = [mail["To"] for mail in mailed.box.mails]
            last = [mail for mail in mailed.box.texts() if "tenth mail within an hour" in mail]
            await database.execute(
                "update mail_gates set moments = array(select m - interval '1 hour' from unnest(moments) m)"
            )
            await fail(mailed.api)
            await until(lambda: len(mailed.box.mails) >= 12)

    assert (within.count("you@example.com"), within.count("other@example.com")) == (10, 1)
    assert len(last) == 1
    assert "tenth" not in mailed.box.texts()[-1]


async def test_a_sign_in_link_goes_by_mail_and_stands_readable_in_no_row(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(30):
        async with mailing_to_a_user(settings) as mailed:
            anyone = mailed.daemon.api
            mailed.box.answer = "451 try again later"
            await anyone.post("/v1/auth/device-code", {"device_code": "mail-code"})
            body = {"device_code": "mail-code", "email": "new@example.com"}
            await anyone.post("/v1/auth/device-code/submit-email", body)
            await until(lambda: _is_put_off(database))
            (row,) = await database.fetch("select content, attempts, ready_at - now() as pause from notifications")
            mailed.box.answer = "250 taken"
            await database.execute("update notifications set ready_at = now()")
            await fail(mailed.api, on_failure={"webhook": "http://127.0.0.1:9/"})
            await until(lambda: any("mail-code" in text for text in mailed.box.texts()))
            mail = next(mail for mail in mailed.box.mails if mail["To"] == "new@example.com")
            link = next(line for line in mail.get_content().splitlines() if line.startswith("http"))
            page = await mailed.daemon.client.get(link.replace("http://localhost", "http://127.0.0.1"))

    assert (row["attempts"], 50 < row["pause"].total_seconds() <= 60) == (1, True)
    assert "verify?token" not in row["content"]
    assert (mail["To"], mail["Subject"]) == ("new@example.com", "Sign in to CueAPI")
    assert "mail-code" in mail.get_content()
    assert (page.status_code, "new@example.com" in page.text) == (200, True)
    assert "Magic link" not in capsys.readouterr().err


async def _is_put_off(database: Database) -> bool:
    return bool(await database.fetch("select from notifications where claim is null and attempts > 0"))


async def test_a_notification_is_attempted_three_times_after_one_and_five_minutes(
    settings: Settings, database: Database
) -> None:
    pauses = []
    with trio.fail_after(30):
        async with open_receiver([500, 301, 503]) as receiver:
            async with running(settings.model_copy(update={"poller_interval_seconds": 0.1})) as daemon:
                api = await daemon.api.register()
                await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url()})
                await fail(api)
                for number in (1, 2):
                    await receiver.wait_for(number)
                    await until(lambda: _is_put_off(database))
                    (row,) = await database.fetch(
                        "select ready_at - now() as pause from notifications where attempts > 0"
                    )
                    pauses.append(row["pause"].total_seconds())
                    await database.execute("update notifications set ready_at = now()")
                await receiver.wait_for(3)
                await until(lambda: _empty(database))

    assert 50 < pauses[0] <= 60
    assert 290 < pauses[1] <= 300
    assert len(receiver.requests) == 3
    assert len({request.header("webhook-id") for request in receiver.requests}) == 1


async def test_a_notification_of_a_daemon_that_is_gone_is_sent_by_another_as_the_same_attempt(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(30):
        async with open_receiver() as receiver:
            async with running(settings) as first:
                api = await first.api.register()
                await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url()})
                await fail(api)
                await receiver.wait_for(1)
                await until(lambda: _empty(database))
            await database.execute(
                "insert into notifications (kind, user_id, url, content, attempts, claim, claimed_by, lease_until)"
                " select 'alert_webhook', id, alert_webhook_url, $1, 3, gen_random_uuid(), 999, now() + interval '1 h'"
                "   from users",
                json.dumps({"alert_id": "a", "alert_type": "missed_run"}),
            )
            async with running(settings):
                await receiver.wait_for(2)
                await until(lambda: _empty(database))

    assert json.loads(receiver.requests[-1].body)["alert_type"] == "missed_run"


async def test_a_receiver_that_hangs_holds_up_its_own_user_only(daemon: RunningDaemon, database: Database) -> None:
    with trio.fail_after(30):
        async with open_receiver({"/hangs": ["hang"], "/quick": [200]}) as receiver:
            slow = await daemon.api.register("slow@example.com")
            await slow.patch("/v1/auth/me", {"alert_webhook_url": receiver.url("/hangs")})
            quick = await daemon.api.register("quick@example.com")
            await quick.patch("/v1/auth/me", {"alert_webhook_url": receiver.url("/quick")})
            await database.execute(
                "insert into notifications (kind, user_id, url, content)"
                " select 'alert_webhook', id, alert_webhook_url, $1 from users, generate_series(1, 11)"
                "  where email = 'slow@example.com'",
                json.dumps({"alert_id": "a", "alert_type": "missed_run"}),
            )
            await fail(slow)
            await fail(quick)
            with trio.fail_after(5):
                await until(lambda: any(request.path == "/quick" for request in receiver.requests))
            hanging = sum(request.path == "/hangs" for request in receiver.requests)

    assert 1 <= hanging <= 4


async def test_notifications_under_way_end_before_the_daemon_does(settings: Settings, database: Database) -> None:
    with trio.fail_after(30):
        async with open_receiver([0.5]) as receiver:
            async with running(settings) as daemon:
                api = await daemon.api.register()
                await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url()})
                await fail(api)
                await receiver.wait_for(1)

    assert await count(database) == 0


@pytest.mark.parametrize(
    "content",
    ["{}", '{"ciphertext": 5}', '{"ciphertext": "none", "to": "a@example.com", "device_code": "c"}'],
)
async def test_a_notification_whose_content_is_damaged_is_dropped_alone(
    settings: Settings, database: Database, content: str
) -> None:
    with trio.fail_after(30):
        async with mailing_to_a_user(settings) as mailed:
            for kind in (
                "alert_webhook",
                "failure_webhook",
                "failure_mail",
                "sign_in_mail",
                "address_mail",
                "account_mail",
            ):
                await database.execute(
                    "insert into notifications (kind, user_id, content, attempts, url)"
                    " select $1, id, $2, 2, $3 from users",
                    kind,
                    content,
                    "http://127.0.0.1:9/" if kind.endswith("webhook") else None,
                )
            await fail(mailed.api)
            await until(lambda: mailed.box.mails)
            await until(lambda: _empty(database))
            siblings = (await mailed.api.get("/health"))["siblings"]

    assert {one["restarts"] for one in siblings.values()} == {0}
    assert [mail["Subject"].startswith("CueAPI: cue-") for mail in mailed.box.mails] == [True]


async def test_reporting_an_outcome_neither_waits_for_a_notification_nor_fails_because_of_it(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver(["hang"]) as receiver:
            await api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url()})
            execution = await claimed(api)
            with trio.fail_after(5):
                told = await report(api, execution, success=False, retry=False)

    assert told["outcome_recorded"]


async def test_only_the_holder_of_a_claim_settles_a_notification(database: Database) -> None:
    number = await daemons.register(database, "here")
    await notifications.add_mail(database, "sign_in_mail", user=None, content={"to": "a@example.com"})
    claim = partial(notifications.claim, database, daemon=number, headroom=NotificationHeadroom(8, {}, 4), claimed_at=0)
    (first,) = await claim(lease=0.0)
    (second,) = await claim(lease=60.0)

    await notifications.remove(database, first)
    await notifications.put_off(database, first, 60.0)

    (row,) = await database.fetch("select claim, attempts from notifications")
    assert (row["claim"], row["attempts"], second.attempt) == (second.claim, 1, 1)
    assert await claim(lease=60.0) == []


async def test_without_smtp_a_mail_is_dropped_and_is_not_logged_as_sent(api: Api, database: Database) -> None:
    await database.execute("update users set email_verified_at = now()")  # only such an address is written to
    with trio.fail_after(20), capture_logs() as lines:
        await fail(api)
        await until(lambda: _empty(database))

    assert await database.fetch("select from mail_gates")
    assert [line for line in lines if line["event"].startswith("notification_")] == []


async def test_a_notification_that_we_are_too_short_for_loses_none_of_its_attempts(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(30):
        async with open_receiver() as receiver, mailing_to_a_user(settings) as mailed:
            await mailed.api.patch("/v1/auth/me", {"alert_webhook_url": receiver.url()})
            # That the URL was changed is told by mail.
            await until(lambda: len(mailed.box.mails) == 1)
            # Its connection is closed by then: no descriptor comes free below.
            await until(lambda: _empty(database))
            with no_file_left(), capture_logs() as lines:
                await fail(mailed.api)
                await until(lambda: _released(database, 2))
            attempts = await database.fetch("select kind, attempts from notifications order by kind")
            await database.execute("update notifications set ready_at = now()")
            await fail(mailed.api)
            await receiver.wait_for(2)
            await until(lambda: len(mailed.box.mails) == 3)

    assert [tuple(row) for row in attempts] == [("alert_webhook", 0), ("failure_mail", 0)]
    assert len([line for line in lines if line["event"] == "daemon_ran_short"]) == 1


async def _released(database: Database, wanted: int) -> bool:
    rows = await database.fetch("select 1 from notifications where claim is null and ready_at > now()")
    return len(rows) == wanted

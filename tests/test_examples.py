"""The curl lines that people start from: each is sent as curl sends it, headers left out included."""

import re
import shlex
from datetime import datetime
from typing import Any

import httpx
import trio
from attrs import frozen

from cueapi.storage.database import Database
from cueapi.storage.notify import notify
from tests.conftest import Api, RunningDaemon, cue
from tests.receiver import open_receiver

REGISTER = """curl -X POST http://localhost:8000/v1/auth/register -H "Content-Type: application/json" -d '{"email": "you@example.com"}'"""  # noqa: E501
CREATE = """curl -X POST http://localhost:8000/v1/cues -H "Authorization: Bearer YOUR_API_KEY" -H "Content-Type: application/json" -d '{"name": "morning-agent-brief", "schedule": {"type": "recurring", "cron": "0 9 * * *", "timezone": "America/Los_Angeles"}, "callback": {"url": "https://your-agent.com/run"}, "payload": {"task": "daily_brief"}}'"""  # noqa: E501
EXECUTIONS = """curl http://localhost:8000/v1/executions -H "Authorization: Bearer YOUR_API_KEY\""""
PAUSE = """curl -X PATCH http://localhost:8000/v1/cues/CUE_ID -H "Authorization: Bearer YOUR_API_KEY" -H "Content-Type: application/json" -d '{"status": "paused"}'"""  # noqa: E501
RESUME = """curl -X PATCH http://localhost:8000/v1/cues/CUE_ID -H "Authorization: Bearer YOUR_API_KEY" -H "Content-Type: application/json" -d '{"status": "active"}'"""  # noqa: E501
HEARTBEAT = """curl -X POST http://localhost:8000/v1/worker/heartbeat -H "Authorization: Bearer YOUR_API_KEY" -d '{"handlers": ["task-name-1", "task-name-2"]}'"""  # noqa: E501
VERIFIED = """curl -X POST http://localhost:8000/v1/cues -H "Authorization: Bearer YOUR_API_KEY" -d '{"name": "nightly-report", "schedule": {"type": "recurring", "cron": "0 9 * * *"}, "callback": {"url": "https://your-handler.com"}, "verification": {"mode": "require_external_id"}}'"""  # noqa: E501
OUTCOME = """curl -X POST http://localhost:8000/v1/executions/EXEC_ID/outcome -H "Authorization: Bearer YOUR_API_KEY" -d '{"success": true, "external_id": "stripe_ch_abc123", "result_url": "https://dashboard.stripe.com/payments/ch_abc123", "summary": "Charged customer 42"}'"""  # noqa: E501
VERIFY = """curl -X POST http://localhost:8000/v1/executions/EXEC_ID/verify -H "Authorization: Bearer YOUR_API_KEY" -d '{"valid": true}'"""  # noqa: E501
REJECT = """curl -X POST http://localhost:8000/v1/executions/EXEC_ID/verify -H "Authorization: Bearer YOUR_API_KEY" -d '{"valid": false, "reason": "invoice number does not match"}'"""  # noqa: E501
ALERTS = """curl "http://localhost:8000/v1/alerts?alert_type=consecutive_failures&since=2026-01-01T00:00:00Z&limit=20" -H "Authorization: Bearer YOUR_API_KEY\""""  # noqa: E501
ALERT_URL = """curl -X PATCH http://localhost:8000/v1/auth/me -H "Authorization: Bearer YOUR_API_KEY" -d '{"alert_webhook_url": "https://your-server.example.com/cueapi-alerts"}'"""  # noqa: E501
ALERT_SECRET = """curl http://localhost:8000/v1/auth/alert-webhook-secret -H "Authorization: Bearer YOUR_API_KEY\""""
NEW_ALERT_SECRET = """curl -X POST http://localhost:8000/v1/auth/alert-webhook-secret/regenerate -H "Authorization: Bearer YOUR_API_KEY" -H "X-Confirm-Destructive: true\""""  # noqa: E501

# Somebody may own the hosts of the examples; nobody can own these (RFC 6761).
HOSTS = {"your-agent.com": "your-agent.invalid", "your-handler.com": "your-handler.invalid"}


@frozen
class Shell:
    """Types curl lines at a daemon."""

    client: httpx.AsyncClient
    key: str = "YOUR_API_KEY"

    async def type(self, line: str, **ids: str) -> tuple[int, Any]:
        """Status and JSON of a line, with hosts and ids replaced."""
        for placeholder, value in {**HOSTS, **ids, "YOUR_API_KEY": self.key}.items():
            line = line.replace(placeholder, value)
        response = await self.client.send(as_curl_sends(line, self.client.base_url))
        return response.status_code, response.json()


def as_curl_sends(line: str, base_url: httpx.URL) -> httpx.Request:
    """The request of a curl line: -d means POST, and a form where no header says otherwise."""
    method, url, data = "", "", None
    headers = {"Host": base_url.netloc.decode(), "User-Agent": "curl/8.5.0", "Accept": "*/*"}
    words = iter(shlex.split(line)[1:])
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                data = next(words).encode()
            case _:
                url = word.replace("http://localhost:8000", str(base_url).rstrip("/"))
    if data is not None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} | headers
    return httpx.Request(method or ("GET" if data is None else "POST"), url, headers=headers, content=data)


async def shell_of(daemon: RunningDaemon) -> Shell:
    """A user who has typed the first line."""
    status, answer = await Shell(daemon.client).type(REGISTER)
    assert (status, answer["email"]) == (201, "you@example.com")
    return Shell(daemon.client, answer["api_key"])


async def reported(api: Api, shell: Shell, **fields: Any) -> tuple[str, tuple[int, Any]]:
    """An execution that OUTCOME was typed for, and what that was answered."""
    made = await api.post("/v1/cues", cue(**fields))
    fired = await api.post(f"/v1/cues/{made['id']}/fire")
    return fired["id"], await shell.type(OUTCOME, EXEC_ID=fired["id"])


async def test_a_cue_is_made_paused_and_resumed(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        shell = await shell_of(daemon)
        created, made = await shell.type(CREATE)
        paused = await shell.type(PAUSE, CUE_ID=made["id"])
        resumed = await shell.type(RESUME, CUE_ID=made["id"])

    assert created == 201
    assert made["schedule"]["timezone"] == "America/Los_Angeles"
    assert made["payload"] == {"task": "daily_brief"}
    assert re.search(r"T1[67]:00:00Z$", made["next_run"])
    assert re.search(r"your-agent\.invalid (does|did) not resolve", made["warning"])
    assert (paused[0], paused[1]["status"], paused[1]["next_run"]) == (200, "paused", None)
    assert (resumed[0], resumed[1]["status"], resumed[1]["next_run"]) == (200, "active", made["next_run"])


async def test_a_worker_says_what_it_handles_without_naming_a_content_type(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        shell = await shell_of(daemon)
        status, answer = await shell.type(HEARTBEAT)
        workers = await Api(daemon.client, shell.key).get("/v1/workers")

    assert (status, answer["acknowledged"], answer["worker_id"]) == (200, True, "default")
    assert "executions" not in answer
    assert workers["workers"][0]["handlers"] == ["task-name-1", "task-name-2"]


async def test_a_report_with_evidence_verifies_an_execution(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        shell = await shell_of(daemon)
        api = Api(daemon.client, shell.key)
        created, made = await shell.type(VERIFIED)
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        status, answer = await shell.type(OUTCOME, EXEC_ID=fired["id"])
        shown = await api.get(f"/v1/executions/{fired['id']}")
        listed = await shell.type(EXECUTIONS)

    assert (created, made["verification"]) == (201, {"mode": "require_external_id"})
    assert re.search(r"your-handler\.invalid (does|did) not resolve", made["warning"])
    assert (status, answer["outcome_recorded"], answer["outcome_state"]) == (200, True, "verified_success")
    assert (shown["status"], shown["outcome_success"]) == ("success", True)
    assert shown["evidence"]["external_id"] == "stripe_ch_abc123"
    assert shown["evidence"]["result_url"] == "https://dashboard.stripe.com/payments/ch_abc123"
    assert shown["evidence"]["summary"] == "Charged customer 42"
    assert listed[0] == 200
    assert listed[1]["executions"] == [{name: shown[name] for name in shown if name not in {"payload", "attempt_log"}}]


async def test_a_person_verifies_or_rejects_what_was_reported(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        shell = await shell_of(daemon)
        api = Api(daemon.client, shell.key)
        good, reported_good = await reported(api, shell)
        bad, reported_bad = await reported(api, shell, verification={"mode": "manual"})
        verified = await shell.type(VERIFY, EXEC_ID=good)
        rejected = await shell.type(REJECT, EXEC_ID=bad)
        shown = await api.get(f"/v1/executions/{bad}")

    assert [reported_good[1]["outcome_state"], reported_bad[1]["outcome_state"]] == [
        "reported_success",
        "verification_pending",
    ]
    assert verified == (
        200,
        {"execution_id": good, "outcome_state": "verified_success", "valid": True, "reason": None},
    )
    assert rejected == (
        200,
        {
            "execution_id": bad,
            "outcome_state": "verification_failed",
            "valid": False,
            "reason": "invoice number does not match",
        },
    )
    assert (shown["status"], shown["outcome"]["success"]) == ("success", True)
    assert "invoice number does not match" in shown["evidence"]["summary"]


async def test_alerts_are_listed_sent_and_signed_with_a_secret_that_can_be_replaced(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        shell = await shell_of(daemon)
        listed = await shell.type(ALERTS)
        url_set = await shell.type(ALERT_URL)
        me = await Api(daemon.client, shell.key).get("/v1/auth/me")
        secret = await shell.type(ALERT_SECRET)
        replaced = await shell.type(NEW_ALERT_SECRET)
        shown = await shell.type(ALERT_SECRET)

    assert listed == (200, listed[1] | {"alerts": [], "total": 0, "limit": 20, "offset": 0, "has_more": False})
    assert (url_set[0], set(url_set[1])) == (200, {"updated_at"})
    assert me["alert_webhook_url"] == "https://your-server.example.com/cueapi-alerts"
    assert (secret[0], replaced[0]) == (200, 200)
    assert replaced[1] == {**shown[1], "previous_secret_revoked": True}
    assert secret != shown


async def test_a_handler_that_answers_success_is_done(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([(200, b'{"success": true}')]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            shown = await api.execution(fired["id"])

    finished = ("execution_id", "status", "outcome_success", "attempts", "next_run")
    assert {name: shown[name] for name in finished} == {
        "execution_id": fired["id"],
        "status": "success",
        "outcome_success": True,
        "attempts": 1,
        "next_run": made["next_run"],
    }
    assert datetime.fromisoformat(shown["delivered_at"]) >= datetime.fromisoformat(shown["scheduled_for"])


async def test_a_handler_that_answers_failure_is_called_again_after_1_5_and_15_minutes(
    api: Api, database: Database
) -> None:
    answer = (200, b'{"success": false, "error": "reason"}')
    pauses = []
    with trio.fail_after(30):
        async with open_receiver([answer]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            for _ in range(3):
                waiting = await api.execution(fired["id"], "retrying")
                pauses.append(minutes_until_retry(waiting))
                await make_due(database, fired["id"])
                await receiver.wait_for(waiting["attempts"] + 1)
            shown = await api.execution(fired["id"])

    assert pauses == [1, 5, 15]
    assert waiting["outcome"]["error"] == "reason"
    assert (shown["status"], shown["outcome_success"], shown["attempts"]) == ("failed", False, 4)
    assert shown["next_retry"] is None
    assert len(receiver.requests) == 4


def minutes_until_retry(execution: dict[str, Any]) -> int:
    pause = datetime.fromisoformat(execution["next_retry"]) - datetime.fromisoformat(execution["last_attempt_at"])
    return round(pause.total_seconds() / 60)


async def make_due(database: Database, execution_id: str) -> None:
    """As if the pause were over: nobody waits for 21 minutes."""
    await database.execute("update outbox set ready_at = now() where execution_id = $1", execution_id)
    await database.execute("update executions set ready_at = now() where id = $1", execution_id)
    await notify(database, "another-daemon delivery")

"""The one story that people come for: register, schedule, it fires on time, the outcome is known, the history tells."""

import hashlib
import hmac
from datetime import datetime, timedelta

import trio

from tests.conftest import Api, cue
from tests.moments import moment_of, post_soon
from tests.process import HANG
from tests.receiver import open_receiver


async def test_a_one_time_cue_is_delivered_on_time_signed_and_completed(api: Api) -> None:
    with trio.fail_after(HANG):
        async with open_receiver([(200, b'{"success": true, "result": "done"}', {})]) as receiver:
            payload = {"task": "daily_brief", "ratio": 0.1, "name": "Zoë"}
            answer, body = await post_soon(api, 2, receiver.url("/run"), payload=payload)
            made = answer.json()
            (request,) = await receiver.wait_for(1)
            (execution,) = (await api.get(f"/v1/cues/{made['id']}/executions"))["executions"]
            shown = await api.execution(execution["id"])
            secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
            after = await api.get(f"/v1/cues/{made['id']}")

    signed = request.header("x-cueapi-timestamp").encode() + b"." + request.body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert request.header("x-cueapi-signature") == expected
    assert shown["status"] == "success"
    assert shown["outcome"]["result"] == "done"
    assert shown["attempt_log"][0]["http_status"] == 200
    assert (after["status"], after["next_run"], after["run_count"]) == ("completed", None, 1)
    at = moment_of(body)
    started = datetime.fromisoformat(shown["started_at"])
    assert timedelta(0) <= started - at < timedelta(seconds=15)  # without a wake-up a poll comes after 30


async def test_a_handler_that_reports_failure_is_retried_until_no_attempt_is_left(api: Api) -> None:
    failure = (200, b'{"success": false, "error": "no paper"}', {})
    with trio.fail_after(HANG):
        async with open_receiver([failure]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [0, 0]}))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            shown = await api.execution(fired["id"])
            requests = await receiver.wait_for(3)
            alerts = await api.get("/v1/alerts")

    assert shown["status"] == "failed"
    assert shown["attempts"] == 3
    assert shown["outcome"]["error"] == "no paper"
    assert shown["outcome_state"] == "reported_failure"
    assert [request.header("x-cueapi-attempt") for request in requests] == ["1", "2", "3"]
    assert [alert["alert_type"] for alert in alerts["alerts"]] == ["execution_failed"]

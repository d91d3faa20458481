"""What the daemon says: JSON of one form, and nothing that is not for the log."""

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pytest
import trio

from tests.conftest import SECRET, Api, cue
from tests.moments import post_soon
from tests.process import daemon_process
from tests.receiver import open_receiver

KEYS = {"timestamp", "level", "logger", "message", "event"}
FAILURE = (200, b'{"success": false, "error": "answer-in-confidence"}', {"X-Answer": "answer-header-in-confidence"})
SUCCESS = (200, b'{"success": true, "result": "answer-in-confidence", "metadata": 5}', {})


async def busy(api: Api, receiver_url: str, dead_url: str) -> None:
    """A bit of everything that a daemon does for a user."""
    private = {
        "payload": {"task": "payload-in-confidence", "card": "4111-1111"},
        "retry": {"backoff_minutes": [0]},
        "description": "description-in-confidence",
    }
    headers = {"Authorization": "Bearer header-in-confidence"}
    await post_soon(api, 0.3, f"{receiver_url}/path-in-confidence", **private)
    for place in (receiver_url, receiver_url, dead_url):
        url = f"{place}/path-in-confidence?token=query-in-confidence"
        made = await api.post("/v1/cues", cue(url, callback={"url": url, "headers": headers}, **private))
        fired = await api.post(f"/v1/cues/{made['id']}/fire", {"payload_override": {"b": "override-in-confidence"}})
        await api.execution(fired["id"])
    work = await api.post("/v1/cues", cue(**private))
    fired = await api.post(f"/v1/cues/{work['id']}/fire")
    await api.post("/v1/executions/claim", {"worker_id": "worker-1"})
    report = {"success": True, "result": "report-in-confidence", "result_url": "https://result-in-confidence.example"}
    await api.post(f"/v1/executions/{fired['id']}/outcome", report, X_Worker_Id="worker-1")
    await api.patch("/v1/auth/me", {"alert_webhook_url": f"{receiver_url}/alert-in-confidence"})
    await api.get("/v1/auth/webhook-secret")
    await api.get("/v1/cues?name=query-in-confidence", X_Request_Id="the-request-of-the-test")
    await api.ask("POST", "/v1/cues", {"name": 5, "payload": "payload-in-confidence"})
    await api.ask("POST", "/v1/auth/register", {"email": "person-in-confidence@example.com"})
    await Api(api.client, "cue_sk_key-in-confidence").ask("GET", "/v1/cues")


def told_of_attempts(lines: list[dict[str, Any]]) -> None:
    """Each names its cue, what came of it and why; its message repeats none of it."""
    assert {line["message"] for line in lines} == {"attempt settled"}
    assert all(line["cue_id"].startswith("cue_") and line["cue"].startswith("cue-") for line in lines)
    assert {(line["outcome"], line["status"], line.get("reason")) for line in lines} >= {
        ("success", "success", None),
        ("reported_failure", "retrying", "The handler reported a failure."),
    }
    assert all(line["reason"] for line in lines if line["outcome"] == "failed")


@pytest.mark.parametrize("level", ["debug", "info"])
async def test_each_line_is_one_json_object_of_the_same_form(database_url: str, tmp_path: Path, level: str) -> None:
    with trio.fail_after(60):
        async with open_receiver([SUCCESS, FAILURE]) as receiver:
            async with daemon_process(tmp_path, DATABASE_URL=database_url, LOG_LEVEL=level) as daemon:
                api = await daemon.api.register("person-in-confidence@example.com")
                secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
                await busy(api, receiver.url(""), "http://127.0.0.1:9")
                code = await daemon.stop()

    text = daemon.logged.read_text()
    (begin,) = [line for line in text.splitlines() if not line.startswith("{")]
    lines = [json.loads(line) for line in text.splitlines() if line != begin]
    requests = [line for line in lines if line["event"] == "request_answered"]
    assert code == 0
    assert re.fullmatch(r"Begin here, within 15 minutes: http://localhost:[0-9]+/ui/enter/[A-Za-z0-9_-]{43}", begin)
    assert text.endswith("\n")
    assert all(set(line) >= KEYS for line in lines)
    assert {line["level"] for line in lines} <= {"debug", "info", "warning"}
    assert all(datetime.fromisoformat(line["timestamp"]).utcoffset() is not None for line in lines)
    assert {"daemon_started", "drain_ended", "daemon_stopped"} <= {line["event"] for line in lines}
    told_of_attempts([line for line in lines if line["event"] == "attempt_settled"])
    assert all(line["request_id"] for line in requests)
    assert ("the-request-of-the-test" in {line["request_id"] for line in requests}) == (level == "debug")
    assert {"/v1/cues", "/v1/auth/register"} <= {line["route"] for line in requests}
    for private in ("in-confidence", "4111-1111", api.key, secret, SECRET, database_url, "@example.com"):
        assert private not in text
    assert "/v1/cues?" not in text
    assert daemon.said.read_text() == ""


ODD_LINE = """
import structlog
from cueapi.logs import set_up
set_up("json", "info")
log = structlog.get_logger("cueapi.test")
log.info("odd_line", number=2**70, half="\\ud800", other={1}, deep={"a": {1: 2}}, nan=float("nan"), none=None)
try:
    raise ValueError("why")
except ValueError:
    log.exception("bug_met")
print("went on")
"""


def log_odd_lines(stderr: int | IO[bytes] | None, *, closed: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Another process logs what has no form in JSON."""
    command = [sys.executable, "-c", ODD_LINE]
    return subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command] if closed else command,
        stdout=subprocess.PIPE, stderr=stderr, check=True, timeout=60,
    )  # fmt: skip


def test_what_json_has_no_form_for_is_logged_all_the_same() -> None:
    lines = [json.loads(line) for line in log_odd_lines(subprocess.PIPE).stderr.splitlines()]

    assert [line["message"] for line in lines] == ["odd line", "bug met"]
    assert lines[0]["number"] == 2**70
    assert (lines[0]["other"], lines[0]["deep"]) == ("{1}", {"a": {"1": 2}})
    assert "none" not in lines[0]
    assert "ValueError: why" in lines[1]["exception"]


def test_a_full_disk_for_the_log_ends_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        assert log_odd_lines(full).stdout == b"went on\n"


def test_without_standard_error_there_is_no_log_and_no_end() -> None:
    assert log_odd_lines(None, closed=True).stdout == b"went on\n"

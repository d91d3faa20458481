"""The description of the API: complete, valid, made from the code; and every answer lies within it."""

import sys
from pathlib import Path
from subprocess import STDOUT
from typing import Any

import pytest
import trio
from openapi_spec_validator import validate

from cueapi.api.http.errors import STATUS
from cueapi.settings import Settings
from tests.conftest import RunningDaemon, cue, running
from tests.process import ROOT

CONTRACT = """
POST /v1/auth/register · GET /v1/auth/me · PATCH /v1/auth/me · POST /v1/auth/key/regenerate · GET /v1/auth/key
GET /v1/auth/webhook-secret · POST /v1/auth/webhook-secret/regenerate
GET /v1/auth/alert-webhook-secret · POST /v1/auth/alert-webhook-secret/regenerate
POST /v1/auth/device-code · POST /v1/auth/device-code/submit-email · POST /v1/auth/device-code/poll · GET /auth/device
GET /v1/auth/verify · POST /v1/auth/verify · POST /v1/auth/session · POST /v1/auth/session/refresh
POST /v1/cues · GET /v1/cues · GET /v1/cues/{cue_id} · PATCH /v1/cues/{cue_id} · DELETE /v1/cues/{cue_id}
GET /v1/cues/{cue_id}/executions · GET /v1/cues/{cue_id}/upcoming · POST /v1/cues/{cue_id}/fire
POST /v1/cues/bulk-delete
GET /v1/executions · GET /v1/executions/{execution_id} · GET /v1/executions/claimable · POST /v1/executions/claim
POST /v1/executions/{execution_id}/claim · POST /v1/executions/{execution_id}/heartbeat
POST /v1/executions/{execution_id}/outcome · POST /v1/executions/{execution_id}/verify
POST /v1/executions/{execution_id}/verification-pending · PATCH /v1/executions/{execution_id}/evidence
POST /v1/executions/{execution_id}/replay
POST /v1/worker/heartbeat · GET /v1/workers · DELETE /v1/workers/{worker_id}
GET /v1/alerts · POST /v1/alerts/{alert_id}/acknowledge · GET /v1/usage · POST /v1/echo/{token} · GET /v1/echo/{token}
GET /health · GET /status · GET /metrics · GET /openapi.json · GET /docs
"""

OWN_FORM = {"internal_error", "request_timeout"}
"""Codes that no route refuses with by itself."""


@pytest.fixture
async def document(daemon: RunningDaemon) -> dict[str, Any]:
    return await daemon.api.get("/openapi.json")


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is told of each route, by method and path."""
    return {
        f"{method.upper()} {path}": told
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    }


async def test_the_description_is_valid(document: dict[str, Any]) -> None:
    validate(document)


async def test_every_route_of_the_contract_is_described_with_a_summary_and_an_answer(
    document: dict[str, Any],
) -> None:
    contract = {route.strip() for line in CONTRACT.splitlines() for route in line.split("·") if route.strip()}

    told = operations(document)

    assert contract - set(told) == set()
    assert all(one["summary"] and one["responses"] for one in told.values())


async def test_every_code_that_a_refusal_may_have_is_told_of_somewhere(document: dict[str, Any]) -> None:
    told = {
        code
        for one in operations(document).values()
        for answer in one["responses"].values()
        for code in answer["description"].split(", ")
    }

    assert set(STATUS) - told - OWN_FORM == set()


async def test_limits_keys_and_repeats_are_told_of_where_they_count(document: dict[str, Any]) -> None:
    told = operations(document)

    create, health, register = (told[name] for name in ("POST /v1/cues", "GET /health", "POST /v1/auth/register"))
    assert {"Idempotent-Replayed", "X-RateLimit-Limit", "X-Request-Id"} <= set(create["responses"]["201"]["headers"])
    assert "Retry-After" in create["responses"]["429"]["headers"]
    assert {"401", "403", "409", "422", "503"} <= set(create["responses"])
    assert "429" not in health["responses"]
    assert (health["security"], register["security"], create.get("security")) == ([], [], None)
    assert [one["name"] for one in create["parameters"]] == ["Idempotency-Key"]
    assert set(document["webhooks"]) == {"delivery", "alert", "failure"}


async def test_production_tells_nothing(settings: Settings) -> None:
    async with running(settings.model_copy(update={"env": "production"})) as daemon:
        statuses = [
            (await daemon.client.get(path)).status_code for path in ("/openapi.json", "/docs", "/docs/start.js")
        ]

    assert statuses == [404, 404, 404]


async def test_the_page_of_the_docs_loads_nothing_from_another_host(daemon: RunningDaemon) -> None:
    page = await daemon.client.get("/docs")
    parts = ["/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/start.js"]
    loaded = [await daemon.client.get(part) for part in parts]
    strange = await daemon.client.get("/docs/..%2Fsecret")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert "://" not in page.text
    assert all(f'"{part}"' in page.text for part in parts)
    assert [(one.status_code, len(one.content) > 50) for one in loaded] == [(200, True)] * 3
    assert strange.status_code == 404


async def test_whatever_is_asked_nothing_answers_500_or_outside_of_the_description(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings.model_copy(update={"rate_limit_per_minute": 10**8})) as daemon:
        api = await daemon.api.register()
        made = await api.post("/v1/cues", cue(name="there"))
        await api.post(f"/v1/cues/{made['id']}/fire")
        (tmp_path / "schemathesis.toml").write_text("[parameters]\n" + '"query.wait_seconds" = 0\n')
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{daemon.address}/openapi.json",
            "-H", f"Authorization: Bearer {api.key}", "--max-examples", "12", "--seed", "1", "--request-timeout", "40",
            "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance,response_headers_conformance",
            # It ends the account's own key.
            "--exclude-path", "/v1/auth/key/regenerate",
        ]  # fmt: skip
        with trio.fail_after(240):
            done = await trio.run_process(
                command, capture_stdout=True, stderr=STDOUT, check=False, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
            )

    assert done.returncode == 0, done.stdout.decode()[-8000:]

"""The description of the API: complete, valid, made from the code; and every answer lies within it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import STDOUT
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from cueapi.api.http.errors import STATUS
from cueapi.domain.scope import SCOPES
from cueapi.settings import Settings
from tests.conftest import RunningDaemon, cue, running
from tests.process import HANG, ROOT

CONTRACT = """
POST /v1/auth/register · GET /v1/auth/me · PATCH /v1/auth/me · POST /v1/auth/key/regenerate · GET /v1/auth/key
GET /v1/auth/webhook-secret · POST /v1/auth/webhook-secret/regenerate
GET /v1/auth/alert-webhook-secret · POST /v1/auth/alert-webhook-secret/regenerate
POST /v1/auth/device-code · POST /v1/auth/device-code/submit-email · POST /v1/auth/device-code/poll
POST /v1/auth/verify · POST /v1/auth/session · POST /v1/auth/session/refresh
POST /v1/keys · GET /v1/keys · PATCH /v1/keys/{key_id} · POST /v1/keys/{key_id}/rotate · DELETE /v1/keys/{key_id}
POST /v1/cues · GET /v1/cues · GET /v1/cues/{cue_id} · PATCH /v1/cues/{cue_id} · DELETE /v1/cues/{cue_id}
GET /v1/cues/{cue_id}/executions · GET /v1/cues/{cue_id}/upcoming · POST /v1/cues/{cue_id}/fire
POST /v1/cues/bulk-delete · POST /v1/schedule/preview · GET /v1/events
GET /v1/executions · GET /v1/executions/{execution_id} · GET /v1/executions/claimable · POST /v1/executions/claim
POST /v1/executions/{execution_id}/claim · POST /v1/executions/{execution_id}/heartbeat
POST /v1/executions/{execution_id}/outcome · POST /v1/executions/{execution_id}/verify
POST /v1/executions/{execution_id}/verification-pending · PATCH /v1/executions/{execution_id}/evidence
POST /v1/executions/{execution_id}/replay · GET /v1/dead · GET /v1/dead/summary
POST /v1/operations · GET /v1/operations · GET /v1/operations/{operation_id}
POST /v1/operations/{operation_id}/cancel
POST /v1/worker/heartbeat · GET /v1/workers · DELETE /v1/workers/{worker_id}
GET /v1/targets · POST /v1/targets/{host}/probe
GET /v1/alerts · POST /v1/alerts/acknowledge · POST /v1/alerts/{alert_id}/acknowledge · GET /v1/usage · GET /v1/audit
POST /v1/echo/{token} · GET /v1/echo/{token}
POST /v1/report/{token} · GET /v1/report/{token} · POST /v1/report/{token}/success · POST /v1/report/{token}/fail
POST /v1/report/{token}/{exit_status} · POST /v1/report/{token}/heartbeat
GET /v1/hold · PUT /v1/hold · DELETE /v1/hold
GET /v1/budgets · GET /v1/budgets/{scope} · PUT /v1/budgets/{scope} · DELETE /v1/budgets/{scope}
GET /v1/incidents · GET /v1/incidents/{incident_id} · POST /v1/incidents/{incident_id}/acknowledge
POST /v1/incidents/{incident_id}/snooze · POST /v1/incidents/{incident_id}/resolve
GET /v1/channels · POST /v1/channels · GET /v1/channels/{channel_id} · PATCH /v1/channels/{channel_id}
DELETE /v1/channels/{channel_id} · POST /v1/channels/{channel_id}/test
GET /v1/mutes · PUT /v1/mutes · DELETE /v1/mutes
GET /health · GET /status · GET /metrics · GET /v1/info
"""

OPEN = """
POST /v1/auth/register · POST /v1/auth/session · POST /v1/auth/verify
POST /v1/auth/device-code · POST /v1/auth/device-code/submit-email · POST /v1/auth/device-code/poll
POST /v1/echo/{token} · GET /v1/info ·
POST /v1/report/{token} · GET /v1/report/{token}
POST /v1/report/{token}/success · POST /v1/report/{token}/fail
POST /v1/report/{token}/{exit_status} · POST /v1/report/{token}/heartbeat
GET /health · GET /status · GET /metrics
"""
"""What asks for no key."""

BY_KIND = [{"key": ["write"]}, {"key": ["fire"]}]
"""Which of the two scopes an operation needs depends on its kind."""

FOR_BROWSERS = ("/auth/device", "/static/style.css", "/docs", "/docs/{name}", "/openapi.json")
"""Pages and files: no program calls them."""

VERBS = {
    "Acknowledge", "Add", "Begin", "Cancel", "Change", "Claim", "Confirm", "Create", "Delete", "Exchange", "Extend",
    "Fire", "Follow", "Forget", "Hold", "List", "Mark", "Mute", "Poll", "Probe", "Receive", "Refresh", "Register",
    "Release", "Replace", "Replay", "Report", "Resolve", "Send", "Set", "Show", "Snooze", "Store", "Verify",
}  # fmt: skip
"""What the summary of an operation begins with."""

OWN_FORM = {"internal_error", "request_timeout"}
"""Codes that no route refuses with by itself."""

NO_WAITING = """
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and case.body.get("wait_seconds") in range(1, 31):
        case.body["wait_seconds"] = 0
"""
"""A worker that is told of no work would hold its call for half a minute."""


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

    assert set(told) == contract
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
    assert (health["security"], register["security"], create["security"]) == ([], [], [{"key": ["write"]}])
    assert [one["name"] for one in create["parameters"]] == ["Idempotency-Key", "X-Reason", "X-CueAPI-Verify-Echo"]
    assert set(document["webhooks"]) == {"delivery", "alert", "incident", "failure"}


async def test_each_route_that_asks_for_a_key_states_the_one_scope_that_it_needs(document: dict[str, Any]) -> None:
    without = {
        name: one["security"]
        for name, one in operations(document).items()
        if one["security"] not in [[], *([{"key": [scope]}] for scope in SCOPES), BY_KIND]
    }
    open_to_all = {name for name, one in operations(document).items() if not one["security"]}

    assert without == {}
    assert open_to_all == {route.strip() for line in OPEN.splitlines() for route in line.split("·") if route.strip()}


async def test_pages_and_files_for_browsers_are_left_out(document: dict[str, Any]) -> None:
    assert [path for path in FOR_BROWSERS if path in document["paths"]] == []
    assert "get" not in document["paths"]["/v1/auth/verify"]


async def test_every_summary_begins_with_a_verb_and_is_one_sentence(document: dict[str, Any]) -> None:
    summaries = [one["summary"] for one in operations(document).values()]
    summaries += [one["post"]["summary"] for one in document["webhooks"].values()]

    assert {one.split()[0] for one in summaries} <= VERBS
    assert [one for one in summaries if not re.fullmatch(r"[^.]+\.", one)] == []


async def test_the_groups_stand_in_the_order_in_which_they_are_needed(document: dict[str, Any]) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    used = [one["tags"] for one in operations(document).values()]

    assert tags == [
        "cues", "executions", "operations", "workers", "outcomes", "incidents", "targets", "alerts", "account",
        "echo", "health",
    ]  # fmt: skip
    assert all(tag["description"] for tag in document["tags"])
    assert list(dict.fromkeys(tag for of_one in used for tag in of_one)) == tags


async def test_the_server_is_the_one_that_is_reached_from_outside(settings: Settings) -> None:
    async with running(settings.model_copy(update={"base_url": "https://cueapi.example.com/sub"})) as daemon:
        document = await daemon.api.get("/openapi.json")
        page = await daemon.client.get("/docs")

    assert [server["url"] for server in document["servers"]] == ["https://cueapi.example.com/sub"]
    assert 'data-url="/sub/openapi.json"' in page.text


def undescribed(part: Any, models: dict[str, Any], where: str = "") -> Iterator[str]:
    """The fields below a part of the document that have no description, be it that of the model that they refer to."""
    if isinstance(part, dict):
        for name, field in part.get("properties", {}).items():
            model = models.get(field.get("$ref", "").rpartition("/")[2], {})
            if not (field.get("description") or model.get("description")):
                yield f"{where}.{name}"
        for name, below in part.items():
            yield from undescribed(below, models, f"{where}.{name}")
    elif isinstance(part, list):
        for below in part:
            yield from undescribed(below, models, where)


async def test_every_field_parameter_and_header_is_described(document: dict[str, Any]) -> None:
    parameters = [(name, one) for name, told in operations(document).items() for one in told["parameters"]]

    models = document["components"]["schemas"]

    assert [*undescribed([models, document["paths"]], models)] == []
    assert [name for name, model in models.items() if not model.get("description")] == []
    assert [(name, one["name"]) for name, one in parameters if not one["description"]] == []
    assert [name for name, one in document["components"]["headers"].items() if not one["description"]] == []


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON of each request body and each 2xx answer, and of what webhooks are sent."""
    described = operations(document) | {name: one["post"] for name, one in document["webhooks"].items()}
    for name, one in described.items():
        parts = [one.get("requestBody"), *(one["responses"][status] for status in one["responses"] if status[0] == "2")]
        for part in parts:
            if content := (part or {}).get("content", {}).get("application/json"):
                yield name, content


async def test_every_body_and_every_answer_has_an_example_that_its_schema_allows(document: dict[str, Any]) -> None:
    found = [*contents(document)]

    wrong = {
        name: [error.message for error in errors]
        for name, content in found
        if (errors := [*validator(document, content["schema"]).iter_errors(content["example"])])
    }
    assert wrong == {}
    assert len(found) > 50


async def test_an_example_has_no_field_that_its_schema_does_not_know(document: dict[str, Any]) -> None:
    strange = {
        name: set(content["example"]) - set(schema["properties"])
        for name, content in contents(document)
        if "properties" in (schema := document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]])
    }

    assert {name for name, names in strange.items() if names} == set()


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Checks examples by a schema of the document, formats included."""
    whole = {**schema, "components": document["components"]}
    return Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)


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


WRITING = "^/v1/(cues|operations|channels)"
"""Where about half of all requests go."""


@pytest.mark.slow
@pytest.mark.parametrize("half", ["--include-path-regex", "--exclude-path-regex"])
async def test_whatever_is_asked_nothing_answers_500_or_outside_of_the_description(
    settings: Settings, tmp_path: Path, half: str
) -> None:
    async with running(settings.model_copy(update={"rate_limit_per_minute": 10**8})) as daemon:
        api = await daemon.api.register()
        made = await api.post("/v1/cues", cue(name="there"))
        await api.post(f"/v1/cues/{made['id']}/fire")
        (tmp_path / "schemathesis.toml").write_text("[parameters]\n" + '"query.wait_seconds" = 0\n')
        (tmp_path / "hooks.py").write_text(NO_WAITING)
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{daemon.address}/openapi.json",
            "-H", f"Authorization: Bearer {api.key}", "--max-examples", "4", "--seed", "1", "--request-timeout", "40",
            "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance,response_headers_conformance", half, WRITING,
            # It ends the account's own key.
            "--exclude-path", "/v1/auth/key/regenerate",
            # It does not end.
            "--exclude-path", "/v1/events",
        ]  # fmt: skip
        with trio.fail_after(HANG):
            done = await trio.run_process(
                command,
                capture_stdout=True,
                stderr=STDOUT,
                check=False,
                cwd=tmp_path,
                env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "SCHEMATHESIS_HOOKS": "hooks"},
            )

    assert done.returncode == 0, done.stdout.decode()[-8000:]

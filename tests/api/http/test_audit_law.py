"""Whatever changes something says who did it: each route that changes is called, and its row is looked for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trio

from cueapi.settings import Settings
from tests.api.work import claimed, report
from tests.conftest import Api, cue, running

SURE = {"X_Confirm_Destructive": "true"}

EXCEPTIONS = {
    # Nobody's account yet, or one's own sign-in.
    "accounts.register", "devices.begin", "devices.submit", "devices.poll", "magic_links.approve", "sessions.begin",
    "sessions.refresh",
    # The life of executions, and of the workers that work on them.
    "cues.fire", "executions.claim", "executions.claim_one", "executions.heartbeat", "executions.replay",
    "outcomes.report", "outcomes.evidence", "workers.heartbeat", "workers.forget",
    # What was read, not what was changed.
    "alerts.acknowledge", "schedules.preview", "echo.store",
}  # fmt: skip
"""Operations that change nothing which an account could be asked about."""

Change = Callable[[Api], Awaitable[tuple[str, str, Any]]]
"""Prepares one change: the method, the path and the body of the request that makes it."""


async def made(api: Api) -> str:
    return str((await api.post("/v1/cues", cue()))["id"])


async def reported(api: Api) -> str:
    execution = await claimed(api)
    await report(api, execution, success=True)
    return execution


async def create(_: Api) -> tuple[str, str, Any]:
    return "POST", "/v1/cues", cue()


async def change(api: Api) -> tuple[str, str, Any]:
    return "PATCH", f"/v1/cues/{await made(api)}", {"description": "another"}


async def delete(api: Api) -> tuple[str, str, Any]:
    return "DELETE", f"/v1/cues/{await made(api)}", None


async def bulk_delete(api: Api) -> tuple[str, str, Any]:
    return "POST", "/v1/cues/bulk-delete", {"ids": [await made(api)]}


async def verify(api: Api) -> tuple[str, str, Any]:
    return "POST", f"/v1/executions/{await reported(api)}/verify", {"valid": True}


async def verification_pending(api: Api) -> tuple[str, str, Any]:
    return "POST", f"/v1/executions/{await reported(api)}/verification-pending", None


async def change_account(_: Api) -> tuple[str, str, Any]:
    return "PATCH", "/v1/auth/me", {"email": "another@example.com"}


def replace(what: str) -> Change:
    async def call(_: Api) -> tuple[str, str, Any]:
        return "POST", f"/v1/auth/{what}/regenerate", None

    return call


CHANGES: dict[str, tuple[str, Change]] = {
    "cues.create": ("cue.created", create),
    "cues.change": ("cue.updated", change),
    "cues.delete": ("cue.deleted", delete),
    "cues.bulk_delete": ("cue.deleted", bulk_delete),
    "outcomes.verify": ("execution.verified", verify),
    "outcomes.verification_pending": ("execution.verified", verification_pending),
    "accounts.change": ("account.changed", change_account),
    "accounts.rotate_key": ("key.replaced", replace("key")),
    "webhook_secrets.rotate_webhook_secret": ("secret.replaced", replace("webhook-secret")),
    "webhook_secrets.rotate_alert_secret": ("secret.replaced", replace("alert-webhook-secret")),
}
"""Of each operation that changes something the action of its row, and how one makes such a change."""


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings) as daemon:
        yield await daemon.api.register()


async def changing(api: Api) -> dict[str, dict[str, Any]]:
    """The operations of the description that may change something, by their ids."""
    document = await api.get("/openapi.json")
    return {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for method, operation in methods.items()
        if method != "get"
    }


async def test_each_operation_that_changes_something_is_audited_or_excepted_by_name(api: Api) -> None:
    operations = set(await changing(api))

    assert operations == set(CHANGES) | EXCEPTIONS
    assert set(CHANGES) & EXCEPTIONS == set()


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_writes_who_made_it_and_why_from_the_header_or_the_body(api: Api, name: str) -> None:
    action, prepare = CHANGES[name]
    operation = (await changing(api))[name]
    rows = []
    with trio.fail_after(30):
        database_key = api.key
        for number, reason in enumerate(("by the header", "by the body")):
            method, path, body = await prepare(api)
            if name == "accounts.change":
                body = {"email": f"another{number}@example.com"}
            sent: dict[str, Any] = {"X_Request_Id": f"law-{number}", **SURE}
            if number:
                body = {**(body or {}), "reason": reason}
            sent["X_Reason"] = "by the header"
            response = await api.ask(method, path, body, **sent)
            assert response.status_code < 300, response.text
            if name == "accounts.rotate_key":
                api = Api(api.client, response.json()["api_key"])
            found = (await api.get(f"/v1/audit?action={action}&limit=1"))["audit"]
            rows += [(one["action"], one["reason"], one["request_id"], one["actor"]["kind"]) for one in found]

    assert rows == [(action, "by the header", "law-0", "key"), (action, "by the body", "law-1", "key")]
    assert "X-Reason" in {one["name"] for one in operation["parameters"]}
    assert database_key.startswith("cue_sk_")


@pytest.mark.parametrize("name", CHANGES)
async def test_a_reason_of_more_than_500_characters_is_refused_and_nothing_is_done(api: Api, name: str) -> None:
    _, prepare = CHANGES[name]
    with trio.fail_after(30):
        method, path, body = await prepare(api)
        before = (await api.get("/v1/audit"))["audit"]
        by_header = await api.refused(method, path, body, X_Reason="x" * 501, **SURE)
        by_body = ()
        if name != "outcomes.verify":  # its reason is cut, as it always was
            by_body = await api.refused(method, path, {**(body or {}), "reason": "x" * 501}, **SURE)
        after = (await api.get("/v1/audit"))["audit"]

    assert by_header[:2] == (422, "validation_error")
    assert "header.X-Reason" in by_header[2]
    assert by_body[:2] in {(), (422, "validation_error")}
    assert after == before

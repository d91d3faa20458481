"""Whatever changes something says who did it: each route that changes is called, and its row is looked for."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import trio

from tests.api.work import claimed, report
from tests.conftest import Api, cue
from tests.process import HANG

SURE = {"X_Confirm_Destructive": "true"}

EXCEPTIONS = {
    # An account that does not exist yet, or a person's own sign-in.
    "accounts.register", "devices.begin", "devices.submit", "devices.poll", "magic_links.approve", "sessions.begin",
    "sessions.refresh",
    # The life of executions, and of the workers that work on them.
    "cues.fire", "executions.claim", "executions.claim_one", "executions.heartbeat", "executions.replay",
    "outcomes.report", "outcomes.evidence", "workers.heartbeat", "workers.forget", "reports.report",
    "reports.succeed", "reports.fail", "reports.exit", "reports.heartbeat",
    # What was read, not what was changed.
    "alerts.acknowledge", "alerts.acknowledge_all", "schedules.preview", "echo.store", "channels.test",
}  # fmt: skip
"""Operations that change nothing which an account could be asked about."""

_numbers = count()

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
    return "PATCH", "/v1/auth/me", {"email": f"another{next(_numbers)}@example.com"}


def replace(what: str) -> Change:
    async def call(_: Api) -> tuple[str, str, Any]:
        return "POST", f"/v1/auth/{what}/regenerate", None

    return call


async def hold(_: Api) -> tuple[str, str, Any]:
    return "PUT", "/v1/hold", None


async def release(api: Api) -> tuple[str, str, Any]:
    await api.ask("PUT", "/v1/hold")
    return "DELETE", "/v1/hold", None


async def create_key(_: Api) -> tuple[str, str, Any]:
    return "POST", "/v1/keys", {"name": "ci", "scopes": ["read"]}


async def path_of_key(api: Api) -> str:
    return f"/v1/keys/{(await api.post('/v1/keys', {'name': 'ci', 'scopes': ['read']}))['id']}"


async def rename_key(api: Api) -> tuple[str, str, Any]:
    return "PATCH", await path_of_key(api), {"name": "deploy"}


async def rotate_key(api: Api) -> tuple[str, str, Any]:
    return "POST", f"{await path_of_key(api)}/rotate", None


async def end_key(api: Api) -> tuple[str, str, Any]:
    return "DELETE", await path_of_key(api), None


async def set_budget(_: Api) -> tuple[str, str, Any]:
    return "PUT", "/v1/budgets/account", {"per": "day", "max_runs": 5}


async def delete_budget(api: Api) -> tuple[str, str, Any]:
    await api.ask("PUT", "/v1/budgets/account", {"per": "day", "max_runs": 5})
    return "DELETE", "/v1/budgets/account", None


def look_after(verb: str, body: dict[str, Any]) -> Change:
    async def call(api: Api) -> tuple[str, str, Any]:
        await report(api, await claimed(api, retry={"max_attempts": 1}), success=False)
        (incident,) = (await api.get("/v1/incidents?limit=1"))["incidents"]
        return "POST", f"/v1/incidents/{incident['id']}/{verb}", body

    return call


async def mute(_: Api) -> tuple[str, str, Any]:
    return "PUT", "/v1/mutes", {"account": True}


async def unmute(api: Api) -> tuple[str, str, Any]:
    assert (await api.ask("PUT", "/v1/mutes", {"account": True})).status_code == 200
    return "DELETE", "/v1/mutes", {"account": True}


NEW_CHANNEL = {"kind": "slack", "name": "ops", "url": "http://127.0.0.1:9/"}


async def create_channel(_: Api) -> tuple[str, str, Any]:
    return "POST", "/v1/channels", NEW_CHANNEL


def on_channel(method: str, body: dict[str, Any] | None) -> Change:
    async def call(api: Api) -> tuple[str, str, Any]:
        return method, f"/v1/channels/{(await api.post('/v1/channels', NEW_CHANNEL))['id']}", body

    return call


async def probe(api: Api) -> tuple[str, str, Any]:
    # Nothing listens there: after ten attempts what is left waits.
    impatient = cue("http://127.0.0.1:9/", retry={"max_attempts": 11, "backoff_minutes": [0]})
    refused = await api.post("/v1/cues", impatient)
    for _ in range(3):
        await api.post(f"/v1/cues/{refused['id']}/fire")
    while not sum(one["waiting"] for one in (await api.get("/v1/targets?state=open"))["targets"]):
        await trio.sleep(0.02)
    return "POST", "/v1/targets/127.0.0.1:9/probe", None


async def begin_operation(api: Api) -> tuple[str, str, Any]:
    # One a second: it does not end meanwhile.
    return "POST", "/v1/operations", {"kind": "pause", "ids": [str(n) for n in range(500)], "rate_per_second": 1}


async def cancel_operation(api: Api) -> tuple[str, str, Any]:
    begun = (await api.ask(*await begin_operation(api))).json()
    return "POST", f"/v1/operations/{begun['id']}/cancel", None


CHANGES: dict[str, tuple[str, Change]] = {
    "operations.begin": ("operation.started", begin_operation),
    "operations.cancel": ("operation.cancelled", cancel_operation),
    "cues.create": ("cue.created", create),
    "cues.change": ("cue.updated", change),
    "cues.delete": ("cue.deleted", delete),
    "cues.bulk_delete": ("cue.deleted", bulk_delete),
    "budgets.set": ("budget.set", set_budget),
    "budgets.delete": ("budget.deleted", delete_budget),
    "holds.set": ("hold.set", hold),
    "holds.release": ("hold.released", release),
    "incidents.acknowledge": ("incident.acknowledged", look_after("acknowledge", {})),
    "incidents.snooze": ("incident.snoozed", look_after("snooze", {"minutes": 5})),
    "incidents.resolve": ("incident.resolved", look_after("resolve", {})),
    "mutes.put": ("mute.set", mute),
    "mutes.delete": ("mute.deleted", unmute),
    "channels.create": ("channel.created", create_channel),
    "channels.change": ("channel.updated", on_channel("PATCH", {"name": "another"})),
    "channels.delete": ("channel.deleted", on_channel("DELETE", None)),
    "targets.probe": ("target.probed", probe),
    "outcomes.verify": ("execution.verified", verify),
    "outcomes.verification_pending": ("execution.verified", verification_pending),
    "accounts.change": ("account.changed", change_account),
    "accounts.rotate_key": ("key.replaced", replace("key")),
    "keys.create": ("key.created", create_key),
    "keys.rename": ("key.renamed", rename_key),
    "keys.rotate": ("key.rotated", rotate_key),
    "keys.end": ("key.deleted", end_key),
    "webhook_secrets.rotate_webhook_secret": ("secret.replaced", replace("webhook-secret")),
    "webhook_secrets.rotate_alert_secret": ("secret.replaced", replace("alert-webhook-secret")),
}
"""Of each operation that changes something the action of its row, and how one makes such a change."""


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
    operations = await changing(api)

    assert set(operations) == set(CHANGES) | EXCEPTIONS
    assert set(CHANGES) & EXCEPTIONS == set()
    assert [name for name in CHANGES if "X-Reason" not in {one["name"] for one in operations[name]["parameters"]}] == []


async def told_of(api: Api, name: str, reason: dict[str, str]) -> tuple[object, ...]:
    """What the audit tells of a change that a new account makes."""
    action, prepare = CHANGES[name]
    user = await api.register(f"{name}{next(_numbers)}@example.com")
    method, path, body = await prepare(user)
    sent = {"X_Reason": "by the header", "X_Request_Id": "law-1", **SURE}
    response = await user.ask(method, path, {**(body or {}), **reason}, **sent)
    assert response.status_code < 300, response.text
    if name == "accounts.rotate_key":
        user = Api(user.client, response.json()["api_key"])
    rows = (await user.get(f"/v1/audit?action={action}&limit=1"))["audit"]
    return tuple(row[part] for row in rows for part in ("reason", "request_id"))


async def test_each_change_is_told_with_its_request_and_why_by_the_header_or_the_body(api: Api) -> None:
    with trio.fail_after(HANG):
        by_header = {name: await told_of(api, name, {}) for name in CHANGES}
        by_body = {name: await told_of(api, name, {"reason": "by the body"}) for name in CHANGES}

    assert by_header == dict.fromkeys(CHANGES, ("by the header", "law-1"))
    assert by_body == dict.fromkeys(CHANGES, ("by the body", "law-1"))


async def refusals_of(api: Api, name: str) -> set[tuple[int, str]]:
    """How reasons that are too long are refused in a change that a new account makes; nothing is told of it."""
    user = await api.register(f"{name}{next(_numbers)}@example.com")
    method, path, body = await CHANGES[name][1](user)
    before = await user.get("/v1/audit")
    answers = [await user.refused(method, path, body, X_Reason="x" * 501, **SURE)]
    if name != "outcomes.verify":  # its reason is cut, as it always was
        answers.append(await user.refused(method, path, {**(body or {}), "reason": "x" * 501}, **SURE))
    assert await user.get("/v1/audit") == before, name
    return {one[:2] for one in answers}


async def test_a_reason_of_more_than_500_characters_is_refused_and_nothing_is_done(api: Api) -> None:
    with trio.fail_after(HANG):
        refused = {name: await refusals_of(api, name) for name in CHANGES}

    assert refused == {name: {(422, "validation_error")} for name in CHANGES}

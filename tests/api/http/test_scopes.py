"""Which key may ask which route: the matrix that the description of the API says."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from attrs import evolve, frozen

from cueapi.domain.scope import SCOPES
from cueapi.settings import Settings
from tests.api.keys import with_key
from tests.api.work import claimed, fired
from tests.conftest import Api, RunningDaemon, cue, running
from tests.process import HANG

NAMED = {
    "cue_id": "cue_000000000000",
    "execution_id": "00000000-0000-7000-8000-000000000000",
    "alert_id": "00000000-0000-7000-8000-000000000000",
    "key_id": "key_000000000000",
    "token": "x" * 20,
}
"""Parts of paths: well-formed, and of nothing; of any other part, `x`."""

OWN = {("GET", "/v1/auth/key"), ("POST", "/v1/auth/key/regenerate"), ("POST", "/v1/auth/session/refresh")}
"""What only the account's own key and sessions may ask."""


@frozen
class Route:
    """A route of the description, and the scopes of which it needs one (none: it asks for no key)."""

    method: str
    path: str
    scopes: tuple[str, ...]

    def to(self, **named: str) -> str:
        """Its path, to what is *named*."""
        path = self.path
        while "{" in path:
            before, _, rest = path.partition("{")
            name, _, after = rest.partition("}")
            path = before + {**NAMED, **named}.get(name, "x") + after
        return path


def routes(document: dict[str, Any]) -> Iterator[Route]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if path.startswith("/v1/"):
                yield Route(method.upper(), path, tuple(one["key"][0] for one in told["security"]))


@pytest.fixture
async def daemon(settings: Settings) -> AsyncIterator[RunningDaemon]:
    async with running(settings.model_copy(update={"rate_limit_per_minute": 10**8})) as daemon:
        yield daemon


async def answer(api: Api, route: Route, **named: str) -> tuple[int, dict[str, Any], str]:
    """Status, error and text. A stream of events is not read."""
    headers = {"Authorization": f"Bearer {api.key}", "X-Confirm-Destructive": "true"}
    body = None if route.method == "GET" else {}
    async with api.client.stream(route.method, route.to(**named), headers=headers, json=body) as response:
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            return response.status_code, {}, ""
        text = (await response.aread()).decode()
        error = response.json().get("error", {}) if response.status_code >= 400 else {}
        return response.status_code, error, text


async def test_a_key_reaches_the_routes_of_its_scope_and_no_others(daemon: RunningDaemon, api: Api) -> None:
    every = [*routes(await api.get("/openapi.json"))]
    wrong = []
    with trio.fail_after(HANG):
        for scope in SCOPES:
            one = await with_key(api, scope)
            for route in every:
                status, error, _ = await answer(one, route)
                closed = error.get("code") == "insufficient_scope"
                wanted = (bool(route.scopes) and scope not in route.scopes) or (route.method, route.path) in OWN
                if closed is not wanted or (closed and (status != 403 or error["granted"] != [scope])):
                    wrong.append((scope, route, status, error.get("code")))

    assert wrong == []
    assert len(every) > 45


async def test_for_a_key_of_groups_nothing_of_other_groups_exists_on_any_route(api: Api) -> None:
    every = [*routes(await api.get("/openapi.json"))]
    execution = await claimed(api, name="hidden-cue", group="b")
    await api.post(f"/v1/executions/{execution}/outcome", {"success": False, "retry": False, "error": "hidden-error"})
    waiting = await fired(api, name="hidden-waiting", group="b", payload={"task": "hidden-task"})
    cue_id = (await api.get(f"/v1/executions/{execution}"))["cue_id"]
    alert = (await api.get("/v1/alerts"))["alerts"][0]["id"]
    named = {"cue_id": cue_id, "execution_id": execution, "alert_id": alert}
    await api.post("/v1/worker/heartbeat", {"worker_id": "w1", "handlers": ["hidden-cue"]})
    ci = await with_key(api, *SCOPES, groups=["a"])

    told, reached = [], []
    with trio.fail_after(HANG):
        for route in every:
            if not route.scopes:
                continue
            status, error, text = await answer(ci, route, **named)
            if "hidden" in text or any(one in text for one in (cue_id, execution, waiting, alert)):
                told.append((route, text[:200]))
            if any(f"{{{name}}}" in route.path for name in named) and error.get("code") not in {
                "cue_not_found", "execution_not_found", "alert_not_found", "insufficient_scope",
            }:  # fmt: skip
                reached.append((route, status, error.get("code")))

    assert (told, reached) == ([], [])
    assert (await api.get(f"/v1/executions/{waiting}"))["status"] == "pending"
    assert (await api.get(f"/v1/cues/{cue_id}"))["status"] == "active"


async def test_a_key_of_groups_sees_and_writes_the_cues_of_its_groups(api: Api) -> None:
    ci = await with_key(api, *SCOPES, groups=["a", "c"])
    mine, theirs = await ci.post("/v1/cues", cue(group="a")), await api.post("/v1/cues", cue(group="b"))
    none = await api.post("/v1/cues", cue())

    changed = await ci.patch(f"/v1/cues/{mine['id']}", {"group": "c"})
    execution = (await ci.post(f"/v1/cues/{mine['id']}/fire"))["id"]
    listed = await ci.get("/v1/cues")
    refused = [
        await ci.ask("POST", "/v1/cues", cue(group="b")),
        await ci.ask("POST", "/v1/cues", cue()),
        await ci.ask("PATCH", f"/v1/cues/{mine['id']}", {"group": "b"}),
        await ci.ask("PATCH", f"/v1/cues/{mine['id']}", {"group": None}),
    ]
    ids = [mine["id"], theirs["id"], none["id"]]
    deleted = await ci.ask("POST", "/v1/cues/bulk-delete", {"ids": ids}, X_Confirm_Destructive="true")

    assert changed["group"] == "c"
    assert (await api.get(f"/v1/executions?cue_id={mine['id']}"))["total"] == 0
    assert execution
    assert [one["id"] for one in listed["cues"]] == [mine["id"]]
    assert listed["total"] == 1
    assert [(one.status_code, one.json()["error"]["code"]) for one in refused] == [(403, "insufficient_scope")] * 4
    assert deleted.json()["deleted"] == [mine["id"]]
    assert (await api.get("/v1/cues"))["total"] == 2


async def test_lists_are_filtered_before_they_are_cut(api: Api) -> None:
    ci = await with_key(api, *SCOPES, groups=["a"])
    mine = [await fired(api, group="a") for _ in range(3)]
    for _ in range(5):
        await fired(api, group="b")

    first = await ci.get("/v1/executions?limit=2")
    second = await ci.get(f"/v1/executions?limit=2&cursor={first['next_cursor']}")
    several = await ci.get("/v1/executions?status__in=pending,success&limit=2")
    narrow = [await ci.get(f"/v1/{what}?group=b") for what in ("cues", "executions")]
    claimable = await ci.get("/v1/executions/claimable")

    assert [one["id"] for one in first["executions"] + second["executions"]] == mine[::-1]
    assert (first["total"], several["total"]) == (3, 3)
    assert [one["total"] for one in narrow] == [0, 0]
    assert [one["execution_id"] for one in claimable["executions"]] == mine


async def test_a_worker_of_groups_claims_holds_and_drops_only_what_is_of_its_groups(api: Api) -> None:
    worker = await with_key(api, "work", groups=["a"])
    theirs, mine = await fired(api, group="b"), await fired(api, group="a")
    held = await claimed(api, "w", group="b")

    by_heartbeat = await worker.post("/v1/worker/heartbeat", {"worker_id": "w", "claim": 5, "running": []})
    by_claim = await worker.refused("POST", "/v1/executions/claim", {})
    one = await worker.refused("POST", f"/v1/executions/{theirs}/claim", {})
    report = await worker.refused("POST", f"/v1/executions/{held}/outcome", {"success": True})
    done = await worker.post(f"/v1/executions/{mine}/outcome", {"success": True})

    assert [each["execution_id"] for each in by_heartbeat["executions"]] == [mine]
    assert by_claim[:2] == (409, "claim_failed")
    assert (one[:2], report[:2]) == ((404, "execution_not_found"),) * 2
    assert done["outcome_recorded"]
    assert (await api.get(f"/v1/executions/{held}"))["status"] == "delivering"


async def test_a_waiting_worker_of_groups_is_woken_by_work_of_its_groups(api: Api) -> None:
    workers = {group: await with_key(api, "work", groups=[group]) for group in ("a", "b")}
    cues = {group: await api.post("/v1/cues", cue(group=group)) for group in workers}
    found = {}

    async def wait(group: str) -> None:
        answered = await workers[group].get("/v1/executions/claimable?wait_seconds=30")
        found[group] = [one["cue_id"] for one in answered["executions"]]

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for group in workers:
                nursery.start_soon(wait, group)
            await trio.sleep(0.2)
            for made in cues.values():
                await api.post(f"/v1/cues/{made['id']}/fire")

    assert found == {group: [made["id"]] for group, made in cues.items()}


async def test_what_is_of_the_whole_account_is_closed_to_a_key_of_groups(api: Api) -> None:
    ci = await with_key(api, *SCOPES, groups=["a"])

    answers = [
        await ci.ask("GET", "/v1/usage"),
        await ci.ask("GET", "/v1/auth/webhook-secret"),
        await ci.ask("PATCH", "/v1/auth/me", {"email": "other@example.com"}),
        await ci.ask("DELETE", "/v1/workers/w"),
    ]

    assert [one.json()["error"]["required"] for one in answers] == [["all groups"]] * 4
    assert (await evolve(ci).get("/v1/auth/me"))["key"]["groups"] == ["a"]

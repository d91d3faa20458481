"""What a call does not know is refused with the nearest known name, on every route, and has no effect."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from cueapi.api.http.unknown import unknown_name
from tests.api.work import claimed, report
from tests.conftest import Api, RunningDaemon, cue

SURE = {"X_Confirm_Destructive": "true"}
TAKE_ANY_QUERY = [("POST", "/v1/echo/{token}"), ("POST", "/v1/auth/verify")]
"""A webhook target, and what the button of a page sends."""

TAKES_ANY_BODY = ("POST", "/v1/echo/{token}")
REPORT_URL = "/v1/report/{token}"
"""Whose token is looked at first: a broken one is all that such a call is told of."""

UNKNOWN = "00000000-0000-7000-8000-000000000000"
IDS = {
    "cue_id": "cue_000000000000",
    "exit_status": "1",
    "host": "a.example:443",
    "key_id": "key_000000000000",
    "scope": "account",
    "token": "a-token-that-is-long-enough",
    "worker_id": "w1",
}
"""What stands in paths; other ids are UNKNOWN."""


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Method and path of each call of the contract."""
    for path, methods in document["paths"].items():
        if path.startswith("/v1/"):
            yield from ((method.upper(), path) for method in methods)


def filled(path: str) -> str:
    """A path with ids that are nowhere."""
    return re.sub(r"\{(\w+)\}", lambda found: IDS.get(found[1], UNKNOWN), path)


def details(answer: dict[str, Any]) -> list[str]:
    """The fields that a refusal names."""
    return [one["field"] for one in answer.get("error", {}).get("details", [])]


async def test_every_route_refuses_a_parameter_that_it_does_not_know(daemon: RunningDaemon) -> None:
    with trio.fail_after(60):
        api = await daemon.api.register()
        walked = [*routes(await api.get("/openapi.json"))]
        found = [(route, await api.ask(route[0], f"{filled(route[1])}?strange=1", **SURE)) for route in walked]

    lenient = {route for route, one in found if (one.status_code, details(one.json())) != (422, ["query.strange"])}
    assert lenient == set(TAKE_ANY_QUERY)
    assert len(walked) > 40


async def test_every_route_but_create_refuses_a_field_that_it_does_not_know(daemon: RunningDaemon) -> None:
    with trio.fail_after(60):
        api = await daemon.api.register()
        walked = [route for route in routes(await api.get("/openapi.json")) if route[0] != "GET"]
        walked = [route for route in walked if not route[1].startswith(REPORT_URL)]
        found = {route: await api.ask(route[0], filled(route[1]), {"strange": 1}, **SURE) for route in walked}

    lenient = [route for route, one in found.items() if "body.strange" not in details(one.json())]
    assert lenient == [("POST", "/v1/cues"), TAKES_ANY_BODY]
    assert {one.status_code for route, one in found.items() if route != TAKES_ANY_BODY} == {422}
    assert len(walked) > 20


async def test_a_misspelt_name_has_no_effect_and_is_told_the_right_one(api: Api) -> None:
    with trio.fail_after(20):
        execution = await claimed(api, verification={"mode": "manual"})
        await report(api, execution, success=True)
        path = f"/v1/executions/{execution}"
        cue_path = f"/v1/cues/{(await api.get(path))['cue_id']}"
        verify = await api.refused("POST", f"{path}/verify", {"vaild": False})
        fire = await api.refused("POST", f"{cue_path}/fire", {"sendat": "2091-01-01T00:00:00Z"})
        nested = await api.refused("PATCH", cue_path, {"schedule": {"timezon": "UTC"}})
        listed = await api.refused("GET", "/v1/executions?state=failed")
        after, fired = await api.get(path), await api.get(f"{cue_path}/executions")

    assert verify == (422, "validation_error", "body.vaild: unknown field: did you mean `valid`?")
    assert fire[2] == "body.sendat: unknown field: did you mean `send_at`?"
    assert nested[2] == "body.schedule.timezon: unknown field: did you mean `timezone`?"
    assert listed[2] == "query.state: unknown parameter: did you mean `status`?"
    assert (after["outcome_state"], fired["total"]) == ("verification_pending", 1)


@pytest.mark.parametrize(
    ("field", "place"),
    [("cron", "schedule.cron"), ("timezone", "schedule.timezone"), ("url", "callback.url"),
     ("max_attempts", "retry.max_attempts"), ("email", "on_failure.email")],
)  # fmt: skip
async def test_a_field_that_belongs_into_another_is_told_its_place(api: Api, field: str, place: str) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        refused = await api.refused("PATCH", f"/v1/cues/{made['id']}", {field: "x"})

    assert refused == (422, "validation_error", f"body.{field}: unknown field: did you mean `{place}`?")


async def test_each_name_is_told_of_up_to_twenty(api: Api) -> None:
    with trio.fail_after(20):
        few = await api.ask("POST", "/v1/auth/session", {"tokn": "x", "mail": "y"})
        many = await api.ask("POST", "/v1/worker/heartbeat", {f"handler{n}": n for n in range(5_000)})
        long = await api.ask("POST", "/v1/worker/heartbeat", {"x" * 900_000: 1})
        below = {"schedule": {f"timezone{n}": n for n in range(5_000)}}
        nested = await api.ask("PATCH", f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}", below)
        queries = await api.ask("GET", "/v1/workers?" + "&".join(f"q{n}=1" for n in range(200)))

    assert details(few.json()) == ["body.token", "body.tokn", "body.mail"]
    assert [len(details(one.json())) for one in (many, nested, queries, long)] == [20, 20, 20, 1]
    assert details(nested.json())[0] == "body.schedule.timezone0"
    assert "did you mean `timezone`?" in nested.json()["error"]["message"]


NAMING = (
    "/v1/cues?name=", "/v1/cues?group=", "/v1/executions?cue_id=", "/v1/executions?cue_name=", "/v1/executions?group=",
    "/v1/executions?worker_id=", "/v1/executions/claimable?task=", "/v1/executions/claimable?agent=",
    "/v1/dead?cue_id=", "/v1/dead?host=",
    "/v1/incidents?cue_id=", "/v1/audit?subject_id=", "/v1/audit?actor_id=",
)  # fmt: skip


async def test_an_empty_name_of_what_is_meant_is_refused_and_is_not_all(api: Api) -> None:
    with trio.fail_after(20):
        asked = {path: await api.refused("GET", path) for path in NAMING}
        body = {"kind": "pause", "filter": {"status": "active", "name": ""}}
        many = await api.ask("POST", "/v1/operations", body, **SURE)
        others = [await api.ask("GET", f"/v1/executions?{name}=") for name in ("status", "since", "limit", "cursor")]

    names = {path: path.partition("?")[2].rstrip("=") for path in NAMING}
    told = "is empty: it would ask for all; leave it out, or say which is meant"
    assert asked == {path: (422, "validation_error", f"query.{names[path]}: {told}") for path in NAMING}
    assert (many.status_code, details(many.json())) == (422, ["body.filter.name"])
    assert {one.status_code for one in others} == {200}


async def test_every_route_refuses_a_parameter_that_is_sent_twice(daemon: RunningDaemon) -> None:
    with trio.fail_after(60):
        api = await daemon.api.register()
        described = await api.get("/openapi.json")
        asked = [
            (route, one["name"])
            for route in routes(described)
            for one in described["paths"][route[1]][route[0].lower()].get("parameters", [])
            if one["in"] == "query"
        ]
        found = {
            (route, name): await api.ask(route[0], f"{filled(route[1])}?{name}=1&{name}=1", **SURE)
            for route, name in asked
        }

    lenient = {route for (route, name), one in found.items() if details(one.json()) != [f"query.{name}"]}
    assert lenient <= set(TAKE_ANY_QUERY)
    assert {one.status_code for (route, _), one in found.items() if route not in lenient} == {422}
    assert len(asked) > 40


async def test_create_names_what_it_does_not_know_and_makes_the_cue(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(shedule={"cron": "@daily"}))

    assert "shedule" in made["warning"]


async def test_a_webhook_target_and_a_page_take_any_parameter(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        echo = await daemon.client.post("/v1/echo/a-token-that-is-long-enough?source=cue", json={"any": "thing"})
        page = await daemon.client.get("/v1/auth/verify?token=x&device_code=y&utm_source=mail")
        health = await daemon.client.get("/health?probe=1")

    assert [one.status_code for one in (echo, page, health)] == [200, 400, 200]
    assert "text/html" in page.headers["Content-Type"]


async def test_a_stranger_is_told_to_sign_in_before_any_name_is_looked_at(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        refused = await daemon.api.refused("GET", "/v1/executions?strange=1")

    assert refused[:2] == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("sendAt", {"send_at", "payload_override"}, "unknown field: did you mean `send_at`?"),
        ("CUE_ID", {"cue_id", "status"}, "unknown field: did you mean `cue_id`?"),
        ("q", {"reason", "valid"}, "unknown field; known are `reason`, `valid`"),
        ("q", set(), "unknown field; this call takes none"),
    ],
)
def test_the_nearest_name_is_told_or_else_all_of_them(name: str, known: set[str], sentence: str) -> None:
    assert unknown_name("field", name, known) == sentence

"""No body, whatever its size and content, holds the event loop, costs more than its size, or gets a long answer."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Self

import pytest
import trio
from pydantic import BaseModel, model_validator

from cueapi.api.http.body import as_body
from cueapi.api.http.errors import CHARACTERS, DETAILS
from cueapi.api.http.json_text import parse
from cueapi.api.http.off_loop import off_loop
from cueapi.api.models.requests import accounts, alerts, channels, cues, executions, keys
from cueapi.domain.errors import Invalid, Refusal
from cueapi.off_loop import AT_ONCE
from tests.api.http.holding import ROUNDS, held, send, steps
from tests.api.http.hostile import SHAPES, Shape, fields_of, of_fields, within
from tests.conftest import Api, RunningDaemon, cue

KIB = 1024

MODELS: list[type[BaseModel]] = [
    accounts.RegisterBody, accounts.CodeBody, accounts.SubmitBody, accounts.ConfirmBody, accounts.SessionBody,
    accounts.MePatch, alerts.AlertIds, cues.CueBody, cues.CuePatch, cues.FireBody, cues.Ids, executions.EvidenceBody,
    executions.OutcomeBody, executions.VerifyBody, executions.ClaimBody, executions.HeartbeatBody,
]  # fmt: skip

CUT = {"result", "error", "reason"}
"""Texts of any length: of them the beginning is kept, and nothing parses them."""

WITHOUT_KEY = [
    "/v1/auth/register", "/v1/auth/device-code", "/v1/auth/device-code/submit-email", "/v1/auth/device-code/poll",
    "/v1/auth/verify", "/auth/device", "/v1/auth/session", "/v1/echo/a-token-of-some-length", "/v1/nowhere",
]  # fmt: skip


@pytest.mark.parametrize("path", WITHOUT_KEY)
async def test_no_body_without_a_key_holds_the_loop(daemon: RunningDaemon, path: str) -> None:
    size = 256 * KIB if "echo" in path else 16 * KIB
    bodies = [within("x", shape(size - 20)) for shape in SHAPES.values()]
    bodies += [within(name, SHAPES["marks"](size - 20)) for name in ("email", "device_code", "token")]
    bodies += [SHAPES["brackets without end"](size), SHAPES["keys"](size)]

    with trio.fail_after(120):
        for _ in range(ROUNDS):
            with steps() as measured:
                told = [await send(daemon, path, body) for body in bodies]
            assert [one[:12] for one in told if one.startswith(b"HTTP/1.1 5")] == []
            if measured.longest < held():
                return
    pytest.fail(f"{measured.task} held the loop for {measured.longest:.3f} s of the processor's time")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_text_in_any_field_holds_the_loop(model: type[BaseModel]) -> None:
    assert any(cost(partial(as_body, model), of_fields(model, AT_ONCE)) < held() for _ in range(ROUNDS))


@pytest.mark.parametrize("name", ["lists deep", "marks"])
async def test_no_body_of_a_mebibyte_holds_the_loop(daemon: RunningDaemon, name: str) -> None:
    api = await daemon.api.register()
    path = f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}"
    value = SHAPES[name](1000 * KIB)
    payload = within("x", value)
    asked = [
        ("POST", "/v1/worker/heartbeat", payload),
        ("POST", "/v1/cues", within("payload", payload, cue())),
        ("PATCH", path, within("payload", payload)),
        ("PATCH", path, json.dumps(HEADERS).encode()),
        ("PATCH", path, b'{"description": "of a cue whose payload is large"}'),
        ("POST", f"{path}/fire", within("payload_override", payload)),
    ]

    with trio.fail_after(120):
        for _ in range(ROUNDS):
            with steps() as measured:
                told = [await send(daemon, path, body, key=api.key, method=method) for method, path, body in asked]
            assert [one[:12] for one in told if one.startswith(b"HTTP/1.1 5")] == []
            if measured.longest < held():
                return
    pytest.fail(f"{measured.task} held the loop for {measured.longest:.3f} s of the processor's time")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_twice_the_size_costs_twice_the_time(shape: Shape) -> None:
    assert is_linear(parse, *(within("x", shape(size)) for size in (128 * KIB, 256 * KIB)))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_text_twice_as_long_in_any_field_costs_twice_the_time(model: type[BaseModel]) -> None:
    assert is_linear(partial(as_body, model), *(of_fields(model, size) for size in (128 * KIB, 256 * KIB)))


def is_linear(work: Callable[[bytes], object], half: bytes, whole: bytes) -> bool:
    """Whether *whole*, of twice the size, costs some twice what *half* costs; what is beside us may disturb a round."""
    return any(cost(work, whole) < 3 * cost(work, half) + 0.002 for _ in range(ROUNDS))


def cost(work: Callable[[bytes], object], body: bytes) -> float:
    """The processor's time for *work* with *body*, at best."""
    took = []
    for _ in range(3):
        begun = time.thread_time()
        with suppress(Refusal):
            work(body)
        took.append(time.thread_time() - begun)
    return min(took)


def test_every_text_of_a_request_has_a_length() -> None:
    unbounded = {
        (model.__name__, name)
        for model in MODELS
        for name, told in texts(model)
        if not {"maxLength", "pattern", "enum", "const"} & set(told)
    }

    assert {name for _, name in unbounded} == CUT


def texts(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, object]]]:
    """The schema of each text below the fields of *model*, payloads and the like apart."""
    schema = model.model_json_schema()
    objects = [schema, *schema.get("$defs", {}).values()]
    for name, told in ((name, told) for one in objects for name, told in one.get("properties", {}).items()):
        yield from ((name, one) for one in fields_of(told, schema) if one.get("type") == "string")


HEADERS = {"callback": {"headers": {f"{number:06}": number for number in range(60_000)}}}
UNKNOWN = {f"x{number}": 1 for number in range(100)}
CROWDED: dict[str, tuple[type[BaseModel], dict[str, object], set[str]]] = {
    "headers": (cues.CueBody, HEADERS, {"object should have at most 1000 items"}),
    "headers of a change": (cues.CuePatch, HEADERS, {"object should have at most 1000 items"}),
    "assertions": (
        cues.CueBody, {"verification": {"assert": [{}] * 300_000}}, {"array should have at most 1000 items"},
    ),
    "fields of assertions": (
        cues.CueBody, {"verification": {"assert": [UNKNOWN] * 1_000}},
        {"unknown field; known are `field`, `op`, `value`"},
    ),
    "pauses": (cues.CueBody, {"retry": {"backoff_minutes": ["x"] * 200_000}}, {"array should have at most 10 items"}),
    "handlers": (executions.HeartbeatBody, {"handlers": [1] * 300_000}, {"array should have at most 1000 items"}),
    "ids": (cues.Ids, {"ids": [1] * 300_000}, {"array should have at most 100 items"}),
    "scopes": (keys.KeyBody, {"scopes": [1] * 300_000}, {"array should have at most 20 items"}),
    "events": (channels.ChannelBody, {"on": [1] * 300_000}, {"array should have at most 4 items"}),
}  # fmt: skip


@pytest.mark.parametrize(("model", "body", "told"), CROWDED.values(), ids=CROWDED)
def test_what_has_too_many_entries_is_refused_before_they_are_looked_at(
    model: type[BaseModel], body: dict[str, object], told: set[str]
) -> None:
    with pytest.raises(Invalid) as refused:
        as_body(model, json.dumps(body).encode())

    assert {one["message"] for one in refused.value.extra["details"]} == told


async def test_large_bodies_are_read_beside_the_loop() -> None:
    read_in = set()

    class Noted(BaseModel):
        x: str

        @model_validator(mode="after")
        def note(self) -> Self:
            read_in.add(threading.get_ident())
            return self

    small, large = (within("x", b'"%s"' % (b"a" * size)) for size in (10, AT_ONCE))
    await off_loop(as_body, Noted, small, size=len(small))
    here = set(read_in)
    await off_loop(as_body, Noted, large, size=len(large))

    assert here == {threading.get_ident()}
    assert len(read_in) == 2


WRONG = {
    "unknown fields": ("PATCH", "/v1/auth/me", {"x" * 1_000 + str(number): 1 for number in range(50)}),
    "too many fields": ("POST", "/v1/cues", {str(number): 1 for number in range(5_000)}),
    "too many headers": ("POST", "/v1/cues", {"callback": {"headers": {str(number): 1 for number in range(900)}}}),
    "handlers": ("POST", "/v1/worker/heartbeat", {"handlers": [1] * 1_000}),
    "a long time zone": ("POST", "/v1/cues", {"schedule": {"cron": "* * * * *", "timezone": "x" * 900}, "name": "a"}),
    "a long cron": ("POST", "/v1/cues", {"schedule": {"cron": "x" * 900}, "name": "a"}),
    "a long address": ("POST", "/v1/auth/register", {"email": "x" * 9_000}),
    "a long URL": ("PATCH", "/v1/auth/me", {"alert_webhook_url": "http://" + "x" * 7_000}),
}


async def test_a_refusal_is_short_whatever_was_sent(api: Api) -> None:
    answered = {why: await api.ask(method, path, wrong) for why, (method, path, wrong) in WRONG.items()}

    details = {why: response.json()["error"].get("details", []) for why, response in answered.items()}
    texts = [text for found in details.values() for detail in found for text in detail.values()]
    assert {response.status_code for response in answered.values()} <= {400, 422}
    assert max(map(len, details.values())) == DETAILS
    assert max(map(len, texts)) == CHARACTERS
    assert max(len(response.content) for response in answered.values()) < 16 * KIB


SIZES = [
    ("POST", "/v1/auth/register", 16),
    ("POST", "/v1/auth/verify", 16),
    ("POST", "/auth/device", 16),
    ("POST", "/v1/echo/a-token-of-some-length", 256),
    ("POST", "/v1/worker/heartbeat", 1024),
    ("POST", "/v1/cues", 1024),
    ("GET", "/v1/usage", 1024),
    ("GET", "/health", 16),
]


async def test_a_route_takes_so_many_bytes_and_not_one_more(api: Api) -> None:
    answered = {}
    with trio.fail_after(60):
        for method, path, kib in SIZES:
            answered[path] = [
                await api.client.request(
                    method, path, content=b"{}" + b" " * size, headers={"Authorization": f"Bearer {api.key}"}
                )
                for size in (kib * KIB - 2, kib * KIB - 1)
            ]

    assert [path for path, (fits, _) in answered.items() if fits.status_code == 413] == []
    assert {more.status_code for _, more in answered.values()} == {413}
    assert {more.json()["error"]["code"] for _, more in answered.values()} == {"request_too_large"}
    assert all(f"{kib:,} KiB" in answered[path][1].json()["error"]["message"] for _, path, kib in SIZES)

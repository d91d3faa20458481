from collections.abc import AsyncIterator, Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from ipaddress import ip_network
from itertools import chain, repeat
from typing import Any

import h11
import httpx
import pytest
import trio
from pydantic import SecretStr
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cueapi.api.http.rate_limits import Windows, client_address
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.work import claimed, fired, report, wrong_fields
from tests.conftest import Api, RunningDaemon, cue, running
from tests.storage.own_postgres import own_postgres

MIB = 1024 * 1024
ERROR = {"code": str, "message": str, "status": int}
TOO_LARGE = b"HTTP/1.1 413 "
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
LIMITED = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

NOWHERE = [
    ("GET", "/", 404, "not_found"),
    ("GET", "/v1", 404, "not_found"),
    ("GET", "/v1/nowhere", 404, "not_found"),
    ("POST", "/v1/cues/cue_000000000000/nowhere", 404, "not_found"),
    ("GET", "//v1/cues", 404, "not_found"),
    ("GET", "/v1//cues", 404, "not_found"),
    ("GET", "/v1/../etc/passwd", 404, "not_found"),
    ("GET", "/static/x", 404, "not_found"),
    ("GET", "/%00", 404, "not_found"),
    ("GET", "/v1/cues%00", 404, "not_found"),
    ("GET", "/%ED%A0%80", 404, "not_found"),
    ("PUT", "/v1/cues", 405, "method_not_allowed"),
    ("DELETE", "/v1/usage", 405, "method_not_allowed"),
    ("GET", "/v1/worker/heartbeat", 405, "method_not_allowed"),
    ("POST", "/v1/workers", 405, "method_not_allowed"),
    ("POST", "/health", 405, "method_not_allowed"),
]

STRANGERS = {
    "no header": {},
    "no token": {"Authorization": "Bearer"},
    "no scheme": {"Authorization": "cue_sk_" + "0" * 32},
    "another scheme": {"Authorization": "Basic cue_sk_" + "0" * 32},
    "an unknown key": {"Authorization": "Bearer cue_sk_" + "0" * 32},
    "no key at all": {"Authorization": "Bearer cue_sk_"},
    "a long key": {"Authorization": "Bearer cue_sk_" + "0" * 5_000},
}

NO_JSON = {
    "text": (b"hello", 400, "invalid_json"),
    "half an object": (b'{"worker_id": "w"', 400, "invalid_json"),
    "two objects": (b"{} {}", 400, "invalid_json"),
    "single quotes": (b"{'worker_id': 'w'}", 400, "invalid_json"),
    "a comma too many": (b'{"worker_id": "w",}', 400, "invalid_json"),
    "a form": (b"worker_id=w", 400, "invalid_json"),
    "NaN": (b'{"x": NaN}', 400, "invalid_json"),
    "Infinity": (b'{"x": [Infinity]}', 400, "invalid_json"),
    "-Infinity": (b'{"x": -Infinity}', 400, "invalid_json"),
    "1e400": (b'{"x": 1e400}', 400, "invalid_json"),
    "-1E+400": (b'{"x": {"y": [-1E+400]}}', 400, "invalid_json"),
    "400 digits": (b'{"x": 1' + b"0" * 400 + b"}", 400, "invalid_json"),
    "309 digits": (b'{"x": -18' + b"0" * 307 + b"}", 400, "invalid_json"),
    "400 digits and a fraction": (b'{"x": 1' + b"0" * 400 + b".5}", 400, "invalid_json"),
    "5,000 digits": (b'{"x": ' + b"9" * 5_000 + b"}", 400, "invalid_json"),
    "nested 101 deep": (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "invalid_json"),
    "nested 5,000 deep": (b'{"x": ' + b"[" * 4_999 + b"]" * 4_999 + b"}", 400, "invalid_json"),
    "nested 5,000 objects deep": (b'{"x": ' * 5_000 + b"1" + b"}" * 5_000, 400, "invalid_json"),
    "nested 400,000 deep": (b"[" * 400_000, 400, "invalid_json"),
    "not UTF-8": (b'{"worker_id": "\xff"}', 400, "invalid_json"),
    "Latin-1": ('{"worker_id": "ü"}'.encode("latin-1"), 400, "invalid_json"),
    "UTF-16": ('{"worker_id": "w"}'.encode("utf-16"), 400, "invalid_json"),
    "a surrogate in bytes": (b'{"worker_id": "\xed\xa0\x80"}', 400, "invalid_json"),
    "a raw NUL": (b'{"worker_id": "a\x00b"}', 400, "invalid_json"),
    "U+0000": (b'{"worker_id": "a\\u0000b"}', 400, "invalid_payload"),
    "U+0000 where nobody looks": (b'{"x": [{"y": "\\u0000"}]}', 400, "invalid_payload"),
    "U+0000 in a key": (b'{"x": {"\\u0000": 1}}', 400, "invalid_payload"),
    "a high surrogate": (b'{"x": "\\ud800"}', 400, "invalid_payload"),
    "a low surrogate": (b'{"x": "\\uDC00"}', 400, "invalid_payload"),
    "surrogates the wrong way round": (b'{"x": "\\ude00\\ud83d"}', 400, "invalid_payload"),
    "a surrogate in a key": (b'{"\\udfff": 1}', 400, "invalid_payload"),
    "a list": (b"[]", 422, "validation_error"),
    "a text": (b'"{}"', 422, "validation_error"),
    "a number": (b"5", 422, "validation_error"),
    "null": (b"null", 422, "validation_error"),
    "true": (b"true", 422, "validation_error"),
}

JSON = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "an empty object": b"{}",
    "a pair of surrogates": b'{"payload_override": {"x": "\\ud83d\\ude00"}}',
    "an escaped backslash before u0000": b'{"payload_override": {"x": "\\\\u0000"}}',
    "the largest double": b'{"payload_override": {"x": [1.7976931348623157e308, -1.7976931348623157e308]}}',
    "309 digits": b'{"payload_override": {"x": 17' + b"0" * 307 + b"}}",
    "a number that is nearly nothing": b'{"payload_override": {"x": [1e-400, 0.' + b"0" * 400 + b"1]}}",
    "nested 100 deep": b'{"payload_override": {"x": ' + b"[" * 98 + b"]" * 98 + b"}}",
    "brackets side by side": b'{"payload_override": {"x": [' + b"[]," * 500 + b"[]]}}",
    "brackets in a text": b'{"payload_override": {"x": "' + b"[" * 500 + b'"}}',
    "blanks around": b'\n {"merge_strategy" : "merge"} \n',
}

CONTENT_TYPES = [
    None, "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain",
    "application/octet-stream", "nonsense", "",
]  # fmt: skip

EMPTY_MEANS_NOTHING = ["/replay", "/verify", "/verification-pending"]


async def send(
    api: Api, path: str = "/v1/worker/heartbeat", content: bytes | AsyncIterator[bytes] | None = None, **headers: str
) -> httpx.Response:
    """POST *content* as it stands; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.client.post(path, content=content, headers={"Authorization": f"Bearer {api.key}", **named})


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which must be of the contract's form."""
    error = response.json()["error"]
    assert wrong_fields(error, ERROR) == {}
    assert error["status"] == response.status_code
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, error["code"]


async def flooded(api: Api, framing: str, parts: Iterable[bytes]) -> tuple[bytes, int]:
    """What a POST of *parts* is answered, though it may not have been sent whole, and how many bytes were."""
    stream = await trio.open_tcp_stream("127.0.0.1", api.client.base_url.port)
    head = (
        f"POST /v1/worker/heartbeat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n{framing}\r\n\r\n"
    )
    sent, answer = 0, b""

    async def flood() -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for part in chain([head.encode()], parts):
                await stream.send_all(part)
                sent += len(part)

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        while not answer.endswith(b"}}") and (part := await stream.receive_some()):
            answer += part
        nursery.cancel_scope.cancel()
    return answer, sent


async def chunks(number: int, size: int) -> AsyncIterator[bytes]:
    """A body without Content-Length."""
    for _ in range(number):
        yield b" " * size


@pytest.fixture
def limited(settings: Settings) -> Settings:
    """Settings with four requests a minute."""
    return settings.model_copy(update={"rate_limit_per_minute": 4})


async def test_what_is_nowhere_is_refused_in_the_contract_s_form(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        api = daemon.api
        found = {(method, path): code_of(await api.ask(method, path)) for method, path, *_ in NOWHERE}
        allowed = (await api.ask("PUT", "/v1/cues")).headers["Allow"]

    assert found == {(method, path): (status, code) for method, path, status, code in NOWHERE}
    assert {"GET", "POST"} <= set(allowed.replace(",", " ").split())


async def test_detail_tells_the_whole_error_again(api: Api) -> None:
    with trio.fail_after(20):
        answers = [
            await api.ask("GET", "/v1/nowhere"),
            await api.ask("POST", "/v1/worker/heartbeat", {"claim": "5", "wait_seconds": 31}),
            await api.ask("POST", "/v1/cues", cue(verification={"mode": "require_result_url"})),
        ]

    assert [one.json()["detail"] for one in answers] == [{"error": one.json()["error"]} for one in answers]
    assert len(answers[1].json()["detail"]["error"]["details"]) == 2
    assert answers[2].json()["detail"]["error"]["transport"] == "worker"


async def test_what_breaks_inside_is_told_in_the_same_form_without_details(api: Api, database: Database) -> None:
    await database.execute("alter table alerts rename to elsewhere")
    await database.execute(
        "create function broken() returns text language plpgsql as"
        " $$ begin raise exception 'alerts' using errcode = 'syntax_error'; end $$"
    )
    await database.execute("create view alerts as select * from elsewhere where broken() = ''")
    await database.execute(
        "insert into elsewhere (id, user_id, alert_type, severity, message)"
        " select gen_random_uuid(), id, 'worker_offline', 'critical', '' from users"
    )

    with trio.fail_after(20), capture_logs() as lines:
        response = await api.ask("GET", "/v1/alerts", X_Request_Id="mine")

    assert code_of(response) == (500, "internal_error")
    assert "alerts" not in response.text
    assert [line["request_id"] for line in lines if line["event"] == "request_failed"] == ["mine"]
    assert response.headers["X-Request-Id"] == "mine"


async def test_who_shows_no_key_is_refused(daemon: RunningDaemon) -> None:
    with trio.fail_after(20):
        found = {
            why: code_of(await daemon.client.get("/v1/usage", headers=headers)) for why, headers in STRANGERS.items()
        }

    assert found == dict.fromkeys(STRANGERS, (401, "invalid_api_key"))


async def test_a_key_opens_its_account_whatever_the_case_of_the_scheme(api: Api) -> None:
    with trio.fail_after(20):
        answered = [
            await api.client.get("/v1/usage", headers={"Authorization": f"{scheme} {api.key}"})
            for scheme in ("Bearer", "bearer", "BEARER ")
        ]

    assert [response.status_code for response in answered] == [200, 200, 200]


async def test_a_body_that_json_cannot_carry_is_refused(api: Api) -> None:
    with trio.fail_after(30):
        found = {why: code_of(await send(api, content=body)) for why, (body, *_) in NO_JSON.items()}
        listed = await api.get("/v1/workers")

    assert found == {why: (status, code) for why, (_, status, code) in NO_JSON.items()}
    assert listed["workers"] == []


async def test_a_body_that_json_can_carry_is_taken(api: Api) -> None:
    with trio.fail_after(20):
        path = f"/v1/cues/{(await api.post('/v1/cues', cue()))['id']}/fire"
        found = {why: (await send(api, path, body)).status_code for why, body in JSON.items()}

    assert found == dict.fromkeys(JSON, 200)


async def test_of_a_repeated_key_the_last_counts(api: Api) -> None:
    with trio.fail_after(20):
        response = await send(api, content=b'{"worker_id": 5, "worker_id": "first", "worker_id": "last"}')

    assert response.json()["worker_id"] == "last"


async def test_what_could_not_be_kept_is_refused_in_a_payload_and_what_can_be_comes_back(api: Api) -> None:
    payload = {"big": 10**308, "small": -1e-300, "text": "ä😀\u2028\x7f", "": {"a/b": [None, True, []]}}
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(payload=payload))
        shown = await api.get(f"/v1/cues/{made['id']}")
        nul = await api.refused("POST", "/v1/cues", cue(payload={"a": ["b\x00"]}))

    assert shown["payload"] == payload
    assert nul[:2] == (400, "invalid_payload")


async def test_a_body_is_json_whatever_its_content_type_says_but_multipart(api: Api) -> None:
    with trio.fail_after(20):
        answered = {
            kind: await send(api, content=b'{"worker_id": "w"}', **({} if kind is None else {"Content_Type": kind}))
            for kind in CONTENT_TYPES
        }
        multipart = await api.client.post(
            "/v1/worker/heartbeat", files={"worker_id": b"w"}, headers={"Authorization": f"Bearer {api.key}"}
        )

    assert {response.json().get("worker_id") for response in answered.values()} == {"w"}
    assert code_of(multipart) == (415, "unsupported_media_type")


async def test_an_empty_body_means_nothing_with_and_without_a_content_type(api: Api) -> None:
    json = {"Content_Type": "application/json"}
    with trio.fail_after(20):
        one, other = await claimed(api), await fired(api)
        heartbeat = await send(api, f"/v1/executions/{one}/heartbeat", b"", **json)
        await report(api, one, success=True)
        claim = await send(api, f"/v1/executions/{other}/claim", b"", **json)
        answered = [await send(api, f"/v1/executions/{one}{path}", b"", **json) for path in EMPTY_MEANS_NOTHING]
        cue_id = (await api.get(f"/v1/executions/{one}"))["cue_id"]
        fire = await send(api, f"/v1/cues/{cue_id}/fire", b"", **json)
        key = await send(api, "/v1/auth/key/regenerate", b"", X_Confirm_Destructive="true", **json)

    assert [response.status_code for response in (heartbeat, claim, *answered, fire, key)] == [200] * 7


async def test_get_and_delete_may_say_json_and_send_nothing_or_something(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        shown = await api.ask("GET", f"/v1/cues/{made['id']}", Content_Type="application/json")
        listed = await api.ask("GET", "/v1/executions", {"ignored": True})
        deleted = await api.ask("DELETE", f"/v1/cues/{made['id']}", Content_Type="application/json")

    assert [response.status_code for response in (shown, listed, deleted)] == [200, 200, 204]
    assert {"content-length", "content-type"}.isdisjoint(deleted.headers)
    assert deleted.content == b""


async def test_a_mebibyte_is_taken_and_a_byte_more_is_not(daemon: RunningDaemon) -> None:
    padding = b" " * (MIB - 2)
    with trio.fail_after(30):
        api = await daemon.api.register()
        whole = await send(api, content=b"{}" + padding)
        in_chunks = await send(api, content=chunks(16, 65_536))
        more = await flooded(api, f"Content-Length: {MIB + 1}", [b"{}" + padding, b" "])
        twice = await flooded(api, f"Content-Length: {2 * MIB}", [b"{}" + padding, b" " * MIB])
        chunked = await flooded(api, "Transfer-Encoding: chunked", [CHUNK] * 32)
        after = await api.get("/v1/usage")

    assert (whole.status_code, in_chunks.status_code) == (200, 200)
    assert [answer.partition(b"\r\n")[0] for answer, _ in (more, twice, chunked)] == [TOO_LARGE] * 3
    assert b'"request_too_large"' in more[0]
    assert b"x-request-id: " in more[0].lower()
    assert after["plan"] == "self_hosted"


@pytest.mark.parametrize("size", [2 * MIB, 7 * MIB], ids=["2 MiB", "7 MiB"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
async def test_a_client_that_says_all_before_it_reads_learns_that_it_was_too_much_and_may_go_on(
    daemon: RunningDaemon, size: int, *, chunked: bool
) -> None:
    def ask() -> list[int]:
        connection = HTTPConnection("127.0.0.1", daemon.resources.listener.getsockname()[1], timeout=10)
        with closing(connection):
            statuses = []
            for body in (b"x" * size, b"x" * size, b"{}"):
                connection.request("POST", "/v1/auth/register", iter([body]) if chunked else body)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            return statuses

    with trio.fail_after(30):
        statuses = await trio.to_thread.run_sync(ask)

    assert statuses == [413, 413, 422]


async def test_a_body_without_end_is_refused_before_it_is_held_in_memory(api: Api) -> None:
    with trio.fail_after(30):
        answer, sent = await flooded(api, "Transfer-Encoding: chunked", repeat(CHUNK))

    assert answer.startswith(TOO_LARGE)
    assert sent < 16 * MIB


async def test_a_body_that_announces_too_much_is_refused_before_it_comes(api: Api) -> None:
    with trio.fail_after(10):
        answer, _ = await flooded(api, "Content-Length: 10000000000", [])

    assert answer.startswith(TOO_LARGE)


async def test_nothing_redirects(api: Api) -> None:
    paths = ["/v1/cues/", "/v1/executions/", "/v1/usage/", "/health/", "/status/", "/v1/workers/", "/v1/executions//"]
    with trio.fail_after(20):
        answered = {path: await api.ask("GET", path) for path in paths}
        posted = await api.ask("POST", "/v1/worker/heartbeat/", {})

    assert {path: response.status_code for path, response in answered.items() if response.is_redirect} == {}
    assert {response.status_code for response in answered.values()} <= {200, 404}
    assert posted.status_code in {200, 404}


async def test_u0000_and_surrogates_in_a_query_are_refused_and_never_looked_up(api: Api) -> None:
    queries = [
        "/v1/executions?cue_id=%00", "/v1/executions?status=a%00", "/v1/executions?since=%00",
        "/v1/executions?cursor=%00", "/v1/executions?limit=%00", "/v1/executions/claimable?task=%00",
        "/v1/executions/claimable?task=a%00b", "/v1/cues?name=%00", "/v1/cues?status=%00", "/v1/alerts?alert_type=%00",
    ]  # fmt: skip
    with trio.fail_after(20):
        found = {path: code_of(await api.ask("GET", path)) for path in queries}
        surrogates = [
            (await api.ask("GET", path.replace("%00", "%ED%A0%80"))).status_code
            for path in queries
            if "task" in path or "cue_id" in path or "name" in path
        ]

    assert found == dict.fromkeys(queries, (422, "validation_error"))
    assert set(surrogates) <= {200, 422}


async def test_a_validation_names_each_field_and_spells_out_the_first(api: Api) -> None:
    body = {"name": "", "schedule": {"type": 5, "cron": "* * * * *"}, "retry": {"backoff_minutes": [1, "x"]}}
    with trio.fail_after(20):
        response = await api.ask("POST", "/v1/cues", body)

    error = response.json()["error"]
    assert code_of(response) == (422, "validation_error")
    assert [detail["field"] for detail in error["details"]] == [
        "body.name",
        "body.schedule.type",
        "body.retry.backoff_minutes.1",
    ]
    assert error["details"][0]["field"] in error["message"]
    assert error["details"][0]["message"] in error["message"]


async def test_a_request_id_is_kept_where_it_is_printable_and_short(daemon: RunningDaemon) -> None:
    kept = ["7f3a", "a b/c~!", "x" * 128]
    replaced = ["x" * 129, "", "tab\there", "\xfcmlaut"]
    with trio.fail_after(20):
        given = {
            wished: (await daemon.client.get("/status", headers={"X-Request-Id": wished.encode("latin-1")})).headers[
                "X-Request-Id"
            ]
            for wished in kept + replaced
        }

    assert [wished for wished in given if given[wished] == wished] == kept
    assert len(set(given.values())) == 7
    assert [made for made in given.values() if not (made.isascii() and 1 <= len(made) <= 128)] == []


async def test_every_answer_has_a_request_id_of_its_own_and_the_security_headers(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue())
        stranger = Api(api.client)
        answers = [
            await api.ask("GET", "/v1/usage"),
            await api.ask("DELETE", f"/v1/cues/{made['id']}"),
            await send(api, content=b"x"),
            await stranger.ask("GET", "/v1/usage"),
            await api.ask("GET", "/nowhere"),
            await api.ask("PUT", "/v1/cues"),
            await api.ask("POST", "/v1/cues", {}),
            await api.ask("GET", "/health"),
            await api.ask("GET", "/metrics"),
            await api.ask("OPTIONS", "/v1/cues", Origin="https://a.example", Access_Control_Request_Method="POST"),
        ]

    assert [answer.status_code for answer in answers[:7]] == [200, 204, 400, 401, 404, 405, 422]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == len(answers)
    assert {answer.headers["X-Content-Type-Options"] for answer in answers} == {"nosniff"}
    assert {answer.headers["Referrer-Policy"] for answer in answers} == {"no-referrer"}
    assert {answer.headers["X-Frame-Options"] for answer in answers} == {"DENY"}
    assert "Server" not in answers[0].headers


@pytest.mark.parametrize("path", ["/v1/mutes", "/v1/hold", "/v1/cues", "/v1/cues/cue_000000000000", "/v1/usage", "/"])
async def test_options_tell_every_method_that_the_path_takes(owner: Api, path: str) -> None:
    with trio.fail_after(20):
        told = (await owner.ask("OPTIONS", path)).headers["Allow"].split(", ")
        taken = {
            method
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")
            if (await Api(owner.client).ask(method, path)).status_code != 405
        }

    assert set(told) == taken | {"OPTIONS"}


async def test_every_log_line_of_a_request_carries_its_id_and_no_other_s(owner: Api) -> None:
    with trio.fail_after(20), capture_logs(processors=[merge_contextvars]) as lines:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(lambda number=number: owner.ask("GET", "/v1/usage", X_Request_Id=f"mine-{number}"))

    answered = [line for line in lines if line["event"] == "request_answered"]
    assert sorted(line["request_id"] for line in answered) == [f"mine-{number}" for number in range(5)]
    assert [(line["route"], line["status"]) for line in answered] == [("/v1/usage", 200)] * 5
    assert owner.key not in str(lines)


async def test_no_web_page_may_call_unless_its_origin_is_set(api: Api) -> None:
    with trio.fail_after(20):
        answered = await api.ask("GET", "/v1/usage", Origin="https://a.example")
        preflight = await Api(api.client).ask(
            "OPTIONS", "/v1/usage", Origin="https://a.example", Access_Control_Request_Method="GET"
        )

    assert answered.status_code == 200
    for one in (answered, preflight):
        assert [name for name in one.headers if name.startswith("access-control-")] == []


async def test_any_origin_may_call_and_read_the_headers_that_matter(settings: Settings) -> None:
    asked = {
        "Origin": "https://a.example",
        "Access_Control_Request_Method": "PATCH",
        "Access_Control_Request_Headers": "authorization,content-type,x-confirm-destructive",
    }
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"cors_origins": "*"})) as daemon:
            api = await daemon.api.register()
            answered = await api.ask("GET", "/v1/usage", Origin="https://a.example")
            refused = await api.ask("GET", "/v1/cues/x", Origin="https://a.example")
            preflight = await Api(daemon.client).ask("OPTIONS", "/v1/cues/x", **asked)

    exposed = {name.strip().lower() for name in answered.headers["Access-Control-Expose-Headers"].split(",")}
    allowed = {name.strip().lower() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert [one.headers["Access-Control-Allow-Origin"] for one in (answered, refused, preflight)] == ["*"] * 3
    assert {"x-request-id", "x-cueapi-usage-warning", *map(str.lower, LIMITED)} <= exposed
    assert not any("Access-Control-Allow-Credentials" in one.headers for one in (answered, refused, preflight))
    assert preflight.status_code in {200, 204}
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"]
    assert {
        "authorization",
        "content-type",
        "x-confirm-destructive",
        "x-worker-id",
        "idempotency-key",
        "x-reason",
    } <= allowed


async def test_named_origins_may_call_and_others_may_not(settings: Settings) -> None:
    changes = {"cors_origins": "https://a.example, https://b.example"}
    with trio.fail_after(20):
        async with running(settings.model_copy(update=changes)) as daemon:
            named = await daemon.api.ask("GET", "/status", Origin="https://b.example")
            other = await daemon.api.ask("GET", "/status", Origin="https://evil.example")
            longer = await daemon.api.ask("GET", "/status", Origin="https://a.example.evil.example")
            ask = {"Origin": "https://evil.example", "Access_Control_Request_Method": "GET"}
            preflight = await daemon.api.ask("OPTIONS", "/status", **ask)

    assert named.headers["Access-Control-Allow-Origin"] == "https://b.example"
    assert "Origin" in named.headers["Vary"]
    assert not any("Access-Control-Allow-Origin" in one.headers for one in (other, longer, preflight))


async def test_every_answer_of_a_limited_route_says_how_many_requests_are_left(owner: Api) -> None:
    with trio.fail_after(20):
        before = datetime.now(UTC)
        first, after = await owner.ask("GET", "/v1/usage"), datetime.now(UTC)
        second = await owner.ask("GET", "/v1/executions/x")
        stranger = await Api(owner.client).ask("GET", "/v1/usage")

    assert [first.headers[name] for name in LIMITED[:2]] == ["6000", "5999"]
    assert [second.headers[name] for name in LIMITED[:2]] == ["6000", "5998"]
    assert (stranger.status_code, stranger.headers["X-RateLimit-Remaining"]) == (401, "5998")
    reset = datetime.fromtimestamp(int(first.headers["X-RateLimit-Reset"]), UTC)
    assert before + timedelta(seconds=55) < reset <= after + timedelta(seconds=61)


async def test_one_request_too_many_is_told_when_to_come_again(limited: Settings) -> None:
    with trio.fail_after(20):
        async with running(limited) as daemon:
            api = await daemon.api.register()
            answered = [(await api.ask("GET", "/v1/usage")).status_code for _ in range(4)]
            refused = await api.ask("GET", "/v1/usage")
            nowhere = await api.ask("GET", "/health")

    assert answered == [200] * 4
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert refused.headers["Retry-After"].isdigit()
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert [refused.headers[name] for name in LIMITED[:2]] == ["4", "0"]
    assert nowhere.status_code == 200


async def test_a_window_slides_and_what_it_refuses_does_not_count() -> None:
    now = 0.0
    windows = Windows(clock=lambda: now)
    taken = []
    for now in (0.0, 1.0, 2.0, 30.0, 59.9, 60.0, 60.5, 61.0, 61.5, 62.0):  # noqa: B007 (the clock)
        standing = await windows.count("k", 3)
        taken.append(not standing.refused)
        assert standing.used == 3 - standing.remaining
        assert 1 <= standing.retry_after <= 60

    assert taken == [True, True, True, False, False, True, False, True, False, True]


async def test_reports_and_heartbeats_count_but_are_never_refused(limited: Settings) -> None:
    with trio.fail_after(20):
        async with running(limited) as daemon:
            api = await daemon.api.register()
            one = await claimed(api)
            answered = [
                await api.ask("POST", "/v1/worker/heartbeat", {"handlers": []}),
                await api.ask("POST", f"/v1/executions/{one}/heartbeat"),
                await api.ask("POST", f"/v1/executions/{one}/outcome", {"success": True}),
            ]
            refused = await api.ask("GET", f"/v1/executions/{one}")
            again = await api.ask("POST", "/v1/worker/heartbeat", {})
            strangers = [
                (await evolved(api).ask("POST", f"/v1/executions/{one}/outcome", {"success": True})).status_code
                for _ in range(4)
            ]

    assert [response.status_code for response in (*answered, again)] == [200] * 4
    assert [response.headers["X-RateLimit-Remaining"] for response in answered] == ["0", "0", "0"]
    assert code_of(refused) == (429, "rate_limit_exceeded")
    assert strangers == [401, 401, 401, 429]


def evolved(api: Api) -> Api:
    """Somebody at the same daemon who guesses keys."""
    return Api(api.client, "cue_sk_" + "0" * 32)


async def test_keys_that_are_guessed_count_against_the_address_and_harm_nobody_else(limited: Settings) -> None:
    with trio.fail_after(20):
        async with running(limited) as daemon:
            api = await daemon.api.register()
            key = (await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true"))["api_key"]
            guesses = [
                code_of(await one.ask("GET", "/v1/usage")) for one in (evolved(api), api, daemon.api, evolved(api))
            ]
            registration = await daemon.api.ask("POST", "/v1/auth/register", {"email": "b@example.com"})
            known = await Api(api.client, key).ask("GET", "/v1/usage")

    assert guesses == [
        (401, "invalid_api_key"),
        (401, "key_rotated"),
        (401, "invalid_api_key"),
        (429, "rate_limit_exceeded"),
    ]
    assert code_of(registration) == (429, "rate_limit_exceeded")
    assert known.status_code == 200


HOPS: dict[str, tuple[list[str], int]] = {
    "the address that is over its limit": (["203.0.113.9"], 429),
    "another one": (["203.0.113.10"], 401),
    "a forged one before it": (["6.6.6.6, 203.0.113.9"], 429),
    "a trusted one behind it": (["203.0.113.9, 10.1.2.3"], 429),
    "a forged line before its line": (["6.6.6.6", "203.0.113.9"], 429),
    "blanks": (["203.0.113.9 ,,"], 429),
    "the same in IPv6's clothes": (["::ffff:203.0.113.9"], 429),
    "another one of the same /64": (["2001:db8:1:2:ffff::9"], 429),
    "one of the next /64": (["2001:db8:1:3::1"], 401),
    "with a port": (["203.0.113.9:1001"], 429),
    "with another port": (["203.0.113.9:1002"], 429),
    "IPv6 in brackets with a port": (["[2001:db8:1:2::7]:443"], 429),
    "IPv6 in quotes": (['"[2001:db8:1:2::7]:443"'], 429),
    "a trusted one with a port behind it": (["203.0.113.9, 10.1.2.3:80"], 429),
    "no address": (["nonsense"], 401),
}

NO_ADDRESSES = ("nonsense", "unknown", "_hidden", "999.1.1.1", "1.2.3.4:port", "[::1", "1.2.3", "x" * 5_000)


def test_what_is_no_address_counts_against_the_proxy_that_sent_it() -> None:
    trusted = (ip_network("10.0.0.0/8"),)

    counted = {client_address("10.0.0.1", f"203.0.113.9, {text}, 10.0.0.2", trusted) for text in NO_ADDRESSES}

    assert counted == {"10.0.0.2"}


async def test_behind_a_trusted_proxy_the_right_most_stranger_is_the_client(limited: Settings) -> None:
    async def guess(client: httpx.AsyncClient, *hops: str) -> int:
        response = await client.get("/v1/usage", headers=[("X-Forwarded-For", hop) for hop in hops])
        return response.status_code

    with trio.fail_after(20):
        async with running(limited.model_copy(update={"trusted_proxies": "127.0.0.0/8, 10.0.0.0/8"})) as daemon:
            first = [await guess(daemon.client, "203.0.113.9") for _ in range(4)]
            sixth = [await guess(daemon.client, "2001:db8:1:2::1") for _ in range(4)]
            found = {why: await guess(daemon.client, *hops) for why, (hops, _) in HOPS.items()}

    assert first == sixth == [401] * 4
    assert found == {why: status for why, (_, status) in HOPS.items()}


def test_a_proxy_that_speaks_ipv6_is_trusted_by_its_ipv4_address() -> None:
    trusted = (ip_network("10.0.0.0/8"),)

    assert client_address("::ffff:10.0.0.1", "203.0.113.9", trusted) == "203.0.113.9"
    assert client_address("::ffff:203.0.113.8", "203.0.113.9", trusted) == "203.0.113.8"


async def test_without_trusted_proxies_what_a_client_says_of_itself_does_not_count(limited: Settings) -> None:
    with trio.fail_after(20):
        async with running(limited) as daemon:
            guesses = [
                (await daemon.api.ask("GET", "/v1/usage", X_Forwarded_For=f"203.0.113.{number}")).status_code
                for number in range(6)
            ]

    assert guesses == [401, 401, 401, 401, 429, 429]


@pytest.mark.parametrize(("used", "warning"), [(8, None), (9, "approaching_limit"), (11, "approaching_limit")])
async def test_above_eighty_percent_of_the_month_every_answer_warns(
    settings: Settings, database: Database, used: int, warning: str | None
) -> None:
    changes: dict[str, Any] = {"monthly_execution_limit": 10}
    with trio.fail_after(20):
        async with running(settings.model_copy(update=changes)) as daemon:
            api = await daemon.api.register()
            await database.execute(
                "insert into usage (user_id, month, executions)"
                " values (1, date_trunc('month', now() at time zone 'utc'), $1)",
                used,
            )
            answered = await api.ask("GET", "/v1/usage")
            refused = await api.ask("GET", "/v1/cues/x")
            health = await api.ask("GET", "/health")

    assert answered.headers.get("X-CueAPI-Usage-Warning") == warning
    assert refused.headers.get("X-CueAPI-Usage-Warning") == warning
    assert "X-CueAPI-Usage-Warning" not in health.headers


async def test_while_postgresql_is_away_every_request_is_put_off_and_nothing_is_half_done(settings: Settings) -> None:
    with trio.fail_after(60), own_postgres() as server:
        async with running(settings.model_copy(update={"database_url": SecretStr(server.dsn)})) as daemon:
            api = await daemon.api.register()
            one = await claimed(api)
            await trio.to_thread.run_sync(server.stop)
            away = [
                await api.ask("GET", "/v1/usage"),
                await api.ask("GET", f"/v1/executions/{one}"),
                await api.ask("POST", "/v1/cues", cue(name="while it is away")),
                await api.ask("POST", "/v1/worker/heartbeat", {}),
                await api.ask("POST", f"/v1/executions/{one}/outcome", {"success": True}),
                await api.ask("POST", "/v1/auth/key/regenerate", X_Confirm_Destructive="true"),
                await daemon.api.ask("POST", "/v1/auth/register", {"email": "b@example.com"}),
            ]
            await trio.to_thread.run_sync(server.start)
            listed = await api.get("/v1/cues")
            answered = await report(api, one, success=True)

    assert [code_of(response) for response in away] == [(503, "storage_unavailable")] * 7
    assert {response.headers["Retry-After"] for response in away} == {"5"}
    assert listed["total"] == 1
    assert answered["outcome_state"] == "reported_success"


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/cues", "/v1/auth/device-code/poll", "/nowhere"])
async def test_a_body_that_comes_after_its_answer_was_known_leaves_the_connection_of_use(
    daemon: RunningDaemon, method: str, path: str
) -> None:
    body = b'{"name": "late"}'
    late = h11.Request(method=method, target=path, headers=[("Host", "localhost"), ("Content-Length", str(len(body)))])
    plain = h11.Request(method="GET", target="/v1/auth/me", headers=[("Host", "localhost")])
    port, statuses = daemon.resources.listener.getsockname()[1], []

    with trio.fail_after(20):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            http = h11.Connection(h11.CLIENT)
            for _ in range(3):
                await stream.send_all(http.send(late) or b"")
                await trio.sleep(0.02)
                await stream.send_all((http.send(h11.Data(body)) or b"") + (http.send(h11.EndOfMessage()) or b""))
                await answered(stream, http)
                await stream.send_all((http.send(plain) or b"") + (http.send(h11.EndOfMessage()) or b""))
                statuses.append(await answered(stream, http))

    assert statuses == [401, 401, 401]


async def answered(stream: trio.SocketStream, http: h11.Connection) -> int:
    """The status of the next answer, read to its end; the connection is then of further use."""
    status = 0
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Response):
            status = event.status_code
    http.start_next_cycle()
    return status


async def test_a_client_that_never_ends_its_body_is_answered_and_hung_up_on(daemon: RunningDaemon) -> None:
    port = daemon.resources.listener.getsockname()[1]

    with trio.fail_after(20):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"POST /v1/cues HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            answered = b""
            while data := await stream.receive_some():
                answered += data

    assert answered.startswith(b"HTTP/1.1 401")

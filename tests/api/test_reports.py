"""The report URL: who holds the token of an attempt reports on it, and can do nothing else."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest
import trio

from cueapi.api.http.operations import FORM
from cueapi.api.reports import BROKEN
from cueapi.security.report_tokens import ReportTokens
from cueapi.storage.database import Database
from tests.api.work import claimed, fired, shown
from tests.conftest import SECRET, Api, RunningDaemon, cue
from tests.receiver import open_receiver

TOKENS = ReportTokens.of(SECRET, "")


def path_of(url: str) -> str:
    """The path of a report URL."""
    return url[url.index("/v1/report/") :]


def report_path(execution: str, attempt: int = 1) -> str:
    """Where that attempt reports."""
    return path_of(TOKENS.url(UUID(execution), attempt))


async def told(daemon: RunningDaemon, path: str, content: bytes = b"", kind: str | None = None) -> httpx.Response:
    """What a POST without a key is answered."""
    return await daemon.client.post(path, content=content, headers={} if kind is None else {"Content-Type": kind})


def code(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return response.status_code, response.json()["error"]["code"]


async def ready_again(database: Database, execution: str) -> None:
    """As if the pause before the next attempt were over."""
    await database.execute("update executions set ready_at = now() where id = $1", execution)


async def test_a_delivery_carries_the_url_by_which_its_handler_reports_without_a_key(
    api: Api, daemon: RunningDaemon
) -> None:
    with trio.fail_after(30):
        async with open_receiver([202]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            [request] = await receiver.wait_for(1)
            await api.execution(one)
        url = str(request.header("X-CueAPI-Report-URL"))
        answered = await told(daemon, path_of(url), b'{"success": true, "result": "done"}')
        ended = await shown(api, one)

    port = daemon.address.rpartition(":")[2]
    assert url == f"http://localhost:{port}{report_path(one)}"
    assert answered.status_code == 200
    assert answered.json() == {
        "execution_id": one,
        "outcome_recorded": True,
        "outcome_state": "reported_success",
        "will_retry": False,
        "reason": None,
    }
    assert (ended["outcome_success"], ended["outcome"]["result"]) == (True, "done")


async def test_a_cue_cannot_replace_the_report_url(api: Api) -> None:
    with trio.fail_after(30):
        async with open_receiver([200]) as receiver:
            callback = {"url": receiver.url(), "method": "GET", "headers": {"x-cueapi_report-url": "http://evil.test"}}
            made = await api.post("/v1/cues", cue(callback=callback, transport="webhook"))
            await api.post(f"/v1/cues/{made['id']}/fire")
            [request] = await receiver.wait_for(1)

    assert "x-cueapi_report-url" in made["warning"]
    assert "/v1/report/run_" in str(request.header("X-CueAPI-Report-URL"))
    assert request.header("x-cueapi_report-url") is None


async def test_workers_are_given_the_report_url_wherever_they_meet_their_work(api: Api) -> None:
    with trio.fail_after(30):
        one = await fired(api)
        [listed] = (await api.get("/v1/executions/claimable"))["executions"]
        by_id = await api.post(f"/v1/executions/{one}/claim")
        beaten = await api.post(f"/v1/executions/{one}/heartbeat")
        two = await fired(api)
        next_one = await api.post("/v1/executions/claim", {})
        three = await fired(api)
        claimed_too = await api.post("/v1/worker/heartbeat", {"claim": 5})
        stored = await api.ask("GET", "/v1/executions/claimable")

    paths = [path_of(each["report_url"]) for each in (listed, by_id, beaten, next_one, *claimed_too["executions"])]
    assert paths == [report_path(one)] * 3 + [report_path(two), report_path(three)]
    assert stored.headers["Cache-Control"] == "no-store"


FORMS: dict[str, tuple[bytes, str | None, dict[str, Any]]] = {
    "JSON without a type": (b'{"success": true, "result": "r"}', None, {"success": True, "result": "r"}),
    "JSON as curl sends it": (b' {"success": true}', FORM, {"success": True}),
    "text": (b"done\n", "text/plain", {"success": True, "result": "done"}),
    "text of another type": (b"[1, 2]", None, {"success": True, "result": "[1, 2]"}),
    "text as curl sends it": (
        b"took 3 min, x=5", FORM, {"success": True, "result": "took 3 min, x=5"},
    ),
    "bytes that are no UTF-8": (b"caf\xe9\x00", "text/plain", {"success": True, "result": "caf\ufffd\ufffd"}),
    "JSON in UTF-16, as PowerShell writes a file": (
        '{"success": false, "error": "ä"}'.encode("utf-16"), None, {"success": False, "error": "ä"},
    ),
    "text in UTF-16": ("fünf".encode("utf-16"), "text/plain", {"success": True, "result": "fünf"}),
    "text of a success": (
        b"success! 3 unsuccessful=false, it is true", None, {
            "success": True, "result": "success! 3 unsuccessful=false, it is true",
        },
    ),
    "a form that says the same twice": (b"success=no&error=x&success=false", FORM, {"success": False, "error": "x"}),
    "JSON that says the same twice": (b'{"success": true, "success": true}', None, {"success": True}),
    "a form": (
        urlencode({"success": "true", "result": "ä & b", "metadata": '{"pages": 3}'}).encode(),
        FORM,
        {"success": True, "result": "ä & b", "metadata": {"pages": 3}},
    ),
    "a form of a failure": (
        urlencode({"success": "no", "error": "no paper", "retry": "false"}).encode(),
        FORM,
        {"success": False, "error": "no paper"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "kind", "outcome"), FORMS.values(), ids=FORMS)
async def test_a_report_is_json_or_a_form_or_plain_text(
    api: Api, daemon: RunningDaemon, content: bytes, kind: str | None, outcome: dict[str, Any]
) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        answered = await told(daemon, report_path(one), content, kind)
        ended = await shown(api, one)

    assert answered.status_code == 200, answered.text
    kept = {"result": None, "error": None, "metadata": None} | outcome
    assert ended["outcome"] | {"recorded_at": None} == kept | {"recorded_at": None}


WRONG = {
    "nothing": (b"", None, 422, "body.success: is required"),
    "a misspelt field": (b'{"sucess": true}', None, 422, "body.sucess"),
    "a misspelt field of a form": (b"sucess=false", FORM, 422, "body.sucess"),
    "a form without a truth": (b"success=maybe", FORM, 422, "body.success"),
    "a form with bad JSON": (b"success=1&metadata={", FORM, 400, "not JSON"),
    "JSON that says so and is none": (b"{", None, 400, "not JSON"),
    "a list that says that it is JSON": (b"[]", "application/json", 422, "body: must be a JSON object"),
    "a form that says both": (b"success=false&success=true", FORM, 422, "body.success: is sent more than once"),
    "JSON that says both": (b'{"success": false, "success": true}', None, 422, "body.success: is sent more than once"),
    "a form with many fields": (b"&".join([b"a=b"] * 30), FORM, 422, "20 fields"),
    "large metadata": (b'{"success": true, "metadata": {"a": "%s"}}' % (b"x" * 10_240), None, 400, "10 KiB"),
    "several parts": (b"--x\r\n", "multipart/form-data; boundary=x", 415, "multipart"),
    "a body of over 256 KiB": (b"x" * (256 * 1024 + 1), "text/plain", 413, "256 KiB"),
}


async def test_a_report_that_cannot_be_read_is_refused_and_records_nothing(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(60):
        one = await claimed(api)
        found = {
            name: await told(daemon, report_path(one), content, kind) for name, (content, kind, *_) in WRONG.items()
        }
        after = await shown(api, one)
        longest = await told(daemon, report_path(one), b"x" * (256 * 1024), "text/plain")

    assert {name: each.status_code for name, each in found.items()} == {name: each[2] for name, each in WRONG.items()}
    assert {name for name, each in found.items() if WRONG[name][3] not in each.text} == set()
    assert (after["status"], after["outcome"]) == ("delivering", None)
    assert longest.json()["truncated"] == ["result"]


UNREAD: dict[str, tuple[bytes, str | None]] = {
    "a list": (b'[{"success": false}]', None),
    "JSON in UTF-16, cut": ('[{"success": false'.encode("utf-16"), None),
    "made a text of JSON once more": (b'"{\\"success\\":false}"', None),
    "encoded as a part of a URL": (b"%7B%22success%22%3A+false%7D", FORM),
    "YAML": (b"success: false\nerror: no paper", "text/plain"),
    "YAML of a success": (b"success: True", None),
    "XML": (b"<report><success>false</success></report>", "application/xml"),
    "quoted by a shell": (b"'{success:false}'", FORM),
    "a line before it": (b'Warning: x\n{"success": false}', None),
    "a form that is not said to be one": (b"error=x&success=false", "text/plain"),
    "a form that is not said to be one, with a number": (b"success=0&error=x", "text/plain"),
    "a form that begins with another name": (b"x-y=1&success=no", FORM),
}


async def test_a_report_that_names_success_and_cannot_be_read_is_refused_and_can_be_sent_anew(
    api: Api, daemon: RunningDaemon
) -> None:
    with trio.fail_after(60):
        one = await claimed(api)
        refused = [
            await told(daemon, report_path(one), content, each)
            for content, kind in UNREAD.values()
            for each in {kind, None, "text/plain"}
        ]
        before = await shown(api, one)
        taken = await told(daemon, f"{report_path(one)}/fail", b"success: false\nerror: no paper")
        after = await shown(api, one)

    assert {code(each) for each in refused} == {(422, "validation_error")}
    assert all("/success or /fail" in each.text for each in refused)
    assert (before["status"], before["outcome"]) == ("delivering", None)
    assert taken.status_code == 200
    assert after["outcome"]["error"] == "success: false\nerror: no paper"


async def test_prose_that_speaks_of_success_is_a_result(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(60):
        one = await claimed(api)
        prose = b"A success. True positives: 12; false ones: none."
        taken = await told(daemon, report_path(one), prose, "text/plain")
        after = await shown(api, one)

    assert (taken.status_code, after["outcome"]["success"], after["outcome"]["result"]) == (200, True, prose.decode())


ENDINGS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "success": (b"all done", {"success": True, "result": "all done"}),
    "fail": (b"no paper", {"success": False, "error": "no paper"}),
    "0": (b'{"pages": 3}', {"success": True, "result": '{"pages": 3}'}),
    "00": (b'"success": false, of a log', {"success": True, "result": '"success": false, of a log'}),
    "3": (b"", {"success": False, "error": "exit status 3"}),
    "254": ("kein Papier für".encode("utf-16"), {"success": False, "error": "kein Papier für"}),
    "255": (b"killed", {"success": False, "error": "killed"}),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_outcome_needs_no_json(api: Api, daemon: RunningDaemon, ending: str) -> None:
    content, outcome = ENDINGS[ending]
    with trio.fail_after(30):
        one = await claimed(api)
        answered = await told(daemon, f"{report_path(one)}/{ending}", content, FORM)
        ended = await shown(api, one)

    assert answered.status_code == 200, answered.text
    assert answered.json()["will_retry"] is not outcome["success"]
    assert {name: ended["outcome"][name] for name in outcome} == outcome


async def test_what_becomes_of_the_execution_can_be_asked_without_a_key(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(30):
        one = await claimed(api, name="nightly", payload={"secret": "of the payload"})
        before = await daemon.client.get(report_path(one))
        await told(daemon, f"{report_path(one)}/success", b"secret of the evidence")
        after = await daemon.client.get(report_path(one))
        ended = await shown(api, one)

    assert before.json() == {
        "execution_id": one,
        "cue_name": "nightly",
        "attempt": 1,
        "status": "delivering",
        "outcome_state": None,
        "outcome_deadline_at": ended["outcome_deadline_at"],
    }
    assert after.json() == before.json() | {"status": "success", "outcome_state": "reported_success"}


async def test_who_holds_only_a_report_token_can_do_nothing_but_report_on_its_execution(
    api: Api, daemon: RunningDaemon
) -> None:
    with trio.fail_after(30):
        one, other = await claimed(api), await claimed(api, payload={"secret": "of another"})
        path, token = report_path(one), report_path(one).rpartition("/")[2]
        await told(daemon, path, b'{"success": true, "external_id": "x1"}')
        bearer = {"Authorization": f"Bearer {token}"}
        with_token = [
            await daemon.client.request(method, f"/v1/executions/{execution}{rest}", headers=bearer, content=b"{}")
            for execution in (one, other)
            for method, rest in (("GET", ""), ("POST", "/outcome"), ("POST", "/verify"), ("PATCH", "/evidence"))
        ]
        below = [
            await daemon.client.request(method, f"{path}{rest}", content=b"{}")
            for method, rest in (
                ("POST", "/verify"), ("POST", "/verification-pending"), ("PATCH", "/evidence"), ("POST", "/replay"),
                ("GET", f"/{other}"), ("POST", "/256"), ("POST", "/-1"), ("POST", "/1e1"),
                ("POST", "/%D9%A0"),
            )
        ]  # fmt: skip
        after = await shown(api, one)

    assert {code(each) for each in with_token} == {(401, "invalid_api_key")}
    assert {code(each) for each in below} == {(404, "not_found")}
    assert after["outcome_state"] == "reported_success"
    assert not any("of another" in each.text for each in (*with_token, *below))


async def test_of_24_reports_that_race_with_one_token_exactly_one_counts(api: Api, daemon: RunningDaemon) -> None:
    answered: list[tuple[int, str]] = []
    with trio.fail_after(60):
        one = await claimed(api)

        async def race(ending: str) -> None:
            response = await told(daemon, report_path(one) + ending, b'{"success": true}')
            answered.append((200, "") if response.status_code == 200 else code(response))

        async with trio.open_nursery() as nursery:
            for number in range(24):
                nursery.start_soon(race, ("", "/success", "/0")[number % 3])
        usage = await api.get("/v1/usage")
        ended = await shown(api, one)

    assert sorted(answered) == [(200, "")] + [(409, "outcome_already_recorded")] * 23
    assert usage["outcomes"] == {"reported": 1, "succeeded": 1, "failed": 0}
    assert (ended["status"], len(ended["attempt_log"])) == ("success", 1)


async def test_a_success_of_an_earlier_attempt_is_final_and_calls_off_the_one_under_way(
    api: Api, daemon: RunningDaemon, database: Database
) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        await told(daemon, f"{report_path(one, 1)}/fail", b"no answer yet")
        await ready_again(database, one)
        await api.post(f"/v1/executions/{one}/claim")
        late_failure = await told(daemon, f"{report_path(one, 1)}/fail", b"again")
        success = await told(daemon, report_path(one, 1), b'{"success": true, "result": "after all"}')
        beaten = await told(daemon, f"{report_path(one, 2)}/heartbeat")
        own = await told(daemon, f"{report_path(one, 2)}/success")
        ended = await shown(api, one)

    assert code(late_failure) == (409, "attempt_is_over")
    assert success.json()["outcome_state"] == "reported_success"
    assert beaten.json()["cancel"] is True
    assert code(own) == (409, "outcome_already_recorded")
    assert (ended["status"], ended["outcome"]["result"], ended["attempts"]) == ("success", "after all", 2)
    assert [(each["attempt"], each["outcome"]) for each in ended["attempt_log"]] == [(1, "success"), (2, "called_off")]


async def test_a_success_counts_after_the_failure_of_the_same_attempt_while_the_execution_is_unfinished(
    api: Api, daemon: RunningDaemon
) -> None:
    with trio.fail_after(30):
        one, lost = await claimed(api), await claimed(api, retry={"max_attempts": 1})
        failure = await told(daemon, f"{report_path(one)}/fail", b"no paper")
        again = await told(daemon, f"{report_path(one)}/fail", b"no paper")
        success = await told(daemon, f"{report_path(one)}/success", b"paper came")
        await told(daemon, f"{report_path(lost)}/fail")
        too_late = await told(daemon, f"{report_path(lost)}/success")
        ended = [await shown(api, each) for each in (one, lost)]

    assert failure.json()["will_retry"] is True
    assert code(again) == (409, "outcome_already_recorded")
    assert success.status_code == 200
    assert code(too_late) == (409, "outcome_already_recorded")
    assert [(each["status"], each["outcome_success"]) for each in ended] == [("success", True), ("failed", False)]


async def test_a_success_of_an_attempt_whose_claim_was_lost_is_taken(api: Api, daemon: RunningDaemon) -> None:
    with trio.fail_after(30):
        one = await fired(api)
        answered = await told(daemon, f"{report_path(one, 1)}/success", b"it was faster")
        ended = await shown(api, one)

    assert answered.status_code == 200
    assert (ended["status"], ended["outcome"]["result"]) == ("success", "it was faster")


async def test_a_broken_token_is_not_found_thirty_times_a_minute_and_a_good_one_is_never_limited(
    api: Api, daemon: RunningDaemon
) -> None:
    with trio.fail_after(60):
        one = await claimed(api)
        path = report_path(one)
        broken = [
            await daemon.client.request(("GET", "POST")[number % 2], f"{path[:-1]}{'AB'[path[-1] == 'A']}")
            for number in range(BROKEN + 2)
        ]
        good = [await daemon.client.get(path) for _ in range(BROKEN)]
        beaten = [await told(daemon, f"{path}/heartbeat") for _ in range(BROKEN)]
        ended = await told(daemon, f"{path}/success")

    assert {code(each) for each in broken[:BROKEN]} == {(404, "report_not_found")}
    assert {code(each) for each in broken[BROKEN:]} == {(429, "rate_limit_exceeded")}
    assert int(broken[-1].headers["Retry-After"]) >= 1
    assert {each.status_code for each in (*good, *beaten, ended)} == {200}
    assert "X-RateLimit-Limit" not in ended.headers


async def test_what_has_ended_a_week_ago_is_over(api: Api, daemon: RunningDaemon, database: Database) -> None:
    with trio.fail_after(30):
        old, open_still, young = [await claimed(api) for _ in range(3)]
        for one in (old, open_still, young):
            await told(daemon, f"{report_path(one)}/success")
        ended = (
            "update executions set finished_at = now() - $2 * interval '1 day', outcome_deadline_at = %s where id = $1"
        )
        await database.execute(ended % "null", old, 7.1)
        await database.execute(ended % "null", young, 6.9)
        await database.execute(ended % "now()", open_still, 20)
        found = [
            await daemon.client.request(method, report_path(old) + rest)
            for method, rest in (("GET", ""), ("POST", "/success"), ("POST", "/fail"), ("POST", "/heartbeat"))
        ]
        others = [await daemon.client.get(report_path(one)) for one in (young, open_still)]

    assert {code(each) for each in found} == {(410, "report_expired")}
    assert [each.status_code for each in others] == [200, 200]


async def test_no_log_line_shows_a_token(api: Api, daemon: RunningDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(30):
        one = await claimed(api)
        path = report_path(one)
        for rest, content in (
            ("", b"{"),
            ("/success", b""),
            ("/success", b""),
            ("/heartbeat", b"[]"),
            ("/nothing", b""),
        ):
            await told(daemon, path + rest, content)
        await daemon.client.get(path[:-2])

    logged = json.dumps(capfd.readouterr())
    assert "/v1/report/<token>/success" in logged
    assert "run_" not in logged

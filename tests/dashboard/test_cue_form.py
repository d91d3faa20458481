"""The form of a cue: what is refused stands beside its field, what was typed stays, the call is shown for a shell."""

import json
import re
import shlex
from typing import Any

import httpx
import trio

from cueapi.dashboard.assertion_lines import lines_of
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue
from tests.dashboard.browsing import signed_in, target, text_of
from tests.dashboard.test_cues import URL, make

GOOD = {
    "name": "brief", "kind": "recurring", "cron": "0 9 * * MON-FRI", "timezone": "America/Los_Angeles",
    "transport": "webhook", "url": URL, "payload": '{"task": "x"}', "fail_email": "on",
}  # fmt: skip


def problems(page: httpx.Response) -> dict[str, str]:
    """What stands beside which field."""
    return dict(re.findall(r'<p class="problem" id="(\w+)-problem" role="alert">([^<]*)</p>', page.text))


def typed(page: httpx.Response) -> dict[str, str]:
    """What the text fields of the form hold, and what it was opened with."""
    fields = re.findall(r'<input id="(\w+)" name="\w+" type="\w+" value="([^"]*)"', page.text)
    areas = re.findall(r'<textarea id="(\w+)"[^>]*>\n([^<]*)</textarea>', page.text)
    seen = re.findall(r'name="(seen)" value="(\w*)"', page.text)
    return {name: value.replace("&#34;", '"') for name, value in [*fields, *areas, *seen]}


async def test_a_cue_is_made_by_the_form(daemon: RunningDaemon, api: Api) -> None:
    more = {
        "group": "briefs", "description": "Writes it.", "method": "PUT", "headers": "X-Team: research\nX-Two: a:b",
        "max_attempts": "3", "backoff": "1, 5", "timeout": "20", "deadline": "60", "max_wait": "600", "catchup": "none",
        "overlap": "skip", "verification": "manual", "max_runtime": "900",
        "assertions": 'metadata.items >= 1\nsummary = all done\nexternal_id exists\nmetadata.kind in ["a", 2]',
        "on_failed": "fail", "fail_pause": "on", "alert_failures": "5", "alert_missed": "2",
    }  # fmt: skip
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues/new")
        made = await browser.post("/ui/cues/new", GOOD | more)
        path = target(made)
        shown = await api.get(f"/v1/cues/{path.rpartition('/')[2]}")
        page = await browser.get(path)

    assert "“brief” was made." in text_of(page)
    assert shown["schedule"] == {
        "type": "recurring", "cron": "0 9 * * MON-FRI", "timezone": "America/Los_Angeles", "catchup": "none",
        "overlap": "skip",
    }  # fmt: skip
    assert shown["callback"] == {"url": URL, "method": "PUT", "headers": {"X-Team": "research", "X-Two": "a:b"}}
    assert (shown["payload"], shown["group"], shown["description"]) == ({"task": "x"}, "briefs", "Writes it.")
    assert shown["retry"] == {"max_attempts": 3, "backoff_minutes": [1, 5]}
    assert shown["delivery"] == {
        "timeout_seconds": 20, "outcome_deadline_seconds": 60, "max_wait_seconds": 600, "max_runtime_seconds": 900,
    }  # fmt: skip
    assert shown["alerts"]["consecutive_failures"] == 5
    assert shown["verification"] == {
        "mode": "manual",
        "assert": [
            {"field": "metadata.items", "op": ">=", "value": 1},
            {"field": "summary", "op": "=", "value": "all done"},
            {"field": "external_id", "op": "exists"},
            {"field": "metadata.kind", "op": "in", "value": ["a", 2]},
        ],
        "on_failed": "fail",
    }
    assert "metadata.items >= 1" in text_of(page)
    assert shown["on_failure"] == {"email": True, "webhook": None, "pause": True}


async def test_a_bad_cron_stands_beside_its_field_and_all_that_was_typed_stays(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues/new")
        page = await browser.post("/ui/cues/new", GOOD | {"cron": "0 9 15W * *", "headers": "A: b", "backoff": "2, 3"})
        listed = (await api.get("/v1/cues"))["cues"]

    assert page.status_code == 400
    assert list(problems(page)) == ["cron"]
    assert "nearest weekday" in problems(page)["cron"]
    assert 'aria-invalid="true" aria-describedby="cron-problem"' in page.text
    assert typed(page) | {"cron": "0 9 15W * *", "headers": "A: b", "backoff": "2, 3", "url": URL} == typed(page)
    assert typed(page)["payload"] == '{"task": "x"}'
    assert listed == []


async def test_each_refusal_stands_beside_the_field_that_it_is_about(daemon: RunningDaemon, api: Api) -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({"cron": ""}, "cron"), ({"kind": "once", "at": "tomorrow"}, "at"), ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"url": ""}, "url"), ({"url": "http://10.0.0.1/"}, "url"), ({"payload": "{"}, "payload"),
        ({"payload": "[]"}, "payload"), ({"name": ""}, "name"), ({"name": "taken"}, "name"),
        ({"max_attempts": "many"}, "max_attempts"), ({"max_attempts": "99"}, "max_attempts"),
        ({"backoff": "1, soon"}, "backoff"), ({"backoff": "5000"}, "backoff"), ({"headers": "no colon"}, "headers"),
        ({"headers": "A: 1\nA: 2"}, "headers"), ({"assertions": "metadata.x = 1\nnothing"}, "assertions"),
        ({"headers": "Bad Name: x"}, "headers"), ({"group": "UPPER"}, "group"), ({"timeout": "0"}, "timeout"),
        ({"fail_webhook": "ftp://x"}, "fail_webhook"), ({"alert_failures": "0"}, "alert_failures"),
    ]  # fmt: skip
    with trio.fail_after(60):
        await make(api, "taken")
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues/new")
        pages = [(await browser.post("/ui/cues/new", GOOD | fields), name) for fields, name in cases]
        total = (await api.get("/v1/cues"))["total"]

    assert [(name, problems(page)) for page, name in pages if name not in problems(page)] == []
    assert all(page.status_code in {400, 409, 422} for page, _ in pages)
    assert total == 1


async def test_a_preview_shows_the_next_times_and_keeps_the_form(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues/new")
        whole = await browser.post("/ui/cues/preview", GOOD)
        part = await browser.post("/ui/cues/preview", GOOD, X_Fragment="1")
        wrong = await browser.post("/ui/cues/preview", GOOD | {"cron": "99 * * * *"}, X_Fragment="1")
        listed = (await api.get("/v1/cues"))["cues"]

    aside = whole.text[whole.text.index('<aside id="preview"') :]
    assert "weekdays at 09:00, Los Angeles time" in aside
    assert aside.count(" 09:00</span>") == 10
    assert typed(whole)["name"] == "brief"
    assert 'id="preview"' in part.text
    assert "<nav" not in part.text
    assert "only 0 to 59 are possible" in wrong.text
    assert listed == []


async def test_a_cue_is_changed_by_the_form_and_what_is_emptied_is_cleared(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        (made,) = await make(
            api, "before", description="old", group="g", delivery={"timeout_seconds": 9}, payload={"n": 2**70, "x": 1.5}
        )
        browser = await signed_in(daemon, api)
        page = await browser.get(f"/ui/cues/{made}/edit")
        before = await api.get(f"/v1/cues/{made}")
        fields: dict[str, Any] = typed(page) | {"transport": "webhook", "kind": "recurring", "name": "after"}
        target(await browser.post(f"/ui/cues/{made}/edit", fields | {"description": "", "timeout": ""}))
        after = await api.get(f"/v1/cues/{made}")

    assert (after["name"], after["description"], after["group"], after["delivery"]) == ("after", None, "g", None)
    kept = ("schedule", "callback", "payload", "retry", "verification", "next_run")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    # Boxes that were not ticked.
    assert after["on_failure"] == {"email": False, "webhook": None, "pause": False}


async def test_a_form_that_was_opened_before_another_change_takes_nothing_back_unasked(
    daemon: RunningDaemon, api: Api
) -> None:
    with trio.fail_after(30):
        (made,) = await make(api, "brief", description="old")
        browser = await signed_in(daemon, api)
        path = f"/ui/cues/{made}/edit"
        first: dict[str, Any] = typed(await browser.get(path)) | {"transport": "webhook", "kind": "recurring"}
        await api.patch(f"/v1/cues/{made}", {"status": "paused"})  # Nothing that the form shows.
        fields = first | {"name": "mine"}
        target(await browser.post(path, fields))
        opened: dict[str, Any] = typed(await browser.get(path)) | {"transport": "webhook", "kind": "recurring"}
        await api.patch(f"/v1/cues/{made}", {"description": "of another", "payload": {"of": "another"}})
        stale = await browser.post(path, opened | {"name": "mine again"})
        kept = await api.get(f"/v1/cues/{made}")
        again = typed(stale) | {"transport": "webhook", "kind": "recurring"}
        target(await browser.post(path, again))
        after = await api.get(f"/v1/cues/{made}")

    assert stale.status_code == 409
    assert "the cue was changed since this form was opened" in text_of(stale)
    assert (kept["name"], kept["description"]) == ("mine", "of another")
    assert (again["name"], again["description"]) == ("mine again", "old")
    assert (after["name"], after["description"], after["payload"]) == ("mine again", "old", {})


async def test_a_time_of_day_stays_one_where_the_form_leaves_it(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    local = []
    with trio.fail_after(30):
        (made,) = await make(api, "before", schedule={"at": "2030-05-01T09:00", "timezone": "America/Los_Angeles"})
        browser = await signed_in(daemon, api)
        for at in ("2030-05-01T16:00:00Z", "2030-05-01T17:00:00Z"):
            fields = typed(await browser.get(f"/ui/cues/{made}/edit")) | {"transport": "webhook", "kind": "once"}
            assert fields["at"] == "2030-05-01T16:00:00Z"
            target(await browser.post(f"/ui/cues/{made}/edit", fields | {"name": "after", "at": at}))
            local.append(await database.fetch_one("select name, schedule_local::text from cues"))

    assert [(row["name"], row["schedule_local"]) for row in local if row] == [
        ("after", "2030-05-01 09:00:00"), ("after", None),
    ]  # fmt: skip


async def test_the_call_is_shown_quoted_for_a_shell_and_nothing_is_done(daemon: RunningDaemon, api: Api) -> None:
    name = 'it\'s $(rm -rf ~) `x` "quoted"'
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        await browser.get("/ui/cues/new")
        page = await browser.post("/ui/cues/new", GOOD | {"name": name, "do": "curl"})
        listed = (await api.get("/v1/cues"))["cues"]
        line = re.search(r'<pre id="curl">(.*?)</pre>', page.text, re.DOTALL)
        assert line is not None
        words = shlex.split(httpx.Response(200, html=line[1]).text.replace("&#39;", "'").replace("&#34;", '"'))
        made = await api.post("/v1/cues", json.loads(words[-1]))

    assert words[:3] == ["curl", "-X", "POST"]
    assert words[3].endswith("/v1/cues")
    assert listed == []
    assert (made["name"], made["schedule"]["cron"]) == (name, GOOD["cron"])


async def test_a_double_click_makes_one_cue(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        page = await browser.get("/ui/cues/new")
        nonce = re.search(r'name="nonce" value="(\w+)"', page.text)
        assert nonce is not None
        answers = [await browser.post("/ui/cues/new", GOOD | {"nonce": nonce[1]}) for _ in range(2)]
        total = (await api.get("/v1/cues"))["total"]

    assert target(answers[0]) == target(answers[1])
    assert total == 1


async def test_assertions_are_changed_a_line_each_and_a_bad_line_stands_beside_its_field(
    daemon: RunningDaemon, api: Api
) -> None:
    items = {"field": "metadata.items", "op": ">=", "value": 1}
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        asked = {"mode": "none", "assert": [items], "on_failed": "fail"}
        made = await api.post("/v1/cues", cue(URL, verification=asked))
        path = f"/ui/cues/{made['id']}/edit"
        opened = typed(await browser.get(path))
        filled = GOOD | {"on_failed": "fail", "assertions": "metadata.items"}
        no_line = problems(await browser.post(path, filled))
        refused = problems(await browser.post(path, filled | {"assertions": "summary > 5"}))
        await browser.post(path, filled | {"assertions": "", "on_failed": "keep"})
        shown = await api.get(f"/v1/cues/{made['id']}")

    assert opened["assertions"] == "metadata.items &gt;= 1"
    assert "needs a field, an operator and a value" in no_line["assertions"]
    assert "must be a text: summary is one" in refused["assertions"]
    assert shown["verification"] == {"mode": "none"}


async def test_texts_of_several_lines_and_strange_ends_of_lines_are_saved_as_they_were(
    daemon: RunningDaemon, api: Api
) -> None:
    described = "line one\nline two\n  - third"
    strange = {"field": "metadata.said", "op": "=", "value": "a\u2028b\x85c"}
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        made = await api.post("/v1/cues", cue(URL, description=described, verification={"assert": [strange]}))
        path = f"/ui/cues/{made['id']}/edit"
        page = await browser.get(path)
        asserted = lines_of([strange])
        told = GOOD | {"description": described.replace("\n", "\r\n"), "assertions": f"{asserted}\r\n"}
        target(await browser.post(path, told))
        shown = await api.get(f"/v1/cues/{made['id']}")
        no_json = problems(await browser.post(path, GOOD | {"assertions": "metadata.x < NaN"}))

    assert f">\n{described}</textarea>" in page.text
    assert (shown["description"], shown["verification"]["assert"]) == (described, [strange])
    assert no_json == {}

"""The page of a cue: its facts, its times, its figures, and what its buttons do."""

import re
from datetime import UTC, datetime, timedelta

import trio

from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue
from tests.dashboard.browsing import signed_in, target, text_of
from tests.dashboard.test_cues import URL, make, notice_after, statuses
from tests.receiver import open_receiver


async def test_a_cue_shows_its_schedule_its_times_and_what_it_calls(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        schedule = {"cron": "30 9 1 1 *", "timezone": "Asia/Kolkata"}
        (made,) = await make(api, "yearly", schedule=schedule, payload={"n": 12345678901234567890, "f": 1.10})
        page = await (await signed_in(daemon, api)).get(f"/ui/cues/{made}")

    said = text_of(page)
    assert "the 1st of January at 09:30, Kolkata time · next in" in said
    assert len(re.findall(r"-01-01 09:30", said)) == 10
    assert "+05:30" in said
    assert f'href="{URL}" rel="noopener noreferrer nofollow"' in page.text
    assert "12345678901234567890" in said
    assert "It has not fired yet." in said


async def test_the_figures_are_those_of_the_newest_executions(
    daemon: RunningDaemon, api: Api, database: Database
) -> None:
    with trio.fail_after(40):
        async with open_receiver([200, 200, 200, 500]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), retry={"max_attempts": 1}))
            for _ in range(4):
                await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
            await database.execute(
                "update attempts a set duration_ms = 100 * n from"
                " (select execution_id, row_number() over (order by execution_id) as n from attempts) numbered"
                " where numbered.execution_id = a.execution_id"
            )
            page = await (await signed_in(daemon, api)).get(f"/ui/cues/{made['id']}")

    said = text_of(page)
    assert "● succeeded 3 ▲ failed 1 p50 200 ms p95 400 ms of the last 4" in said
    assert "▲ failing The last execution failed." in said
    assert "The handler answered 500." in said


async def test_a_cue_is_paused_resumed_and_deleted_from_its_page(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        (made,) = await make(api, "brief")
        browser = await signed_in(daemon, api)
        path = f"/ui/cues/{made}"
        question = text_of(await browser.get(path))
        paused = await notice_after(browser, f"{path}/pause", {})
        after_pause = await statuses(api)
        resumed = await notice_after(browser, f"{path}/resume", {})
        after_resume = await statuses(api)
        strange = await browser.post(f"{path}/explode")
        deleted = await notice_after(browser, f"{path}/delete", {})

    assert "Delete “brief” and its 0 executions?" in question
    assert (paused, after_pause) == ("Paused “brief”. Resume", {"brief": "paused"})
    assert (resumed, after_resume) == ("Resumed “brief”. Pause", {"brief": "active"})
    assert strange.status_code == 404
    assert (deleted, await statuses(api)) == ("Deleted “brief”.", {})


async def test_a_fire_takes_a_payload_and_what_is_no_json_stands_beside_its_field(
    daemon: RunningDaemon, api: Api
) -> None:
    with trio.fail_after(30):
        (made,) = await make(api, "brief", transport="worker", payload={"a": 1, "b": 2})
        browser = await signed_in(daemon, api)
        path = f"/ui/cues/{made}/fire"
        await browser.get(f"/ui/cues/{made}")
        wrong = await browser.post(path, {"payload": '{"a": ', "merge": "replace", "nonce": "n1"})
        a_list = await browser.post(path, {"payload": "[1]", "nonce": "n1"})
        nothing = await browser.post(path, {"payload": " ", "merge": "replace", "nonce": "n1"})
        for _ in range(2):
            target(await browser.post(path, {"payload": '{"b": 3}', "merge": "merge", "nonce": "n2"}))
        target(await browser.post(path, {"payload": '{"c": 4}', "merge": "replace", "nonce": "n3"}))
        fired = (await api.get("/v1/executions"))["executions"]
        payloads = [(await api.get(f"/v1/executions/{one['id']}"))["payload"] for one in fired]

    assert (wrong.status_code, a_list.status_code, nothing.status_code) == (422, 422, 422)
    assert "an empty one is {}" in text_of(nothing)
    assert "is no JSON" in text_of(wrong)
    assert "{&#34;a&#34;: </textarea>" in wrong.text
    assert 'value="replace" checked' in wrong.text
    assert '<details class="override" open>' in wrong.text
    assert payloads == [{"c": 4}, {"a": 1, "b": 3}]


async def test_what_cannot_be_done_is_told_at_the_top_in_words_of_the_page(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        async with open_receiver() as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            await api.execution(fired["id"])
            browser = await signed_in(daemon, api)
            path = f"/ui/cues/{made['id']}"
            await browser.get(path)
            await api.ask("PUT", "/v1/hold", {})
            refused = [
                await browser.post(f"{path}/fire", {"nonce": "n1"}),
                await browser.post(f"{path}/replay", {"execution": fired["id"], "nonce": "n2"}),
            ]
            typed = await browser.post(f"{path}/fire", {"payload": "[1]", "nonce": "n3"})

    for page in refused:
        assert page.status_code == 409
        problem, rest = page.text.split('id="action-problem"')[1].split("</p>", 1)
        assert "The account is held, so nothing was fired" in problem
        assert 'id="cue-now"' in rest
        assert '<details class="override">' in page.text
        assert "force" not in page.text
    assert "see below, where you typed the payload" in text_of(typed)
    assert '<details class="override" open>' in typed.text


async def test_the_last_execution_is_replayed(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        async with open_receiver() as receiver:
            made = await api.post("/v1/cues", cue(receiver.url()))
            fired = await api.post(f"/v1/cues/{made['id']}/fire")
            await api.execution(fired["id"])
            browser = await signed_in(daemon, api)
            page = await browser.get(f"/ui/cues/{made['id']}")
            fields = dict(re.findall(r'name="(nonce|execution)" value="([^"]+)"', page.text))
            for _ in range(2):
                said = await notice_after(browser, f"/ui/cues/{made['id']}/replay", fields)
            listed = (await api.get("/v1/executions"))["executions"]

    assert said.startswith("Replayed")
    assert fields["execution"] == fired["id"]
    assert [one["triggered_by"] for one in listed] == ["replay", "manual_fire"]


async def test_a_cue_whose_only_work_was_not_found_good_is_not_done(daemon: RunningDaemon, api: Api) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    summed = {"assert": [{"field": "summary", "op": "exists"}]}
    with trio.fail_after(60):
        made = await api.post("/v1/cues", cue(schedule={"type": "once", "at": at}, verification=summed))
        while not (work := (await api.post("/v1/worker/heartbeat", {"claim": 1, "wait_seconds": 5}))["executions"]):
            pass
        await api.post(f"/v1/executions/{work[0]['execution_id']}/outcome", {"success": True})
        ended = await api.get(f"/v1/cues/{made['id']}")
        browser = await signed_in(daemon, api)
        pages = [text_of(await browser.get(path)) for path in ("/ui/cues", f"/ui/cues/{made['id']}")]

    assert ended["status"] == "completed"
    assert [page for page in pages if "● done" in page] == []
    assert all("not verified" in page for page in pages)

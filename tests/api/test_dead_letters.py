"""`/v1/dead`: which dead letters a list has, its pages, and what they have in common."""

from typing import Any

import trio

from cueapi.domain.clock import iso
from cueapi.storage.database import Database
from tests.api.work import report
from tests.conftest import Api, cue
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago


async def add_dead(database: Database, cue_id: str, **columns: Any) -> str:
    """A dead letter of a cue; its id."""
    given = {"status": "failed", "attempts": 1, "finished_at": ago(), "dead_at": ago()}
    return str(await add_execution(database, cue_id, **(given | columns)))


async def listed(api: Api, query: str = "") -> list[str]:
    return [one["id"] for one in (await api.get(f"/v1/dead?{query}"))["dead"]]


async def test_a_list_has_the_dead_letters_that_each_filter_says(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        night = await api.post("/v1/cues", cue("http://127.0.0.1:9/", group="night"))
        day = await api.post("/v1/cues", cue("http://127.0.0.1:7777/"))
        first = await add_dead(
            database, night["id"], http_status=503, error_message="The handler answered 503.", dead_at=ago(hours=2)
        )
        second = await add_dead(database, day["id"], status="outcome_timeout", outcome_error="no paper")
        third = await add_dead(database, day["id"], http_status=500, error_message="x" * 300)
        await add_execution(database, day["id"], status="failed", finished_at=ago())
        found = {
            query: await listed(api, query)
            for query in (
                "", f"cue_id={night['id']}", "group=night", "host=127.0.0.1:7777", "host=0x7F.1:7777",
                "http_status=503", "error=The handler answered 503.", "error=no paper", f"error={'x' * 200}",
                f"error={'x' * 300}", f"until={iso(ago(hours=1))}",
                f"since={iso(ago(hours=1))}&http_status=500", "group=nothing",
            )
        }  # fmt: skip

    assert [*found.values()] == [
        [third, second, first], [first], [first], [third, second], [third, second], [first],
        [first], [second], [third], [third], [first],
        [third], [],
    ]  # fmt: skip


async def test_a_list_is_walked_page_by_page_and_shows_where_a_replay_goes(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/", group="night"))
        wanted = [await add_dead(database, made["id"], http_status=503) for _ in range(5)]
        later = {"status": "retrying", "ready_at": ago(days=-1)}
        replay = await add_execution(database, made["id"], triggered_by="replay", replayed_from=wanted[-1], **later)
        walked: list[dict[str, Any]] = []
        path = "/v1/dead?limit=2&http_status=503"
        page = await api.get(path)
        while True:
            walked += page["dead"]
            if page["next_cursor"] is None:
                break
            other = await api.refused("GET", f"/v1/dead?limit=2&cursor={page['next_cursor']}")
            page = await api.get(f"{path}&cursor={page['next_cursor']}")

    assert [one["id"] for one in walked] == wanted[::-1]
    assert other[:2] == (400, "invalid_filter")
    assert (walked[0]["group"], walked[0]["host"]) == ("night", "127.0.0.1:9")
    assert walked[0]["last_replay"] == {"execution_id": str(replay), "status": "retrying"}
    assert walked[1]["last_replay"] is None


async def test_a_summary_has_the_largest_group_first_and_tells_when_it_began_and_ended(
    api: Api, database: Database
) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/", name="brief"))
        await add_dead(database, made["id"], http_status=500, error_message="The handler answered 500.")
        for hours in (3, 2):
            at, error = ago(hours=hours), "The handler answered 503."
            await add_dead(database, made["id"], http_status=503, error_message=error, dead_at=at)
        summary = await api.get("/v1/dead/summary")
        of_nothing = await api.get("/v1/dead/summary?group=nothing")

    large, small = summary["groups"]
    assert summary["truncated"] is False
    assert (large["count"], large["http_status"], large["error"]) == (2, 503, "The handler answered 503.")
    assert (large["cue_id"], large["cue_name"], large["host"]) == (made["id"], "brief", "127.0.0.1:9")
    assert large["first_at"] < large["last_at"] < small["first_at"] == small["last_at"]
    assert of_nothing == {"groups": [], "truncated": False}


async def test_another_account_and_a_deleted_cue_show_none(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        await add_dead(database, made["id"])
        other = await api.register("other@example.com")
        seen = [await listed(other), (await other.get("/v1/dead/summary"))["groups"], len(await listed(api))]
        await api.ask("DELETE", f"/v1/cues/{made['id']}")
        after = [await listed(api), (await api.get("/v1/dead/summary"))["groups"]]

    assert seen == [[], [], 1]
    assert after == [[], []]


async def test_what_no_filter_can_be_is_refused(api: Api) -> None:
    with trio.fail_after(20):
        refused = [
            (await api.refused("GET", f"/v1/dead?{query}"))[:2]
            for query in ("http_status=99", "http_status=many", "group=Night", "since=soon", "limit=101", "offset=1",
                          "host=127.0.0.1", "host=a.example:0", "host=a/b:1", "host=:443")
        ]  # fmt: skip

    assert refused == [(422, "validation_error")] * 10


async def test_what_has_no_status_or_no_reason_is_asked_for_by_none(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
        silent = [await add_dead(database, made["id"], error_message=said) for said in (None, "", " \n", "none")]
        told = await add_dead(database, made["id"], outcome_error="boom")
        answered = await add_dead(database, made["id"], http_status=500)
        groups = (await api.get("/v1/dead/summary"))["groups"]
        found = [
            await listed(api, query)
            for query in ("http_status=none&error=none", "error=none", "http_status=none", "error=boom")
        ]
        pages = [await listed(api, f"http_status=none&error=none&cue_id={made['id']}&limit=2")]

    assert [(one["count"], one["http_status"], one["error"]) for one in groups] == [
        (4, None, None), (1, 500, None), (1, None, "boom"),
    ]  # fmt: skip
    assert found == [silent[::-1], [answered, *silent[::-1]], [told, *silent[::-1]], [told]]
    assert pages == [silent[:1:-1]]


async def test_a_replay_that_owes_a_report_stands_for_nothing_before_it_comes(api: Api) -> None:
    with trio.fail_after(60):
        async with open_receiver([503, 202, 202]) as receiver:
            made = await api.post(
                "/v1/cues",
                cue(receiver.url(), retry={"max_attempts": 1}, delivery={"outcome_deadline_seconds": 600}),
            )
            fired = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await api.execution(fired, "failed")
            found = []
            for success in (False, True):
                replay = (await api.post(f"/v1/executions/{fired}/replay"))["id"]
                await api.execution(replay, "success")
                found.append(await listed(api, ""))
                dry = await api.post("/v1/operations", {"kind": "replay", "ids": [fired], "dry_run": True})
                await report(api, replay, success=success)
                found.append(await listed(api, ""))

    assert dry["matched"] == 1
    assert [fired in one for one in found] == [True, True, True, False]


async def test_what_is_reported_to_have_succeeded_late_is_no_dead_letter(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue())
    with trio.fail_after(30):
        fired = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
        await api.post(f"/v1/executions/{fired}/claim")
        await database.execute("update executions set status = 'outcome_timeout', finished_at = now(), dead_at = now(),"
                               " claim = null")  # fmt: skip
        before = await listed(api, "")
        await report(api, fired, success=True)
        after = await listed(api, "")

    assert (before, after) == ([fired], [])

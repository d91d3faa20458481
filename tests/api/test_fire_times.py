"""When a schedule would fire, asked before anything is stored."""

from datetime import UTC, datetime
from typing import Any

import trio

from tests.api.test_cues_create import SCHEDULES, URL
from tests.conftest import Api, cue

PREVIEW = "/v1/schedule/preview"


async def preview(api: Api, count: int | None = None, **schedule: Any) -> list[dict[str, str]]:
    """The times of a schedule."""
    body = {"schedule": schedule} | ({} if count is None else {"count": count})
    return list((await api.post(PREVIEW, body))["upcoming"])


async def test_a_preview_shows_the_times_that_the_cue_then_has(api: Api) -> None:
    schedule = {"type": "recurring", "cron": "*/7 3 * * MON", "timezone": "America/Los_Angeles"}
    with trio.fail_after(20):
        shown = await preview(api, 50, **schedule)
        few = await preview(api, **schedule)
        made = await api.post("/v1/cues", cue(URL, schedule=schedule))
        upcoming = (await api.get(f"/v1/cues/{made['id']}/upcoming?count=50"))["upcoming"]

    assert [one["at"] for one in shown] == upcoming
    assert few == shown[:5]
    assert made["next_run"] == shown[0]["at"]


async def test_a_time_is_shown_in_utc_and_as_the_clock_of_its_zone_shows_it(api: Api) -> None:
    with trio.fail_after(20):
        kolkata = await preview(api, 2, cron="30 9 1 1 *", timezone="Asia/Kolkata")
        berlin = await preview(api, 50, cron="0 9 1 1,7 *", timezone="Europe/Berlin")

    assert [one["at"][4:] for one in kolkata] == ["-01-01T04:00:00Z"] * 2
    assert [one["local"][4:] for one in kolkata] == ["-01-01T09:30:00+05:30"] * 2
    assert {one["local"][10:] for one in berlin} == {"T09:00:00+01:00", "T09:00:00+02:00"}
    assert all(datetime.fromisoformat(one["at"]) == datetime.fromisoformat(one["local"]) for one in berlin)


async def test_a_one_time_schedule_has_one_time(api: Api) -> None:
    with trio.fail_after(20):
        shown = await preview(api, 50, type="once", at="2090-07-01T09:00:00", timezone="Europe/London")

    assert shown == [{"at": "2090-07-01T08:00:00Z", "local": "2090-07-01T09:00:00+01:00"}]


async def test_a_preview_is_refused_as_creating_the_cue_is(api: Api) -> None:
    asked = {}
    with trio.fail_after(30):
        for row in SCHEDULES:
            given = {"schedule": row.body["schedule"]} if "schedule" in row.body else {}
            asked[row.why] = await api.refused("POST", PREVIEW, given), await api.refused("POST", "/v1/cues", row.body)

    assert {why: both for why, both in asked.items() if both[0] != both[1]} == {}
    assert len(asked) > 20


async def test_a_count_is_from_one_to_fifty_and_unknown_fields_are_named(api: Api) -> None:
    daily = {"cron": "@daily"}
    with trio.fail_after(20):
        counts = [
            await api.refused("POST", PREVIEW, {"schedule": daily, "count": count}) for count in (0, 51, "5", 1.5)
        ]
        strange = await api.refused("POST", PREVIEW, {"schedule": daily | {"tz": "UTC"}})
        left_out = await preview(api, cron="@daily", timezone=None, catchup=None, at=None)

    assert [one[:2] for one in counts] == [(422, "validation_error")] * 4
    assert strange[1] == "validation_error"
    assert "body.schedule.tz" in strange[2]
    assert len(left_out) == 5
    assert datetime.fromisoformat(left_out[0]["at"]) > datetime.now(UTC)


async def test_other_names_of_catchup_are_known_and_may_not_contradict(api: Api) -> None:
    with trio.fail_after(20):
        known = await preview(api, cron="@daily", catch_up="replay_all")
        both = await api.refused(
            "POST", PREVIEW, {"schedule": {"cron": "@daily", "catch_up": "replay_all", "catchup": "none"}}
        )

    assert len(known) == 5
    assert both[:2] == (422, "validation_error")


async def test_letters_that_look_like_ours_make_no_cron_and_no_url(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(URL))
        answers = [
            await api.ask(method, path, body)
            for cron in ("0 9 * * frı", "* * * * ſun", "0 9 1 ſep *")
            for method, path, body in (
                ("POST", "/v1/cues", cue(URL, schedule={"cron": cron})),
                ("PATCH", f"/v1/cues/{made['id']}", {"schedule": {"cron": cron}}),
                ("POST", PREVIEW, {"schedule": {"cron": cron}}),
            )
        ]
        url = await api.ask("POST", "/v1/cues", cue("httpſ://agent.example.com/"))

    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(400, "invalid_schedule")}
    assert (url.status_code, url.json()["error"]["code"]) == (400, "invalid_callback_url")

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import NoneType
from urllib.parse import quote

import trio

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.keys import with_key
from tests.api.work import MOMENT, NO_IDS, NUMBER, TEXT_OR_NULL, claimed, fired, report, shown, wrong_fields
from tests.conftest import Api, cue, running
from tests.receiver import open_receiver
from tests.storage.rows import add_execution, ago

ALERT = {
    "id": str, "cue_id": TEXT_OR_NULL, "execution_id": TEXT_OR_NULL, "alert_type": str, "severity": str,
    "message": str, "metadata": dict, "acknowledged": bool, "created_at": str, "incident_id": TEXT_OR_NULL,
}  # fmt: skip

USAGE = {"plan": str, "billing_period": dict, "period": dict, "cues": dict, "executions": dict, "outcomes": dict,
         "rate_limit": dict, "upgrade_url": NoneType}  # fmt: skip
PERIOD = {"start": str, "end": str}
CUES = {"used": int, "active": int, "limit": int, "remaining": int, "percent_used": NUMBER}
EXECUTIONS = {"used": int, "limit": int, "remaining": int, "percent_used": NUMBER, "percentage": NUMBER,
              "projected_month_end": int, "will_exceed_limit": bool}  # fmt: skip

TYPES = ["consecutive_failures", "verification_failed", "outcome_timeout", "execution_failed", "missed_run",
         "worker_offline"]  # fmt: skip

WRONG_FILTERS = {
    "alert_type=gone": (400, "invalid_filter"),
    "acknowledged=maybe": (400, "invalid_filter"),
    "since=yesterday": (422, "validation_error"),
    "limit=0": (422, "validation_error"),
    "limit=101": (422, "validation_error"),
    "offset=-1": (422, "validation_error"),
    "offset=10001": (422, "validation_error"),
    "cursor=x": (400, "invalid_filter"),
}


async def alerts(api: Api, query: str = "") -> list[str]:
    """The ids of the first page."""
    return [one["id"] for one in (await api.get(f"/v1/alerts?{query}"))["alerts"]]


async def types(api: Api) -> list[str]:
    """The types of all alerts, sorted."""
    return sorted(one["alert_type"] for one in (await api.get("/v1/alerts?limit=100"))["alerts"])


async def raise_alerts(database: Database, kinds: Iterable[str]) -> None:
    """An alert of each type, a day between two, the first the newest."""
    await database.execute(
        "insert into alerts (id, user_id, alert_type, severity, message, created_at)"
        " select gen_random_uuid(), 1, kind, 'warning', 'Look.', now() - place * interval '1 day'"
        "   from unnest($1::text[]) with ordinality as given (kind, place)",
        list(kinds),
    )


async def run(api: Api, cue_id: str, *successes: bool) -> None:
    """Fire the cue by hand once for each of *successes*, and report that."""
    for success in successes:
        one = (await api.post(f"/v1/cues/{cue_id}/fire"))["id"]
        await api.post(f"/v1/executions/{one}/claim")
        await report(api, one, success=success)


async def failures_told(api: Api) -> list[int]:
    """The rows of failures that were told, the oldest first."""
    listed = (await api.get("/v1/alerts?alert_type=consecutive_failures"))["alerts"]
    return [one["metadata"]["consecutive_failures"] for one in reversed(listed)]


async def open_gates(database: Database) -> None:
    """Five minutes later."""
    await database.execute("update alert_gates set raised_at = raised_at - interval '5 minutes'")


async def test_a_lost_execution_is_told_as_critical_with_what_happened(api: Api) -> None:
    with trio.fail_after(20):
        async with open_receiver([500]) as receiver:
            made = await api.post("/v1/cues", cue(receiver.url(), name="brief", retry={"max_attempts": 1}))
            one = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
            await api.execution(one)
            listed = await api.get("/v1/alerts")

    (alert,) = listed["alerts"]
    assert wrong_fields(alert, ALERT) == {}
    assert (alert["alert_type"], alert["severity"], alert["acknowledged"]) == ("execution_failed", "critical", False)
    assert (alert["cue_id"], alert["execution_id"]) == (made["id"], one)
    assert "brief" in alert["message"]
    assert MOMENT.fullmatch(alert["created_at"])
    assert [listed[name] for name in ("total", "limit", "offset", "has_more")] == [1, 20, 0, False]


async def test_missing_evidence_is_told_as_a_warning(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"worker_evidence": True})) as daemon:
            api = await daemon.api.register()
            one = await claimed(api, verification={"mode": "require_artifacts"})
            await report(api, one, success=True)
            (alert,) = (await api.get("/v1/alerts"))["alerts"]

    assert wrong_fields(alert, ALERT) == {}
    assert (alert["alert_type"], alert["severity"]) == ("verification_failed", "warning")
    assert alert["execution_id"] == one
    assert "artifacts" in alert["message"]


async def test_alerts_are_listed_newest_first_and_filtered(api: Api, database: Database) -> None:
    await raise_alerts(database, TYPES)

    with trio.fail_after(20):
        everything = (await api.get("/v1/alerts"))["alerts"]
        ids = [one["id"] for one in everything]
        await api.post(f"/v1/alerts/{ids[1]}/acknowledge")

        assert [one["alert_type"] for one in everything] == TYPES
        assert [await alerts(api, f"alert_type={kind}") for kind in TYPES] == [[one] for one in ids]
        assert await alerts(api, "acknowledged=true") == [ids[1]]
        assert await alerts(api, "acknowledged=false") == [ids[0], *ids[2:]]
        assert await alerts(api, f"since={quote(ago(days=3.5).isoformat())}") == ids[:3]
        assert await alerts(api, f"since={everything[2]['created_at']}&acknowledged=false") == [ids[0], ids[2]]
        assert await alerts(api, "limit=2&offset=3") == ids[3:5]
        assert await alerts(await api.register("other@example.com")) == []


async def test_alerts_go_on_behind_a_cursor_with_ties_by_id(api: Api, database: Database) -> None:
    await raise_alerts(database, TYPES)
    await database.execute("update alerts set created_at = now()")

    with trio.fail_after(20):
        first = await api.get("/v1/alerts?limit=4&acknowledged=false")
        rest = await api.get(f"/v1/alerts?limit=4&acknowledged=false&cursor={first['next_cursor']}")
        other = await api.refused("GET", f"/v1/alerts?limit=4&cursor={first['next_cursor']}")

    ids = [one["id"] for one in first["alerts"] + rest["alerts"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 6
    assert (first["total"], first["has_more"]) == (6, True)
    assert (rest["total"], rest["has_more"], rest["next_cursor"]) == (6, False, None)
    assert other[:2] == (400, "invalid_filter")


async def test_filters_of_alerts_that_cannot_be_are_refused(api: Api) -> None:
    with trio.fail_after(20):
        refusals = {query: (await api.refused("GET", f"/v1/alerts?{query}"))[:2] for query in WRONG_FILTERS}

    assert refusals == WRONG_FILTERS


async def test_an_alert_is_acknowledged_once_and_for_all_by_whom_it_belongs_to(api: Api, database: Database) -> None:
    await raise_alerts(database, TYPES[:1])

    with trio.fail_after(20):
        (one,) = await alerts(api)
        other = await api.register("other@example.com")
        theirs = await other.refused("POST", f"/v1/alerts/{one}/acknowledge")
        untouched = await alerts(api, "acknowledged=false")
        first = await api.post(f"/v1/alerts/{one}/acknowledge")
        second = await api.post(f"/v1/alerts/{one}/acknowledge", {})
        unknown = [(await api.refused("POST", f"/v1/alerts/{each}/acknowledge"))[:2] for each in NO_IDS]

    assert theirs[:2] == (404, "alert_not_found")
    assert untouched == [one]
    assert wrong_fields(first, ALERT) == {}
    assert (first["id"], first["acknowledged"]) == (one, True)
    assert second == first
    assert unknown == [(404, "alert_not_found")] * len(NO_IDS)


async def test_many_alerts_are_acknowledged_at_once_and_each_is_accounted_for(api: Api, database: Database) -> None:
    await raise_alerts(database, TYPES)

    with trio.fail_after(20):
        ids = await alerts(api)
        other = await api.register("other@example.com")
        theirs = await other.post("/v1/alerts/acknowledge", {"ids": ids})
        untouched = await alerts(api, "acknowledged=true")
        await api.post(f"/v1/alerts/{ids[0]}/acknowledge")
        asked = [ids[0], ids[2], "no-id", NO_IDS[0], ids[2]]
        told = await api.post("/v1/alerts/acknowledge", {"ids": asked})
        again = await api.post("/v1/alerts/acknowledge", {"ids": asked})
        seen = await alerts(api, "acknowledged=true")

    assert (theirs, untouched) == ({"acknowledged": [], "not_found": ids}, [])
    assert told == again == {"acknowledged": [ids[0], ids[2]], "not_found": [*dict.fromkeys(["no-id", NO_IDS[0]])]}
    assert seen == [ids[0], ids[2]]


async def test_no_alerts_and_more_than_a_hundred_are_refused(api: Api) -> None:
    with trio.fail_after(20):
        refused = [
            (await api.refused("POST", "/v1/alerts/acknowledge", body))[:2]
            for body in ({}, {"ids": []}, {"ids": ["x"] * 101}, {"ids": "x"}, {"ids": [5]})
        ]

    assert refused == [(422, "validation_error")] * 5


async def test_a_key_of_groups_acknowledges_alerts_of_cues_in_its_groups_only(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        mine, theirs = [await claimed(api, group=group, retry={"max_attempts": 1}) for group in ("a", "b")]
        for execution in (mine, theirs):
            await report(api, execution, success=False)
        await raise_alerts(database, TYPES[-1:])
        ids = await alerts(api)
        ci = await with_key(api, "write", groups=["a"])
        told = await ci.post("/v1/alerts/acknowledge", {"ids": ids})
        seen = (await api.get("/v1/alerts?acknowledged=true"))["alerts"]

    assert len(ids) == 3
    assert [one["execution_id"] for one in seen] == [mine]
    assert (told["acknowledged"], len(told["not_found"])) == ([seen[0]["id"]], 2)


async def test_three_failures_in_a_row_are_told_and_three_more_again(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(name="brief", retry={"max_attempts": 1}))
        await run(api, made["id"], False, False)
        before = await failures_told(api)
        await run(api, made["id"], False)
        third = await failures_told(api)
        await open_gates(database)
        await run(api, made["id"], False, False)
        fifth = await failures_told(api)
        await run(api, made["id"], False)
        (sixth, first) = (await api.get("/v1/alerts?alert_type=consecutive_failures"))["alerts"]

    assert (before, third, fifth) == ([], [3], [3])
    assert sixth["metadata"]["consecutive_failures"] == 6
    assert (first["severity"], first["cue_id"], first["execution_id"]) == ("warning", made["id"], None)
    assert "brief" in first["message"]


async def test_a_success_ends_the_row_of_failures(api: Api) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(retry={"max_attempts": 1}))
        await run(api, made["id"], False, False, True, False, False)

        assert await failures_told(api) == []

        await run(api, made["id"], False)

        assert await failures_told(api) == [3]


async def test_tries_that_are_repeated_are_no_failures_in_a_row(api: Api) -> None:
    with trio.fail_after(20):
        one = await fired(api, retry={"backoff_minutes": [0] * 5})
        for _ in range(5):
            await api.post(f"/v1/executions/{one}/claim")
            await report(api, one, success=False)

        assert (await shown(api, one))["status"] == "retry_ready"
        assert await types(api) == []


async def test_the_cue_s_own_number_says_how_many_failures_are_told(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        each = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, alerts={"consecutive_failures": 1}))
        fifth = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, alerts={"consecutive_failures": 5}))
        await run(api, each["id"], False)
        await open_gates(database)
        await run(api, each["id"], False)
        told = await failures_told(api)
        await run(api, fifth["id"], False, False, False, False)
        before = await failures_told(api)
        await run(api, fifth["id"], False)

    assert told == before == [1, 2]
    assert await failures_told(api) == [1, 2, 5]


async def test_one_subject_is_told_once_in_five_minutes_and_others_at_once(api: Api, database: Database) -> None:
    alone = {"consecutive_failures": 1}
    with trio.fail_after(20):
        one = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, alerts=alone))
        other = await api.post("/v1/cues", cue(retry={"max_attempts": 1}, alerts=alone))
        await run(api, one["id"], False, False, False)
        await run(api, other["id"], False)
        within = [alert["cue_id"] for alert in (await api.get("/v1/alerts?alert_type=consecutive_failures"))["alerts"]]
        await open_gates(database)
        await run(api, one["id"], False)
        after = await failures_told(api)

    assert within == [other["id"], one["id"]]
    assert after == [1, 1, 4]
    assert (await types(api)).count("execution_failed") == 5


async def test_failures_that_are_reported_for_delivered_webhooks_count_in_the_row(api: Api, database: Database) -> None:
    with trio.fail_after(20):
        made = await api.post("/v1/cues", cue(retry={"max_attempts": 1}))
        ones = [await add_execution(database, made["id"], transport="webhook", status="success") for _ in range(3)]
        await database.execute("update executions set attempts = 1, delivered_at = now(), finished_at = now()")
        answered = [await report(api, str(one), success=False) for one in ones]

    assert [each["outcome_state"] for each in answered] == ["reported_failure"] * 3
    assert await failures_told(api) == [3]
    assert (await types(api)).count("execution_failed") == 3


async def test_a_late_failure_is_not_told_twice(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue(alerts={"consecutive_failures": 1}))
    ones = [
        await add_execution(database, made["id"], status=status, attempts=1, finished_at=ago())
        for status in ("failed", "missed", "outcome_timeout")
    ]
    with trio.fail_after(20):
        answered = [await report(api, str(one), success=False) for one in ones]

        assert [one["outcome_state"] for one in answered] == ["reported_failure"] * 3
        assert await types(api) == []


async def test_usage_tells_of_a_new_account_with_every_field(api: Api) -> None:
    with trio.fail_after(20):
        usage = await api.get("/v1/usage")

    now = datetime.now(UTC)
    start = datetime.fromisoformat(usage["period"]["start"])
    end = datetime.fromisoformat(usage["period"]["end"])
    assert wrong_fields(usage, USAGE) == {}
    assert wrong_fields(usage["period"], PERIOD) == {}
    assert wrong_fields(usage["billing_period"], PERIOD | {"days_remaining": int}) == {}
    assert wrong_fields(usage["cues"], CUES) == {}
    assert wrong_fields(usage["executions"], EXECUTIONS) == {}
    assert wrong_fields(usage["outcomes"], {"reported": int, "succeeded": int, "failed": int}) == {}
    assert wrong_fields(usage["rate_limit"], {"requests_per_minute": int, "current_usage": int}) == {}
    assert usage["plan"] == "self_hosted"
    assert start == now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    assert end == (start + timedelta(days=32)).replace(day=1)
    assert usage["period"] == {name: usage["billing_period"][name] for name in PERIOD}
    assert 0 <= usage["billing_period"]["days_remaining"] <= 31
    assert (usage["cues"]["limit"], usage["cues"]["remaining"]) == (1_000_000, 1_000_000)
    assert (usage["executions"]["limit"], usage["executions"]["used"]) == (1_000_000_000, 0)
    assert usage["rate_limit"] == {"requests_per_minute": 6_000, "limit": 6_000, "current_usage": 1}


async def test_usage_counts_each_execution_once_however_often_it_is_tried_and_its_reports(api: Api) -> None:
    with trio.fail_after(30):
        async with open_receiver([500, (200, b'{"success": true}')]) as receiver:
            webhook = await api.post("/v1/cues", cue(receiver.url(), retry={"backoff_minutes": [0]}))
            one = (await api.post(f"/v1/cues/{webhook['id']}/fire"))["id"]
            await api.execution(one)
            worker = await api.post("/v1/cues", cue(retry={"backoff_minutes": [0]}))
            await api.post(f"/v1/cues/{worker['id']}/fire")
            begun = (await api.get("/v1/usage"))["executions"]["used"]
            other = (await api.post("/v1/executions/claim"))["execution_id"]
            await report(api, other, success=False)
            await api.post(f"/v1/executions/{other}/claim")
            await report(api, other, success=True)
            await api.ask("POST", f"/v1/executions/{other}/outcome", {"success": True})
            before = await api.get("/v1/usage")
            await api.ask("DELETE", f"/v1/cues/{webhook['id']}")
            after = await api.get("/v1/usage")
            me = await api.get("/v1/auth/me")

    assert begun == 1
    assert before["executions"]["used"] == after["executions"]["used"] == me["executions_this_month"] == 2
    assert before["outcomes"] == after["outcomes"] == {"reported": 3, "succeeded": 2, "failed": 1}
    assert (before["cues"]["used"], after["cues"]["used"]) == (2, 1)


async def test_usage_tells_what_is_used_of_the_limits_and_where_the_month_leads(
    settings: Settings, database: Database
) -> None:
    limits = {"active_cue_limit": 4, "monthly_execution_limit": 200, "rate_limit_per_minute": 50}
    with trio.fail_after(20):
        async with running(settings.model_copy(update=limits)) as daemon:
            api = await daemon.api.register()
            made = [await api.post("/v1/cues", cue()) for _ in range(3)]
            await api.patch(f"/v1/cues/{made[0]['id']}", {"status": "paused"})
            await api.ask("DELETE", f"/v1/cues/{made[1]['id']}")
            await database.execute(
                "insert into usage (user_id, month, executions)"
                " values (1, date_trunc('month', now() at time zone 'utc'), 150),"
                "        (1, date_trunc('month', now() at time zone 'utc') - interval '1 month', 7)"
            )
            usage = await api.get("/v1/usage")

    cues, executions = usage["cues"], usage["executions"]
    assert cues == {"used": 2, "active": 1, "limit": 4, "remaining": 2, "percent_used": 50}
    assert [executions[name] for name in ("used", "limit", "remaining")] == [150, 200, 50]
    assert executions["percent_used"] == executions["percentage"] == 75
    assert executions["projected_month_end"] >= 150
    assert executions["will_exceed_limit"] is (executions["projected_month_end"] > 200)
    assert usage["rate_limit"] == {"requests_per_minute": 50, "limit": 50, "current_usage": 6}

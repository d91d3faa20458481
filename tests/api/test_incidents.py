"""Incidents and mutes, as the API shows and changes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from cueapi.domain.clock import iso
from cueapi.storage.database import Database
from tests.api.keys import with_key
from tests.api.work import NO_IDS, claimed, report
from tests.conftest import Api, cue

ONE_TRY = {"retry": {"max_attempts": 1}}


async def failed(api: Api, **fields: Any) -> str:
    """An execution of a new worker cue that has failed for good."""
    execution = await claimed(api, **ONE_TRY, **fields)
    await report(api, execution, success=False, error="no paper")
    return execution


async def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    return list((await api.get(f"/v1/incidents?{query}"))["incidents"])


async def opened(api: Api) -> dict[str, Any]:
    """The incident of a new cue that has failed."""
    await failed(api)
    (incident,) = await listed(api)
    return incident


async def test_a_failing_cue_is_an_incident_from_its_failure_to_its_recovery(api: Api) -> None:
    execution = await failed(api, name="brief", group="morning")
    (opened,) = await listed(api, "status=open&kind=failing&group=morning")
    (alert,) = (await api.get("/v1/alerts"))["alerts"]
    replay = (await api.post(f"/v1/executions/{execution}/replay"))["id"]
    await api.post(f"/v1/executions/{replay}/claim")
    await report(api, replay, success=True)
    ended = await api.get(f"/v1/incidents/{opened['id']}")

    assert opened == {
        "id": alert["incident_id"],
        "kind": "failing",
        "subject": {"kind": "cue", "id": alert["cue_id"], "name": "brief"},
        "severity": "critical",
        "status": "open",
        "title": "brief is failing: no paper",
        "cue_id": alert["cue_id"],
        "opened_at": opened["opened_at"],
        "acknowledged_at": None,
        "note": None,
        "snoozed_until": None,
        "resolved_at": None,
        "resolution": None,
        "events": 1,
        "first_execution_id": execution,
        "last_execution_id": execution,
        "resolved_by_execution_id": None,
    }
    assert (ended["status"], ended["resolved_by_execution_id"]) == ("resolved", replay)
    assert await listed(api, f"status=open&cue_id={alert['cue_id']}") == []
    assert await listed(api, "group=evening") == []
    assert (await api.refused("GET", "/v1/incidents?kind=gone"))[:2] == (400, "invalid_filter")


async def test_thresholds_are_the_cues_own_and_stay_within_their_bounds(api: Api) -> None:
    alerts = {"failure_threshold": 720, "recovery_threshold": 720, "renotify_minutes": 10_080}
    made = await api.post("/v1/cues", cue(alerts=alerts))
    changed = await api.patch(f"/v1/cues/{made['id']}", {"alerts": {"failure_threshold": 2}})

    assert made["alerts"] == alerts
    assert changed["alerts"] == alerts | {"failure_threshold": 2}
    for wrong in ({"failure_threshold": 0}, {"recovery_threshold": 721}, {"renotify_minutes": 10_081}):
        assert (await api.refused("POST", "/v1/cues", cue(alerts=wrong)))[:2] == (422, "validation_error")


async def test_an_incident_is_acknowledged_snoozed_and_resolved_and_the_audit_says_by_whom(
    api: Api, database: Database
) -> None:
    incident = await opened(api)
    path = f"/v1/incidents/{incident['id']}"

    seen = await api.post(f"{path}/acknowledge", {"note": "on it"})
    snoozed = await api.post(f"{path}/snooze", {"minutes": 60})
    await database.execute("update incidents set snoozed_until = now() - interval '1 second'")
    open_again = await api.get(path)
    ended = await api.post(f"{path}/resolve", {"reason": "the key was renewed"})

    assert (seen["note"], seen["status"], seen["acknowledged_at"] is None) == ("on it", "open", False)
    assert snoozed["status"] == "snoozed"
    assert (open_again["status"], open_again["snoozed_until"]) == ("open", None)
    assert (ended["status"], ended["resolution"]) == ("resolved", "the key was renewed")
    assert ended["title"] == f"{incident['title']} (the key was renewed)"
    rows = await database.fetch(
        "select action, actor_kind, reason from audit where action like 'incident.%' order by id"
    )
    assert [(row["action"], row["actor_kind"], row["reason"]) for row in rows] == [
        ("incident.acknowledged", "key", None),
        ("incident.snoozed", "key", None),
        ("incident.resolved", "key", "the key was renewed"),
    ]
    for verb, body in {"acknowledge": {}, "snooze": {"minutes": 1}, "resolve": {"reason": "again"}}.items():
        assert (await api.refused("POST", f"{path}/{verb}", body))[:2] == (409, "invalid_state")


async def test_a_shorter_snooze_brings_the_reminder_forward_and_a_longer_one_puts_it_off(
    api: Api, database: Database
) -> None:
    incident = await opened(api)
    path = f"/v1/incidents/{incident['id']}/snooze"
    await database.execute("update incidents set remind_at = now() + interval '5 minutes'")

    async def reminded_with(minutes: int) -> bool:
        shown = await api.post(path, {"minutes": minutes})
        row = await database.fetch_one("select iso(remind_at) as at from incidents")
        return bool(row["at"] == shown["snoozed_until"])

    assert [await reminded_with(minutes) for minutes in (1, 60, 2, 30)] == [False, True, True, True]


async def test_what_cannot_be_is_refused_by_name(api: Api) -> None:
    incident = await opened(api)
    path, other = f"/v1/incidents/{incident['id']}", await api.register("other@example.com")
    past, far = datetime.now(UTC) - timedelta(minutes=1), datetime.now(UTC) + timedelta(days=400)

    for body in ({}, {"minutes": 0}, {"until": "soon"}, {"until": past.isoformat()}, {"until": far.isoformat()},
                 {"minutes": 5, "until": far.isoformat()}):  # fmt: skip
        assert (await api.refused("POST", f"{path}/snooze", body))[:2] == (422, "validation_error")
    for body in ({}, {"reason": ""}, {"reason": " \t"}):
        assert (await api.refused("POST", f"{path}/resolve", body))[:2] == (422, "validation_error")
    assert (await api.refused("POST", f"{path}/acknowledge", {"note": "x" * 501}))[:2] == (422, "validation_error")
    for one in NO_IDS:
        status, code, _ = await api.refused("GET", f"/v1/incidents/{one}")
        assert (status, code) in {(404, "incident_not_found"), (404, "not_found")}
    for verb, body in {"acknowledge": {}, "snooze": {"minutes": 1}, "resolve": {"reason": "mine"}}.items():
        assert (await other.refused("POST", f"{path}/{verb}", body))[:2] == (404, "incident_not_found")
    assert (await other.refused("GET", path))[:2] == (404, "incident_not_found")
    assert await listed(other) == []


async def test_a_long_list_is_walked_by_its_cursor(api: Api) -> None:
    for name in ("a", "b", "c"):
        await failed(api, name=name)

    first = await api.get("/v1/incidents?limit=2")
    second = await api.get(f"/v1/incidents?limit=2&cursor={first['next_cursor']}")

    names = [one["subject"]["name"] for page in (first, second) for one in page["incidents"]]
    assert names == ["c", "b", "a"]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
    status, code, _ = await api.refused("GET", f"/v1/incidents?kind=late&cursor={first['next_cursor']}")
    assert (status, code) == (400, "invalid_filter")


async def test_to_a_key_of_some_groups_the_incidents_of_others_do_not_exist(api: Api) -> None:
    for group in ("a", "b"):
        await failed(api, name=group, group=group)
    made = await api.post("/v1/keys", {"name": "ci", "scopes": ["read", "write"], "groups": ["a"]})
    limited, every = Api(api.client, made["api_key"]), {one["subject"]["name"]: one["id"] for one in await listed(api)}

    assert [one["subject"]["name"] for one in await listed(limited)] == ["a"]
    assert (await limited.get(f"/v1/incidents/{every['a']}"))["id"] == every["a"]
    for method, path in (("GET", ""), ("POST", "/acknowledge")):
        status, code, _ = await limited.refused(method, f"/v1/incidents/{every['b']}{path}")
        assert (status, code) == (404, "incident_not_found")


async def test_an_incident_of_a_group_s_budget_is_the_group_s(api: Api, database: Database) -> None:
    for group in ("a", "b"):
        assert (await api.ask("PUT", f"/v1/budgets/group:{group}", {"per": "day", "max_runs": 1})).status_code == 200
        made = await api.post("/v1/cues", cue(group=group))
        await api.post(f"/v1/cues/{made['id']}/fire")
    limited = await with_key(api, "read", "write", groups=["a"])
    every = {one["subject"]["id"]: one["id"] for one in await listed(api, "kind=budget")}
    mine, theirs = every["group:a"], every["group:b"]

    assert [one["id"] for one in await listed(api, "group=a")] == [mine]
    assert [one["id"] for one in await listed(limited)] == [mine]
    assert (await limited.post(f"/v1/incidents/{mine}/acknowledge", {}))["acknowledged_at"]
    assert (await limited.refused("GET", f"/v1/incidents/{theirs}"))[:2] == (404, "incident_not_found")


async def test_a_pause_by_a_person_ends_an_incident(api: Api) -> None:
    incident = await opened(api)
    await api.patch(f"/v1/cues/{incident['cue_id']}", {"status": "paused"})

    ended = await api.get(f"/v1/incidents/{incident['id']}")
    assert (ended["status"], ended["resolution"]) == ("resolved", "the cue was paused")
    assert ended["title"].endswith("(the cue was paused)")


async def test_evidence_that_comes_later_ends_what_was_not_verified(api: Api) -> None:
    made = await api.post("/v1/cues", cue("http://127.0.0.1:9/", verification={"mode": "require_external_id"}))
    execution = (await api.post(f"/v1/cues/{made['id']}/fire"))["id"]
    await report(api, execution, success=True)
    (opened,) = await listed(api, "kind=unverified")
    await api.patch(f"/v1/executions/{execution}/evidence", {"external_id": "m1"})

    assert opened["severity"] == "warning"
    assert (await api.get(f"/v1/incidents/{opened['id']}"))["resolved_by_execution_id"] == execution


async def test_evidence_of_one_ends_nothing_while_others_lack_theirs(api: Api) -> None:
    made = await api.post("/v1/cues", cue("http://127.0.0.1:9/", verification={"mode": "require_external_id"}))
    three = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(3)]
    for one in three:
        await report(api, one, success=True)
    ends = []
    for one in three:
        await api.patch(f"/v1/executions/{one}/evidence", {"external_id": "m1"})
        (incident,) = await listed(api, "kind=unverified")
        ends.append(incident["resolved_by_execution_id"])

    assert ends == [None, None, three[2]]
    assert incident["status"] == "resolved"


async def test_a_person_s_word_ends_what_was_not_verified_and_counts_once(api: Api) -> None:
    made = await api.post(
        "/v1/cues",
        cue("http://127.0.0.1:9/", verification={"mode": "require_external_id"}, alerts={"recovery_threshold": 2}),
    )
    lacking, other, proved = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(3)]
    await report(api, proved, success=True, external_id="m1")
    for one in (lacking, other):
        await report(api, one, success=True)
    ends = []
    for one in (proved, lacking, lacking, other):
        await api.post(f"/v1/executions/{one}/verification-pending")
        await api.post(f"/v1/executions/{one}/verify", {"valid": True})
        (incident,) = await listed(api, "kind=unverified")
        ends.append(incident["resolved_by_execution_id"])

    assert ends == [None, None, None, other]
    assert (incident["status"], incident["resolution"]) == ("resolved", None)


async def test_what_may_be_muted_and_for_how_long(api: Api) -> None:
    made = await api.post("/v1/cues", cue(name="brief"))
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    for body in ({"cue_id": made["id"], "reason": "noisy"}, {"group": "night", "until": until}, {"account": True}):
        answer = await api.ask("PUT", "/v1/mutes", body)
        assert answer.status_code == 200, answer.text
    mutes = (await api.get("/v1/mutes"))["mutes"]
    gone = await api.ask("DELETE", "/v1/mutes", {"group": "night"})

    assert [(one["cue_id"], one["cue_name"], one["group"], one["account"]) for one in mutes] == [
        (None, None, None, True), (None, None, "night", False), (made["id"], "brief", None, False),
    ]  # fmt: skip
    assert gone.status_code == 204
    told = [one for what in ("set", "deleted") for one in (await api.get(f"/v1/audit?action=mute.{what}"))["audit"]]
    end = iso(datetime.fromisoformat(until))
    assert [(one["subject"]["id"], one["changes"]) for one in told[1:]] == [
        ("night", [{"path": "mute", "from": None, "to": {"until": end}}]),
        (made["id"], [{"path": "mute", "from": None, "to": {"until": None}}]),
        ("night", [{"path": "mute", "from": {"until": end}, "to": None}]),
    ]
    assert told[0]["subject"]["id"].isdigit()
    assert (await api.ask("DELETE", "/v1/mutes?account=true")).status_code == 204
    assert (await api.refused("DELETE", "/v1/mutes", {"group": "night"}))[:2] == (404, "mute_not_found")
    for wrong in ({}, {"account": False}, {"account": 1}, {"account": True, "group": "night"}, {"group": "Night"},
                  {"account": True, "until": "2020-01-01T00:00:00Z"}):  # fmt: skip
        assert (await api.refused("PUT", "/v1/mutes", wrong))[:2] == (422, "validation_error")
    other = await api.register("other@example.com")
    for stranger, one in ((api, "cue_abcdefghijkl"), (other, made["id"])):
        assert (await stranger.refused("PUT", "/v1/mutes", {"cue_id": one}))[:2] == (404, "cue_not_found")
    assert (await other.refused("DELETE", f"/v1/mutes?cue_id={made['id']}"))[:2] == (404, "mute_not_found")


async def test_what_is_muted_no_more_is_named_once_by_the_body_or_by_the_query(api: Api) -> None:
    for group in ("night", "day"):
        await api.ask("PUT", "/v1/mutes", {"group": group})
    wrong = [
        ("?group=night", {"group": "day"}), ("?group=night", {"group": "night"}), ("?group=night", {"account": True}),
        ("?group=night&account=true", None), ("?account=false", None), ("?group=Night", None), ("", {"group": None}),
    ]  # fmt: skip

    twice = [await api.refused("DELETE", f"/v1/mutes{query}", body) for query, body in wrong]
    unknown = await api.refused("DELETE", f"/v1/mutes?cue_id={'x' * 1_001}")
    kept = (await api.get("/v1/mutes"))["mutes"]
    gone = await api.ask("DELETE", "/v1/mutes?group=night", {"group": None, "cue_id": None})

    assert {one[:2] for one in twice} == {(422, "validation_error")}
    assert unknown[:2] == (404, "mute_not_found")
    assert [one["group"] for one in kept] == ["day", "night"]
    assert gone.status_code == 204


async def test_an_account_has_a_thousand_mutes_however_many_ask_at_once(api: Api, database: Database) -> None:
    await database.execute(
        "insert into mutes (user_id, scope, subject, until)"
        " select u.id, 'group', 'g' || n, case when n > 995 then now() - interval '1 second' end"
        "   from users u, generate_series(1, 1100) n"
    )
    statuses = []

    async def mute(group: str) -> None:
        statuses.append((await api.ask("PUT", "/v1/mutes", {"group": group})).status_code)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(mute, f"new-{number}")
        full = await api.refused("PUT", "/v1/mutes", {"account": True})
        again = await api.ask("PUT", "/v1/mutes", {"group": "g1", "reason": "noisy"})
        shown = (await api.get("/v1/mutes"))["mutes"]
        audited = await database.fetch("select from audit where action = 'mute.set'")
        await api.ask("DELETE", "/v1/mutes", {"group": "g2"})
        freed = await api.ask("PUT", "/v1/mutes", {"account": True})

    assert sorted(statuses) == [200] * 5 + [403] * 7
    assert full[:2] == (403, "mute_limit_exceeded")
    assert (again.status_code, len(shown), shown[0]["reason"]) == (200, 1_000, "noisy")
    assert len(audited) == 6
    assert freed.status_code == 200

"""Budgets through the contract: of a cue, of a group, of the account; and what is refused at a limit."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cueapi.storage import incidents
from cueapi.storage.database import Database
from tests.api.test_health import metrics_of
from tests.conftest import Api, RunningDaemon, cue

DAILY = {"per": "day", "max_runs": 1}
WHOLE = {"per": "day", "max_runs": 1, "max_cost": None, "on_limit": "skip", "warn_at": 0.8}


async def put(api: Api, scope: str, **budget: Any) -> dict[str, Any]:
    response = await api.ask("PUT", f"/v1/budgets/{scope}", budget)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_a_cue_s_budget_is_set_shown_merged_and_cleared(api: Api) -> None:
    plain = await api.post("/v1/cues", cue())
    made = await api.post("/v1/cues", cue(budget=DAILY))
    path = f"/v1/cues/{made['id']}"
    await api.post(f"{path}/fire")
    used = (await api.get(path))["budget_use"]
    merged = await api.patch(path, {"budget": {"max_runs": None, "max_cost": 2.5, "on_limit": "pause"}})
    kept = await api.patch(path, {"description": "x"})
    cleared = await api.patch(path, {"budget": None})

    assert (plain["budget"], plain["budget_use"]) == (None, None)
    assert made["budget"] == WHOLE
    assert (used["used_runs"], used["used_cost"], used["state"]) == (1, 0, "reached")
    assert datetime.fromisoformat(used["resets_at"]) > datetime.now(UTC)
    assert merged["budget"] == WHOLE | {"max_runs": None, "max_cost": 2.5, "on_limit": "pause"}
    assert kept["budget"] == merged["budget"]
    assert (cleared["budget"], cleared["budget_use"]) == (None, None)


async def test_a_cue_s_raised_budget_is_told_of_again_when_it_is_reached_again(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue(budget=DAILY))
    path = f"/v1/cues/{made['id']}"
    await api.post(f"{path}/fire")
    await api.patch(path, {"budget": {"max_runs": 2}})
    await incidents.tend(database)
    room = (await api.get("/v1/incidents?status=open"))["incidents"]
    await api.post(f"{path}/fire")

    (again,) = (await api.get("/v1/incidents?status=open"))["incidents"]
    told = (await api.get("/v1/incidents"))["incidents"]
    assert (room, again["kind"], again["subject"]["id"]) == ([], "budget", made["id"])
    assert len(told) == 2


async def test_a_cue_s_budget_that_is_cleared_and_set_again_counts_from_then_on(api: Api, database: Database) -> None:
    made = await api.post("/v1/cues", cue(budget=DAILY))
    path = f"/v1/cues/{made['id']}"
    await api.post(f"{path}/fire")
    await api.patch(path, {"budget": None})
    columns = "budget_begins_at, budget_runs, budget_cost, budget_told"
    stored = await database.fetch(f"select {columns} from cues where id = $1", made["id"])
    again = await api.patch(path, {"budget": DAILY})
    await api.post(f"{path}/fire")
    used = (await api.get(path))["budget_use"]

    assert [dict(row) for row in stored] == [
        {"budget_begins_at": None, "budget_runs": 0, "budget_cost": 0, "budget_told": "ok"}
    ]
    assert (again["budget_use"]["used_runs"], again["budget_use"]["state"]) == (0, "ok")
    assert (used["used_runs"], used["state"]) == (1, "reached")


@pytest.mark.parametrize("of", ["account", "group:g", "cue"])
async def test_another_period_forgets_nothing_that_was_used_in_it(api: Api, of: str) -> None:
    made = await api.post("/v1/cues", cue(group="g"))
    path = f"/v1/cues/{made['id']}"

    async def limit(per: str) -> tuple[int, str]:
        """Set that period; what is used of it."""
        if of == "cue":
            used = (await api.patch(path, {"budget": {"per": per, "max_runs": 3}}))["budget_use"]
        else:
            used = await put(api, of, per=per, max_runs=3)
        return used["used_runs"], used["state"]

    begun = await limit("day")
    for _ in range(3):
        await api.post(f"{path}/fire")
    changed = [await limit(per) for per in ("hour", "day", "week", "day")]
    refused = await api.refused("POST", f"{path}/fire")

    assert begun == (0, "ok")
    assert changed == [(3, "reached")] * 4
    assert refused[:2] == (409, "budget_reached")


@pytest.mark.parametrize("of", ["account", "cue"])
async def test_a_budget_lowered_to_what_is_used_is_told_of_at_once_and_once(api: Api, of: str) -> None:
    made = await api.post("/v1/cues", cue())
    path = f"/v1/cues/{made['id']}"

    async def limit(runs: int) -> list[str]:
        """Set that limit; the types of the alerts that there are of budgets."""
        if of == "cue":
            changed = await api.patch(path, {"budget": DAILY | {"max_runs": runs}})
            assert changed["alerts"] == made["alerts"]
        else:
            await put(api, of, **DAILY | {"max_runs": runs})
        alerts = (await api.get("/v1/alerts"))["alerts"]
        return sorted(one["alert_type"] for one in alerts if one["alert_type"].startswith("budget"))

    raised, told = [await metrics_of(api)], [await limit(100)]
    for _ in range(4):
        await api.post(f"{path}/fire")
    told += [await limit(runs) for runs in (10, 5, 4, 3)]

    (opened,) = (await api.get("/v1/incidents?kind=budget"))["incidents"]
    raised.append(await metrics_of(api))
    assert told == [[], [], ["budget_warning"], *[["budget_reached", "budget_warning"]] * 2]
    assert (opened["kind"], opened["subject"]["id"]) == ("budget", "account" if of == "account" else made["id"])
    assert opened["title"].startswith("Budget of 4 runs a day is reached")
    assert opened["title"].endswith("(account)" if of == "account" else f"({made['name']})")
    # The notifier was woken with them.
    assert raised[1]["alerts_raised_total budget_reached"] == raised[0].get("alerts_raised_total budget_reached", 0) + 1


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no period": ({"max_runs": 1}, "budget.per"),
    "another period": ({"per": "year", "max_runs": 1}, "budget.per"),
    "no limit": ({"per": "day"}, "budget.max_runs"),
    "no run at all": ({"per": "day", "max_runs": 0}, "budget.max_runs"),
    "half a run": ({"per": "day", "max_runs": 1.5}, "budget.max_runs"),
    "no cost at all": ({"per": "day", "max_cost": 0}, "budget.max_cost"),
    "a cost that is no number": ({"per": "day", "max_cost": "5"}, "budget.max_cost"),
    "another end": ({"per": "day", "max_runs": 1, "on_limit": "stop"}, "budget.on_limit"),
    "a warning too early": ({"per": "day", "max_runs": 1, "warn_at": 0.05}, "budget.warn_at"),
    "a warning behind the limit": ({"per": "day", "max_runs": 1, "warn_at": 1.1}, "budget.warn_at"),
}


@pytest.mark.parametrize(("budget", "field"), BAD.values(), ids=BAD)
async def test_what_is_no_budget_is_refused_at_its_field(api: Api, budget: dict[str, Any], field: str) -> None:
    made = await api.post("/v1/cues", cue())

    answers = [
        await api.refused("POST", "/v1/cues", cue(budget=budget)),
        await api.refused("PATCH", f"/v1/cues/{made['id']}", {"budget": budget}),
        await api.refused("PUT", "/v1/budgets/account", budget),
    ]

    assert [answer[:2] for answer in answers] == [(422, "validation_error")] * 3
    assert all(field in answer[2] for answer in answers[:2])
    assert f"body.{field.removeprefix('budget.')}" in answers[2][2]


async def test_budgets_of_groups_and_of_the_account_are_set_listed_and_deleted(api: Api) -> None:
    for scope in ("group:night", "account", "group:briefs"):
        await put(api, scope, **DAILY)
    changed = await put(api, "account", per="week", max_cost=10, warn_at=0.5)

    first = await api.get("/v1/budgets?limit=2")
    second = await api.get(f"/v1/budgets?limit=2&cursor={first['next_cursor']}")
    gone = await api.ask("DELETE", "/v1/budgets/group:night")
    again = await api.refused("DELETE", "/v1/budgets/group:night")

    assert [one["scope"] for one in first["budgets"]] == ["account", "group:briefs"]
    assert ([one["scope"] for one in second["budgets"]], second["has_more"], second["next_cursor"]) == (
        ["group:night"], False, None,
    )  # fmt: skip
    assert (changed["max_runs"], changed["max_cost"], changed["warn_at"], changed["state"]) == (None, 10, 0.5, "ok")
    assert await api.get("/v1/budgets/account") == changed == first["budgets"][0]
    assert (gone.status_code, again[:2]) == (204, (404, "budget_not_found"))
    assert [one["scope"] for one in (await api.get("/v1/budgets"))["budgets"]] == ["account", "group:briefs"]


@pytest.mark.parametrize("scope", ["groups:x", "group:", "group:UP", "cue:x", "group:" + "x" * 64])
async def test_another_scope_is_refused(api: Api, scope: str) -> None:
    assert (await api.refused("PUT", f"/v1/budgets/{scope}", DAILY))[:2] == (422, "validation_error")
    assert (await api.refused("GET", f"/v1/budgets/{scope}"))[:2] == (404, "budget_not_found")
    assert (await api.refused("DELETE", f"/v1/budgets/{scope}"))[:2] == (404, "budget_not_found")


async def test_by_hand_a_limit_answers_when_the_next_period_begins(daemon: RunningDaemon, api: Api) -> None:
    other = await daemon.api.register("other@example.com")
    await put(api, "group:g", **DAILY)
    made = await api.post("/v1/cues", cue(group="g"))
    fire = f"/v1/cues/{made['id']}/fire"
    fired = await api.post(fire)
    refused = [await api.ask("POST", path) for path in (fire, f"{fire}?force=true")]
    used = await api.get("/v1/budgets/group:g")
    alerts = await api.get("/v1/alerts?alert_type=budget_reached")
    theirs = await other.post("/v1/cues", cue(group="g"))

    errors = [answer.json()["error"] for answer in refused]
    assert fired["status"] == "pending"
    assert [(one["status"], one["code"], one["resets_at"]) for one in errors] == [
        (409, "budget_reached", used["resets_at"])
    ] * 2
    assert errors[0]["message"].startswith("Budget of 1 run a day is reached; next period ")
    assert (used["used_runs"], used["state"]) == (1, "reached")
    assert [(one["metadata"]["scope"], one["severity"]) for one in alerts["alerts"]] == [("group:g", "critical")]
    assert (await other.post(f"/v1/cues/{theirs['id']}/fire"))["status"] == "pending"


async def test_replays_count_and_cost_comes_from_the_outcome(api: Api) -> None:
    made = await api.post("/v1/cues", cue(budget={"per": "month", "max_runs": 3, "max_cost": 1.0}))
    path = f"/v1/cues/{made['id']}"
    asked = f"{path}/fire"
    for _ in range(2):
        last = (await api.post(asked))["id"]
        asked = f"/v1/executions/{last}/replay"
        await api.post(f"/v1/executions/{last}/claim", {})
        await api.post(f"/v1/executions/{last}/outcome", {"success": True, "metadata": {"cost": 0.5}})
    used = (await api.get(path))["budget_use"]
    refused = await api.refused("POST", asked)

    assert (used["used_runs"], used["used_cost"], used["state"]) == (2, 1.0, "reached")
    assert refused[:2] == (409, "budget_reached")
    assert "cost 1" in refused[2]

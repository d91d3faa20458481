"""What a key that is limited to groups sees and does of what is more than one cue: its groups' part, and no other."""

import trio

from tests.api.keys import with_key
from tests.api.test_operations import begun, ended
from tests.conftest import Api, cue

REFUSED = (403, "insufficient_scope")


async def refusal(api: Api, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
    return (await api.refused(method, path, body, **headers))[:2]


async def test_it_works_on_many_of_its_groups_and_on_no_others(api: Api) -> None:
    night, day = [await api.post("/v1/cues", cue(group=group)) for group in ("night", "day")]
    ci = await with_key(api, "read", "write", groups=["night", "late"])
    wide = [
        {"filter": {"group": "day"}},
        {"filter": {"status": "active"}},
        {"ids": [night["id"]]},
        {"filter": {"group": "day"}, "dry_run": True},
    ]
    with trio.fail_after(30):
        refused = [await refusal(ci, "POST", "/v1/operations", {"kind": "pause", **one}) for one in wide]
        said = (await ci.refused("POST", "/v1/operations", {"kind": "pause", **wide[0]}))[2]
        mine = await ended(ci, await begun(ci, "pause", filter={"group": "night"}))
        theirs = await ended(api, await begun(api, "pause", filter={"group": "day"}))

    assert refused == [REFUSED] * 4
    assert said == "This key is limited to groups: `filter.group` must be one of night, late."
    assert (mine["done"], theirs["done"]) == (1, 1)
    assert [one["id"] for one in (await ci.get("/v1/operations"))["operations"]] == [mine["id"]]
    assert {one["id"] for one in (await api.get("/v1/operations"))["operations"]} == {mine["id"], theirs["id"]}
    path = f"/v1/operations/{theirs['id']}"
    assert await refusal(ci, "GET", path) == await refusal(ci, "POST", f"{path}/cancel") == (404, "operation_not_found")
    assert (await api.get(f"/v1/cues/{day['id']}"))["status_changed"]["by"]["id"] != mine["by"]["id"]


async def test_it_backfills_the_cues_of_its_groups_alone(api: Api) -> None:
    hourly = {"type": "recurring", "cron": "0 * * * *", "timezone": "UTC"}
    night, day = [await api.post("/v1/cues", cue(group=group, schedule=hourly)) for group in ("night", "day")]
    ci = await with_key(api, "read", "fire", groups=["night"])
    span = {"from": "2026-01-31T00:00:00Z", "to": "2026-01-31T01:00:00Z"}
    with trio.fail_after(30):
        refused = [
            await refusal(ci, "POST", "/v1/operations", {"kind": "backfill", "cue_id": one, **span})
            for one in (day["id"], "odd")
        ]
        of_day = await begun(api, "backfill", cue_id=day["id"], **span)
        mine = await ended(ci, await begun(ci, "backfill", cue_id=night["id"], **span))
        await ended(api, of_day)

    assert refused == [(404, "cue_not_found")] * 2
    assert mine["done"] == 2
    assert [one["id"] for one in (await ci.get("/v1/operations"))["operations"]] == [mine["id"]]
    assert await refusal(ci, "GET", f"/v1/operations/{of_day['id']}") == (404, "operation_not_found")


async def test_a_repeat_under_an_idempotency_key_is_no_way_to_another_group(api: Api) -> None:
    await api.post("/v1/cues", cue(group="day"))
    ci = await with_key(api, "write", groups=["night"])
    body = {"kind": "pause", "filter": {"group": "day"}}
    assert (await api.ask("POST", "/v1/operations", body, Idempotency_Key="k")).status_code == 202

    assert await refusal(ci, "POST", "/v1/operations", body, Idempotency_Key="k") == REFUSED


async def test_it_mutes_its_groups_and_their_cues_and_sees_no_other_mutes(api: Api) -> None:
    night, day = [await api.post("/v1/cues", cue(group=group)) for group in ("night", "day")]
    ci = await with_key(api, "read", "write", groups=["night"])
    others = [{"cue_id": day["id"]}, {"group": "day"}, {"account": True}]
    own = [{"cue_id": night["id"]}, {"group": "night"}]

    refused = [await refusal(ci, "PUT", "/v1/mutes", one) for one in others]
    put = [(await api.ask("PUT", "/v1/mutes", one)).status_code for one in others]
    put += [(await ci.ask("PUT", "/v1/mutes", one)).status_code for one in own]
    seen = [(one["cue_id"], one["group"]) for one in (await ci.get("/v1/mutes"))["mutes"]]
    kept = [await refusal(ci, "DELETE", "/v1/mutes", one) for one in others]
    gone = [(await ci.ask("DELETE", "/v1/mutes", one)).status_code for one in own]

    assert refused == [(404, "cue_not_found"), REFUSED, REFUSED]
    assert put == [200] * 5
    assert sorted(seen, key=str) == sorted([(night["id"], None), (None, "night")], key=str)
    assert kept == [(404, "mute_not_found"), REFUSED, REFUSED]
    assert gone == [204, 204]
    assert len((await api.get("/v1/mutes"))["mutes"]) == 3


async def test_it_sets_the_budgets_of_its_groups_and_sees_no_others(api: Api) -> None:
    ci = await with_key(api, "read", "write", groups=["night", "late"])
    budget = {"per": "day", "max_runs": 5}
    others = ["/v1/budgets/account", "/v1/budgets/group:day"]
    for path in (*others, "/v1/budgets/group:late"):
        assert (await api.ask("PUT", path, budget)).status_code == 200

    refused = [await refusal(ci, "PUT", path, budget) for path in others]
    missing = [await refusal(ci, method, path) for path in others for method in ("GET", "DELETE")]
    put = await ci.ask("PUT", "/v1/budgets/group:night", budget)
    first = await ci.get("/v1/budgets?limit=1")
    second = await ci.get(f"/v1/budgets?limit=1&cursor={first['next_cursor']}")
    gone = await ci.ask("DELETE", "/v1/budgets/group:late")

    assert refused == [REFUSED] * 2
    assert missing == [(404, "budget_not_found")] * 4
    assert put.status_code == 200
    assert [one["scope"] for one in (*first["budgets"], *second["budgets"])] == ["group:late", "group:night"]
    assert (second["has_more"], gone.status_code) == (False, 204)


async def test_a_group_that_is_called_account_is_not_the_account(api: Api) -> None:
    ci = await with_key(api, "read", "write", groups=["account"])
    budget = {"per": "day", "max_runs": 5}
    await api.ask("PUT", "/v1/budgets/account", {"per": "day", "max_runs": 100})
    await api.ask("PUT", "/v1/mutes", {"account": True})

    asked = [
        await refusal(ci, "GET", "/v1/budgets/account"),
        await refusal(ci, "PUT", "/v1/budgets/account", budget),
        await refusal(ci, "DELETE", "/v1/budgets/account"),
        await refusal(ci, "PUT", "/v1/mutes", {"account": True}),
        await refusal(ci, "DELETE", "/v1/mutes", {"account": True}),
    ]
    own = await ci.ask("PUT", "/v1/budgets/group:account", budget)

    assert [status for status, _ in asked] == [404, 403, 404, 403, 403]
    assert own.status_code == 200
    assert (await api.get("/v1/budgets/account"))["max_runs"] == 100
    assert ((await ci.get("/v1/budgets"))["budgets"][0]["scope"], (await ci.get("/v1/mutes"))["mutes"]) == (
        "group:account",
        [],
    )


async def test_it_is_told_who_paused_a_cue_of_its_groups_and_nothing_else_of_the_audit(api: Api) -> None:
    night, day = [await api.post("/v1/cues", cue(group=group)) for group in ("night", "day")]
    await api.patch(f"/v1/cues/{night['id']}", {"status": "paused"})
    ci = await with_key(api, "read", groups=["night"])

    told = (await ci.get(f"/v1/audit?subject_id={night['id']}"))["audit"]
    refused = [
        await refusal(ci, "GET", f"/v1/audit{query}")
        for query in ("", "?action=cue.paused", f"?subject_id={day['id']}", "?subject_id=key_000000000000")
    ]

    assert [one["action"] for one in told] == ["cue.paused", "cue.created"]
    assert refused == [REFUSED, REFUSED, (404, "cue_not_found"), REFUSED]


async def test_what_is_of_the_whole_account_stays_closed_to_it(api: Api) -> None:
    every = ["read", "fire", "work", "write", "admin"]
    ci = await with_key(api, *every, groups=["night"])

    for method, path in (
        ("GET", "/v1/targets"), ("GET", "/v1/channels"), ("GET", "/v1/hold"), ("PUT", "/v1/hold"), ("GET", "/v1/usage"),
        ("GET", "/v1/workers"),
    ):  # fmt: skip
        status, code, said = await ci.refused(method, path, {"reason": "x"} if method == "PUT" else None)
        assert (status, code, said) == (*REFUSED, "This is of the whole account; this key is limited to groups."), path

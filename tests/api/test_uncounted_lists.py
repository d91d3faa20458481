"""Lists that are asked not to count: the same rows, without their number."""

import trio

from cueapi.storage.database import Database
from tests.api.test_alerts_usage import raise_alerts
from tests.conftest import Api, cue


async def test_with_count_false_a_list_has_the_same_rows_and_no_total(api: Api, database: Database) -> None:
    with trio.fail_after(30):
        made = [await api.post("/v1/cues", cue(group="all")) for _ in range(3)]
        for one in made:
            await api.post(f"/v1/cues/{made[0]['id']}/fire")
            await api.post(f"/v1/cues/{one['id']}/fire")
        await raise_alerts(database, ["missed_run", "execution_failed", "outcome_timeout"])
        lists = [
            "/v1/cues?limit=2",
            "/v1/cues?group=all&limit=2&offset=1",
            "/v1/executions?limit=2",
            "/v1/executions?status__in=pending,failed&limit=2",
            f"/v1/cues/{made[0]['id']}/executions?limit=2",
            "/v1/alerts?limit=2",
            "/v1/cues?status=failed",
            "/v1/executions?status=missed",
        ]
        counted = [await api.get(one) for one in lists]
        as_default = [await api.get(f"{one}&count=true") for one in lists]
        uncounted = [await api.get(f"{one}&count=false") for one in lists]
        wrong = await api.refused("GET", "/v1/cues?count=no")

    assert as_default == counted
    assert uncounted == [one | {"total": None} for one in counted]
    assert [one["total"] for one in counted] == [3, 3, 6, 6, 4, 3, 0, 0]
    assert [one["has_more"] for one in uncounted] == [True, False, True, True, True, True, False, False]
    assert wrong[:2] == (400, "invalid_filter")


async def test_a_cursor_pages_on_uncounted(api: Api) -> None:
    with trio.fail_after(30):
        made = await api.post("/v1/cues", cue())
        fired = [(await api.post(f"/v1/cues/{made['id']}/fire"))["id"] for _ in range(3)]
        first = await api.get("/v1/executions?limit=2&count=false")
        rest = await api.get(f"/v1/executions?limit=2&count=false&cursor={first['next_cursor']}")

    assert [one["id"] for page in (first, rest) for one in page["executions"]] == fired[::-1]
    assert (rest["total"], rest["has_more"], rest["next_cursor"]) == (None, False, None)

"""The incident of a budget: it ends as soon as there is room again, or the budget is gone, also where nothing fires."""

import pytest

from cueapi.domain.audit import SYSTEM
from cueapi.domain.ids import new_uuid7
from cueapi.storage import budgets, fires
from cueapi.storage import incidents as stored
from cueapi.storage.database import Database
from cueapi.storage.fires import ManualFire
from tests.storage.rows import add_cue, add_user
from tests.storage.test_incidents import incidents

BUDGET = {"per": "day", "max_runs": 1, "max_cost": None, "on_limit": "skip", "warn_at": 0.8}
OF_CUE = {"budget_per": "day", "budget_max_runs": 1}


async def reach(database: Database, of: str, *, times: int = 1) -> tuple[int, str]:
    """The user and the cue of a budget that *times* fires have used up."""
    user = await add_user(database)
    cue_id = await add_cue(database, user, **(OF_CUE if of == "cue" else {}))
    if of == "account":
        await budgets.put(database, user=user, scope=of, budget=BUDGET | {"max_runs": times}, act=SYSTEM)
    for _ in range(times):
        await fires.fire(database, cue_id=cue_id, user=user, manual_fire=ManualFire(new_uuid7()), monthly=10**9)
    return user, cue_id


@pytest.mark.parametrize("of", ["account", "cue"])
async def test_the_incident_of_a_budget_ends_where_the_budget_does(database: Database, of: str) -> None:
    user, cue_id = await reach(database, of)
    still = [await stored.tend(database), [row["resolved_at"] for row in await incidents(database)]]

    if of == "account":
        await budgets.delete(database, user=user, scope=of, act=SYSTEM)
    else:
        await database.execute("update cues set budget_per = null, budget_max_runs = null where id = $1", cue_id)
    tended = [await stored.tend(database) for _ in range(2)]

    (ended,) = await incidents(database)
    assert still == [[], [None]]
    assert (tended, ended["resolution"]) == ([[user], []], "the budget was deleted")


@pytest.mark.parametrize("of", ["account", "cue"])
async def test_the_incident_of_a_budget_ends_with_its_period_also_where_nothing_fires(
    database: Database, of: str
) -> None:
    user, _ = await reach(database, of)

    await database.execute("update budgets set begins_at = begins_at - interval '1 day'")
    await database.execute("update cues set budget_begins_at = budget_begins_at - interval '1 day'")
    tended = await stored.tend(database)

    (ended,) = await incidents(database)
    assert (tended, ended["resolution"]) == ([user], None)
    assert ended["resolved_at"] is not None


async def test_a_raised_budget_has_room_and_is_told_of_anew_where_it_is_reached_again(database: Database) -> None:
    user, cue_id = await reach(database, "account", times=2)

    await budgets.put(database, user=user, scope="account", budget=BUDGET | {"max_runs": 3}, act=SYSTEM)
    tended = await stored.tend(database)
    await fires.fire(database, cue_id=cue_id, user=user, manual_fire=ManualFire(new_uuid7()), monthly=10**9)

    first, second = await incidents(database)
    assert (tended, first["resolution"], first["resolved_at"] is None) == ([user], None, False)
    assert (second["kind"], second["subject"], second["resolved_at"]) == ("budget", "account", None)

"""Rows edited in SQL that pass the checks and make statements fail: each fails alone, and its neighbours go on."""

from datetime import UTC, datetime, timedelta

import pytest
import trio
from structlog.testing import capture_logs

from cueapi.storage.database import Database
from tests.chaos.audit import audit, settled
from tests.chaos.ledger import DONE, Ledger
from tests.chaos.load import HANDLERS
from tests.conftest import Api, RunningDaemon, cue
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.rows import alert_types

NEIGHBOURS = 10
AHEAD = timedelta(hours=1)

DAMAGE = {
    "attempts beyond counting": "update executions set attempts = 1000 where cue_id = '{0}'",
    "runs at the end of all numbers": "update cues set run_count = 9223372036854775807 where id = '{0}'",
    "failures at the end of all numbers": "update cues set consecutive_failures = 9223372036854775807 where id = '{0}'",
    "a URL that is none": "update cues set callback_url = 'http://[' where id = '{0}'",
    "no cue": "delete from cues where id = '{0}'",
}


DUE = "update outbox set ready_at = now(); select pg_notify('cueapi', '0 delivery')"
"""The time of all that waits has come, and every daemon hears of it."""


async def fire(api: Api, url: str, times: int, at: datetime) -> Ledger:
    """Have a new cue fire so many times at one moment."""
    made = await api.post("/v1/cues", cue(url, retry={"max_attempts": 1}))
    ledger = Ledger(cues={made["id"]: DONE}, email=(await api.get("/v1/auth/me"))["email"])
    for _ in range(times):
        fired = await api.post(f"/v1/cues/{made['id']}/fire", {"send_at": at.isoformat()})
        ledger.fires[fired["id"]] = made["id"]
    return ledger


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_an_execution_that_makes_statements_fail_is_quarantined_alone_and_its_user_is_told(
    daemon: RunningDaemon, api: Api, database: Database, damage: str
) -> None:
    at = datetime.now(UTC) + AHEAD
    with trio.fail_after(HANG), capture_logs():
        async with open_receiver(HANDLERS) as receiver:
            stranger = await daemon.api.register("stranger@example.com")
            failing = await fire(stranger, receiver.url("/failing"), 1, at)
            working = await fire(api, receiver.url("/done"), NEIGHBOURS, at)
            async with database.transaction() as tx:
                await tx.run_script(damage.format(*failing.cues))
                await tx.run_script(DUE)
            await settled(database, working)
            await settled(database, failing)
            restarts = {entry["restarts"] for entry in (await daemon.api.get("/health"))["siblings"].values()}

    (row,) = await database.fetch(
        "select status, error_message from executions where cue_id = any($1)", [*failing.cues]
    )
    assert await audit(database, receiver, working) == []
    assert restarts == {0}
    assert row["status"] == "failed"
    assert row["error_message"]
    # Where there is still a cue whose user can be told.
    assert ("execution_failed" in await alert_types(database)) is ("delete" not in damage)

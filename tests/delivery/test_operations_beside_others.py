"""What an operation makes waits for its host like anything else: others are served meanwhile."""

import trio

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.api.test_operations import begun, ended
from tests.conftest import cue, running
from tests.delivery.test_operations import add_dead
from tests.process import HANG
from tests.receiver import open_receiver

DEAD, AT_ONCE = 300, 4
WOKEN = 15.0
"""Seconds, half of those between two polls: what starts sooner was woken, and waits for nothing that was replayed."""


async def test_others_are_served_while_hundreds_are_replayed_to_a_host_that_hangs(
    settings: Settings, database: Database
) -> None:
    limits = {"host_concurrency": AT_ONCE, "dispatch_concurrency": 32, "shutdown_grace_seconds": 0.2}
    limits |= {"webhook_timeout_seconds": 900.0}
    with trio.fail_after(HANG):
        async with (
            open_receiver(["hang"]) as hanging,
            open_receiver([200]) as quick,
            running(settings.model_copy(update=limits)) as daemon,
        ):
            one, other = await daemon.api.register(), await daemon.api.register("other@example.com")
            user = (await database.fetch("select min(id) as id from users"))[0]["id"]
            await add_dead(database, user, DEAD)
            host = hanging.url().removeprefix("http://").rstrip("/")
            await database.execute("update cues set callback_url = $1, callback_host = $2", hanging.url(), host)
            made = await other.post("/v1/cues", cue(quick.url()))
            shown = await ended(one, await begun(one, "replay", filter={"group": "a"}))
            await hanging.wait_for(AT_ONCE)
            lags = []
            for number in range(10):
                begun_at = trio.current_time()
                fired = await other.post(f"/v1/cues/{made['id']}/fire")
                await quick.wait_for(number + 1)
                lags.append(trio.current_time() - begun_at)
                await other.execution(fired["id"], "success")
            asked = len(hanging.requests)

    assert (shown["done"], shown["failed"]) == (DEAD, 0)
    assert len(quick.requests) == 10
    assert max(lags) < WOKEN
    assert asked == AT_ONCE

"""Ten thousand deliveries of one account wait for hosts that hang: nobody else waits for them."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from attrs import define, field

from cueapi.storage.database import Database
from tests.chaos.audit import audit, settled
from tests.chaos.ledger import DONE, Ledger
from tests.chaos.load import HANDLERS, UNLIMITED
from tests.conftest import Api, cue
from tests.delivery.test_dispatcher import backlog
from tests.process import HANG, daemon_process
from tests.receiver import Receiver, open_receiver
from tests.storage.rows import add_user

QUEUED = 10_000
FIRES = 10
AT_ONCE = 15.0
"""Seconds, half of those between two polls: what starts sooner was woken, and waits for nothing that hangs."""


@define(eq=False)
class Quiet:
    """An account that fires now and then, and looks at how soon the handler hears of it."""

    api: Api
    receiver: Receiver
    ledger: Ledger = field(factory=Ledger)
    lags: list[float] = field(factory=list)

    async def fire(self, times: int) -> None:
        """Fire one cue so many times, one after the other."""
        made = await self.api.post("/v1/cues", cue(self.receiver.url("/done")))
        self.ledger.cues[made["id"]] = DONE
        for _ in range(times):
            begun = trio.current_time()
            fired = await self.api.post(f"/v1/cues/{made['id']}/fire")
            await self.receiver.wait_for(1 + len(self.ledger.fires))
            self.lags.append(trio.current_time() - begun)
            self.ledger.fires[fired["id"]] = made["id"]


async def busy(hosts: list[Receiver], places: int) -> None:
    """Return when so many deliveries hang."""
    while sum(len(host.requests) for host in hosts) < places:
        await trio.sleep(0.02)


@pytest.mark.parametrize(("number", "places"), [(1, 64), (5, 128)], ids=["one host", "five hosts"])
async def test_behind_ten_thousand_deliveries_that_hang_another_account_s_starts_at_once(
    database_url: str, database: Database, tmp_path: Path, number: int, places: int
) -> None:
    settings = UNLIMITED | {"DATABASE_URL": database_url, "SHUTDOWN_GRACE_SECONDS": 0, "WEBHOOK_TIMEOUT_SECONDS": 900}
    with trio.fail_after(HANG):
        async with open_receiver(HANDLERS) as receiver, AsyncExitStack() as hanging:
            hosts = [await hanging.enter_async_context(open_receiver(["hang"])) for _ in range(number)]
            async with daemon_process(tmp_path, **settings) as daemon:
                loud = await add_user(database)
                for host in hosts:
                    address = f"127.0.0.1:{host.port}"
                    await backlog(database, QUEUED // number, user=loud, host=address, url=host.url())
                quiet = Quiet(await daemon.api.register(), receiver)
                await quiet.fire(1)
                await busy(hosts, places)
                await quiet.fire(FIRES)
                await settled(database, quiet.ledger)
                under_way = [len(host.requests) for host in hosts]
                code = await daemon.stop()

    assert max(quiet.lags) < AT_ONCE
    assert (sum(under_way), max(under_way) <= 64) == (places, True)
    assert await audit(database, receiver, quiet.ledger) == []
    assert code == 0

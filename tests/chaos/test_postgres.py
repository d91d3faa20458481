"""PostgreSQL goes away under load: nothing is lost, and nothing is repeated, for the daemon keeps what it holds."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
import trio
from attrs import evolve
from structlog.testing import capture_logs

from cueapi.daemon.resources import open_resources
from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.chaos.asking import ask
from tests.chaos.audit import audit, settled
from tests.chaos.doomed import open_patient
from tests.chaos.faults import Deaf, cut_all, held
from tests.chaos.ledger import DONE, Ledger
from tests.chaos.load import HANDLERS, PUT_OFF
from tests.chaos.scene import open_scene, some_time
from tests.conftest import cue
from tests.process import HANG
from tests.receiver import open_receiver
from tests.storage.own_postgres import OwnPostgres

HOLD = 20.0
"""Seconds for which PostgreSQL answers nobody."""

SOON = 45.0
"""Seconds in which one delivery is done, although its sibling has to pause: before its lease has run out."""


@pytest.mark.parametrize("end", [OwnPostgres.stop, OwnPostgres.crash], ids=["stopped", "crashed"])
async def test_when_postgresql_is_started_anew_under_load_nothing_is_lost_or_repeated(
    own_server: OwnPostgres, mortal_url: str, tmp_path: Path, end: Callable[[OwnPostgres], None]
) -> None:
    with trio.fail_after(HANG):
        async with open_scene(tmp_path, mortal_url) as scene:
            for _ in range(2):
                await some_time()
                await trio.to_thread.run_sync(end, own_server)
                await trio.to_thread.run_sync(own_server.start)
            await some_time()

    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)


async def test_when_its_connections_are_cut_under_load_nothing_is_lost_or_repeated(
    mortal_url: str, tmp_path: Path
) -> None:
    cut = []
    with trio.fail_after(HANG):
        async with open_scene(tmp_path, mortal_url) as scene:
            for _ in range(4):
                await some_time()
                cut.append(await cut_all(scene.database))
            await some_time()

    assert min(cut) >= 1
    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)


async def test_when_postgresql_is_held_under_load_nothing_is_lost_or_repeated(
    own_server: OwnPostgres, mortal_url: str, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        async with open_scene(tmp_path, mortal_url) as scene:
            await some_time()
            with held(own_server):
                await trio.sleep(HOLD)
            await some_time()

    assert scene.broken == []
    assert scene.load.ledger.refused.keys() <= {PUT_OFF}
    assert (scene.restarts, scene.code) == (0, 0)


async def test_what_was_claimed_when_the_connection_broke_before_the_answer_is_delivered_soon(
    settings: Settings, database: Database
) -> None:
    ledger = Ledger()
    with trio.fail_after(HANG), capture_logs():
        async with open_receiver(HANDLERS) as receiver, open_resources(settings) as resources:
            deaf = Deaf(resources.engine.pool)
            async with open_patient(evolve(resources, engine=deaf)) as patient:
                key = (await patient.register()).key
                made = await ask(patient.port, "/v1/cues", cue(receiver.url("/done")), Authorization=f"Bearer {key}")
                fire = f"/v1/cues/{made.body['id']}/fire"
                fired = await ask(patient.port, fire, {}, Authorization=f"Bearer {key}")
                ledger.cues[made.body["id"]] = DONE
                ledger.fires[fired.body["id"]] = made.body["id"]
                await settled(database, ledger, SOON)

    assert deaf.missed == [UUID(one) for one in ledger.fires]
    assert await audit(database, receiver, ledger) == []

"""A sibling falls over a bug under load: it comes back, its neighbours do not notice, and nothing is lost."""

import trio
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cueapi.daemon.resources import open_resources
from cueapi.settings import Settings
from cueapi.storage.daemons import sweep_dead
from cueapi.storage.database import Database
from tests.chaos.audit import audit
from tests.chaos.doomed import open_patient
from tests.chaos.faults import in_flight
from tests.chaos.load import HANDLERS, under_load
from tests.chaos.scene import some_time
from tests.process import HANG
from tests.receiver import open_receiver

FALLING = (
    "notifier", "recorder", "pool", "wakeups", "dispatcher", "retries", "poller", "rescue", "sweeper", "janitor",
    "target_watch", "operations", "key_uses", "long_polls", "watchers", "api",
)  # fmt: skip


FALLS = 4
"""In a row: after so many a pause that doubled would be longer than the others wait."""


async def test_one_after_the_other_falls_under_load_and_the_neighbours_go_on(
    settings: Settings, database: Database
) -> None:
    limitless = settings.model_copy(update={"rate_limit_per_minute": 100_000_000})
    with trio.fail_after(HANG), capture_logs(processors=[merge_contextvars]) as lines:
        async with open_receiver(HANDLERS) as receiver, open_resources(limitless) as resources:
            async with open_patient(resources) as patient:
                async with under_load(await patient.register(), receiver, patient.port) as load:
                    for name in FALLING:
                        await some_time(0.5)
                        await patient.falls(name)
                        if name == "pool":
                            load.ledger.faults.append(await in_flight(database))
                        await patient.is_back(name)
                await load.settle(database)
                restarts = patient.restarts()

    assert await audit(database, receiver, load.ledger) == []
    assert restarts == dict.fromkeys(FALLING, 1)
    assert [line["sibling"] for line in lines if line["event"] == "sibling_failed"] == list(FALLING)
    assert not load.ledger.refused


async def test_a_daemon_whose_ear_falls_again_and_again_is_given_up_by_nobody(
    settings: Settings, database: Database
) -> None:
    with trio.fail_after(HANG), capture_logs(processors=[merge_contextvars]) as lines:
        async with (
            open_resources(settings) as resources,
            open_patient(resources) as patient,
            trio.open_nursery() as nursery,
        ):
            number = resources.identity.number
            nursery.start_soon(_look_each_second, database)
            for _ in range(FALLS):
                await patient.falls("wakeups")
                await patient.is_back("wakeups")
            nursery.cancel_scope.cancel()

    assert [line["event"] for line in lines].count("sibling_failed") == FALLS
    assert resources.identity.number == number


async def _look_each_second(database: Database) -> None:
    """As every other daemon does, and more often."""
    while True:
        await sweep_dead(database)
        await trio.sleep(1)

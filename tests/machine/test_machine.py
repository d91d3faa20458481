"""
Whatever is asked of a daemon, in whatever order, it keeps the law of the states.

A short, fixed selection of stories each time. To hunt, with new ones until so many have been told:

    MACHINE_STORIES=1000 MACHINE_STEPS=40 python -m pytest -q -s tests/machine
"""

import os
from functools import partial
from pathlib import Path

import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from cueapi.storage.database import Database
from tests.machine.rushes import Machine
from tests.machine.stage import open_stage

STORIES = int(os.environ.get("MACHINE_STORIES", "0"))
FIXED = settings(
    max_examples=16,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # A story that fails is told as it is: to look for a shorter one takes minutes.
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(
    max_examples=STORIES or 1,
    stateful_step_count=int(os.environ.get("MACHINE_STEPS", "40")),
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


async def test_whatever_happens_executions_go_by_the_law(database_url: str, database: Database, tmp_path: Path) -> None:
    async with open_stage(tmp_path, database_url, database) as stage:
        story = partial(run_state_machine_as_test, partial(Machine, stage), settings=HUNT if STORIES else FIXED)

        await trio.to_thread.run_sync(story)

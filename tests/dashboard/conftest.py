"""A person who is signed in, beside what every test has."""

import pytest

from tests.conftest import Api, RunningDaemon
from tests.dashboard.browsing import Browser, signed_in


@pytest.fixture
async def person(daemon: RunningDaemon, api: Api) -> Browser:
    """A browser that the user of *api* is signed in with."""
    return await signed_in(daemon, api)


@pytest.fixture
async def user(daemon: RunningDaemon, api: Api) -> int:
    """The id of the user of *api*."""
    row = await daemon.resources.database.fetch_one("select id from users order by id limit 1")
    assert row is not None
    return int(row[0])

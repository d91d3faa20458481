"""A person who is signed in: at a daemon that many tests share, or at one of its own."""

import pytest

from tests.conftest import Api, RunningDaemon
from tests.dashboard.browsing import Browser
from tests.standing import api, guest, owner, standing

__all__ = ["api", "guest", "owner", "standing"]


@pytest.fixture
async def person(api: Api) -> Browser:
    """A browser that the user of *api* is signed in with."""
    return await Browser(api.client).sign_in(api.key)


@pytest.fixture
async def user(daemon: RunningDaemon, api: Api) -> int:
    """The id of the user of *api*."""
    row = await daemon.resources.database.fetch_one("select id from users order by id limit 1")
    assert row is not None
    return int(row[0])

"""Who a test of the API is: a user at a daemon that all of them share, or at one of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import Api, RunningDaemon, migrated
from tests.standing import guest_at, standing_daemon


@pytest.fixture(scope="session")
def standing(postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the daemon that tests share."""
    with (
        migrated(postgres_url, template) as database_url,
        standing_daemon(tmp_path_factory.mktemp("standing"), database_url) as address,
    ):
        yield address


@pytest.fixture
async def guest(standing: str) -> AsyncIterator[Api]:
    """A user at the daemon that tests share."""
    async with guest_at(standing) as api:
        yield api


@pytest.fixture
async def owner(daemon: RunningDaemon) -> Api:
    """The only user at a daemon of the test's own."""
    return await daemon.api.register()


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Api:
    """A registered user: where the test asks for its database or its daemon, at one of its own."""
    user: Api = request.getfixturevalue("owner" if "database_url" in request.fixturenames else "guest")
    return user

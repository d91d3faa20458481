"""What the chaos shares: how often, and a database on a server that may be broken."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.conftest import in_database, say
from tests.storage.own_postgres import OwnPostgres

_numbers = count()


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a test kills: `--chaos=N`."""
    asked: int = request.config.getoption("--chaos")
    return asked


@pytest.fixture
def mortal_url(own_server: OwnPostgres) -> Iterator[str]:
    """An empty database on a server that may be stopped, held and cut off."""
    name = f"chaos_{next(_numbers)}"
    say(own_server.dsn, f"create database {name}")
    yield in_database(own_server.dsn, name)
    say(own_server.dsn, f"drop database {name} with (force)")

"""What the tests of the commands share: a way to run them."""

import pytest

from tests.process import Commands


@pytest.fixture(scope="session")
def cueapid() -> Commands:
    """Runs commands."""
    return Commands()

"""What the tests of the published clients share: the clients."""

import os
from pathlib import Path

import pytest

from tests.clients.command_line import CommandLine
from tests.clients.installed import installed
from tests.clients.sdk import Sdk
from tests.conftest import Api


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of this run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def sdk_programs(shared: Path) -> Path:
    """Where the SDK is installed."""
    return installed("cueapi-sdk==0.1.3", shared)


@pytest.fixture
def sdk(sdk_programs: Path, tmp_path: Path) -> Sdk:
    """The SDK."""
    return Sdk(sdk_programs / "python", tmp_path)


@pytest.fixture(scope="session")
def command_line_programs(shared: Path) -> Path:
    """Where the command line is installed."""
    return installed("cueapi==0.2.0", shared)


@pytest.fixture
def command_line(command_line_programs: Path, api: Api, tmp_path: Path) -> CommandLine:
    """The command line, signed in as the user of *api*."""
    program = CommandLine(command_line_programs / "cueapi", tmp_path)
    program.sign_in(api)
    return program


@pytest.fixture(scope="session")
def worker_programs(shared: Path) -> Path:
    """Where the pull worker is installed."""
    return installed("cueapi-worker==0.3.0", shared)

"""How many clients may be connected, by the limit of open files."""

import resource

import pytest

from cueapi.daemon.open_files import (
    MOST,
    connection_limit,
    delivery_limit,
    limit_per_address,
    open_files,
    reserve,
)
from cueapi.settings import Settings


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **changes)


OURS = reserve(settings(), None)
LIMITS: dict[str, tuple[dict[str, object], int | None, int]] = {
    "the usual hard limit": ({}, 524_288, MOST),
    "no limit": ({}, None, MOST),
    "the usual soft limit": ({}, 1_024, 1_024 - OURS),
    "fewer than our own": ({}, 256, 64),
    "next to none": ({}, 3, 1),
    "fewer deliveries": ({"dispatch_concurrency": 16}, 1_024, 1_024 - OURS + 240),
    "a number of the operator's": ({"max_connections": 100}, 1_024, 100),
    "more than usual": ({"max_connections": 50_000}, 524_288, 50_000),
    "more than usual, without a limit": ({"max_connections": 50_000}, None, 50_000),
    "more than there is": ({"max_connections": 50_000}, 1_024, 1_024 - OURS),
}


@pytest.mark.parametrize(("changes", "files", "most"), LIMITS.values(), ids=LIMITS)
def test_clients_get_what_open_files_leave_beside_our_own(
    changes: dict[str, object], files: int | None, most: int
) -> None:
    assert connection_limit(settings(**changes), files) == most


def test_our_own_are_the_connections_that_we_open_and_some_files() -> None:
    more = settings(database_pool_size=110, dispatch_concurrency=300)

    assert 256 + 128 + 10 < OURS < 600
    assert reserve(more, None) - OURS == 100 + 44


@pytest.mark.parametrize(("files", "most"), [(None, 256), (1_024, 256), (300, 100), (2, 1)])
def test_deliveries_take_no_more_than_a_third_of_the_open_files(files: int | None, most: int) -> None:
    assert delivery_limit(settings(), files) == most


@pytest.mark.parametrize("files", [128, 256, 512, 1_024, 4_096])
def test_deliveries_and_clients_leave_room_for_the_database_and_some_files(files: int) -> None:
    taken = delivery_limit(settings(), files) + connection_limit(settings(), files)

    assert files - taken >= settings().database_pool_size + 32


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == resource.RLIM_INFINITY, reason="here is no limit")
def test_the_limit_is_that_of_the_process() -> None:
    assert open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize(
    ("changes", "limit", "most"),
    [({}, 512, 256), ({}, 1, 1), ({"max_connections_per_address": 7}, 512, 7)],
    ids=["half", "one", "a number of the operator's"],
)
def test_one_address_gets_half_unless_the_operator_says_otherwise(
    changes: dict[str, object], limit: int, most: int
) -> None:
    assert limit_per_address(settings(**changes), limit) == most

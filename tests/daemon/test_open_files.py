"""How many clients may be connected, by the limit of open files."""

import resource

import pytest

from cueapi.daemon.open_files import MOST, connection_limit, limit_per_address, reserve
from cueapi.settings import Settings


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **changes)


OURS = reserve(settings())
LIMITS: dict[str, tuple[dict[str, object], int, int]] = {
    "the usual hard limit": ({}, 524_288, MOST),
    "no limit": ({}, resource.RLIM_INFINITY, MOST),
    "the usual soft limit": ({}, 1_024, 1_024 - OURS),
    "fewer than our own": ({}, 256, 64),
    "next to none": ({}, 3, 1),
    "fewer deliveries": ({"dispatch_concurrency": 16}, 1_024, 1_024 - OURS + 240),
    "a number of the operator's": ({"max_connections": 100}, 1_024, 100),
    "more than usual": ({"max_connections": 50_000}, 524_288, 50_000),
    "more than usual, without a limit": ({"max_connections": 50_000}, resource.RLIM_INFINITY, 50_000),
    "more than there is": ({"max_connections": 50_000}, 1_024, 1_024 - OURS),
}


@pytest.mark.parametrize(("changes", "open_files", "most"), LIMITS.values(), ids=LIMITS)
def test_clients_get_what_open_files_leave_beside_our_own(
    changes: dict[str, object], open_files: int, most: int
) -> None:
    assert connection_limit(settings(**changes), open_files) == most


def test_our_own_are_the_connections_that_we_open_and_some_files() -> None:
    more = settings(database_pool_size=110, dispatch_concurrency=300)

    assert 256 + 128 + 10 < OURS < 600
    assert reserve(more) - OURS == 100 + 44


@pytest.mark.parametrize(
    ("changes", "limit", "most"),
    [({}, 512, 256), ({}, 1, 1), ({"max_connections_per_address": 7}, 512, 7)],
    ids=["half", "one", "a number of the operator's"],
)
def test_one_address_gets_half_unless_the_operator_says_otherwise(
    changes: dict[str, object], limit: int, most: int
) -> None:
    assert limit_per_address(settings(**changes), limit) == most

"""A dump of the embedded database is restored whole, by psqls and servers that are older; half of one is found."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from cueapi.cli.dump import portable
from cueapi.embedded_postgres.binaries import find_tree
from cueapi.storage.database import Database
from cueapi.storage.schema import SchemaIncomplete, migrate
from cueapi.trio_asyncpg.pool import open_pool
from tests.conftest import Api, cue, in_database, say
from tests.process import Commands, Ended, daemon_process, embedded_home

_numbers = count()

SIXTHS = (1, 2, 3, 4, 5)
"""Where a dump is cut."""


@contextmanager
def empty_database(server: str) -> Iterator[str]:
    """The DSN of an empty database, gone at the end of the block."""
    name = f"cueapi_restored_{os.getpid()}_{next(_numbers)}"
    say(server, f"create database {name}")
    try:
        yield in_database(server, name)
    finally:
        say(server, f"drop database {name} with (force)")


def restore(dump: str, dsn: str) -> int:
    """As the README says; psql's exit code."""
    psql = find_tree() / "bin" / "psql"
    command = [psql, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", dsn]
    done = subprocess.run(command, input=dump, text=True, check=False, capture_output=True, cwd="/")
    return done.returncode


async def start(dsn: str) -> None:
    """As far as a start has to do with the schema."""
    async with open_pool(dsn, size=1) as pool:
        await migrate(Database(pool))


@pytest.fixture(scope="module")
def dumped(cueapid: Commands) -> Iterator[tuple[Ended, str]]:
    """The dump of an embedded database that holds a user and a cue, and that user's key."""

    async def fill(home: Path) -> tuple[Ended, str]:
        async with daemon_process(home) as daemon:
            api = await daemon.api.register()
            await api.post("/v1/cues", cue(description="SET transaction_timeout = 0;\n\\restrict it"))
            return await cueapid.run(home, "dump"), api.key

    with embedded_home() as home:
        yield trio.run(fill, home)


def test_a_dump_is_restored_and_served_from(dumped: tuple[Ended, str], postgres_url: str, tmp_path: Path) -> None:
    dump, key = dumped

    async def serve(dsn: str) -> list[dict[str, Any]]:
        async with daemon_process(tmp_path, DATABASE_URL=dsn) as daemon:
            return list((await Api(daemon.client, key).get("/v1/cues"))["cues"])

    with empty_database(postgres_url) as dsn:
        code = restore(dump.said, dsn)
        (found,) = trio.run(serve, dsn)

    assert (dump.code, dump.told, code) == (0, "", 0)
    assert found["description"] == "SET transaction_timeout = 0;\n\\restrict it"


def test_a_dump_holds_nothing_that_older_psqls_and_servers_do_not_know(dumped: tuple[Ended, str]) -> None:
    dump, _ = dumped
    lines = dump.said.splitlines()

    assert [line for line in lines if line.startswith(("\\restrict", "\\unrestrict", "SET transaction_timeout"))] == []
    # Of psql's own commands; in a row a backslash is doubled.
    assert {line for line in lines if line.startswith("\\") and not line.startswith("\\\\")} == {"\\."}


def test_of_a_table_every_row_is_kept_whatever_it_looks_like() -> None:
    rows = [b"COPY t (a) FROM stdin;\n", b"SET transaction_timeout = 0;\n", b"\\.\n"]

    assert list(portable([b"SET transaction_timeout = 0;\n", *rows, b"\\unrestrict k\n", b"--\n"])) == [*rows, b"--\n"]


@pytest.mark.parametrize("sixth", SIXTHS)
def test_a_dump_that_was_cut_is_either_not_restored_at_all_or_refused_by_the_start(
    dumped: tuple[Ended, str], postgres_url: str, sixth: int
) -> None:
    dump, _ = dumped
    cut = dump.said[: len(dump.said) * sixth // 6]
    with empty_database(postgres_url) as dsn:
        if restore(cut, dsn) != 0:
            # Within a statement or a row: psql has said so, and the database is as empty as before.
            trio.run(start, dsn)
            return
        with pytest.raises(SchemaIncomplete) as refused:
            trio.run(start, dsn)

    assert "\n" not in str(refused.value)
    assert "Restore the whole dump into an empty database." in str(refused.value)


@pytest.mark.parametrize("sixth", SIXTHS)
def test_a_dump_that_was_cut_between_two_lines_is_refused_by_the_start(
    dumped: tuple[Ended, str], postgres_url: str, sixth: int
) -> None:
    dump, _ = dumped
    statements = dump.said.split("\n\n\n--\n")
    cut = "\n\n\n--\n".join(statements[: len(statements) * sixth // 6])
    with empty_database(postgres_url) as dsn:
        code = restore(cut + "\n", dsn)
        with pytest.raises(SchemaIncomplete):
            trio.run(start, dsn)

    assert code == 0

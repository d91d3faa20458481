"""`cueapid dump`: the embedded database as SQL that PostgreSQL 16 and later restore."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import unquote, urlsplit

import trio

from cueapi.cli.operator import CommandFailed
from cueapi.daemon.resources import OWNER, need_embedded
from cueapi.embedded_postgres.binaries import find_tree
from cueapi.embedded_postgres.server import join_embedded
from cueapi.settings import Settings

UNKNOWN = (b"\\restrict ", b"\\unrestrict ", b"SET transaction_timeout ")
"""How lines begin that a psql or a server before PostgreSQL 18 may not know, and would stop at."""


async def dump(settings: Settings) -> None:
    """The embedded database as SQL on standard output, by the pg_dump that belongs to it."""
    if settings.database_url is not None:
        raise CommandFailed("With DATABASE_URL, use the pg_dump of that server.")
    need_embedded(settings)
    async with join_embedded(settings.data_dir, owner=OWNER) as dsn:
        password = urlsplit(dsn).password or ""
        # The password goes by the environment: arguments are everybody's to read.
        command = [
            str(find_tree() / "bin" / "pg_dump"),
            "--no-owner",
            "--no-privileges",
            dsn.replace(f":{password}@", "@"),
        ]
        secret = {"PGPASSWORD": unquote(password)}
        code = await trio.to_thread.run_sync(_write, command, {**os.environ, **secret})
    if code != 0:
        raise CommandFailed("pg_dump failed, see above; what was written is not whole")


def portable(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a dump without those that are UNKNOWN; rows of tables are as they are."""
    in_rows = False
    for line in lines:
        if in_rows:
            in_rows = line != b"\\.\n"
        elif line.startswith(UNKNOWN):
            continue
        else:
            in_rows = line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n")
        yield line


def _write(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run pg_dump to its end; its exit code."""
    try:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            sys.stdout.buffer.writelines(portable(process.stdout))
            sys.stdout.buffer.flush()
    except OSError as error:
        raise CommandFailed(f"the dump cannot be written: {error.strerror}") from error
    return process.returncode

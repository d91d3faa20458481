"""
Why there is no embedded database; each message is a line that a person can act on.

* EmbeddedError            a `DataDirError` (data_dir.py)
  x NoBinaries             no wheel for this platform, or its programs do not run here
  x NoAccount              as root: no system user to run PostgreSQL, or one that cannot enter DATA_DIR
  x OtherMajorVersion      the data is of another major version; the message moves it, command by command
  x CannotStart            PostgreSQL ended instead of starting, and these were its last words
"""

from pathlib import Path
from shlex import quote

from attrs import frozen

from cueapi.embedded_postgres.data_dir import DataDirError


@frozen
class Owner:
    """The program that a server belongs to; *create_command* has it make a new, empty database."""

    name: str
    create_command: str

    @property
    def system_user(self) -> str:
        """Who runs PostgreSQL where the program runs as root."""
        return f"{self.name}-postgres"


class EmbeddedError(DataDirError):
    """The embedded database cannot be had."""


class NoBinaries(EmbeddedError):
    """There are no programs of PostgreSQL that would run here."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no embedded PostgreSQL here ({reason}): set DATABASE_URL")


class NoAccount(EmbeddedError):
    """PostgreSQL refuses to run as root, and there is no other account that could."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"PostgreSQL does not run as root, and {reason}: {remedy}, or set DATABASE_URL")


class ServerCannotStart(EmbeddedError):
    """A program of PostgreSQL failed; *words* are the lines that say why."""

    def __init__(self, what: str, words: list[str]) -> None:
        super().__init__(f"{what}: {' | '.join(words) or 'it said nothing'}")


class OtherMajorVersion(EmbeddedError):
    """The data was written by another major version of PostgreSQL."""

    def __init__(self, data: Path, found: str, ours: str, programs: Path, run_as: str | None, owner: Owner) -> None:
        home, name = data.parent, owner.name
        old, new, at = '"$OLD"', quote(str(programs)), quote(str(home))
        dump = quote(f"{home}-{found}.dump")
        runuser = f"runuser -u {quote(run_as)} -- " if run_as else ""
        options = quote(f"-c listen_addresses='' -k {quote(str(home / 'socket'))}")
        start = f"pg_ctl -D {quote(str(data))} -l /dev/null -o {options} -w start"
        stop = f"pg_ctl -D {quote(str(data))} -w stop"
        with_password = f'PGPASSWORD="$(cat {at}/password)"'
        server = f"-h {at}/socket -U {name}"
        super().__init__(
            f"{data} is of PostgreSQL {found}, and this is PostgreSQL {ours}. "
            f"To move it, with the programs of PostgreSQL {found} in $OLD:\n"
            f"  cd / && umask 077\n"
            f"  {runuser}{old}/{start}\n"
            f"  {with_password} {old}/pg_dump {server} -Fc -f {dump} {name}\n"
            f"  {runuser}{old}/{stop}\n"
            f"  mv {at} {at}-{found}\n"
            f"  {owner.create_command}\n"
            f"  {runuser}{new}/{start}\n"
            f"  {with_password} {new}/pg_restore {server} -d {name} --clean --if-exists {dump}\n"
            f"  {runuser}{new}/{stop}"
        )

"""Brings the schema to where the code is: migrations/*.sql in order, one daemon at a time."""

import hashlib
from importlib.resources import files

from attrs import frozen

from cueapi.storage.database import Database, Row, Transaction, fetch_value

# Held until the transaction ends: many daemons may start at once.
LOCK = "select pg_advisory_xact_lock(1129661761, 0)"

LEDGER = """
create table if not exists schema_migrations (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default now()
)
"""


class AppliedMigration(Row):
    """A migration that the database has."""

    name: str
    checksum: str


APPLIED = "select name, checksum from schema_migrations order by name"

NOTE = "insert into schema_migrations (name, checksum) values ($1, $2)"

HAS_LEDGER = "select to_regclass('schema_migrations') is not null as there"


class SchemaMismatch(Exception):
    """The database was migrated by a newer version, or a migration was changed after it ran."""


@frozen
class Migration:
    """One file of statements that run together or not at all."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """What is stored of it, so that a later change is detected."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All that this version knows, in their order."""
    folder = files("cueapi.storage") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [Migration(name, (folder / name).read_text("utf-8")) for name in names]


async def migrate(database: Database) -> list[str]:
    """
    Apply what is missing, each migration in a transaction of its own; the names of those that were.

    Raises SchemaMismatch where the database is ahead of the code.
    """
    done: list[str] = []
    for migration in migrations():
        async with database.transaction() as db:
            await db.execute(LOCK)
            await db.execute(LEDGER)
            if await _is_applied(db, migration):
                continue
            await db.run_script(migration.text)
            await db.execute(NOTE, migration.name, migration.checksum)
            done.append(migration.name)
    return done


async def pending(database: Database) -> list[str]:
    """The migrations that the database lacks. Raises SchemaMismatch as `migrate` does."""
    if not await fetch_value(database, HAS_LEDGER, kind=bool):
        return [migration.name for migration in migrations()]
    applied = _checked(await database.fetch(APPLIED, row=AppliedMigration))
    return [migration.name for migration in migrations() if migration.name not in applied]


async def _is_applied(db: Transaction, migration: Migration) -> bool:
    return migration.name in _checked(await db.fetch(APPLIED, row=AppliedMigration))


def _checked(rows: list[AppliedMigration]) -> set[str]:
    known = {migration.name: migration.checksum for migration in migrations()}
    for row in rows:
        if row.name not in known:
            raise SchemaMismatch(
                f"The database is ahead of this version: it has the migration {row['name']}. Upgrade CueAPI."
            )
        if row.checksum != known[row.name]:
            raise SchemaMismatch(f"The migration {row['name']} differs from the one that the database was made with.")
    return {row.name for row in rows}

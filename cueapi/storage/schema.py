"""
Brings the schema to where the code is: migrations/*.sql in order, one daemon at a time; and finds out what it lacks.

What each migration makes is listed in the database itself, so that a dump that was restored in part is found.
"""

import hashlib
import re
from importlib.resources import files
from math import inf

from attrs import frozen

from cueapi.storage.database import AlreadyExists, Database, Executor, Row, Transaction, fetch_value
from cueapi.storage.statements import load

# Held until the transaction ends: many daemons may start at once.
LOCK = "select pg_advisory_xact_lock(1129661761, 0)"

LEDGER = """
create table if not exists schema_migrations (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default now()
)
"""

OBJECTS = "create table if not exists schema_objects (object text primary key)"


class AppliedMigration(Row):
    """A migration that the database has."""

    name: str
    checksum: str


APPLIED = "select name, checksum from schema_migrations order by name"

NOTE = "insert into schema_migrations (name, checksum) values ($1, $2)"

HAS_LEDGER = "select to_regclass('schema_migrations') is not null as there"


class SchemaObject(Row):
    """Something that a schema consists of: its kind, its name, and what else can be compared."""

    object: str


CATALOG = load("catalog")

# $1 what the schema consists of after a migration.
FORGET_OBJECTS = "delete from schema_objects where object <> all ($1::text[])"

LIST_OBJECTS = "insert into schema_objects (object) select unnest($1::text[])"

LISTED = "select object from schema_objects"

HAS_LIST = "select to_regclass('schema_objects') is not null as there"


_CREATED = re.compile(r"^create (?:unique )?(domain|table|index|view) (\w+)", re.MULTILINE)

_WORD = re.compile(r"\w+")


class SchemaMismatch(Exception):
    """The database was migrated by a newer version, or a migration was changed after it ran."""


class SchemaIncomplete(SchemaMismatch):
    """The database holds a part of the schema."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database holds a part of the schema ({reason}): a restore that did not end? "
            "Restore the whole dump into an empty database."
        )


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

    Raises SchemaMismatch where the database is ahead of the code, and SchemaIncomplete where it lacks what its
    migrations have made. Nothing is written where nothing is missing.
    """
    if not await pending(database):
        return []
    done: list[str] = []
    for migration in migrations():
        async with database.transaction(patience=inf) as db:
            await db.execute(LOCK)
            await db.execute(LEDGER)
            await db.execute(OBJECTS)
            if not await _is_applied(db, migration):
                await _apply(db, migration)
                done.append(migration.name)
    return done


async def pending(db: Executor) -> list[str]:
    """The migrations that the database lacks. Raises SchemaMismatch and SchemaIncomplete as `migrate` does."""
    applied = await _applied(db)
    # Where something is there, another daemon may have migrated since.
    if not applied and (there := await _already_there(db)) and not (applied := await _applied(db)):
        raise SchemaIncomplete(f"{there} already exists")
    if applied:
        await _check_objects(db)
    return [migration.name for migration in migrations() if migration.name not in applied]


async def _applied(db: Executor) -> set[str]:
    """The migrations that the database lists as applied. Raises SchemaMismatch."""
    if not await fetch_value(db, HAS_LEDGER, kind=bool):
        return set()
    return _checked(await db.fetch(APPLIED, row=AppliedMigration))


async def _already_there(db: Executor) -> str | None:
    """Something that the migrations make, such as `table cues`, and that the database has; None: nothing of it."""
    makes = {f"{kind} {name}" for migration in migrations() for kind, name in _CREATED.findall(migration.text)}
    existing = {" ".join(_WORD.findall(one)[:2]) for one in await _existing_objects(db)}
    return min(makes & existing, default=None)


async def _apply(db: Transaction, migration: Migration) -> None:
    """Run *migration*, and list what it has made; what another program has made beside it is not ours to miss."""
    before = await _existing_objects(db)
    try:
        await db.run_script(migration.text)
    except AlreadyExists as exists:
        raise SchemaIncomplete(str(exists)) from exists
    after = await _existing_objects(db)
    await db.execute(FORGET_OBJECTS, sorted(after))
    await db.execute(LIST_OBJECTS, sorted(after - before))
    await db.execute(NOTE, migration.name, migration.checksum)


async def _check_objects(db: Executor) -> None:
    if not await fetch_value(db, HAS_LIST, kind=bool) or not (listed := await _listed_objects(db)):
        raise SchemaIncomplete("the list of its objects is missing")
    if missing := sorted(listed - await _existing_objects(db)):
        others = f" and {len(missing) - 1} more are" if missing[1:] else " is"
        raise SchemaIncomplete(f"{missing[0]}{others} missing")


async def _existing_objects(db: Executor) -> set[str]:
    return {row.object for row in await db.fetch(CATALOG, row=SchemaObject)}


async def _listed_objects(db: Executor) -> set[str]:
    return {row.object for row in await db.fetch(LISTED, row=SchemaObject)}


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

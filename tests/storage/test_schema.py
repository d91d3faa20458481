"""The schema comes to where the code is, once, however many start at a time; and never goes back."""

from collections.abc import Iterator

import pytest
import trio

from cueapi.storage import schema
from cueapi.storage.database import Database
from cueapi.storage.schema import SchemaIncomplete, SchemaMismatch, migrate, pending
from cueapi.trio_asyncpg.pool import open_pool
from tests.conftest import in_database, say

NAMES = [migration.name for migration in schema.migrations()]


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database without any schema."""
    name = "cueapi_schema_test"
    say(postgres_url, f"drop database if exists {name}", f"create database {name}")
    yield in_database(postgres_url, name)
    say(postgres_url, f"drop database {name} with (force)")


async def test_of_many_who_migrate_at_once_one_does_it(empty_url: str) -> None:
    done: list[str] = []

    async def start() -> None:
        async with open_pool(empty_url, size=1) as pool:
            done.extend(await migrate(Database(pool)))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(start)

    assert sorted(done) == NAMES


async def test_what_lacks_is_told_before_and_nothing_after(empty_url: str) -> None:
    with trio.fail_after(30):
        async with open_pool(empty_url, size=1) as pool:
            before = await pending(Database(pool))
            await migrate(Database(pool))
            after = await pending(Database(pool))

    assert (before, after) == (NAMES, [])


AHEAD = "insert into schema_migrations (name, checksum) values ('9999_future.sql', 'x')"
CHANGED = "update schema_migrations set checksum = 'another'"


@pytest.mark.parametrize(
    ("statement", "message"),
    [(AHEAD, "is ahead of this version: it has the migration 9999_future.sql"), (CHANGED, "differs from the one")],
    ids=["ahead of the code", "made by another text"],
)
async def test_a_database_that_another_code_made_is_refused(database: Database, statement: str, message: str) -> None:
    await database.execute(statement)

    for ask in (migrate, pending):
        with pytest.raises(SchemaMismatch, match=message):
            await ask(database)


DAMAGES = {
    "a table": ("drop table mail_gates", "column mail_gates"),
    "a column": ("alter table cues drop column description", "column cues.description text"),
    "a type of a column": ("alter table users alter column plan type varchar", "column users.plan text"),
    "a column that may be null": (
        "alter table users alter column plan drop not null",
        "column users.plan text not null",
    ),
    "a default": ("alter table users alter column live_cues drop default", "column users.live_cues"),
    "an identity": ("alter table users alter column id drop identity", "column users.id bigint not null identity"),
    "an index": ("drop index cues_due", "index cues_due on cues is missing"),
    "a primary key": ("alter table outbox drop constraint outbox_pkey", "constraint outbox_pkey on outbox"),
    "a foreign key": ("alter table workers drop constraint workers_user_id_fkey", "constraint workers_user_id_fkey"),
    "a check of a domain": ("alter domain label drop constraint label_check", "constraint label_check on label"),
    "a trigger": ("drop trigger {trigger} on cues", "trigger"),
    "a function": ("drop function {function} cascade", "function"),
    "a view": ("drop view execution_states cascade", "column execution_states"),
    "the list of what there is": ("truncate schema_objects", "the list of its objects is missing"),
    "the table of that list": ("drop table schema_objects", "the list of its objects is missing"),
    "the list of migrations": ("truncate schema_migrations", "already exists"),
    "the table of migrations": ("drop table schema_migrations", "already exists"),
}


@pytest.mark.parametrize(("statement", "message"), DAMAGES.values(), ids=DAMAGES)
async def test_a_database_that_lacks_a_part_of_the_schema_is_refused(
    database: Database, statement: str, message: str
) -> None:
    (trigger,) = await database.fetch("select tgname as name from pg_trigger where not tgisinternal limit 1")
    (function,) = await database.fetch("select tgfoid::regproc as name from pg_trigger where not tgisinternal limit 1")
    async with database.transaction() as db:
        await db.run_script(statement.format(trigger=trigger["name"], function=function["name"]))

    for ask in (migrate, pending):
        with pytest.raises(SchemaIncomplete, match=message) as refused:
            await ask(database)
        assert "\n" not in str(refused.value)


async def test_the_first_part_of_a_dump_is_a_part_of_the_schema(empty_url: str) -> None:
    with trio.fail_after(30):
        async with open_pool(empty_url, size=1) as pool:
            await Database(pool).execute("create domain label as text")

            with pytest.raises(SchemaIncomplete, match="domain label already exists"):
                await pending(Database(pool))


async def test_what_else_there_is_in_a_database_and_what_of_it_goes_is_not_ours_to_mind(empty_url: str) -> None:
    with trio.fail_after(30):
        async with open_pool(empty_url, size=1) as pool:
            database = Database(pool)
            await database.execute("create table of_another_program (id int primary key)")
            await migrate(database)
            await database.execute("drop table of_another_program")
            await database.execute("create index of_an_operator on cues (description)")

            assert await migrate(database) == []


# Which version of each row there is, and by which transaction it was written.
WRITTEN = """
select (select string_agg(xmin::text || ctid, ',' order by name) from schema_migrations) as migrations,
       (select string_agg(xmin::text || ctid, ',' order by object) from schema_objects) as objects
"""


async def test_a_second_start_writes_nothing(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute("set transaction read only")

        assert await pending(db) == []

    (before,) = await database.fetch(WRITTEN)
    assert await migrate(database) == []
    assert await database.fetch(WRITTEN) == [before]


async def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = schema.Migration("0001_broken.sql", "create table half (id int); select no_such_column;")
    monkeypatch.setattr(schema, "migrations", lambda: [broken])

    with trio.fail_after(30):
        async with open_pool(empty_url, size=1) as pool:
            with pytest.raises(Exception, match="no_such_column"):
                await migrate(Database(pool))
            (row,) = await Database(pool).fetch("select to_regclass('half') as half, to_regclass('schema_migrations')")

    assert row["half"] is None


async def test_live_cues_are_counted_by_whatever_statement_they_change(database: Database) -> None:
    from tests.storage.rows import add_cue, add_user

    user = await add_user(database)
    first, second, _ = [await add_cue(database, user) for _ in range(3)]

    async def live() -> int:
        row = await database.fetch_one("select live_cues from users")
        return int(row["live_cues"])

    counts = [await live()]
    for change in (
        f"update cues set status = 'paused' where id = '{first}'",
        f"update cues set status = 'completed' where id = '{first}'",
        f"update cues set status = 'active' where id = '{first}'",
        f"update cues set deleted_at = now() where id = '{first}'",
        f"delete from cues where id = '{first}'",
        f"delete from cues where id = '{second}'",
    ):
        await database.execute(change)
        counts.append(await live())

    assert counts == [3, 3, 2, 3, 2, 2, 1]


GENERATED = "select attrelid::regclass::text || '.' || attname as name from pg_attribute where attgenerated <> ''"


async def test_no_column_is_generated_whose_expression_each_update_of_a_row_would_read(database: Database) -> None:
    assert [row["name"] for row in await database.fetch(GENERATED)] == []

"""What each kind of error of PostgreSQL means: by a table, and as a real server raises it."""

from typing import LiteralString, cast

import asyncpg
import pytest
import trio

from cueapi.storage import sqlstate
from cueapi.storage.database import (
    AlreadyExists,
    Database,
    Duplicate,
    StorageRefused,
    StorageUnavailable,
    TransactionRolledBack,
    Unstorable,
    open_listener,
)
from cueapi.storage.session import prepare
from cueapi.storage.sqlstate import ErrorKind, kind_of
from cueapi.trio_asyncpg.pool import open_pool
from tests.storage.rows import add_cue, add_user

KINDS = {
    ErrorKind.UNAVAILABLE: (
        "08000", "08003", "08006", "08P01", "25006", "25P03", "25P04", "26000", "42P05", "53000", "53100", "53200",
        "53300", "53400", "55000", "55006", "55P03", "57000", "57014", "57P01", "57P02", "57P03", "57P04", "57P05",
        "58000", "58030", "58P01", "72000", "F0000", "HV001", "HV00L", "HV00M", "HV00N", "XX000", "XX001", "XX002",
        "53XYZ",
    ),
    ErrorKind.ROLLED_BACK: ("40000", "40001", "40002", "40003", "40P01"),
    ErrorKind.REFUSED: ("0P000", "28000", "28P01", "3D000", "3F000", "42501", "42703", "42704", "42883", "42P01"),
    ErrorKind.UNSTORABLE: (
        "22000", "22001", "22003", "22007", "22021", "22P02", "22P05", "23502", "23503", "23514", "44000", "54000",
        "54001", "01000", "02000", "09000", "0F001", "0LP01", "0Z002", "10608", "20000", "24000", "27000", "2BP01",
        "2D000", "2F002", "2F005", "34000", "38000", "38002", "39000", "39001", "39P01", "HV000", "HV00R", "P0000",
        "P0001", "P0002", "P0003", "P0004", "ABC01", "00001", "U0001", "99999", "PT404",
    ),
    ErrorKind.DUPLICATE: ("23505",),
    ErrorKind.EXISTS: ("42710", "42723", "42P06", "42P07"),
    ErrorKind.BUG: (
        "03000", "0A000", "0B000", "21000", "25001", "25P02", "3B001", "42601", "42804", "42P02", "", "?", "ABC0",
    ),
}  # fmt: skip

OURS: dict[ErrorKind, type[Exception]] = {
    ErrorKind.UNAVAILABLE: StorageUnavailable,
    ErrorKind.ROLLED_BACK: StorageUnavailable,
    ErrorKind.REFUSED: StorageRefused,
    ErrorKind.UNSTORABLE: Unstorable,
    ErrorKind.DUPLICATE: Duplicate,
    ErrorKind.EXISTS: AlreadyExists,
    ErrorKind.BUG: asyncpg.PostgresError,
}


def raising(code: str) -> LiteralString:
    """A statement that fails with the SQLSTATE *code*."""
    return cast(LiteralString, f"do $$ begin raise exception 'raised' using errcode = '{code}'; end $$")


@pytest.mark.parametrize(
    ("code", "kind"),
    [pytest.param(code, kind, id=f"{code} {kind}") for kind, codes in KINDS.items() for code in codes],
)
def test_an_error_means_what_its_code_says_else_what_its_class_says(code: str, kind: ErrorKind) -> None:
    assert kind_of(code) is kind


def test_each_class_and_code_of_the_lists_is_tried() -> None:
    tried = {code for codes in KINDS.values() for code in codes}

    assert {code[:2] for code in tried} >= set(sqlstate.CLASSES)
    assert tried >= set(sqlstate.CODES)


def test_each_class_of_postgresqls_is_decided() -> None:
    theirs = {str(getattr(error, "sqlstate", None) or "")[:2] for error in vars(asyncpg.exceptions).values()}

    assert set(sqlstate.CLASSES) == theirs - {"", "00"}


REFUSING = """
create function refuse() returns trigger language plpgsql as $$
begin
    raise exception 'refused by the operator' using errcode = new.name;
end $$;
create trigger refusing before update on cues for each row execute function refuse();
"""


async def test_a_row_that_a_trigger_refuses_by_whichever_code_cannot_be_stored(database: Database) -> None:
    cue_id = await add_cue(database, await add_user(database))
    raised: dict[str, type[BaseException]] = {}
    async with database.transaction() as db:
        await db.run_script(REFUSING)
    with trio.fail_after(60):
        for code in (*KINDS[ErrorKind.UNSTORABLE], *KINDS[ErrorKind.DUPLICATE]):
            with pytest.raises(Exception, match=r"refused by the operator|^$") as caught:
                await database.execute("update cues set name = $2 where id = $1", cue_id, code)
            raised[code] = caught.type

    assert raised.pop("23505") is Duplicate
    assert set(raised.values()) == {Unstorable}


async def test_what_a_server_raises_becomes_an_error_of_ours_and_leaves_a_connection_of_use(database: Database) -> None:
    raised: dict[str, type[BaseException]] = {}
    expected = {code: OURS[kind] for kind, codes in KINDS.items() for code in codes if len(code) == 5}

    with trio.fail_after(60):
        for code in expected:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is asserted below
                await database.execute(raising(code))
            raised[code] = caught.type
        assert await database.fetch("select 1")

    assert [code for code, error in raised.items() if not issubclass(error, expected[code])] == []
    assert {code for code, error in raised.items() if error is StorageUnavailable} == {
        code for code, error in expected.items() if error is StorageUnavailable
    }


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_transaction_that_lost_to_another_one_says_so(database: Database, code: str) -> None:
    with pytest.raises(TransactionRolledBack):
        async with database.transaction() as db:
            await db.execute(raising(code))


async def test_a_lock_that_is_not_to_be_had_in_time_makes_storage_unavailable(database: Database) -> None:
    with trio.fail_after(60):
        async with database.transaction() as holder, database.transaction() as waiter:
            await holder.execute("lock table cues in access exclusive mode")
            await waiter.execute("set local lock_timeout = '10ms'")
            with pytest.raises(StorageUnavailable, match="lock timeout"):
                await waiter.execute("select from cues")


async def test_neither_a_statement_nor_a_transaction_waits_for_a_lock_without_an_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(60):
        async with database.transaction(patience=60) as holder:
            await holder.execute("lock table cues in access exclusive mode")
            with monkeypatch.context() as hurried:
                hurried.setattr("cueapi.storage.database.STATEMENT_PATIENCE", 0.1)
                with pytest.raises(StorageUnavailable, match="the statement was not done within"):
                    await database.fetch("select from cues")
            with pytest.raises(StorageUnavailable, match="the transaction was not done within"):
                async with database.transaction(patience=0.1) as waiter:
                    await waiter.execute("select from cues")
        assert await database.fetch("select count(*) from cues")


UNSET = {
    "lock_timeout": "77s",
    "statement_timeout": "77s",
    "idle_in_transaction_session_timeout": "77s",
    "idle_session_timeout": "77s",
    "transaction_timeout": "77s",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "datestyle": "SQL, DMY",
    "timezone": "Asia/Tokyo",
    "bytea_output": "escape",
    "quote_all_identifiers": "on",
}
"""What an operator may have given to the role or the database, and statements could not work with."""


async def test_the_settings_of_a_role_change_neither_the_pools_sessions_nor_the_listeners(database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    with trio.fail_after(60):
        async with open_pool(database_url, size=1) as pool:
            for setting, value in UNSET.items():
                await Database(pool).execute(
                    cast(LiteralString, f"alter role postgres in database {name} set {setting} = '{value}'")
                )
        async with (
            open_pool(database_url, size=1, init=prepare) as pool,
            open_listener(database_url, "probe", heartbeat=60) as (_, listening),
        ):
            shown = [
                {setting: str((await db.fetch(cast(LiteralString, f"show {setting}")))[0][0]) for setting in UNSET}
                for db in (Database(pool), listening)
            ]

    assert shown[0] == shown[1]
    assert {setting for setting, value in UNSET.items() if shown[0][setting] == value} == set()
    assert (shown[0]["timezone"], shown[0]["default_transaction_isolation"]) == ("UTC", "read committed")

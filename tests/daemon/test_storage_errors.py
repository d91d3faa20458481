"""Whatever PostgreSQL answers while a daemon runs: requests are put off, siblings wait, and all goes on afterwards."""

from typing import Any

import pytest
import trio

from cueapi.settings import Settings
from cueapi.storage.database import Database
from tests.conftest import Api, RunningDaemon, cue, running
from tests.process import HANG
from tests.receiver import open_receiver

DONE = (200, b'{"success": true}', {})

PASSING = (
    "08006", "25006", "40001", "40P01", "53100", "53200", "53300", "55P03", "55000", "57014", "57P05", "58030", "XX000",
    "26000", "28000", "3D000", "42501", "42P01", "42P05", "42703", "42883", "72000",
)  # fmt: skip
"""SQLSTATEs of what passes, or of what an operator gives back."""

BREAKABLE = """
create table broken (code text);
create function fail() returns trigger language plpgsql as $$
declare chosen text;
begin
    select code into chosen from broken order by random() limit 1;
    if chosen is not null then
        raise exception 'broken by the test' using errcode = chosen;
    end if;
    return new;
end $$;
create trigger breakable before insert or update on cues for each row execute function fail();
create trigger breakable before insert or update on executions for each row execute function fail();
create trigger breakable before insert or update on outbox for each row execute function fail()
"""


WAITING = """
select from pg_locks
 where not granted and database = (select oid from pg_database where datname = current_database())
"""


@pytest.fixture
async def breakable(database: Database) -> Database:
    """The test's database: what writes fails with a SQLSTATE of the table `broken`, as long as there is one."""
    async with database.transaction() as db:
        await db.run_script(BREAKABLE)
    return database


async def test_a_request_that_postgresql_cannot_do_now_is_put_off_whatever_the_reason(
    breakable: Database, api: Api
) -> None:
    answers = {}
    with trio.fail_after(HANG):
        for code in PASSING:
            await breakable.execute("insert into broken values ($1)", code)
            response = await api.ask("POST", "/v1/cues", cue())
            answers[code] = response.status_code, response.headers.get("Retry-After")
            await breakable.execute("delete from broken")
        made = await api.ask("POST", "/v1/cues", cue())

    assert answers == dict.fromkeys(PASSING, (503, "5"))
    assert made.status_code == 201


async def test_siblings_that_postgresql_refuses_wait_without_a_restart_and_go_on(
    breakable: Database, settings: Settings
) -> None:
    async with (
        open_receiver([0.3, DONE]) as receiver,
        running(settings.model_copy(update={"poller_interval_seconds": 0.1})) as daemon,
    ):
        with trio.fail_after(HANG):
            api = await daemon.api.register()
            made = await api.post("/v1/cues", cue(receiver.url()))
            await api.post(f"/v1/cues/{made['id']}/fire")
            await receiver.wait_for(1)
            async with breakable.transaction() as tx:
                await tx.execute("update cues set next_run = now()")
                await tx.execute("insert into broken select unnest($1::text[])", list(PASSING))
            while (await siblings(daemon))["poller"]["state"] != "waiting":
                await trio.sleep(0.02)
            await breakable.execute("delete from broken")
            await receiver.wait_for(2)
            while {one["state"] for one in (await siblings(daemon)).values()} != {"running"}:
                await trio.sleep(0.02)
            executions = (await api.get("/v1/executions"))["executions"]
            shown = [await api.execution(one["id"]) for one in executions]
            restarts = {one["restarts"] for one in (await siblings(daemon)).values()}

    assert [one["status"] for one in shown] == ["success", "success"]
    assert [one["attempts"] for one in shown] == [1, 1]
    assert restarts == {0}


async def siblings(daemon: RunningDaemon) -> dict[str, Any]:
    """The board."""
    return dict((await daemon.client.get("/health")).json()["siblings"])


async def test_a_request_that_waits_for_a_lock_is_done_although_the_role_would_give_up(
    database: Database, database_url: str, settings: Settings
) -> None:
    name, answers = database_url.rpartition("/")[2], list[int]()
    async with database.transaction() as db:
        await db.run_script(f"alter role postgres in database {name} set lock_timeout = '2s'")
        await db.run_script(f"alter role postgres in database {name} set statement_timeout = '2s'")

    async with running(settings) as daemon:
        with trio.fail_after(HANG):
            api = await daemon.api.register()

            async def create() -> None:
                answers.append((await api.ask("POST", "/v1/cues", cue())).status_code)

            async with trio.open_nursery() as nursery:
                async with database.transaction() as db:
                    await db.execute("lock table cues in access exclusive mode")
                    nursery.start_soon(create)
                    while not await db.fetch(WAITING):
                        await trio.sleep(0.01)
                    # For longer than the role allows.
                    await db.execute("select pg_sleep(2.2)")

    assert answers == [201]

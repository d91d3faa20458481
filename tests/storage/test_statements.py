"""Each statement of the product is one that PostgreSQL understands."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import trio

import cueapi.storage
from cueapi.storage import alerts, cues, execution_pages
from cueapi.storage.cues import CueFilter
from cueapi.storage.database import Database
from cueapi.storage.execution_pages import Filter
from cueapi.trio_asyncpg.connection import LONGEST_PREPARED
from tests.storage.rows import add_user

VERB = re.compile(r"\s*(select|insert|update|delete|with|create)\b")
CURSOR = (datetime(2026, 1, 1, tzinfo=UTC), UUID(int=7))


def source_of(module: str) -> str:
    """The text of a module of the storage."""
    found: str = inspect.getsource(importlib.import_module(f"cueapi.storage.{module}"))
    return found


def constants() -> Iterator[tuple[str, str]]:
    """Every constant that is a whole statement, by its name."""
    for found in pkgutil.walk_packages(cueapi.storage.__path__, "cueapi.storage."):
        module = found.name.removeprefix("cueapi.storage.")
        members = vars(importlib.import_module(found.name))
        for name, value in members.items():
            if not name.isupper() or name.startswith("_"):  # a fragment
                continue
            for number, text in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(text, str) and VERB.match(text):
                    yield f"{module}.{name}.{number}", text


STATEMENTS = dict(constants())

FROM_FILES = {
    name
    for name in STATEMENTS
    if re.search(rf"\b{name.split('.')[-2]}(, \w+)? = load", source_of(name.rsplit(".", 2)[0]))
}  # fmt: skip


def test_the_statements_are_found() -> None:
    assert len(STATEMENTS) >= 75
    assert {"transitions.APPLY_TRANSITIONS.0", "outbox.CLAIM_DELIVERIES.0", "janitor.EXPIRED.7"} <= STATEMENTS.keys()


def test_every_file_of_statements_is_used_once_and_every_long_statement_is_a_file() -> None:
    folder = Path(cueapi.storage.__path__[0])
    texts = "".join(path.read_text("utf-8") for path in (*folder.rglob("*.py"), *folder.glob("sql/*.sql")))
    loaded = re.findall(r'\bload(?:_both)?\(\s*"(\w+)"', texts)
    included = re.findall(r"^-- include: (\w+)$", texts, re.MULTILINE)
    given = re.findall(r"\b(\w+)=(?:\w+\.)?(?:COLUMNS|LINE|JOINED|columns_of\(|\"\")", texts)
    long = [name for name, text in STATEMENTS.items() if text.count("\n") > 31 and name not in FROM_FILES]

    # What waits for a target is claimed by the statement that claims the rest.
    assert sorted(loaded) == sorted([*set(loaded), "claim_deliveries"])
    assert {path.stem for path in folder.glob("sql/*.sql")} == {*loaded} | {*included} - {*given}
    assert long == []


def test_no_statement_is_so_long_that_it_is_planned_each_time_anew() -> None:
    assert {name for name, text in STATEMENTS.items() if len(text.encode()) > LONGEST_PREPARED} == set()


async def test_every_statement_can_be_prepared(database: Database) -> None:
    refused: dict[str, str] = {}
    with trio.fail_after(30):
        async with database.pool.acquire() as connection:
            for name, statement in STATEMENTS.items():
                try:
                    await connection.prepare(statement)
                except asyncpg.PostgresError as error:
                    refused[name] = str(error)

    assert refused == {}


@pytest.mark.parametrize("cursor", [None, CURSOR], ids=["by offset", "by cursor"])
async def test_every_combination_of_filters_of_executions_is_a_statement(
    database: Database, cursor: tuple[datetime, UUID] | None
) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    user = await add_user(database)
    choices = [
        [None, "cue_000000000000"],
        [None, "g"],
        [None, "failed", "retrying", "retry_ready"],
        [None, "verified_success"],
        [None, "replay"],
        [None, moment],
        [None, moment],
    ]

    totals = []
    with trio.fail_after(60):
        for choice in product(*choices):
            page = await execution_pages.page(database, Filter(user, *choice, before=cursor), limit=20, offset=0)
            totals.append((page.total, page.rows, page.more))

    assert totals == [(0, [], False)] * 256


async def test_every_combination_of_the_further_filters_of_executions_is_a_statement(database: Database) -> None:
    user = await add_user(database)
    names = ("cue_name", "statuses", "worker", "result_type", "has_evidence")
    words = ("pending", "delivering", "retrying", "retry_ready", "success", "failed", "missed", "outcome_timeout")
    choices = [[None, "n"], [None, ("failed",), words], [None, "w"], [None, "pdf"], [None, True, False]]
    everything = {
        "cue": "cue_000000000000", "group": "g", "status": "failed", "outcome_state": "verified_success",
        "triggered_by": "replay", "since": CURSOR[0], "until": CURSOR[0], "before": CURSOR,
    }  # fmt: skip

    totals = []
    with trio.fail_after(60):
        for common in ({}, everything):
            for choice in product(*choices):
                wanted = Filter(user, **common, **dict(zip(names, choice, strict=True)))
                page = await execution_pages.page(database, wanted, limit=20, offset=0)
                totals.append((page.total, page.rows, page.more))

    assert totals == [(0, [], False)] * 144


async def test_every_combination_of_filters_of_cues_is_a_statement(database: Database) -> None:
    user = await add_user(database)

    with trio.fail_after(10):
        for choice in product([None, "active"], [None, "n"], [None, "g"]):
            page = await cues.page(database, CueFilter(user, *choice), limit=20, offset=40)
            assert (page.total, page.rows, page.more) == (0, [], False)


async def test_every_combination_of_filters_of_alerts_is_a_statement(database: Database) -> None:
    user = await add_user(database)

    with trio.fail_after(10):
        for kind, since, seen, before in product([None, "missed_run"], [None, CURSOR[0]], [None, True], [None, CURSOR]):
            page = await alerts.page(
                database, user=user, alert_type=kind, since=since, acknowledged=seen, before=before, limit=9, offset=0
            )
            assert (page.total, page.rows, page.more) == (0, [], False)

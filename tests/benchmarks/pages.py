"""How long PostgreSQL takes for a page of a million executions, at the top and far behind it."""

import json
from collections.abc import Sequence
from statistics import median
from typing import LiteralString

from attrs import frozen

from cueapi.storage import database as storage
from cueapi.storage import execution_pages
from cueapi.storage.database import Database
from cueapi.storage.execution_pages import Filter
from tests.benchmarks.crowd import add_crowd, add_history, open_storage
from tests.benchmarks.size import Size
from tests.benchmarks.table import Row
from tests.storage.own_postgres import OwnPostgres
from tests.storage.rows import add_user

GOAL = 20
LIMIT = 20

# $2 how many executions lie before it.
ONE = "select created_at, id from executions where user_id = $1 order by created_at desc, id desc offset $2 limit 1"


async def measure(server: OwnPostgres, size: Size) -> list[Row]:
    """The statement of `GET /v1/executions`: a small user's page, the first of many, and one far behind, in turns."""
    async with open_storage(server) as database:
        small = await _add_user(database, size.few, size)
        busy = await _add_user(database, size.history, size)
        last = await database.fetch_one(ONE, busy, (size.page - 1) * LIMIT - 1)
        pages = Filter(small), Filter(busy), Filter(busy, before=(last["created_at"], last["id"]))
        rounds = [[await _time(database, page) for page in pages] for _ in range(size.warm_up + size.polls)]
    few, first, far = zip(*rounds[size.warm_up :], strict=True)
    return [
        _row(f"page 1 of {size.history:,} executions", first, f"page 1 of {size.few:,}", few),
        _row(f"page {size.page:,} of them, by cursor", far, "page 1 of them", first),
    ]


async def _add_user(database: Database, history: int, size: Size) -> int:
    user = await add_user(database)
    await add_crowd(database, user, size.few)
    await add_history(database, user, history, size.few)
    return user


class Explained(Exception):
    """The statement was explained, and took so many *milliseconds*."""

    def __init__(self, milliseconds: float) -> None:
        super().__init__(milliseconds)
        self.milliseconds = milliseconds


@frozen
class Explaining:
    """Explains the statement that it is told, instead of its answer."""

    database: Database

    async def fetch(
        self, statement: LiteralString, *values: object, row: type[storage.R] | None = None
    ) -> list[storage.R]:
        """Raises Explained."""
        (found,) = await self.database.fetch(f"explain (analyze, timing off, format json) {statement}", *values)
        (told,) = json.loads(found[0])
        raise Explained(told["Planning Time"] + told["Execution Time"])


async def _time(database: Database, page: Filter) -> float:
    try:
        await execution_pages.page(Explaining(database), page, limit=LIMIT, offset=0)
    except Explained as explained:
        return explained.milliseconds
    raise AssertionError("a page was read without a statement")


def _row(name: str, ours: Sequence[float], what: str, bare: Sequence[float]) -> Row:
    times = median(ours) / median(bare)
    compared = f"{what}: {median(bare):.2g} ms (ratio {times:.2g})"
    return Row(name, "planned and executed", compared, ours, GOAL, " ms", at_most=True)

"""Statements as PostgreSQL plans them at first, and after it has settled on a plan that knows no values."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from attrs import field, frozen

from cueapi.storage.database import Executor, R
from cueapi.storage.session import prepare, prepare_to_repeat
from cueapi.trio_asyncpg.connection import Connection, close, connect

BIG = {"executions", "cues", "outbox", "attempts", "alerts", "audit"}
"""Tables that no statement may scan."""

COUNTED = BIG | {"incidents", "operations", "targets", "notifications"}
"""Tables whose rows are counted; of these some are small, and may be scanned."""

EXECUTIONS = 7
"""After five of them the server may settle on a plan that knows no values; it says which is cheaper, in its opinion."""


class Explained(Exception):
    """The statement was explained, and has done nothing."""


@frozen
class Plan:
    """What a statement did: an outline, the scans of tables and how many rows they read, and how many were written."""

    text: str
    scans: dict[str, int]
    sequential: set[str]
    written: dict[str, int]

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return sum(self.scans.values())

    @property
    def big_rows(self) -> int:
        """Rows of the big tables that were read."""
        return sum(rows for key, rows in self.scans.items() if set(key.split()) & BIG)


@frozen
class Explaining:
    """
    Explains each statement as it is planned at first, and later; in transactions that are rolled back.

    A statement that was explained before is not planned at first again.
    """

    connection: Connection
    plans: list[Plan] = field(factory=list)
    names: dict[str, str] = field(factory=dict)

    async def fetch(self, statement: str, *values: object, row: type[R] | None = None) -> list[R]:
        """Never returns."""
        known = statement in self.names
        name = self.names.setdefault(statement, f"explained_{len(self.names)}")
        prepare, execute = await prepared_call(self.connection, name, statement, values)
        if not known:
            await self.connection.execute(prepare)
        told = [await self._explain(execute) for _ in range(EXECUTIONS)]
        self.plans.extend(_plan(json.loads(text)[0]["Plan"]) for text in (told[0], told[-1]))
        raise Explained

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Explaining"]:
        """Explains the first of its statements."""
        yield self

    async def _explain(self, statement: str) -> str:
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            told: str = await self.connection.fetchval(
                f"explain (analyze, timing off, summary off, format json) {statement}"
            )
        finally:
            await transaction.rollback()
        return told

    async def fetch_one(self, statement: str, *values: object, row: type[R] | None = None) -> R | None:
        """Likewise."""
        await self.fetch(statement, *values)
        return None

    async def execute(self, statement: str, *values: object) -> int:
        """Likewise."""
        await self.fetch(statement, *values)
        return 0


async def prepared_call(connection: Connection, name: str, statement: str, values: Sequence[object]) -> tuple[str, str]:
    """How *statement* is prepared under *name*, and how it is executed with *values*."""
    types = [one.name for one in (await connection.prepare(statement)).get_parameters()]
    given = [
        str(await connection.fetchval(f"select quote_nullable($1::{kind}::text)", value))
        for value, kind in zip(values, types, strict=True)
    ]
    return f"prepare {_call(name, types)} as {statement}", f"execute {_call(name, given)}"


def _call(name: str, values: list[str]) -> str:
    return f"{name} ({', '.join(values)})" if values else name


def _nodes(node: dict[str, Any], above: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Each node, and what kind of node stands above it."""
    yield node, above
    for child in node.get("Plans", []):
        yield from _nodes(child, node["Node Type"])


def _outline(node: dict[str, Any], depth: int = 0) -> str:
    """A line for each node: what it is, on what, and how many rows it was thought to have and had."""
    names = ("Node Type", "Operation", "Relation Name", "Index Name", "Index Cond", "Filter")
    told = [str(node[name]) for name in names if name in node]
    line = f"{'  ' * depth}{' '.join(told)} ({node['Plan Rows']} → {node['Actual Rows']} × {node['Actual Loops']})"
    return "\n".join([line, *(_outline(child, depth + 1) for child in node.get("Plans", []))])


def _plan(root: dict[str, Any]) -> Plan:
    scans: dict[str, int] = {}
    sequential, written = set(), dict[str, int]()
    for node, above in _nodes(root):
        table = node.get("Relation Name")
        if node["Node Type"] == "ModifyTable":
            rows = sum(int(child["Actual Rows"] * child["Actual Loops"]) for child in node["Plans"])
            written[table] = written.get(table, 0) + rows
        if table not in COUNTED or not node["Node Type"].endswith("Scan"):
            continue
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        key = f"{node['Node Type']} {table} {node.get('Index Name', '')}"
        scans[key] = scans.get(key, 0) + int((node["Actual Rows"] + removed) * node["Actual Loops"])
        # Where half of a table is wanted and 10,001 rows are enough, a scan that the limit ends is the cheapest.
        if node["Node Type"] == "Seq Scan" and above != "Limit" and table in BIG:
            sequential.add(table)
    return Plan(_outline(root), scans, sequential, written)


@asynccontextmanager
async def open_explaining(dsn: str, *, repeats: bool = False) -> AsyncIterator[Explaining]:
    """A connection of its own to *dsn*, set as the daemon's are: as those that repeat a few statements, if it does."""
    connection = await connect(dsn)
    await (prepare_to_repeat if repeats else prepare)(connection)
    yield Explaining(connection)
    await close(connection)


async def explain(explaining: Explaining, ask: Callable[[Executor], Awaitable[object]]) -> Plan:
    """The worse plan of the one statement that *ask* says."""
    with trio.fail_after(30), suppress(Explained):
        await ask(explaining)
    first, settled = explaining.plans[-2:]
    return max(first, settled, key=lambda plan: (len(plan.sequential), plan.rows))

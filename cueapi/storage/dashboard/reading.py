"""Statements of pages: a person waits for each, so that it has two seconds and no more."""

from typing import LiteralString

import trio
from attrs import frozen

from cueapi.storage.database import Database, R

PATIENCE = 2.0
"""Seconds after which a statement of a page is cancelled, here and at the server."""


class TooSlow(Exception):
    """PostgreSQL did not find what was asked for in time; narrower filters may."""


@frozen
class PageReader:
    """The database, as pages read it. Raises TooSlow where a statement takes longer than *patience* seconds."""

    database: Database
    patience: float = PATIENCE

    async def fetch(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> list[R]:
        """All rows, each one a *row*."""
        with trio.move_on_after(self.patience):
            return await self.database.fetch(statement, *values, row=row)
        raise TooSlow

    async def fetch_one(self, statement: LiteralString, *values: object, row: type[R] | None = None) -> R | None:
        """The first row, or None."""
        rows = await self.fetch(statement, *values, row=row)
        return rows[0] if rows else None

    async def execute(self, statement: LiteralString, *values: object) -> int:
        """How many rows the statement touched."""
        with trio.move_on_after(self.patience):
            return await self.database.execute(statement, *values)
        raise TooSlow

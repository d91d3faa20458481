"""What an operation on many is to work on: read from its body, and counted."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

import trio
from attrs import field, frozen
from quart import g

from cueapi.api.cue_writing import find
from cueapi.api.fire_times import ONE_AT_A_TIME
from cueapi.api.models.requests.operations import FROM, OperationFields
from cueapi.domain.backfill import MOST_TIMES, Backfill, check_number, check_span
from cueapi.domain.bulk import COUNT_CAP, OF_CUES, Kind
from cueapi.domain.clock import iso, parse_kept, parse_moment
from cueapi.domain.errors import Invalid, Problem
from cueapi.domain.ids import parse_uuid
from cueapi.domain.url import read_place
from cueapi.storage import backfills, cue_batches, cues, dead_letter_batches, dead_letters
from cueapi.storage.clock import Clock
from cueapi.storage.cues import CueFilter
from cueapi.storage.database import Database
from cueapi.storage.dead_letters import DeadFilter, read_status

Scope: TypeAlias = dict[str, Any]
"""What an operation goes by, as it is stored: `ids`, a `filter`, or a backfill."""

SAMPLED = 10
"""How many a dry run shows."""

CUE_FILTERS = {"status", "name", "group"}
DEAD_FILTERS = {"cue_id", "group", "host", "http_status", "error", "since", "until"}


@frozen
class Matched:
    """How many an operation is to work on, some of them, and what is good to know before."""

    number: int
    sample: list[dict[str, object]] = field(factory=list)
    warnings: list[str] = field(factory=list)

    @property
    def is_capped(self) -> bool:
        """Whether there are more than are counted."""
        return self.number > COUNT_CAP

    @property
    def counted(self) -> int:
        """How many there are, up to what is counted."""
        return min(self.number, COUNT_CAP)


@frozen
class OperationScopes:
    """Reads and counts, for the account that asks."""

    database: Database
    clock: Clock

    async def read(self, body: OperationFields) -> Scope:
        """What *body* means; refuses what its kind does not take, and what it needs and is not there."""
        kind, given = Kind(body.kind), body.given()
        named = {name: value for name, value in given.items() if value is not None}
        of_backfill = {"cue_id", FROM, "to", "only_missing"} & set(named)
        if kind is Kind.BACKFILL:
            if stray := {"filter", "ids"} & set(named):
                raise Invalid(Problem(f"body.{min(stray)}", "a backfill takes cue_id, from and to instead"))
            return await self._backfill(named)
        if of_backfill:
            raise Invalid(Problem(f"body.{min(of_backfill)}", "belongs to a backfill"))
        if ("ids" in named) == ("filter" in named):
            raise Invalid(Problem("body.filter", "give either `filter` or `ids`"))
        if "ids" in named:
            return {"ids": [*dict.fromkeys(one.lower() for one in named["ids"])]}
        return {"filter": _filter(kind, named["filter"])}

    async def _backfill(self, named: Scope) -> Scope:
        missing = [Problem(f"body.{name}", "is required") for name in ("cue_id", FROM, "to") if name not in named]
        if missing:
            raise Invalid(*missing)
        row = await find(self.database, named["cue_id"])
        since, until = (_moment(named, name, read=parse_kept) for name in (FROM, "to"))
        await self.clock.decide(self.database, partial(check_span, since, until))
        backfill = Backfill(
            row.id, since, until, named.get("only_missing", True), row.cron, row.timezone, row.schedule_at
        )
        return backfill.scope()

    async def matched(self, kind: Kind, scope: Scope) -> Matched:
        """How many *scope* means, and some of them."""
        if kind is Kind.BACKFILL:
            return await self._times(Backfill.of(scope))
        if "ids" in scope:
            return await (self._named_cues if kind in OF_CUES else self._named_executions)(scope["ids"])
        if kind in OF_CUES:
            return await self._cues(kind, CueFilter(g.account.id, **scope["filter"]))
        return await self._dead_letters(kind, DeadFilter.of(g.account.id, scope["filter"]))

    async def _dead_letters(self, kind: Kind, wanted: DeadFilter) -> Matched:
        found = await dead_letter_batches.count(self.database, wanted)
        page = await dead_letters.page(self.database, wanted, before=None, limit=SAMPLED)
        sample = [_sampled(str(row.id), row.cue_id, row.cue_name, row.dead_at) for row in page.rows]
        warnings = []
        if kind is Kind.REPLAY and found.skipped:
            told = "1 of them is" if found.skipped == 1 else f"{found.skipped:,} of them are"
            warnings.append(f"{told} skipped: a replay has not ended, or is a dead letter itself and stands for it.")
        return Matched(found.matched, sample, warnings)

    async def _cues(self, kind: Kind, wanted: CueFilter) -> Matched:
        number = await cue_batches.count(self.database, wanted)
        page = await cues.page(self.database, wanted, limit=SAMPLED, offset=0, counted=False)
        sample = [_sampled(row.id, row.id, row.name, row.created_at) for row in page.rows]
        return Matched(number, sample, _of_deleted(kind))

    async def _named_executions(self, ids: list[str]) -> Matched:
        some = [identity for one in ids[:SAMPLED] if (identity := parse_uuid(one))]
        rows = await dead_letters.some(self.database, user=g.account.id, ids=some)
        sample = [_sampled(str(row.id), row.cue_id, row.cue_name, row.dead_at) for row in rows]
        return Matched(len(ids), sample)

    async def _named_cues(self, ids: list[str]) -> Matched:
        rows = await cue_batches.some(self.database, user=g.account.id, ids=ids[:SAMPLED])
        return Matched(len(ids), [_sampled(row.id, row.id, row.name, row.created_at) for row in rows])

    async def _times(self, backfill: Backfill) -> Matched:
        # In a thread: ten thousand times take a tenth of a second to find.
        find_times = partial(backfill.times, None, MOST_TIMES + 1)
        times = await trio.to_thread.run_sync(find_times, limiter=ONE_AT_A_TIME)
        check_number(len(times))
        row = await find(self.database, backfill.cue_id)
        found = await backfills.open_times(
            self.database, cue_id=row.id, times=times, only_missing=backfill.only_missing
        )
        warnings = [] if row.status == "active" else [f"The cue is {row.status}; a backfill fires it all the same."]
        return Matched(len(found), [_sampled(None, row.id, row.name, at) for at in found[:SAMPLED]], warnings)


def _sampled(identity: str | None, cue_id: str, cue_name: str, at: datetime) -> dict[str, object]:
    return {"id": identity, "cue_id": cue_id, "cue_name": cue_name, "at": at}


def _of_deleted(kind: Kind) -> list[str]:
    if kind is not Kind.DELETE:
        return []
    return ["Their histories are deleted with them, and deliveries that wait are cancelled."]


def _filter(kind: Kind, given: Scope) -> Scope:
    """The filter as it is stored; refuses an empty one, and what the list of its kind does not know."""
    found = {name: value for name, value in given.items() if value is not None}
    known = CUE_FILTERS if kind in OF_CUES else DEAD_FILTERS
    if not found:
        names = ", ".join(f"`{name}`" for name in sorted(known))
        raise Invalid(Problem("body.filter", f"must not be empty; known are {names}"))
    if strange := set(found) - known:
        raise Invalid(Problem(f"body.filter.{min(strange)}", f"is not known to the list that `{kind}` works on"))
    for name in {"since", "until"} & set(found):
        found[name] = iso(_moment(found, name, "body.filter."))
    if "host" in found:
        found["host"] = _place(found["host"])
    if "http_status" in found:
        found["http_status"] = read_status(found["http_status"])
    return found


def _place(text: str) -> str:
    try:
        return read_place(text)
    except ValueError as error:
        raise Invalid(Problem("body.filter.host", str(error))) from None


def _moment(given: Scope, name: str, where: str = "body.", read: Callable[[str], datetime] = parse_moment) -> datetime:
    try:
        return read(given[name])
    except ValueError:
        raise Invalid(
            Problem(f"{where}{name}", "must be an ISO 8601 moment, for example 2026-01-01T00:00:00Z")
        ) from None

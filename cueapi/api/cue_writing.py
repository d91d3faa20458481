"""Writing a cue: what is checked before, and the statements that add or change it."""

from contextlib import suppress
from typing import Any

from attrs import evolve, frozen
from quart import g

from cueapi.api import cue_planning
from cueapi.api.callback_headers import CallbackHeaders
from cueapi.api.cue_planning import FoundTargets
from cueapi.api.http.idempotency import IdempotentRequest
from cueapi.api.http.off_loop import off_loop
from cueapi.domain import cue as domain
from cueapi.domain.audit import Act
from cueapi.domain.cue import Cue
from cueapi.domain.cue_audit import cue_entries
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id, new_cue_id
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.storage import cue_changes, cue_descriptions, cues
from cueapi.storage.clock import Clock
from cueapi.storage.cue_changes import ChangedCueRow, CueUpdate
from cueapi.storage.cues import CueRecord, CueRow
from cueapi.storage.database import (
    ROLLBACK_PATIENCE,
    Database,
    Duplicate,
    Executor,
    StorageUnavailable,
    TransactionRolledBack,
)

CUE_REFUSALS = (
    "invalid_schedule",
    "invalid_timezone",
    "invalid_callback_url",
    "invalid_payload_size",
    "duplicate_cue_name",
    "cue_limit_exceeded",
    "unsupported_verification_for_transport",
)
"""Why creating or changing a cue may be refused."""


@frozen
class CueWriter:
    """Adds and changes cues, within the rules of this server."""

    database: Database
    headers: CallbackHeaders
    clock: Clock
    resolver: Resolver
    rules: Rules
    worker_evidence: bool
    longest_attempt: float

    async def add(self, once: IdempotentRequest, planned: Cue, act: Act) -> CueRow:
        """The row of the new cue."""
        cue_planning.check(planned, worker_evidence=self.worker_evidence)
        cue_planning.check_timeout(planned, self.longest_attempt)
        first = await self.clock.decide(self.database, planned.schedule.first_after)
        record = await cue_planning.unplaced(planned)
        record = cue_planning.placed(record, await cue_planning.look_up(planned, self.resolver, self.rules))
        cue_id, limit, db = new_cue_id(), g.account.limits.active_cues, await once.begin()
        record = evolve(record, headers=self.headers.encrypt(planned.callback.headers, cue_id))
        try:
            row = await cues.add(db, record, cue_id=cue_id, user=g.account.id, act=act, limit=limit, next_run=first)
        except Duplicate:
            raise _taken(planned.name) from None
        if row is None:
            raise _no_room(limit)
        return row

    async def change(self, cue_id: str, patch: dict[str, Any], act: Act) -> ChangedCueRow:
        """
        The row of the changed cue; what *patch* leaves out stays.

        Changes of one cue wait for each other: each is merged into what the one before has left.
        """
        # What can be refused, and what takes long, comes before the cue is locked: the poll passes a locked cue over.
        draft, _ = await self._decided(self.database, await find(self.database, cue_id), patch)
        found = {} if _stops(patch) else await cue_planning.look_up(draft.cue, self.resolver, self.rules)
        for _ in range(ROLLBACK_PATIENCE):
            with suppress(TransactionRolledBack):
                async with self.database.transaction() as db:
                    return await self._write(db, cue_id, patch, found, act)
        raise StorageUnavailable("it was rolled back for another transaction, again and again")

    async def _write(
        self, db: Executor, cue_id: str, patch: dict[str, Any], found: FoundTargets, act: Act
    ) -> ChangedCueRow:
        """Lock the cue, decide upon what stands there, and write it."""
        row = await cue_changes.lock(db, cue_id=cue_id, user=g.account.id)
        if row is None:
            raise not_found()
        draft, update = await self._decided(db, row, patch)
        record = cue_planning.placed(draft, found)
        try:
            changed = await cue_changes.change(db, record, update, cue_id=cue_id, user=g.account.id, act=act)
        except Duplicate:
            raise _taken(record.cue.name) from None
        if changed is None:
            raise _no_room(g.account.limits.active_cues)
        return changed

    async def _decided(self, db: Executor, row: CueRow, patch: dict[str, Any]) -> tuple[CueRecord, CueUpdate]:
        """What *patch* makes of the cue as it stands in *row*; refuses what cannot be."""
        if not g.account.grant.knows(row.group_name):
            raise not_found()
        before = await off_loop(cue_descriptions.to_cue, row, self.headers.read(row) or {}, size=len(row.payload))
        after = domain.changed(before, patch)
        g.account.grant.check_group(after.group)
        if not _stops(patch):
            cue_planning.check(after, worker_evidence=self.worker_evidence)
        if "delivery" in patch:
            cue_planning.check_timeout(after, self.longest_attempt)
        fired = await _has_fired(db, row)
        change = await self.clock.decide(
            db, lambda now: domain.schedule_change(before, after, patch.get("status"), fired=fired, now=now)
        )
        revives = before.status not in {"active", "paused"} and change.status in {"active", "paused"}
        room = g.account.limits.active_cues if revives else None
        same_urls = before.callback.url == after.callback.url and before.on_failure == after.on_failure
        warning = row.url_warning if same_urls else None
        record = await cue_planning.unplaced(after, warning, stored=len(row.payload))
        record = evolve(record, headers=self.headers.changed(row, after, patch))
        entries = await off_loop(cue_entries, before, after, change.status, size=len(row.payload) + len(record.payload))
        return record, CueUpdate(entries, room, change.status, change.moves, change.next_run)


def _stops(patch: dict[str, Any]) -> bool:
    """Whatever has become of its URLs, or of what is allowed: a cue can be stopped."""
    return patch == {"status": "paused"}


async def _has_fired(db: Executor, row: CueRow) -> bool:
    """True where a one-time cue's time has its execution."""
    if row.schedule_at is None or row.next_run is not None:
        return False
    return await cue_changes.has_fired(db, cue_id=row.id, at=row.schedule_at)


async def find(database: Database, cue_id: str) -> CueRow:
    """The row of a cue of this account; refuses every other id."""
    row = await cues.show(database, cue_id=cue_id, user=g.account.id) if is_cue_id(cue_id) else None
    if row is None:
        raise not_found()
    return row


def not_found() -> Refusal:
    """The same for a cue of another account and for an id that is not well-formed."""
    return Refusal("cue_not_found", "There is no such cue.")


def _taken(name: str) -> Refusal:
    return Refusal("duplicate_cue_name", f"There is a cue named {name!r} already.")


def _no_room(limit: int) -> Refusal:
    return Refusal("cue_limit_exceeded", f"The plan has room for {limit} active and paused cues; delete one first.")

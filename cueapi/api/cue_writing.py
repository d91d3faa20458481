"""Writing a cue: what is checked before, and the one statement that adds or changes it."""

from typing import Any

from attrs import frozen
from quart import g

from cueapi.api import cue_planning
from cueapi.api.http.idempotency import IdempotentRequest
from cueapi.domain import cue as domain
from cueapi.domain.cue import Cue
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id, new_cue_id
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver
from cueapi.storage import cues
from cueapi.storage.clock import Clock
from cueapi.storage.cues import CueRecord, CueRow, CueUpdate
from cueapi.storage.database import Database, Duplicate

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

ROUNDS = 5
"""How often a change is computed anew where the cue was written meanwhile."""


@frozen
class CueWriter:
    """Adds and changes cues, within the rules of this server."""

    database: Database
    clock: Clock
    resolver: Resolver
    rules: Rules
    worker_evidence: bool

    async def add(self, once: IdempotentRequest, planned: Cue) -> CueRow:
        """The row of the new cue."""
        cue_planning.check(planned, worker_evidence=self.worker_evidence)
        first = planned.schedule.first_after(self.clock.now())
        record = await cue_planning.reachable(planned, self.resolver, self.rules)
        limit, db = g.account.limits.active_cues, await once.begin()
        try:
            row = await cues.add(db, record, cue_id=new_cue_id(), user=g.account.id, limit=limit, next_run=first)
        except Duplicate:
            raise _taken(planned.name) from None
        if row is None:
            raise _no_room(limit)
        return row

    async def change(self, cue_id: str, patch: dict[str, Any]) -> CueRow:
        """The row of the changed cue; what *patch* leaves out stays."""
        for _ in range(ROUNDS):
            row = await find(self.database, cue_id)
            changed = await self._changed(row, patch)
            if changed is not None:
                return changed
        raise Refusal("invalid_state", "The cue is being changed by other requests; send this one again.")

    async def _changed(self, row: CueRow, patch: dict[str, Any]) -> CueRow | None:
        """The changed row; None where it was written since *row* was read."""
        before = cues.to_cue(row)
        after = domain.changed(before, patch)
        # Whatever has become of its URLs, or of what is allowed: a cue can be stopped.
        stops = patch == {"status": "paused"}
        if not stops:
            cue_planning.check(after, worker_evidence=self.worker_evidence)
        change = domain.schedule_change(
            before, after, patch.get("status"), fired=await self._has_fired(row), now=self.clock.now()
        )
        revives = before.status not in {"active", "paused"} and change.status in {"active", "paused"}
        limit = g.account.limits.active_cues
        update = CueUpdate(row.revision, limit if revives else None, change.status, change.moves, change.next_run)
        same_urls = before.callback.url == after.callback.url and before.on_failure == after.on_failure
        warning = row.warning if same_urls else None
        record = cue_planning.unchecked(after, warning) if stops else await self._reachable(after, warning)
        changed = await self._write(record, update, row.id)
        if changed is None and revives and (await find(self.database, row.id)).revision == row.revision:
            raise _no_room(limit)
        return changed

    async def _reachable(self, cue: Cue, warning: str | None) -> CueRecord:
        return await cue_planning.reachable(cue, self.resolver, self.rules, warning=warning)

    async def _write(self, record: CueRecord, update: CueUpdate, cue_id: str) -> CueRow | None:
        try:
            return await cues.change(self.database, record, update, cue_id=cue_id, user=g.account.id)
        except Duplicate:
            raise _taken(record.cue.name) from None

    async def _has_fired(self, row: CueRow) -> bool:
        """True where a one-time cue's time has its execution."""
        if row.schedule_at is None or row.next_run is not None:
            return False
        return await cues.has_fired(self.database, cue_id=row.id, at=row.schedule_at)


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

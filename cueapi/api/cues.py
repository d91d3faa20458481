"""Cues: create, list, show, change, delete, fire."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import trio
from attrs import field, frozen
from quart import Blueprint, Response, g

from cueapi.api.executions import EXECUTION_FILTERS, Executions
from cueapi.api.http import params
from cueapi.api.http.body import given_fields, read
from cueapi.api.http.idempotency import Done, Effect, once
from cueapi.api.http.operations import (
    CONFIRMED,
    IDEMPOTENCY_KEY,
    IDEMPOTENT,
    moment,
    operation,
    paged,
    text,
    whole,
    words,
)
from cueapi.api.http.params import confirmed
from cueapi.api.models import rendering, requests, responses
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests import CueBody, CuePatch, FireBody, Ids
from cueapi.domain import cue as domain
from cueapi.domain.clock import iso, parse_moment
from cueapi.domain.cue import Callback, Cue
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.ids import is_cue_id, new_cue_id, new_uuid7
from cueapi.domain.retry import DEFAULT_BACKOFF, Retry
from cueapi.domain.schedule import upcoming
from cueapi.domain.signature import RESERVED, check_headers
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver, check_reachable
from cueapi.storage import cues, fires, histories
from cueapi.storage.clock import Clock
from cueapi.storage.cues import CueRecord, CueUpdate
from cueapi.storage.database import Database, Duplicate, Executor
from cueapi.storage.fires import ManualFire
from cueapi.storage.histories import History
from cueapi.storage.paging import PAGE_CAP
from cueapi.wakeups.hub import WakeupHub

CUE_REFUSALS = (
    "invalid_schedule",
    "invalid_timezone",
    "invalid_callback_url",
    "invalid_payload_size",
    "duplicate_cue_name",
    "cue_limit_exceeded",
    "unsupported_verification_for_transport",
)
"""Why a cue may be refused, made or changed."""

TRIES = 5
"""How often a change is made anew where the cue has moved meanwhile."""

FARTHEST = timedelta(days=366)
"""How far ahead `send_at` may lie."""


@frozen
class Cues:
    """`/v1/cues`."""

    database: Database
    clock: Clock
    resolver: Resolver
    rules: Rules
    hub: WakeupHub
    executions: Executions
    worker_evidence: bool
    one_at_a_time: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1))

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("cues", __name__, url_prefix="/v1/cues")
        routes.post("")(self.create)
        routes.get("")(self.list)
        routes.post("/bulk-delete")(self.bulk_delete)
        routes.get("/<cue_id>")(self.show)
        routes.patch("/<cue_id>")(self.change)
        routes.delete("/<cue_id>")(self.delete)
        routes.get("/<cue_id>/executions")(self.list_executions)
        routes.get("/<cue_id>/upcoming")(self.upcoming)
        routes.post("/<cue_id>/fire")(self.fire)
        return routes

    @operation(
        responses.Cue,
        status=201,
        body=CueBody,
        parameters=(IDEMPOTENCY_KEY,),
        refuses=(*CUE_REFUSALS, *IDEMPOTENT),
    )
    async def create(self) -> Response:
        """A new cue, scheduled."""
        return await once(self.database, self._creation)

    async def _creation(self) -> Effect:
        body = await read(CueBody)
        planned = self._allowed(plan(body))
        first = planned.schedule.first_after(self.clock.now())
        ignored = _ignored(body, planned)
        return partial(self._create, await self._place(planned), first, ignored)

    async def _create(self, placed: CueRecord, first: datetime, ignored: list[str], db: Executor) -> Done:
        limit = g.account.limits.active_cues
        try:
            row = await cues.add(db, placed, cue_id=new_cue_id(), user=g.account.id, limit=limit, next_run=first)
        except Duplicate:
            raise _taken(placed.cue.name) from None
        if row is None:
            raise _no_room(limit)
        shown = rendering.cue(row)
        shown["warning"] = " ".join([*ignored, *filter(None, [shown["warning"]])]) or None
        return Done(answer(shown, 201), partial(self.hub.cue_written, row.next_run))

    @operation(
        responses.CueList,
        parameters=(
            words("status", list(domain.STATUSES), "In this status."),
            text("name", "Of this very name."),
            *paged(50),
        ),
        refuses=("invalid_filter",),
    )
    async def list(self) -> Response:
        """One page of cues."""
        status = params.word("status", domain.STATUSES)
        limit, offset = params.limit(50), params.offset()
        page = await cues.page(
            self.database,
            user=g.account.id,
            status=status,
            name=params.text("name"),
            limit=limit,
            offset=offset,
        )
        return answer(
            {"cues": [rendering.cue(row) for row in page.rows], **rendering.listed(page, limit=limit, offset=offset)}
        )

    @operation(
        responses.CueWithHistory,
        parameters=(
            whole("execution_limit", 1, 100, 10, "How many executions."),
            whole("execution_offset", 0, 10_000, 0, "How many are passed over."),
        ),
        refuses=("cue_not_found",),
    )
    async def show(self, cue_id: str) -> Response:
        """One cue, with its newest executions."""
        limit = params.number("execution_limit", 10, 1, 100)
        offset = params.number("execution_offset", 0, 0, 10_000)
        history = await self._history(cue_id, limit, offset)
        return answer(
            {
                **rendering.cue(history.cue),
                "executions": [rendering.execution(one) for one in history.page.rows],
                "execution_total": min(history.page.total, PAGE_CAP),
                "execution_limit": limit,
                "execution_offset": offset,
            }
        )

    async def _history(self, cue_id: str, limit: int, offset: int) -> History:
        if not is_cue_id(cue_id):
            raise not_found()
        history = await histories.show(self.database, cue_id=cue_id, user=g.account.id, limit=limit, offset=offset)
        if history is None:
            raise not_found()
        return history

    @operation(responses.ExecutionList, parameters=EXECUTION_FILTERS, refuses=("cue_not_found", "invalid_filter"))
    async def list_executions(self, cue_id: str) -> Response:
        """One page of the cue's executions."""
        await self._row(cue_id)
        return await self.executions.listed(cue_id)

    @operation(
        responses.Upcoming,
        parameters=(
            whole("count", 1, 50, 5, "How many."),
            moment("after", "Behind this moment; now, where it is left out."),
        ),
        refuses=("cue_not_found",),
    )
    async def upcoming(self, cue_id: str) -> Response:
        """The next times, as the schedule has them: a paused cue's, too."""
        count = params.number("count", 5, 1, 50)
        after = params.when("after") or self.clock.now()
        row = await self._row(cue_id)
        if row.cron is not None:
            # In a thread: fifty times of a rare cron lie centuries apart, and are found in a second. In one, for all:
            # threads take turns with the loop.
            moments = await trio.to_thread.run_sync(
                upcoming, row.cron, row.timezone, after, count, limiter=self.one_at_a_time
            )
        else:
            moments = [row.schedule_at] if row.schedule_at and row.schedule_at > after else []
        return answer({"upcoming": [iso(moment) for moment in moments]})

    @operation(
        responses.Cue,
        body=CuePatch,
        refuses=(*CUE_REFUSALS, "cue_not_found", "invalid_state"),
    )
    async def change(self, cue_id: str) -> Response:
        """The cue with a patch merged in."""
        body = await read(CuePatch)
        patch = body.model_dump(exclude_unset=True)
        for _ in range(TRIES):
            row = await self._row(cue_id)
            changed = await self._try_change(row, patch)
            if changed is not None:
                self.hub.cue_written(changed.next_run)
                return answer(rendering.cue(changed))
        raise Refusal("invalid_state", "The cue is being changed by others; try again.")

    async def _try_change(self, row: cues.CueRow, patch: dict[str, Any]) -> cues.CueRow | None:
        """The changed row; None where it has moved since *row* was read."""
        before = cues.to_cue(row)
        after = domain.changed(before, patch)
        # Whatever has become of its URLs, or of what is allowed: a cue can be stopped.
        stops = patch == {"status": "paused"}
        if not stops:
            after = self._allowed(after)
        fired = await self._has_fired(row)
        turn = domain.schedule_change(before, after, patch.get("status"), fired=fired, now=self.clock.now())
        revives = before.status not in {"active", "paused"} and turn.status in {"active", "paused"}
        limit = g.account.limits.active_cues
        made = CueUpdate(row.revision, limit if revives else None, turn.status, turn.moves, turn.next_run)
        same_places = before.callback.url == after.callback.url and before.on_failure == after.on_failure
        warning = row.warning if same_places else None
        placed = _as_placed(after, warning) if stops else await self._place(after, warning=warning)
        try:
            changed = await cues.change(self.database, placed, made, cue_id=row.id, user=g.account.id)
        except Duplicate:
            raise _taken(after.name) from None
        if changed is None and revives and (await self._row(row.id)).revision == row.revision:
            raise _no_room(limit)
        return changed

    async def _has_fired(self, row: cues.CueRow) -> bool:
        """True where a one-time cue's time has its execution."""
        if row.schedule_at is None or row.next_run is not None:
            return False
        return await cues.has_fired(self.database, cue_id=row.id, at=row.schedule_at)

    @operation(None, status=204, refuses=("cue_not_found",))
    async def delete(self, cue_id: str) -> Response:
        """Gone at once, its name free."""
        if not is_cue_id(cue_id) or not await cues.delete(self.database, cue_ids=[cue_id], user=g.account.id):
            raise not_found()
        return Response(b"", 204)

    @operation(responses.BulkDeleted, body=Ids, parameters=(CONFIRMED,), refuses=("confirmation_required",))
    async def bulk_delete(self) -> Response:
        """Many cues gone at once."""
        confirmed()
        wanted = list(dict.fromkeys((await read(Ids)).ids))
        known = [one for one in wanted if is_cue_id(one)]
        deleted = set(await cues.delete(self.database, cue_ids=known, user=g.account.id))
        return answer(
            {
                "deleted": [one for one in wanted if one in deleted],
                "not_found": [one for one in wanted if one not in deleted],
            }
        )

    @operation(
        responses.Fired,
        body=FireBody,
        parameters=(IDEMPOTENCY_KEY,),
        refuses=("cue_not_found", "invalid_schedule", "invalid_payload_size", *IDEMPOTENT),
    )
    async def fire(self, cue_id: str) -> Response:
        """An execution by hand, in any status of the cue."""
        return await once(self.database, partial(self._firing, cue_id))

    async def _firing(self, cue_id: str) -> Effect:
        return partial(self._fire, cue_id, await self._manual_fire(cue_id, await read(FireBody)))

    async def _fire(self, cue_id: str, manual_fire: ManualFire, db: Executor) -> Done:
        monthly = g.account.limits.monthly_executions
        made = is_cue_id(cue_id) and await fires.fire(
            db, cue_id=cue_id, user=g.account.id, manual_fire=manual_fire, monthly=monthly
        )
        if not made:
            raise not_found()
        shown = {
            "id": str(made.id),
            "cue_id": cue_id,
            "scheduled_for": made.scheduled_for,
            "status": made.status,
            "triggered_by": "manual_fire",
        }
        return Done(answer(shown), partial(self.announce, made))

    async def _manual_fire(self, cue_id: str, body: FireBody) -> ManualFire:
        at = None if body.send_at is None else _send_at(body.send_at, self.clock.now())
        if body.payload_override is None:
            return ManualFire(new_uuid7(), at=at)
        payload = body.payload_override
        if body.merge_strategy != "replace":
            payload = rendering.parsed((await self._row(cue_id)).payload) | payload
        return ManualFire(new_uuid7(), domain.payload_text(payload), domain.payload_task(payload), at)

    def announce(self, made: fires.FiredExecution) -> None:
        """Wake whoever takes the new execution: now, or at its time."""
        if made.due_in > 0:
            self.hub.cue_written(made.scheduled_for)
        elif made.transport == "webhook":
            self.hub.delivery_ready()
        else:
            self.hub.work_ready(g.account.id)

    async def _row(self, cue_id: str) -> cues.CueRow:
        row = await cues.show(self.database, cue_id=cue_id, user=g.account.id) if is_cue_id(cue_id) else None
        if row is None:
            raise not_found()
        return row

    def _allowed(self, planned: Cue) -> Cue:
        problems = check_headers(planned.callback.headers)
        if problems:
            raise Invalid(*problems)
        return domain.check_transport(planned, worker_evidence=self.worker_evidence)

    async def _place(self, planned: Cue, *, warning: str | None = None) -> CueRecord:
        """What is stored beside the cue. Its URLs are looked up anew each time that it is written."""
        payload = domain.payload_text(planned.payload)
        host = None
        if planned.callback.url:
            target, unresolved = await check_reachable(planned.callback.url, self.resolver, self.rules)
            host, warning = f"{target.host}:{target.port}", unresolved
        if planned.on_failure.get("webhook"):
            _, unresolved = await check_reachable(planned.on_failure["webhook"], self.resolver, self.rules)
            warning = warning or unresolved
        return CueRecord(planned, payload, host, warning)


def _as_placed(cue: Cue, warning: str | None) -> CueRecord:
    """What is stored beside a cue whose URLs stay as they are: no host leaves the old one."""
    return CueRecord(cue, domain.payload_text(cue.payload), None, warning)


def plan(body: CueBody) -> Cue:
    """The cue that a body, or its short form, describes."""
    schedule = _one_of(
        body,
        "schedule",
        {name: getattr(body, name) for name in ("cron", "at", "timezone")},
        nested=body.schedule,
    )
    callback = _one_of(body, "callback", {"url": body.callback_url}, nested=body.callback)
    if "transport" in ((body.callback and body.callback.model_extra) or {}):
        raise Invalid(Problem("body.callback.transport", "belongs at the top level: transport, not callback.transport"))
    if not schedule:
        raise Refusal(
            "invalid_schedule",
            'A cue needs a schedule, for example {"type": "recurring", "cron": "0 9 * * *", "timezone": "UTC"}.',
        )
    return Cue(
        name=body.name,
        description=body.description,
        transport=_transport(body),
        schedule=domain.plan_schedule(schedule),
        callback=Callback(callback.get("url"), callback.get("method", "POST"), callback.get("headers", {})),
        payload=body.payload or {},
        retry=_retry(body.retry),
        on_failure=domain.ON_FAILURE | (_known(body.on_failure) if body.on_failure else {}),
        verification=(body.verification and body.verification.mode) or "none",
        delivery=(_known(body.delivery) if body.delivery else None) or None,
        alerts=(_known(body.alerts) if body.alerts else None) or None,
    )


def _known(part: requests.Open) -> dict[str, Any]:
    """What was given of a nested object; unknown keys are named in the warning and kept nowhere."""
    return {name: value for name, value in given_fields(part).items() if name in type(part).model_fields}


def _ignored(body: CueBody, planned: Cue) -> list[str]:
    """What to tell of that was given and does nothing."""
    part, prefix = (body, "") if body.schedule is None else (body.schedule, "schedule.")
    idle = "at" if planned.schedule.type == "recurring" else "cron"
    found = {
        "Unknown fields were ignored": body.unknown(),
        f"Of no use in a schedule of type {planned.schedule.type}": [prefix + idle] if getattr(part, idle) else [],
        "Headers that only we set are not sent": [
            name for name in planned.callback.headers if name.lower() in RESERVED
        ],
    }
    return [f"{what}: {', '.join(names)[:500]}." for what, names in found.items() if names]


def _one_of(body: CueBody, name: str, short: dict[str, Any], *, nested: requests.Open | None) -> dict[str, Any]:
    """The nested object, or what the short form gives for it; both at once contradict each other."""
    typed = {key: value for key, value in short.items() if value is not None}
    if nested is None:
        return typed
    if set(typed) - {"timezone"}:
        raise Invalid(Problem(f"body.{name}", f"give either {name} or the short form ({', '.join(typed)}), not both"))
    return typed | _known(nested)


def _transport(body: CueBody) -> str:
    if body.transport is not None and body.worker is not None and (body.transport == "worker") != body.worker:
        raise Invalid(Problem("body.worker", f"contradicts transport: {body.transport!r}"))
    return body.transport or ("worker" if body.worker else "webhook")


def _retry(wanted: requests.RetryBody | None) -> Retry:
    backoff = (wanted and wanted.backoff_minutes) or None
    tries = (wanted and wanted.max_attempts) or None
    pauses = DEFAULT_BACKOFF if backoff is None else tuple(backoff)
    return Retry(tries or len(pauses) + 1, pauses)


def _send_at(text: str, now: datetime) -> datetime:
    try:
        at = parse_moment(text)
    except ValueError:
        message = "must be an ISO 8601 moment, for example 2030-05-01T09:00:00Z"
        raise Invalid(Problem("body.send_at", message)) from None
    if not now < at <= now + FARTHEST:
        raise Refusal("invalid_schedule", "send_at must lie in the future, at most a year ahead.")
    return at


def not_found() -> Refusal:
    """The same for a cue that is another user's, and for an id that is none."""
    return Refusal("cue_not_found", "There is no such cue.")


def _taken(name: str) -> Refusal:
    return Refusal("duplicate_cue_name", f"There is a cue named {name!r} already.")


def _no_room(limit: int) -> Refusal:
    return Refusal("cue_limit_exceeded", f"The plan has room for {limit} active and paused cues; delete one first.")

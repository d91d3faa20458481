"""Cues: create, list, show, change, delete, fire."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api import cue_planning
from cueapi.api.by_hand import BRAKED, FORCE, fire_by_hand, forced
from cueapi.api.callback_headers import CallbackHeaders
from cueapi.api.cue_writing import CUE_REFUSALS, CueWriter, find, not_found
from cueapi.api.execution_filters import EXECUTION_FILTERS, filter_of
from cueapi.api.executions import Executions, wake_after_fire
from cueapi.api.fire_times import FEW_TIMES, MOST_TIMES, next_times
from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.idempotency import idempotent
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.operations import operation, shows_secret
from cueapi.api.http.parameters import (
    CONFIRMED,
    COUNTED,
    IDEMPOTENCY_KEY,
    IDEMPOTENT,
    Choice,
    Moment,
    Pattern,
    Text,
    Whole,
    page_limit,
)
from cueapi.api.http.verify_echo import VERIFY_ECHO
from cueapi.api.models import values
from cueapi.api.models.rendering import answer, long_answer, page_of, size_of
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.cues import CueBody, CuePatch, FireBody, Ids
from cueapi.api.models.responses import cues as responses
from cueapi.api.models.responses.executions import Execution, ExecutionList, FiredByHand
from cueapi.domain import cue as domain
from cueapi.domain.clock import iso
from cueapi.domain.ids import is_cue_id, new_uuid7
from cueapi.domain.schedule import INSTANT
from cueapi.security.vault import Vault
from cueapi.storage import cue_deletion, cues, histories, key_groups
from cueapi.storage.clock import Clock
from cueapi.storage.cues import CueFilter
from cueapi.storage.database import Database
from cueapi.storage.fires import ManualFire
from cueapi.storage.paging import PAGE_CAP
from cueapi.wakeups.hub import WakeupHub

STATUS = Choice("status", "Only cues in this status.", domain.STATUSES)
NAME = Text("name", "Only the cue of exactly this name.", names_one=True)
GROUP = Pattern("group", "Only cues of this group.", values.GROUP, names_one=True)
LIMIT = page_limit(50)
OFFSET = Whole(
    "offset", "Rows to skip, at most 10,000; beyond them narrow the list.",
    0, PAGE_CAP, 0, advice="; narrow the list by name, group or status instead",
)  # fmt: skip
EXECUTION_LIMIT = Whole("execution_limit", "Executions to show, at most.", 1, 100, 10)
EXECUTION_OFFSET = Whole("execution_offset", "Executions to skip.", 0, PAGE_CAP, 0)
COUNT = Whole("count", "Fire times to show, at most.", 1, MOST_TIMES, FEW_TIMES)
AFTER = Moment("after", "Only fire times after this moment; default: now.")


@frozen
class Cues:
    """`/v1/cues`."""

    database: Database
    vault: Vault
    headers: CallbackHeaders
    clock: Clock
    writer: CueWriter
    hub: WakeupHub
    executions: Executions

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

    @shows_secret
    @operation(
        responses.WrittenCue,
        status=201,
        body=CueBody,
        parameters=(IDEMPOTENCY_KEY, REASON, VERIFY_ECHO),
        refuses=(*CUE_REFUSALS, *IDEMPOTENT),
        scope="write",
        in_groups=True,
    )
    async def create(self) -> Response:
        """
        Create a cue.

        Its first firing is scheduled at once. Unknown fields are ignored, and named in `warning`.
        """
        if g.account.grant.groups is not None:
            g.account.grant.check_group((await read(CueBody)).group)
        async with idempotent(self.database, self.vault) as once:
            body = await read(CueBody)
            planned = cue_planning.plan(body)
            ignored = cue_planning.ignored(body, planned)
            row = await self.writer.add(once, planned, act(body.reason))
            shown = _warned(self.headers.shown(row), ignored) | await VERIFY_ECHO.received()
            return once.keep(answer(shown, 201), then=partial(self.hub.cue_written, row.next_run))

    @shows_secret
    @operation(
        responses.CueList,
        scope="read",
        in_groups=True,
        parameters=(STATUS, NAME, GROUP, LIMIT, OFFSET, COUNTED),
        refuses=("invalid_filter",),
    )
    async def list(self) -> Response:
        """List cues, newest first."""
        wanted = CueFilter(
            g.account.id, status=STATUS.read(), name=NAME.read(), group=GROUP.read(), groups=g.account.grant.groups
        )
        limit, offset = LIMIT.read(), OFFSET.read()
        counted = COUNTED.read() is not False
        page = await cues.page(self.database, wanted, limit=limit, offset=offset, counted=counted)
        rest = page_of(page, limit=limit, offset=offset)
        return await long_answer(
            lambda: {"cues": [self.headers.shown(row) for row in page.rows], **rest},
            size_of(page.rows, "payload", "callback_headers"),
        )

    @shows_secret
    @operation(
        responses.CueWithHistory,
        scope="read",
        parameters=(EXECUTION_LIMIT, EXECUTION_OFFSET),
        refuses=("cue_not_found",),
    )
    async def show(self, cue_id: str) -> Response:
        """Show a cue with its newest executions."""
        limit, offset = EXECUTION_LIMIT.read(), EXECUTION_OFFSET.read()
        if not is_cue_id(cue_id):
            raise not_found()
        history = await histories.show(self.database, cue_id=cue_id, user=g.account.id, limit=limit, offset=offset)
        if history is None:
            raise not_found()
        shown = {
            **self.headers.shown(history.cue),
            "executions": [Execution.render(one) for one in history.page.rows],
            "execution_total": history.page.capped_total,
            "execution_limit": limit,
            "execution_offset": offset,
        }
        return answer(shown)

    @operation(ExecutionList, scope="read", parameters=EXECUTION_FILTERS, refuses=("cue_not_found", "invalid_filter"))
    async def list_executions(self, cue_id: str) -> Response:
        """List the executions of a cue, newest first."""
        await find(self.database, cue_id)
        return await self.executions.listed(filter_of(cue_id))

    @operation(responses.Upcoming, scope="read", parameters=(COUNT, AFTER), refuses=("cue_not_found",))
    async def upcoming(self, cue_id: str) -> Response:
        """
        List the next fire times of a cue.

        They follow from the schedule alone: a paused cue has them, too. Those of an active one begin with `next_run`.
        """
        count, now = COUNT.read(), await self.clock.present(self.database)
        after, row = AFTER.read() or now, await find(self.database, cue_id)
        if after >= now and row.next_run is not None:
            # Where the rules of its zone have changed, a time before it may have been fired by the old ones.
            after = max(after, row.next_run - INSTANT)
        if row.cron is not None:
            moments = await next_times(row.cron, row.timezone, after, count)
        else:
            moments = [row.schedule_at] if row.schedule_at and row.schedule_at > after else []
        return answer({"upcoming": [iso(moment) for moment in moments]})

    @shows_secret
    @operation(
        responses.WrittenCue,
        body=CuePatch,
        parameters=(REASON, VERIFY_ECHO),
        refuses=(*CUE_REFUSALS, "cue_not_found", "invalid_state"),
        scope="write",
    )
    async def change(self, cue_id: str) -> Response:
        """
        Change a cue.

        What is left out stays. Objects are merged one level deep; `payload` is replaced. null clears `description`,
        `group`, `delivery`, `alerts`, `budget` and each of its bounds, `callback.headers` and `on_failure.webhook`.
        Another schedule, or `status`, computes `next_run` anew.
        """
        patch = (await read(CuePatch)).given()
        why = act(patch.pop("reason", None))
        changed = await self.writer.change(cue_id, cue_planning.with_catchup(patch), why)
        self.hub.cue_written(changed.next_run)
        if changed.status == "paused" or "budget" in patch:
            # Of the incidents that have ended with it; with lower limits more of a budget may be used up.
            self.hub.notice_ready(changed.budget_alerts)
        if changed.transport == "worker" and {"name", "group"} & patch.keys():
            # What waits may be for other workers now, and for other keys.
            self.hub.work_ready(g.account.id)
        if "callback" in patch:
            # What has waited for a host that is down may go to another one at once.
            self.hub.delivery_ready()
        ignored = cue_planning.ignored_of_change(patch, changed.schedule_type)
        return answer(_warned(self.headers.shown(changed), ignored) | await VERIFY_ECHO.received())

    @operation(None, scope="write", status=204, body=ReasonBody, parameters=(REASON,), refuses=("cue_not_found",))
    async def delete(self, cue_id: str) -> Response:
        """
        Delete a cue.

        It is gone at once with its history, and its name is free. Waiting deliveries are cancelled; a request that is
        under way is not.
        """
        why, user = await act_of_body(), g.account.id
        if not is_cue_id(cue_id) or not await cue_deletion.delete(self.database, cue_ids=[cue_id], user=user, act=why):
            raise not_found()
        self.hub.notice_ready()
        return Response(b"", 204)

    @operation(
        responses.BulkDeleted,
        scope="write",
        in_groups=True,
        body=Ids,
        parameters=(CONFIRMED, REASON),
        refuses=("confirmation_required",),
    )
    async def bulk_delete(self) -> Response:
        """Delete up to 100 cues."""
        CONFIRMED.require()
        body = await read(Ids)
        wanted, why = [*dict.fromkeys(body.ids)], act(body.reason)
        known = [one for one in wanted if is_cue_id(one)]
        if (groups := g.account.grant.groups) is not None:
            known = [*await key_groups.cues_of(self.database, user=g.account.id, groups=groups, ids=known)]
        deleted = {*await cue_deletion.delete(self.database, cue_ids=known, user=g.account.id, act=why)}
        if deleted:
            self.hub.notice_ready()  # Of the incidents that have ended with them.
        missing = [one for one in wanted if one not in deleted]
        shown = {"deleted": [one for one in wanted if one in deleted], "not_found": missing, "skipped": missing}
        return answer(shown)

    @operation(
        FiredByHand,
        body=FireBody,
        parameters=(FORCE, IDEMPOTENCY_KEY, VERIFY_ECHO),
        refuses=("cue_not_found", "invalid_schedule", "invalid_payload_size", *BRAKED, *IDEMPOTENT),
        scope="fire",
    )
    async def fire(self, cue_id: str) -> Response:
        """
        Fire a cue now or at `send_at`.

        Works in any status of the cue, and leaves its schedule alone.
        """
        force = forced()  # Before a repeat is answered, too.
        async with idempotent(self.database, self.vault, in_body=True) as once:
            manual_fire = await self._manual_fire(cue_id, await read(FireBody), force=force)
            made = is_cue_id(cue_id) and await fire_by_hand(await once.begin(), cue_id, manual_fire)
            if not made:
                raise not_found()
            shown = {name: made[name] for name in ("id", "cue_id", "scheduled_for", "status")}
            shown |= {"triggered_by": "manual_fire", **await VERIFY_ECHO.received()}
            return once.keep(answer(shown), then=partial(wake_after_fire, self.hub, made))

    async def _manual_fire(self, cue_id: str, body: FireBody, *, force: bool) -> ManualFire:
        at = None
        if body.send_at is not None:
            at = await self.clock.decide(self.database, partial(cue_planning.send_at, body.send_at))
        if body.payload_override is None:
            return ManualFire(new_uuid7(), at=at, forced=force)
        payload, stored = body.payload_override, 0
        if body.merge_strategy != "replace":
            row = await find(self.database, cue_id)
            stored = len(row.payload)
            payload = await off_loop(json.loads, row.payload, size=stored) | payload
        text = await cue_planning.payload_text(payload, stored=stored)
        return ManualFire(new_uuid7(), text, domain.payload_task(payload), at, forced=force)


def _warned(shown: dict[str, Any], sentences: Sequence[str]) -> dict[str, Any]:
    """A cue as it is *shown*, with what is to be said of the request before what it warns of itself."""
    return shown | {"warning": " ".join([*sentences, *filter(None, [shown["warning"]])]) or None}

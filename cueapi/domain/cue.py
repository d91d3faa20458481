"""A cue: what it holds, when it fires first, and what a change makes of it."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import evolve, field, fields, frozen

from cueapi.domain.assertion import check_assertions, read_assertions
from cueapi.domain.budget import merged_budget
from cueapi.domain.catchup import Catchup, Overlap
from cueapi.domain.clock import iso
from cueapi.domain.cron import check_cron
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.outcome import Mode
from cueapi.domain.retry import DEFAULT_RETRY, Retry
from cueapi.domain.schedule import AT_EXAMPLES, first_run, local_at, once_at
from cueapi.domain.verification import NO_RULES, VerificationRules
from cueapi.domain.zone import check_timezone, reading_at

TASK_LIMIT = 255
"""Characters of a task; the names of handlers have no more."""

PAYLOAD_LIMIT = 1024 * 1024
"""Bytes of a payload in the form in which it is sent."""

METHODS = ("POST", "GET", "PUT", "PATCH")
STATUSES = ("active", "paused", "completed", "failed")
ON_FAILURE = {"email": True, "webhook": None, "pause": False}
WORKER_MODES = (Mode.NONE, Mode.MANUAL)


@frozen
class Schedule:
    """
    When a cue fires: *cron* in *timezone*, or once *at* a moment.

    *local* is what the clock of the zone shows then, where the moment was given so: what holds when the rules change.
    """

    type: str
    timezone: str = "UTC"
    cron: str | None = None
    at: datetime | None = None
    catchup: str = Catchup.LATEST
    overlap: str = Overlap.ALLOW
    local: datetime | None = None

    @property
    def times(self) -> tuple[object, ...]:
        """What its fire times depend on."""
        return self.type, self.timezone, self.cron, self.at

    def reading_at(self, run: datetime | None) -> datetime | None:
        """What the clock of its zone shows at the next *run* of a recurring cue: what holds when the rules change."""
        return None if self.cron is None or run is None else reading_at(run, self.timezone)

    def first_after(self, now: datetime) -> datetime:
        """The first fire time after *now*; refuses a schedule that has none."""
        if self.cron is not None:
            return first_run(self.cron, self.timezone, now)
        if self.at is None or self.at <= now:
            given = None if self.at is None else iso(self.at)
            raise Refusal("invalid_schedule", f"schedule.at must be in the future; it is {given}. {AT_EXAMPLES}")
        return self.at


@frozen
class Callback:
    """Where a webhook goes, and how."""

    url: str | None = None
    method: str = "POST"
    headers: dict[str, str] = field(factory=dict)


@frozen
class Cue:
    """All that a user says of a cue."""

    name: str
    schedule: Schedule
    transport: str = "webhook"
    description: str | None = None
    group: str | None = None
    callback: Callback = Callback()
    payload: dict[str, Any] = field(factory=dict)
    retry: Retry = DEFAULT_RETRY
    on_failure: dict[str, Any] = field(factory=lambda: dict(ON_FAILURE))
    verification: VerificationRules = NO_RULES
    delivery: dict[str, int] | None = None
    alerts: dict[str, int] | None = None
    budget: dict[str, Any] | None = None
    status: str = "active"


def plan_schedule(given: dict[str, Any], *, before: Schedule | None = None) -> Schedule:
    """
    The schedule that *given* describes; what it leaves out is taken from *before*.

    Refuses a type that is neither, a cron outside of the grammar, a missing or unreadable time.
    """
    # An empty text is no text left out: it is refused below.
    kind = given.get("type", _kind(given) or (before.type if before else None))
    timezone = check_timezone(given.get("timezone", before.timezone if before else "UTC"))
    common: dict[str, Any] = {
        "timezone": timezone,
        "catchup": given.get("catchup") or (before.catchup if before else Catchup.LATEST),
        "overlap": given.get("overlap") or (before.overlap if before else Overlap.ALLOW),
    }
    if kind == "recurring":
        cron = given.get("cron", before.cron if before else None)
        if cron is None:
            raise Refusal("invalid_schedule", "A recurring schedule needs schedule.cron, for example '0 9 * * *'.")
        return Schedule("recurring", cron=check_cron(cron), **common)
    if kind == "once":
        if given.get("at") is not None:
            return Schedule("once", at=once_at(given["at"], timezone), local=local_at(given["at"]), **common)
        if before is None or before.at is None:
            raise Refusal("invalid_schedule", f"A one-time schedule needs schedule.at. {AT_EXAMPLES}")
        # In another zone the moment stays, and what its clock shows then was not asked for.
        local = before.local if timezone == before.timezone else None
        return Schedule("once", at=before.at, local=local, **common)
    raise Refusal(
        "invalid_schedule",
        f"schedule.type must be 'recurring' or 'once', not {kind!r}. "
        'Valid is for example {"type": "recurring", "cron": "0 9 * * *"}.',
    )


def _kind(given: dict[str, Any]) -> str | None:
    """The type that a schedule without one must mean."""
    if given.get("cron") is not None:
        return "recurring"
    return "once" if given.get("at") is not None else None


def payload_text(payload: dict[str, Any]) -> str:
    """The payload in the form in which it is sent; refused where that is too large."""
    text = json.dumps(payload, sort_keys=True)
    if len(text) > PAYLOAD_LIMIT:
        raise Refusal(
            "invalid_payload_size", f"The payload is {len(text):,} bytes as JSON; at most {PAYLOAD_LIMIT:,} are sent."
        )
    return text


def payload_task(payload: dict[str, Any]) -> str | None:
    """`payload.task`, where it is a string that a handler may be named: what a worker's handlers are matched with."""
    task = payload.get("task")
    return task if isinstance(task, str) and len(task) <= TASK_LIMIT else None


def check_transport(cue: Cue, *, worker_evidence: bool) -> Cue:
    """Refuses a webhook without URL, and a verification that a worker cue cannot have."""
    if cue.transport == "webhook" and not cue.callback.url:
        raise Invalid(Problem("body.callback.url", "A webhook cue needs a callback URL."))
    if cue.transport == "worker" and cue.verification.mode not in WORKER_MODES and not worker_evidence:
        raise Refusal(
            "unsupported_verification_for_transport",
            f"Worker cues support the verification modes none and manual, not {cue.verification.mode}. "
            "The operator can allow others with WORKER_EVIDENCE=true.",
            transport=cue.transport,
            verification_mode=str(cue.verification.mode),
            supported_worker_modes=[str(mode) for mode in WORKER_MODES],
        )
    return cue


def planned(given: dict[str, Any]) -> Cue:
    """The new cue that *given* describes; what it leaves out has its default."""
    rest = {name: value for name, value in given.items() if name != "schedule"}
    retry = given.get("retry", {})
    if "backoff_minutes" in retry:
        rest["retry"] = {"max_attempts": len(retry["backoff_minutes"]) + 1} | retry
    return changed(Cue(given["name"], plan_schedule(given["schedule"])), rest)


def changed(cue: Cue, patch: dict[str, Any]) -> Cue:
    """The cue with *patch* merged in, one level deep; what is left out stays, and so does the status."""
    known = {name: given for name, given in patch.items() if name in _CHANGED}
    return evolve(
        cue, **{name: _MERGED.get(name, _replaced)(getattr(cue, name), given) for name, given in known.items()}
    )


def _replaced(_before: object, given: object) -> object:
    """A plain field."""
    return given


def _merged_schedule(before: Schedule, given: dict[str, Any]) -> Schedule:
    return plan_schedule(given, before=before)


def _merged_callback(before: Callback, given: dict[str, Any]) -> Callback:
    """Null clears the headers; an empty URL is none."""
    empty: dict[str, Any] = {"url": None, "headers": {}}
    return evolve(before, **given | {name: given[name] or none for name, none in empty.items() if name in given})


def _merged_retry(before: Retry, given: dict[str, Any]) -> Retry:
    return evolve(before, **given)


def _merged_verification(before: VerificationRules, given: dict[str, Any]) -> VerificationRules:
    """Assertions are replaced as a whole; an empty list clears them. Refuses those that nothing could ever meet."""
    if problems := check_assertions(given.get("assert", [])):
        raise Invalid(*problems)
    asserted = read_assertions(given["assert"]) if "assert" in given else before.assertions
    return VerificationRules(given.get("mode", before.mode), asserted, given.get("on_failed", before.on_failed))


def _merged_object(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return before | given


def _merged_or_cleared(before: dict[str, int] | None, given: dict[str, int] | None) -> dict[str, int] | None:
    """Null clears it; an empty object changes nothing."""
    return None if given is None else ((before or {}) | given) or None


_CHANGED = {one.name for one in fields(Cue)} - {"status"}
_MERGED: dict[str, Callable[[Any, Any], Any]] = {
    "schedule": _merged_schedule,
    "callback": _merged_callback,
    "retry": _merged_retry,
    "on_failure": _merged_object,
    "verification": _merged_verification,
    "delivery": _merged_or_cleared,
    "alerts": _merged_or_cleared,
    "budget": merged_budget,
}
"""How a change is merged into a field that is not simply replaced."""


@frozen
class ScheduleChange:
    """A cue's status and next run after a change; *moves* is False where next_run stays as it stands."""

    status: str
    next_run: datetime | None
    moves: bool


def schedule_change(before: Cue, after: Cue, wanted: str | None, *, fired: bool, now: datetime) -> ScheduleChange:
    """
    What a change of schedule and status makes of *next_run*. The status applies last.

    An equal schedule or status leaves it alone. Pausing clears it, resuming computes it anew; a new schedule
    makes a one-time cue active again. *fired* says that a one-time cue's time has been fired already.
    """
    rescheduled = after.schedule.times != before.schedule.times
    revived = rescheduled and before.status in {"completed", "failed"}
    status = wanted or ("active" if revived else before.status)
    if wanted == "paused" and before.status in {"completed", "failed"} and not rescheduled:
        raise Refusal("invalid_state", f"A {before.status} cue cannot be paused.")
    if status == before.status and not rescheduled:
        return ScheduleChange(status, None, moves=False)
    if rescheduled or status == "active":
        if fired and not rescheduled:
            raise Refusal("invalid_schedule", f"The time of this one-time cue has passed. {AT_EXAMPLES}")
        first = after.schedule.first_after(now)
        return ScheduleChange(status, first if status == "active" else None, moves=True)
    return ScheduleChange(status, None, moves=True)

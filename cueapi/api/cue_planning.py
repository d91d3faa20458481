"""From the body of a request to a cue that can be stored, with what is to be said about the body."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from attrs import evolve

from cueapi.api.http.incoming import incoming
from cueapi.api.http.off_loop import off_loop
from cueapi.api.models.requests.bodies import Open
from cueapi.api.models.requests.cues import CueBody
from cueapi.domain import cue as domain
from cueapi.domain.catchup import CATCH_UP
from cueapi.domain.clock import iso, parse_kept
from cueapi.domain.cue import Cue
from cueapi.domain.errors import Invalid, Problem, Refusal
from cueapi.domain.signature import check_headers, is_reserved
from cueapi.domain.target import Rules
from cueapi.net.dns import Resolver, check_reachable
from cueapi.storage.cues import CueRecord

PAST = timedelta(minutes=1)
"""How far past `send_at` may lie: clocks differ, and requests take a while."""


def plan(body: CueBody) -> Cue:
    """The cue that a body, or its short form, describes."""
    schedule = _one_of(
        body, "schedule", {"cron": body.cron, "at": body.at, "timezone": body.timezone}, nested=body.schedule
    )
    callback = _one_of(body, "callback", {"url": body.callback_url}, nested=body.callback)
    if body.callback is not None and "transport" in (body.callback.model_extra or {}):
        raise Invalid(Problem("body.callback.transport", "belongs at the top level: transport, not callback.transport"))
    if not schedule:
        raise no_schedule()
    transport = _transport(body)
    given = {**body.given(), "schedule": schedule, "callback": callback, "transport": transport}
    return domain.planned(with_catchup(given))


def no_schedule() -> Refusal:
    """A cue without a schedule, or a schedule without a field."""
    return Refusal(
        "invalid_schedule",
        'A cue needs a schedule, for example {"type": "recurring", "cron": "0 9 * * *", "timezone": "UTC"}.',
    )


def with_catchup(given: dict[str, Any]) -> dict[str, Any]:
    """What was *given* of a cue, with `catch_up`, at the top or in its schedule, as `schedule.catchup`."""
    schedule = given.get("schedule", {})
    words = (given.get("catch_up"), schedule.get("catch_up"))
    said = {str(CATCH_UP[word]) for word in words if word} | {*filter(None, [schedule.get("catchup")])}
    if not said:
        return given
    if len(said) > 1:
        raise Invalid(Problem("body.catch_up", "contradicts another name of schedule.catchup"))
    (catchup,) = said
    schedule = {name: value for name, value in schedule.items() if name != "catch_up"} | {"catchup": catchup}
    return {name: value for name, value in given.items() if name != "catch_up"} | {"schedule": schedule}


def _one_of(body: CueBody, name: str, short: dict[str, Any], *, nested: Open | None) -> dict[str, Any]:
    """The nested object, or what the short form gives for it; both at once contradict each other."""
    typed = {key: value for key, value in short.items() if value is not None}
    if nested is None:
        return typed
    if set(typed) - {"timezone"}:
        raise Invalid(Problem(f"body.{name}", f"give either {name} or the short form ({', '.join(typed)}), not both"))
    given = nested.given()
    if given.get("timezone", body.timezone) != body.timezone is not None:
        raise Invalid(Problem("body.timezone", f"contradicts {name}.timezone: {given['timezone']!r}"))
    return typed | given


def _transport(body: CueBody) -> str:
    if body.transport is not None and body.worker is not None and (body.transport == "worker") != body.worker:
        raise Invalid(Problem("body.worker", f"contradicts transport: {body.transport!r}"))
    return body.transport or ("worker" if body.worker else "webhook")


def ignored(body: CueBody, planned: Cue) -> list[str]:
    """Sentences about what was given of a new cue and has no effect."""
    part, prefix = (body, "") if body.schedule is None else (body.schedule, "schedule.")
    unknown = body.unknown()
    said = [f"Unknown fields were ignored: {', '.join(unknown)[:500]}."] if unknown else []
    said += _of_no_use(planned.schedule.type, cron=part.cron, at=part.at, prefix=prefix)
    return said + _unsent(planned.callback.headers)


def ignored_of_change(patch: Mapping[str, Any], schedule_type: str) -> list[str]:
    """Sentences about what a *patch* has given that has no effect on a cue, now of that type."""
    schedule, headers = patch.get("schedule") or {}, (patch.get("callback") or {}).get("headers") or {}
    return _of_no_use(schedule_type, cron=schedule.get("cron"), at=schedule.get("at")) + _unsent(headers)


def _of_no_use(schedule_type: str, *, cron: str | None, at: str | None, prefix: str = "schedule.") -> list[str]:
    idle, given = ("at", at) if schedule_type == "recurring" else ("cron", cron)
    return [f"Of no use in a schedule of type {schedule_type}: {prefix}{idle}."] if given else []


def _unsent(headers: Mapping[str, str]) -> list[str]:
    """A sentence about the *headers* that a cue cannot set, if any."""
    names = [name for name in headers if is_reserved(name)]
    return [f"Headers that only we set are not sent: {', '.join(names)[:500]}."] if names else []


def check(planned: Cue, *, worker_evidence: bool) -> None:
    """Refuses headers that cannot be sent, and what the transport does not allow."""
    problems = check_headers(planned.callback.headers)
    if problems:
        raise Invalid(*problems)
    domain.check_transport(planned, worker_evidence=worker_evidence)


def check_timeout(planned: Cue, longest: float) -> None:
    """Refuses an attempt of more than *longest* seconds."""
    if (planned.delivery or {}).get("timeout_seconds", 0) > longest:
        message = f"may be at most {longest:g} on this server (WEBHOOK_TIMEOUT_MAX_SECONDS)"
        raise Invalid(Problem("body.delivery.timeout_seconds", message))


async def unplaced(planned: Cue, warning: str | None = None, *, stored: int = 0) -> CueRecord:
    """
    The cue as it is stored, before its URLs are looked at: without a host the stored one stays.

    *stored* is the length of the payload that it had before.
    """
    return CueRecord(planned, await payload_text(planned.payload, stored=stored), None, warning)


async def payload_text(payload: dict[str, Any], *, stored: int = 0) -> str:
    """The payload in the form in which it is sent. It comes from the request, or from *stored* characters, or both."""
    return await off_loop(domain.payload_text, payload, size=max(incoming().arrived, stored))


FAILURE_URL = "on_failure.webhook"

FoundTargets: TypeAlias = Mapping[str, tuple[str, str | None]]
"""Of each URL that was looked at, the host that fairness counts by, and a warning where it does not resolve yet."""


async def look_up(planned: Cue, resolver: Resolver, rules: Rules) -> FoundTargets:
    """Resolve the cue's URLs anew, as each time that it is written; refuses one that is not allowed."""
    found = {}
    for field, url in (("callback.url", planned.callback.url), (FAILURE_URL, planned.on_failure.get("webhook"))):
        if not url:
            continue
        try:
            target, unresolved = await check_reachable(url, resolver, rules)
        except Refusal as refused:
            # Both have one code: which of them it is stands in the message.
            message = f"{field}: {refused.message}" if field == FAILURE_URL else refused.message
            raise Refusal(refused.code, message, **refused.extra) from None
        found[url] = f"{target.host}:{target.port}", unresolved
    return found


def placed(record: CueRecord, found: FoundTargets) -> CueRecord:
    """*record* with what was *found* of its URLs. One that was not looked at keeps what is stored of it."""
    host, warning = found.get(record.cue.callback.url or "", (record.host, record.warning))
    _, unresolved = found.get(record.cue.on_failure.get("webhook") or "", ("", None))
    return evolve(record, host=host, warning=warning or unresolved)


def send_at(text: str, now: datetime) -> datetime | None:
    """The moment at which a fire by hand is due; None where it is up to a minute past: now. Refuses one before that."""
    try:
        at = parse_kept(text)
    except ValueError:
        message = "must be an ISO 8601 moment of the years 2 to 9998, for example 2030-05-01T09:00:00Z"
        raise Invalid(Problem("body.send_at", message)) from None
    if at < now - PAST:
        raise Refusal("invalid_schedule", f"send_at must lie in the future; it is {iso(at)}, and now is {iso(now)}.")
    return at if at > now else None

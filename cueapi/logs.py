"""
How the daemon speaks: one event a fact.

| event | keys | when |
|---|---|---|
| daemon_started, daemon_stopped | address, version · seconds | the daemon is up · has ended |
| daemon_ran_short | reason, times | descriptors, memory or threads ran out, at most once a minute |
| cues_fired | cues, executions, missed | a poll fired something |
| attempt_settled | cue_id, cue, execution_id, attempt, outcome, status, reason, http_status, duration_ms | written |
| attempt_released | as attempt_settled | it was only claimed, and is claimed again as the same attempt |
| outcome_reported | as attempt_settled | a report on an attempt that had ended already |
| execution_missed | as attempt_settled | no worker came for it in time |
| cue_paused | cue_id, cue, execution_id, reason | `on_failure` has paused it |
| attempt_crashed | cue_id, cue, execution_id, attempt | a bug: one attempt failed of it |
| result_dropped | execution_id, attempt | its claim had passed to another, or the execution had ended |
| results_waited | results, reason, seconds | PostgreSQL is away, and results wait for it |
| claims_recovered, leases_ended, deadlines_passed, executions_unclaimed | executions | the rescue took them back |
| standstill_noticed | seconds | the process did not run for so long: attempts that this cost are released |
| attempts_interrupted | host, attempts, accounts_waiting | accounts without a slot had waited too long |
| holds_ended | accounts | holds were to end by now, and have |
| target_opened | user_id, host, reason, attempts, failures | what is for it waits from now on |
| target_probed | user_id, host, reason, next_probe_in | a probe has failed, or (no reason) come to nothing |
| target_closed | user_id, host, reason | a probe has succeeded, or (with a reason) nothing calls it any more |
| target_unmoved | user_id, host, reason | PostgreSQL is away: the breaker could not say what it has found |
| waits_ended | executions | they have waited for their targets for too long: an attempt of each has failed |
| claim_failed | reason | a row made the claim of many fail: each is claimed alone |
| cue_quarantined, execution_quarantined, result_unstorable | cue_id, cue, execution_id, reason | a row was set aside |
| notification_sent | notification, kind, cue_id, execution_id, alert_type, attempt | a webhook or mail went out |
| notification_put_off, notification_dropped | as notification_sent, and reason | it is sent again · no longer |
| notification_unsettled | as notification_sent, and reason | no result, or none that could be stored: sent again |
| channel_disabled | user_id, channel, reason | a channel of incidents is gone, or has failed for 5 days |
| variable_ignored | variable, advice | once at the start: it looks like a setting and is none |
| mail_not_configured | advice | once at the start, where no SMTP is set |
| daemon_registered | daemon | the daemon holds the lock of its number |
| database_awaited | reason, seconds | the start waits for its database |
| database_created, database_started, database_adopted, database_stopped | pid, seconds | the embedded PostgreSQL |
| database_recovering, database_lost | pid, last_words | it repairs itself · it ended and is started again |
| wakeup_unknown | topic | a session of the database notified what no daemon sends |
| claims_left | reason | PostgreSQL was away at the end: the others will find what this daemon held |
| clock_differs | offset_seconds | the machine's clock differs from PostgreSQL's |
| clock_set_back | rows | PostgreSQL's clock was ahead: what was written then was put right |
| zones_changed | cues, tzdata | another tzdata moved the times of so many cues |
| operation_ended | operation, kind, status, done, skipped, failed | an operation on many has come to its end |
| operation_batch_failed | operation, reason | a row made its batch fail: each is worked on alone |
| operation_unreadable | operation, reason | what it goes by cannot be read; it has ended as failed |
| rows_removed | rows | the janitor removed a batch |
| request_answered | request_id, user_id, method, route, status, duration_ms, reason | an answer (debug below 400) |
| rate_limits_local, rate_limits_shared | reason | Redis is away: each daemon counts by itself · it is back |
| connection_failed | error | what a client sent made the protocol fall; only its connection ended |
| request_failed | request_id | a bug: the answer was 500 |
| sibling_…, drain_… | see `supervisor` | life of the tree |

No payloads, no headers, no keys, no links; of callback URLs scheme and host only.
"""

import json
import logging
import os
import re
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Literal

import orjson
import structlog
from attrs import frozen
from structlog.types import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(form: Literal["console", "json"] | None, level: str) -> None:
    """
    Write to standard error: for people on a terminal, else one JSON object a line.

    Lines of ours are rendered and written without the standard library's logging, which costs as much again; those of
    other libraries pass through it. A line that cannot be written is lost, and nothing else.
    """
    console = form == "console" or (form is None and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering = _rendering(console=console)
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=LineWriter,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for chatty in ("hypercorn.access", "quart.app", "quart.serving"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@frozen
class LineWriter:
    """Writes each line to standard error by one system call, so that a process that is killed has lost none."""

    name: str = "cueapi"

    def msg(self, line: str) -> None:
        """Write *line*; a full disk, or a reader that is gone, ends nothing. Without standard error it goes nowhere."""
        if sys.stderr is None:
            return
        with suppress(OSError):
            os.write(sys.stderr.fileno(), f"{line}\n".encode(errors="backslashreplace"))

    debug = info = warning = error = critical = fatal = msg


def _rendering(*, console: bool) -> list[Processor]:
    if console:
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _message, _as_json]


def _message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """`message` is the event in words; its facts stand in their keys, once. Other libraries' events are sentences."""
    event["message"] = _in_words(str(event.get("event", "")))
    return {key: value for key, value in event.items() if value is not None}


@lru_cache(maxsize=256)
def _in_words(name: str) -> str:
    return name.replace("_", " ") if _OURS.fullmatch(name) else name


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """One line of JSON; what JSON has no form for is written as text."""
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, RecursionError):
        # An integer of over 64 bits, or half of a surrogate pair.
        return json.dumps(event, ensure_ascii=False, default=str)


_OURS = re.compile(r"[a-z]+(_[a-z]+)+")

"""Refusal → status: one table. Every failure of the server has one form."""

from functools import partial

import structlog
from quart import Quart, Response, g
from werkzeug.exceptions import HTTPException

from cueapi.api.http.idempotency import Replayed
from cueapi.api.models.rendering import answer
from cueapi.domain.errors import NotSignedIn, Refusal
from cueapi.net.shortage import Shortages, shortage_in
from cueapi.storage.database import StorageUnavailable, Unstorable

log = structlog.get_logger("cueapi.api")

STATUS = {
    "invalid_json": 400,
    "invalid_payload": 400,
    "invalid_payload_size": 400,
    "invalid_schedule": 400,
    "invalid_callback_url": 400,
    "invalid_alert_webhook_url": 400,
    "invalid_channel_url": 400,
    "invalid_filter": 400,
    "invalid_token": 400,
    "invalid_device_code": 400,
    "device_code_expired": 400,
    "invalid_status": 400,
    "confirmation_required": 400,
    "metadata_too_large": 400,
    "unsupported_verification_for_transport": 400,
    "invalid_metrics_token": 401,
    "cue_limit_exceeded": 403,
    "channel_limit_exceeded": 403,
    "insufficient_scope": 403,
    "key_limit_exceeded": 403,
    "mute_limit_exceeded": 403,
    "worker_limit_exceeded": 403,
    "metrics_closed": 403,
    "not_execution_owner": 403,
    "not_found": 404,
    "cue_not_found": 404,
    "key_not_found": 404,
    "execution_not_found": 404,
    "operation_not_found": 404,
    "alert_not_found": 404,
    "budget_not_found": 404,
    "incident_not_found": 404,
    "channel_not_found": 404,
    "mute_not_found": 404,
    "worker_not_found": 404,
    "target_not_found": 404,
    "report_not_found": 404,
    "device_code_not_found": 404,
    "method_not_allowed": 405,
    "duplicate_email": 409,
    "duplicate_cue_name": 409,
    "device_code_exists": 409,
    "invalid_state": 409,
    "scope_changed": 409,
    "claim_failed": 409,
    "execution_not_claiming": 409,
    "outcome_already_recorded": 409,
    "no_outcome": 409,
    "attempt_is_over": 409,
    "execution_in_flight": 409,
    "account_held": 409,
    "budget_reached": 409,
    "idempotency_key_in_use": 409,
    "key_not_recoverable": 410,
    "request_timeout": 408,
    "secret_not_recoverable": 410,
    "report_expired": 410,
    "request_too_large": 413,
    "unsupported_media_type": 415,
    "misdirected_request": 421,
    "validation_error": 422,
    "invalid_timezone": 422,
    "no_fields": 422,
    "too_many_times": 422,
    "idempotency_key_reused": 422,
    "rate_limit_exceeded": 429,
    "storage_unavailable": 503,
    "email_not_configured": 503,
    "overloaded": 503,
}
NOT_SIGNED_IN = 401
"""The status of NotSignedIn, whatever its code: `invalid_token` is also a name for a bad echo token (400)."""

BY_HTTP_STATUS = {
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not take this method."),
    415: ("unsupported_media_type", "The body must be JSON."),
}


UNREAD = {"request_timeout", "request_too_large", "overloaded"}
"""Refusals of a body that was not read to its end: the connection closes."""

DETAILS, CHARACTERS = 20, 200
"""The most details of a refusal, and characters of each text in it: an answer must not grow with what was sent."""


def problem(code: str, message: str, status: int, **extra: object) -> Response:
    """A failure as the contract has it; `detail` is where the published command line looks for it."""
    told = message if len(message) <= 2 * CHARACTERS else f"{message[: 2 * CHARACTERS]}…"
    error = {"code": code, "message": told, "status": status, **{name: _cut(value) for name, value in extra.items()}}
    return answer({"error": error, "detail": {"error": error}}, status)


def _cut(value: object) -> object:
    """What a refusal says beside its message, cut."""
    if isinstance(value, str):
        return value if len(value) <= CHARACTERS else f"{value[: CHARACTERS - 1]}…"
    if isinstance(value, list | tuple):
        return [_cut(one) for one in value[:DETAILS]]
    return {name: _cut(one) for name, one in value.items()} if isinstance(value, dict) else value


def install(app: Quart, shortages: Shortages) -> None:
    """Have *app* answer every failure in the contract's form."""
    app.register_error_handler(Refusal, _refused)
    app.register_error_handler(Replayed, _replayed)
    app.register_error_handler(StorageUnavailable, _away)
    app.register_error_handler(Unstorable, _unstorable)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, partial(_broken, shortages))


async def _refused(refusal: Refusal) -> Response:
    status = NOT_SIGNED_IN if isinstance(refusal, NotSignedIn) else STATUS[refusal.code]
    response = problem(refusal.code, refusal.message, status, **refusal.extra)
    if refusal.code in UNREAD:
        response.headers["Connection"] = "close"
    return with_retry_after(refusal, response)


def with_retry_after(refusal: Refusal, response: Response) -> Response:
    """*response* to a refusal, with the seconds after which to ask again where it knows them (RFC 9110, 10.2.3)."""
    if "retry_after" in refusal.extra:
        response.headers["Retry-After"] = str(refusal.extra["retry_after"])
    return response


async def _replayed(replayed: Replayed) -> Response:
    return replayed.response


async def _away(away: StorageUnavailable) -> Response:
    g.put_off = str(away)
    message = "The database cannot do this now; nothing was done. Try again in a few seconds."
    response = problem("storage_unavailable", message, 503)
    response.headers["Retry-After"] = "5"
    return response


async def _unstorable(_: Unstorable) -> Response:
    return problem("invalid_payload", "The request holds a value that cannot be stored.", 400)


async def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code, message = BY_HTTP_STATUS.get(status, ("bad_request", error.description or "The request is malformed."))
    response = problem(code, message, status)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


async def _broken(shortages: Shortages, error: Exception) -> Response:
    if (reason := shortage_in(error)) is not None:
        shortages.note(reason)
        response = problem("overloaded", "The server has run short of files, memory or threads. Try again soon.", 503)
        response.headers["Retry-After"] = "5"
        return response
    log.error("request_failed", request_id=g.get("request_id"), exc_info=error)
    return problem("internal_error", "Something went wrong here; the log has the details.", 500)

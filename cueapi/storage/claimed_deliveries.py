"""Claimed rows of the outbox as deliveries, with all that their requests need."""

import json

from cueapi.domain.attempt import Delivery, ReportUrl, webhook_body
from cueapi.domain.confidential import Confidential, Decrypt
from cueapi.domain.retry import Retry
from cueapi.storage.outbox import AttemptTimes, ClaimedRow
from cueapi.storage.verification_rules import to_rules


class CueGone(Exception):
    """The cue of a claimed execution is deleted."""


OTHER_SECRET = "was encrypted under another SESSION_SECRET and cannot be read"


def to_delivery(
    row: ClaimedRow, *, times: AttemptTimes, claimed_at: float, decrypt: Decrypt, report_url: ReportUrl
) -> Delivery:
    """
    A claimed row as a delivery, *claimed_at* at the earliest; raises CueGone where its cue is deleted.

    One whose secret or headers cannot be read is a delivery, too: its attempt fails, and says why.
    """
    if row.name is None:
        raise CueGone
    headers = _headers(row, decrypt)
    secrets = [
        decrypt(secret, Confidential.WEBHOOK_SECRET, row.user_id)
        for secret in (row.webhook_secret, row.previous_secret)
        if secret is not None
    ]
    return Delivery(
        execution_id=row.id,
        cue_id=row.cue_id,
        cue_name=row.name,
        user_id=row.user_id,
        claim=row.claim,
        attempt=row.attempts,
        scheduled_for=row.scheduled_for,
        method=row.callback_method,
        url=row.callback_url,
        headers=headers or {},
        body=_body(row, row.name),
        secrets=tuple(secret for secret in secrets if secret is not None),
        report_url=report_url(row.id, row.attempts),
        unsendable=_why_unsendable(headers, secrets[0]),
        timeout=times.of(row.timeout_seconds),
        host=row.callback_host,
        retry=Retry(row.max_attempts, tuple(row.backoff_minutes)),
        verification=to_rules(row),
        outcome_deadline=row.outcome_deadline_seconds,
        lost_claims=row.lost_claims,
        claimed_at=claimed_at,
        is_backfill=row.is_backfill,
    )


def _body(row: ClaimedRow, name: str) -> bytes:
    return webhook_body(
        execution_id=row.id,
        cue_id=row.cue_id,
        name=name,
        scheduled_for=row.scheduled_for,
        attempt=row.attempts,
        payload=row.payload,
    )


def _headers(row: ClaimedRow, decrypt: Decrypt) -> dict[str, str] | None:
    """The headers of the cue; None where they cannot be read."""
    if row.callback_headers is None:
        return {}
    text = decrypt(row.callback_headers, Confidential.CALLBACK_HEADERS, row.cue_id)
    return None if text is None else json.loads(text)


def _why_unsendable(headers: dict[str, str] | None, secret: str | None) -> str | None:
    if secret is None:
        return f"The webhook secret {OTHER_SECRET}; POST /v1/auth/webhook-secret/regenerate makes a new one."
    return None if headers is not None else f"What callback.headers holds {OTHER_SECRET}; set it anew."

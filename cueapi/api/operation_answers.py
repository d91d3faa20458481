"""What is answered of operations on many."""

import json

from cueapi.api.models.rendering import Shown
from cueapi.api.operation_scopes import Matched
from cueapi.domain import bulk
from cueapi.storage.operations import OperationRow

SLOW = 60
"""Seconds from which on a dry run says how long it takes."""


def dry_run(matched: Matched, rate: int) -> Shown:
    """What an operation would do at *rate* a second."""
    warnings = [*matched.warnings]
    if matched.is_capped:
        warnings.append(f"More than {matched.counted:,} match; an operation works on all of them.")
    if matched.counted / rate > SLOW:
        warnings.append(f"At {rate} a second it takes {round(matched.counted / rate / 60)} minutes.")
    return {
        "matched": matched.counted,
        "matched_capped": matched.is_capped,
        "sample": matched.sample,
        "warnings": warnings,
    }


def shown(row: OperationRow) -> Shown:
    """An operation as it is answered."""
    scope, given, progress = json.loads(row.scope), json.loads(row.act), row.progress
    is_backfill = row.kind == bulk.Kind.BACKFILL
    return {
        "id": row.id,
        "kind": row.kind,
        "status": row.status,
        "filter": scope.get("filter"),
        "backfill": {name: scope.get(name) for name in ("cue_id", "from", "to", "only_missing")}
        if is_backfill
        else None,
        "as_of": row.as_of,
        "matched": row.matched,
        "matched_capped": row.matched_capped,
        "done": row.done,
        "skipped": dict(progress.skipped),
        "failed": row.failed,
        "rate_per_second": row.rate,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "eta_seconds": None if row.finished_at else bulk.eta_seconds(progress, row.rate),
        "by": given["actor"],
        "reason": given["reason"],
    }

"""A row of a cue as what its user has said of it."""

import json

from cueapi.domain.cue import Callback, Cue, Schedule
from cueapi.domain.retry import Retry
from cueapi.storage.cues import CueRow
from cueapi.storage.verification_rules import to_rules


def to_cue(row: CueRow, headers: dict[str, str]) -> Cue:
    """A row, and its headers, as the cue that its user described."""
    return Cue(
        name=row.name,
        description=row.description,
        group=row.group_name,
        transport=row.transport,
        schedule=Schedule(
            row.schedule_type, row.timezone, row.cron, row.schedule_at, row.catchup, row.overlap, row.schedule_local
        ),
        callback=Callback(row.callback_url, row.callback_method, headers),
        payload=json.loads(row.payload),
        retry=Retry(row.max_attempts, tuple(row.backoff_minutes)),
        on_failure=row.on_failure,
        verification=to_rules(row),
        delivery=row.delivery,
        alerts=row.alerts,
        budget=row.budget,
        status=row.status,
    )

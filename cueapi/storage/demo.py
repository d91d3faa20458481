"""A past for an account of a demo."""

import json
from collections.abc import Mapping, Sequence

from cueapi.storage.database import Executor
from cueapi.storage.statements import load

ADD_HISTORY = load("add_history", ("executions", "attempts", "alerts", "workers", "failures"))


async def add_history(
    db: Executor,
    *,
    executions: Sequence[Mapping[str, object]],
    attempts: Sequence[Mapping[str, object]],
    alerts: Sequence[Mapping[str, object]],
    workers: Sequence[Mapping[str, object]],
    failures: Mapping[str, int],
) -> None:
    """Write what cues have done, all of it or nothing: records by the names of the columns."""
    alerts = [{"metadata": {}, **alert} for alert in alerts]
    await db.execute(ADD_HISTORY, *(json.dumps(given) for given in (executions, attempts, alerts, workers, failures)))

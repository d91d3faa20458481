"""The parameters by which executions are filtered and paged."""

from typing import get_args

from quart import g

from cueapi.api.http.cursors import CURSOR
from cueapi.api.http.parameters import (
    COUNTED,
    OFFSET,
    Choice,
    Choices,
    Flag,
    Moment,
    Pattern,
    Text,
    page_limit,
)
from cueapi.api.models import values
from cueapi.domain.execution import SHOWN
from cueapi.domain.outcome import OutcomeState
from cueapi.storage.execution_pages import Filter

CUE_ID = Text("cue_id", "Only executions of this cue.", names_one=True)
GROUP = Pattern("group", "Only executions of cues in this group.", values.GROUP, names_one=True)
CUE_NAME = Text("cue_name", "Only executions of the cue of exactly this name.", names_one=True)
STATUS = Choice("status", "Only executions in this status.", SHOWN)
STATUS_IN = Choices("status__in", "Only executions in one of these statuses, separated by commas.", SHOWN)
OUTCOME_STATE = Choice("outcome_state", "Only executions with an outcome in this state.", OutcomeState)
TRIGGERED_BY = Choice("triggered_by", "Only executions made this way.", get_args(values.TriggeredBy))
WORKER = Text("worker_id", "Only executions that this worker holds, or held when they ended.", names_one=True)
HAS_EVIDENCE = Flag("has_evidence", "Only executions that have (`true`) or have not (`false`) any evidence.")
RESULT_TYPE = Text("result_type", "Only executions whose evidence has exactly this `result_type`.")
SINCE = Moment("since", "Only executions made at this moment or later.")
UNTIL = Moment("until", "Only executions made at this moment or earlier.")
LIMIT = page_limit(20)
EXECUTION_FILTERS = (
    STATUS, STATUS_IN, OUTCOME_STATE, TRIGGERED_BY, WORKER, HAS_EVIDENCE, RESULT_TYPE, SINCE, UNTIL, LIMIT, OFFSET,
    CURSOR, COUNTED,
)  # fmt: skip


def filter_of(cue_id: str | None) -> Filter:
    """Which executions are asked for: of that cue, and by the filters that all lists take."""
    return Filter(
        g.account.id,
        cue=cue_id,
        status=STATUS.read(),
        statuses=STATUS_IN.read(),
        worker=WORKER.read(),
        has_evidence=HAS_EVIDENCE.read(),
        result_type=RESULT_TYPE.read(),
        outcome_state=OUTCOME_STATE.read(),
        triggered_by=TRIGGERED_BY.read(),
        since=SINCE.read(),
        until=UNTIL.read(),
        groups=g.account.grant.groups,
    )

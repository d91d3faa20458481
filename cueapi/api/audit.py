"""The audit: who did what, and why."""

from typing import Any

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Moment, Pattern, Text, page_limit
from cueapi.api.models.rendering import answer
from cueapi.api.models.responses import audit as responses
from cueapi.storage import audit
from cueapi.storage.audit import AuditFilter
from cueapi.storage.database import Database

SUBJECT = Text("subject_id", "Only what was done to this: the id of a cue, a key, an execution, …")
ACTOR = Text("actor_id", "Only what this key, or this session, has done.")
ACTION = Pattern("action", "Only this action, as in `cue.paused`.", r"^[a-z_]+[.][a-z_]+$")
SINCE = Moment("since", "Only what was done at this moment or later.")
UNTIL = Moment("until", "Only what was done before this moment.")
LIMIT = page_limit(50)


@frozen
class AuditRoutes:
    """`/v1/audit`."""

    database: Database

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("audit", __name__, url_prefix="/v1/audit")
        routes.get("")(self.list)
        return routes

    @operation(
        responses.Audit,
        scope="read",
        parameters=(SUBJECT, ACTOR, ACTION, SINCE, UNTIL, LIMIT, CURSOR),
        refuses=("invalid_filter",),
    )
    async def list(self) -> Response:
        """
        List who has done what, newest first.

        Each change has its row, written with it: by keys, by people who are signed in, by the operator, and by the
        server itself. What executions do is not among them. Rows end after `AUDIT_RETENTION_DAYS`.
        """
        filters: dict[str, Any] = {
            "subject": SUBJECT.read(), "actor": ACTOR.read(), "action": ACTION.read(),
            "since": SINCE.read(), "until": UNTIL.read(),
        }  # fmt: skip
        cursor = Cursor.over(**filters)
        wanted = AuditFilter(g.account.id, **filters, behind=cursor.read_numbered())
        page = await audit.page(self.database, wanted, limit=LIMIT.read())
        last = page.rows[-1] if page.more else None
        shown = {
            "audit": [responses.AuditEntry.render(row) for row in page.rows],
            "has_more": page.more,
            "next_cursor": last and cursor.write(last.at, last.id),
        }
        return answer(shown)

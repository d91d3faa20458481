"""The audit: who did what, and why."""

from typing import Any

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Moment, Pattern, Text, page_limit
from cueapi.api.models.rendering import answer
from cueapi.api.models.responses import audit as responses
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import is_cue_id
from cueapi.storage import audit, key_groups
from cueapi.storage.audit import AuditFilter
from cueapi.storage.database import Database

SUBJECT = Text("subject_id", "Only what was done to this: the id of a cue, a key, an execution, …", names_one=True)
ACTOR = Text("actor_id", "Only what this key, or this session, has done.", names_one=True)
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
        in_groups=True,
        parameters=(SUBJECT, ACTOR, ACTION, SINCE, UNTIL, LIMIT, CURSOR),
        refuses=("cue_not_found", "invalid_filter"),
    )
    async def list(self) -> Response:
        """
        List who has done what, newest first.

        Each change has its row, written with it: by keys, by people who are signed in, by the operator, and by the
        server itself. What executions do is not among them. Rows end after `AUDIT_RETENTION_DAYS`. A key that is
        limited to groups asks for a cue of theirs, by `subject_id`.
        """
        filters: dict[str, Any] = {
            "subject": SUBJECT.read(), "actor": ACTOR.read(), "action": ACTION.read(),
            "since": SINCE.read(), "until": UNTIL.read(),
        }  # fmt: skip
        await self._check_groups(filters["subject"])
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

    async def _check_groups(self, subject: str | None) -> None:
        """Refuse a key that is limited to groups where it asks for more than one cue of them."""
        grant = g.account.grant
        if grant.groups is None:
            return
        if subject is None or not is_cue_id(subject):
            grant.check_named(None, "the group of the cue that `subject_id` names")
        elif not await key_groups.has_cue(self.database, user=g.account.id, groups=grant.groups, cue_id=subject):
            raise Refusal("cue_not_found", "There is no such cue.")

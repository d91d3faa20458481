"""Dead letters: list them, and what they have in common."""

from attrs import asdict, frozen
from quart import Blueprint, Response, g

from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import Moment, Pattern, Text, page_limit
from cueapi.api.models import values
from cueapi.api.models.rendering import answer
from cueapi.api.models.responses import dead_letters as responses
from cueapi.domain.url import read_place
from cueapi.storage import dead_letters
from cueapi.storage.database import Database
from cueapi.storage.dead_letters import DeadFilter, read_status


@frozen
class Place(Text):
    """A host with its port, however it is written."""

    def read(self) -> str | None:
        """The place as targets are called; None where it is missing or empty."""
        value = self._given()
        try:
            return None if value is None else read_place(value)
        except ValueError as error:
            raise self._wrong(str(error)) from None


CUE_ID = Text("cue_id", "Only dead letters of this cue.", names_one=True)
GROUP = Pattern("group", "Only dead letters of cues in this group.", values.GROUP, names_one=True)
HOST = Place(
    "host", "Only dead letters of cues that call this host and port now, for example `agent.example.com:443`.",
    names_one=True,
)  # fmt: skip
HTTP_STATUS = Pattern(
    "http_status", "Only dead letters whose last attempt was answered so; `none`: that have no status.",
    values.STATUS_OR_NONE,
)  # fmt: skip
ERROR = Text(
    "error", "Only dead letters with this error, the first 200 characters of it as a summary shows them; `none`: for "
    "which no reason was given.",
)  # fmt: skip
SINCE = Moment("since", "Only dead letters that have ended at this moment or later.")
UNTIL = Moment("until", "Only dead letters that have ended at this moment or earlier.")
LIMIT = page_limit(20)
FILTERS = (CUE_ID, GROUP, HOST, HTTP_STATUS, ERROR, SINCE, UNTIL)


@frozen
class DeadLetters:
    """`/v1/dead`."""

    database: Database

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("dead_letters", __name__, url_prefix="/v1/dead")
        routes.get("")(self.list)
        routes.get("/summary")(self.summary)
        return routes

    @operation(
        responses.DeadLetterList,
        scope="read",
        in_groups=True,
        parameters=(*FILTERS, LIMIT, CURSOR),
        refuses=("invalid_filter",),
    )
    async def list(self) -> Response:
        """
        List dead letters, newest first.

        A dead letter is an execution that has ended as `failed` or `outcome_timeout`, or as `missed` since no worker
        claimed it. It leaves the list when a replay of it, or a replay of that, succeeds, or when it is dismissed.
        """
        wanted = _filter()
        cursor = Cursor.over(**asdict(wanted))
        behind = cursor.read()
        page = await dead_letters.page(
            self.database, wanted, before=None if behind is None else behind[1], limit=LIMIT.read()
        )
        last = page.rows[-1] if page.rows and page.more else None
        shown = {
            "dead": [responses.DeadLetter.render(row) for row in page.rows],
            "has_more": page.more,
            "next_cursor": last and cursor.write(last.created_at, last.id),
        }
        return answer(shown)

    @operation(responses.DeadSummary, scope="read", in_groups=True, parameters=FILTERS)
    async def summary(self) -> Response:
        """
        Show what dead letters have in common, the largest groups first.

        The newest 10,000 are looked at; `truncated` says that there are more.
        """
        rows = await dead_letters.summary(self.database, _filter())
        return answer(
            {
                "groups": [responses.DeadGroup.render(row) for row in rows],
                "truncated": bool(rows and rows[0].truncated),
            }
        )


def _filter() -> DeadFilter:
    return DeadFilter(
        g.account.id,
        cue_id=CUE_ID.read(),
        group=GROUP.read(),
        host=HOST.read(),
        http_status=read_status(HTTP_STATUS.read()),
        error=ERROR.read(),
        since=SINCE.read(),
        until=UNTIL.read(),
        groups=g.account.grant.groups,
    )

"""Alerts: list, acknowledge one or many."""

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.body import read
from cueapi.api.http.cursors import CURSOR, Cursor
from cueapi.api.http.operations import operation
from cueapi.api.http.parameters import COUNTED, OFFSET, Choice, Flag, Moment, page_limit
from cueapi.api.models.rendering import answer, page_of
from cueapi.api.models.requests.alerts import AlertIds
from cueapi.api.models.responses import alerts as responses
from cueapi.domain.errors import Refusal
from cueapi.domain.execution import AlertType
from cueapi.domain.ids import parse_uuid
from cueapi.storage import alerts
from cueapi.storage.database import Database

ALERT_TYPE = Choice("alert_type", "Only alerts of this type.", AlertType)
SINCE = Moment("since", "Only alerts made at this moment or later.")
ACKNOWLEDGED = Flag("acknowledged", "Only alerts that are (`true`) or are not (`false`) acknowledged.")
LIMIT = page_limit(20)


@frozen
class Alerts:
    """`/v1/alerts`."""

    database: Database

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("alerts", __name__, url_prefix="/v1/alerts")
        routes.get("")(self.list)
        routes.post("/acknowledge")(self.acknowledge_all)
        routes.post("/<alert_id>/acknowledge")(self.acknowledge)
        return routes

    @operation(
        responses.AlertList,
        parameters=(ALERT_TYPE, SINCE, ACKNOWLEDGED, LIMIT, OFFSET, CURSOR, COUNTED),
        refuses=("invalid_filter",),
        scope="read",
        in_groups=True,
    )
    async def list(self) -> Response:
        """List alerts, newest first."""
        alert_type, since, acknowledged = ALERT_TYPE.read(), SINCE.read(), ACKNOWLEDGED.read()
        cursor = Cursor.over(type=alert_type, since=since, acknowledged=acknowledged)
        before = cursor.read()
        limit, offset = LIMIT.read(), 0 if before else OFFSET.read()
        page = await alerts.page(
            self.database, user=g.account.id, alert_type=alert_type, since=since, acknowledged=acknowledged,
            before=before, limit=limit, offset=offset, counted=COUNTED.read() is not False,
            groups=g.account.grant.groups,
        )  # fmt: skip
        last = page.rows[-1] if page.rows and page.more else None
        shown = {
            "alerts": [responses.Alert.render(row) for row in page.rows],
            **page_of(page, limit=limit, offset=offset),
            "next_cursor": last and cursor.write(last.created_at, last.id),
        }
        return answer(shown)

    @operation(responses.AcknowledgedAlerts, body=AlertIds, scope="write", in_groups=True)
    async def acknowledge_all(self) -> Response:
        """Acknowledge up to 100 alerts."""
        wanted = {text: parse_uuid(text) for text in (await read(AlertIds)).ids}
        found = await alerts.acknowledge_all(
            self.database, alerts=[one for one in wanted.values() if one is not None], user=g.account.id,
            groups=g.account.grant.groups,
        )  # fmt: skip
        acknowledged = [text for text, identity in wanted.items() if identity in found]
        missing = [text for text in wanted if text not in acknowledged]
        return answer({"acknowledged": acknowledged, "not_found": missing})

    @operation(responses.Alert, scope="write", refuses=("alert_not_found",))
    async def acknowledge(self, alert_id: str) -> Response:
        """Acknowledge an alert."""
        identity = parse_uuid(alert_id)
        row = identity and await alerts.acknowledge(self.database, alert=identity, user=g.account.id)
        if not row:
            raise Refusal("alert_not_found", "There is no such alert.")
        return answer(responses.Alert.render(row))

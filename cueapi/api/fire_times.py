"""When a schedule fires next, be it stored or not."""

from datetime import datetime

import trio
from attrs import frozen
from quart import Blueprint, Response

from cueapi.api import cue_planning
from cueapi.api.http.body import read
from cueapi.api.http.operations import operation
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.cues import PreviewBody
from cueapi.api.models.responses.cues import PreviewedTimes
from cueapi.domain.clock import iso
from cueapi.domain.cue import plan_schedule
from cueapi.domain.schedule import INSTANT, upcoming
from cueapi.domain.zone import local_time
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database

MOST_TIMES, FEW_TIMES = 50, 5
"""Fire times that one call shows: at most, and where it does not say."""

ONE_AT_A_TIME = trio.CapacityLimiter(1)
"""One thread for all requests: threads share the interpreter with the event loop."""


async def next_times(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """
    The next *count* fire times after *after*.

    In a thread, since fifty times of a rare cron lie centuries apart and take a second to find.
    """
    return await trio.to_thread.run_sync(upcoming, cron, timezone, after, count, limiter=ONE_AT_A_TIME)


@frozen
class Schedules:
    """`/v1/schedule`: schedules that are not stored."""

    database: Database
    clock: Clock

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("schedules", __name__, url_prefix="/v1/schedule")
        routes.post("/preview")(self.preview)
        return routes

    @operation(
        PreviewedTimes, scope="read", in_groups=True, body=PreviewBody, refuses=("invalid_schedule", "invalid_timezone")
    )
    async def preview(self) -> Response:
        """
        Show when a schedule would fire.

        Nothing is stored. What creating a cue refuses of a schedule is refused here in the same words.
        """
        body = await read(PreviewBody)
        given = {} if body.schedule is None else body.schedule.given()
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            raise cue_planning.no_schedule()
        schedule = plan_schedule(cue_planning.with_catchup({"schedule": given})["schedule"])
        moments = [first := await self.clock.decide(self.database, schedule.first_after)]
        if schedule.cron is not None:
            moments = await next_times(schedule.cron, schedule.timezone, first - INSTANT, body.count or FEW_TIMES)
        shown = [{"at": iso(one), "local": local_time(one, schedule.timezone).isoformat()} for one in moments]
        return answer({"upcoming": shown})

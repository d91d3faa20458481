"""The brake of an account: hold, look, release."""

from functools import partial
from typing import Any

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api.http.acting import REASON, act, act_of_body
from cueapi.api.http.body import read
from cueapi.api.http.operations import operation
from cueapi.api.models.rendering import answer
from cueapi.api.models.requests.bodies import ReasonBody
from cueapi.api.models.requests.holds import HoldBody
from cueapi.api.models.responses import holds as responses
from cueapi.domain.hold import HoldMode, hold_until
from cueapi.storage import holds
from cueapi.storage.clock import Clock
from cueapi.storage.database import Database
from cueapi.storage.holds import HoldRequest
from cueapi.wakeups.hub import WakeupHub

RELEASED = dict.fromkeys(("mode", "reason", "until", "since", "by"))


@frozen
class Holds:
    """`/v1/hold`."""

    database: Database
    clock: Clock
    hub: WakeupHub

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("holds", __name__, url_prefix="/v1/hold")
        routes.get("")(self.show)
        routes.put("")(self.set)
        routes.delete("")(self.release)
        return routes

    @operation(responses.Hold, scope="read")
    async def show(self) -> Response:
        """Show whether the account is held."""
        row = await holds.show(self.database, g.account.id)
        return answer(_shown(row))

    @operation(responses.Hold, scope="write", body=HoldBody, parameters=(REASON,), refuses=("invalid_schedule",))
    async def set(self) -> Response:
        """
        Hold the account.

        Nothing fires from then on, on every daemon. One-time cues, and what was asked for at a later time, fire at the
        release; times of recurring cues are counted in `held_count`, and not caught up with. With `everything` nothing
        is claimed either, and heartbeats to the report URLs of what runs are answered with `cancel`.
        """
        body = await read(HoldBody)
        until = None
        if body.until is not None:
            until = await self.clock.decide(self.database, partial(hold_until, body.until))
        why = act(body.reason)
        hold = HoldRequest(body.mode or HoldMode.FIRES, why.reason, until)
        row = await holds.put(self.database, user=g.account.id, hold=hold, act=why)
        if hold.mode == HoldMode.FIRES:
            # Claims were stopped perhaps until now. Each of what is woken looks for itself.
            self.hub.released(g.account.id)
        return answer(_shown(row))

    @operation(None, scope="write", status=204, body=ReasonBody, parameters=(REASON,))
    async def release(self) -> Response:
        """
        Release the account.

        What was parked fires at once. Nothing happens where the account is not held.
        """
        for user in await holds.release(self.database, [g.account.id], await act_of_body()):
            self.hub.released(user)
        return Response(b"", 204)


def _shown(row: holds.HoldRow | None) -> dict[str, Any]:
    return {"held": False, **RELEASED} if row is None else {"held": True, **responses.HoldInForce.render(row)}

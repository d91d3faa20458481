"""The body of a request, as it arrives: no more of it is held than its route takes, and than all bodies may hold."""

from typing import cast

import trio
from attrs import define, field
from quart import request

from cueapi.api.http.body_budget import BodyBudget
from cueapi.domain.errors import Refusal

ARRIVES_WITHIN = 60.0
"""Seconds in which a body must have arrived."""

RETRY_AFTER = 5
"""Seconds after which a client that was refused for want of memory may ask again."""

TAKING_BODIES = {"POST", "PUT", "PATCH", "DELETE"}
"""Methods whose body means something (RFC 9110, 9.3); that of a GET is not looked at."""

KIB = 1024


@define(eq=False)
class IncomingBody:
    """
    A body of which parts arrive while its route is being found.

    *announced* are the bytes that its Content-Length says; None where it comes in chunks.
    """

    announced: int | None
    most: int
    budget: BodyBudget | None = None
    arrived: int = field(init=False, default=0)
    whole: bool = field(init=False, default=False)
    begun: float = field(init=False, factory=trio.current_time)
    _held: bytearray = field(init=False, factory=bytearray, repr=False)
    _is_kept: bool = field(init=False, default=True)
    _refusal: Refusal | None = field(init=False, default=None)
    _decided: trio.Event = field(init=False, factory=trio.Event, repr=False)
    """It is whole, or refused."""

    @property
    def held(self) -> int:
        """The bytes of it that are held."""
        return len(self._held)

    def add(self, part: bytes) -> None:
        """Hold a part that has arrived, unless it is refused, or nothing reads it."""
        self.arrived += len(part)
        if not self._is_kept or not part:
            return
        if self.arrived > self.most:
            self._refuse(_too_large(self.most))
        elif self.budget is not None and not self.budget.take(self, len(part)):
            self._refuse(_no_room())
        else:
            self._held += part

    def complete(self) -> None:
        """The last part has arrived."""
        self.whole = True
        self._decided.set()

    def allow(self, most: int) -> None:
        """From now on the route is known: it takes *most* bytes."""
        self.most = most
        if max(self.announced or 0, self.arrived) > most:
            self._refuse(_too_large(most))

    def check(self) -> None:
        """Refuse a body that is known to be too large already."""
        if self._refusal is not None:
            raise self._refusal

    async def read(self) -> bytes:
        """The whole body, as often as it is asked for. Refuses one that does not arrive, or is too large."""
        with trio.move_on_after(ARRIVES_WITHIN):
            await self._decided.wait()
        self.check()
        if not self.whole:
            raise Refusal("request_timeout", "The request's body did not arrive in time.")
        return bytes(self._held)

    def drop(self) -> None:
        """Hold nothing of it any more, whatever still arrives."""
        self._is_kept = False
        if self.budget is not None:
            self.budget.free(self)
        self._held = bytearray()

    def end_slow(self) -> None:
        """Refuse it: it took its time while others had no room."""
        self._refuse(_no_room())

    def _refuse(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self.drop()
        self._decided.set()


def incoming() -> IncomingBody:
    """The body of the request that is being answered."""
    return cast(IncomingBody, request.body)


def _too_large(most: int) -> Refusal:
    return Refusal("request_too_large", f"The request's body has more than {most // KIB:,} KiB, the most taken here.")


def _no_room() -> Refusal:
    message = "The server is receiving as much as it can hold, and slow requests are ended first. Try again soon."
    return Refusal("overloaded", message, retry_after=RETRY_AFTER)

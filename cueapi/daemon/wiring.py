"""What joins the siblings: channels, wake-ups, and what they report about themselves."""

from functools import partial
from typing import Self

import trio
from attrs import field, frozen

from cueapi.api.http.auth import Keyring
from cueapi.api.http.rate_limits import Windows
from cueapi.daemon.resources import Ground
from cueapi.delivery.capacity import Places
from cueapi.delivery.dispatcher import freed_soon
from cueapi.delivery.poller import LastPoll
from cueapi.delivery.retries import Reminder
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Step
from cueapi.metrics import Metrics
from cueapi.wakeups.long_poll import WaitingRoom
from cueapi.wakeups.notify import Ears, Wakeups
from supervisor import Board, Channel, Periodic, Wheel

RESULTS, RETRIES = 200, 1_000
"""Capacities of the channels."""


@frozen
class Joints:
    """What joins the siblings: channels, wake-ups, and what they tell of themselves."""

    polls: Periodic
    claims: Periodic
    notices: Periodic
    deliveries: Channel[Delivery]
    results: Channel[Step]
    retries: Channel[Reminder]
    places: Places
    keyring: Keyring
    wakeups: Wakeups
    windows: Windows
    waiting: WaitingRoom
    wheel: Wheel[int | None] = field(factory=Wheel)
    board: Board = field(factory=Board)
    stopping: trio.Event = field(factory=trio.Event)
    metrics: Metrics = field(factory=Metrics)
    last_poll: LastPoll = field(factory=LastPoll)

    @classmethod
    def make(cls, ground: Ground) -> Self:
        """New ones, of the sizes that the settings say."""
        settings, database = ground.settings, ground.database
        polls = Periodic(settings.poller_interval_seconds)
        claims = Periodic(settings.poller_interval_seconds)
        notices = Periodic(settings.poller_interval_seconds)
        keyring = Keyring(database, settings.plans, ground.sessions, ground.clock)
        waiting = WaitingRoom()
        ears = Ears(polls, claims, notices, waiting.poke, keyring.forget, keyring.trust)
        size = settings.dispatch_concurrency
        return cls(
            polls,
            claims,
            notices,
            Channel("deliveries", size),
            Channel("results", RESULTS),
            Channel("retries", RETRIES),
            Places(size, settings.host_concurrency, freed=partial(freed_soon, claims)),
            keyring,
            Wakeups(ground.dsn, database, ground.identity, ground.clock, ears),
            Windows(ground.redis),
            waiting,
        )

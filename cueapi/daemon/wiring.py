"""What joins the siblings: channels, wake-ups, and what they report about themselves."""

from functools import partial
from typing import Self

import trio
from attrs import field, frozen

from cueapi.api.http.auth import Authenticator
from cueapi.api.http.body_budget import BodyBudget
from cueapi.api.http.connections import Connections
from cueapi.api.http.key_uses import KeyUses
from cueapi.api.http.rate_limits import Windows
from cueapi.daemon.open_files import connection_limit, delivery_limit, limit_per_address, open_files
from cueapi.daemon.resources import Resources
from cueapi.delivery.breaker import Breaker
from cueapi.delivery.capacity import Capacity, wake_soon
from cueapi.delivery.held_targets import HeldTargets
from cueapi.delivery.poller import LastPoll
from cueapi.delivery.retries import Reminder
from cueapi.domain.attempt import Delivery
from cueapi.domain.execution import Transition
from cueapi.metrics import Metrics
from cueapi.net.shortage import Shortages
from cueapi.wakeups.hub import WakeupHub
from supervisor import Channel, HealthBoard, Wheel

RESULTS, RETRIES = 200, 1_000
"""Capacities of the channels."""


@frozen
class Wiring:
    """Made anew with each tree; nothing in it outlives the daemon."""

    hub: WakeupHub
    authenticator: Authenticator
    capacity: Capacity
    breaker: Breaker
    windows: Windows
    connections: Connections
    shortages: Shortages
    key_uses: KeyUses
    deliveries: Channel[Delivery]
    results: Channel[Transition]
    retries: Channel[Reminder]
    wheel: Wheel[int | None] = field(factory=Wheel)
    board: HealthBoard = field(factory=HealthBoard)
    stopping: trio.Event = field(factory=trio.Event)
    metrics: Metrics = field(factory=Metrics)
    last_poll: LastPoll = field(factory=LastPoll)
    bodies: BodyBudget = field(factory=BodyBudget)

    @classmethod
    def make(cls, resources: Resources) -> Self:
        """Everything in the sizes of the settings."""
        settings = resources.settings
        authenticator = Authenticator(resources.database, settings.plans, resources.sessions, resources.clock)
        hub = WakeupHub(resources.clock, settings.poller_interval_seconds, authenticator)
        files = open_files()
        size, most = delivery_limit(settings, files), connection_limit(settings, files)
        # Streams of hints stay open: half of the connections are for what asks and is answered.
        hub.watchers.most = min(hub.watchers.most, most // 2)
        return cls(
            hub,
            authenticator,
            Capacity(
                size,
                settings.host_concurrency,
                on_freed=partial(wake_soon, hub.dispatches),
                on_half=hub.dispatches.wake,
            ),
            Breaker(resources.engine, hub, HeldTargets(settings.host_concurrency), settings.breaker),
            Windows(resources.redis),
            Connections(most, limit_per_address(settings, most), settings.proxies),
            # Idle connections to handlers are what can be spared.
            Shortages(relieve=resources.webhook.idle.close),
            KeyUses(resources.database, resources.clock),
            Channel("deliveries", size),
            Channel("results", RESULTS),
            Channel("retries", RETRIES),
            board=HealthBoard(resources.clock.now),
        )

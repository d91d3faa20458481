"""What /metrics reads of the tree when it is asked: channels, pool, siblings, connections, alerts."""

from cueapi.daemon.resources import Resources
from cueapi.daemon.wiring import Wiring
from cueapi.domain.execution import AlertType
from cueapi.metrics import Gauge


def gauges(resources: Resources, wiring: Wiring) -> list[Gauge]:
    """What /metrics reads when it is asked."""
    channels, pools, capacity = (
        (wiring.deliveries, wiring.results, wiring.retries),
        resources.pools,
        wiring.capacity,
    )
    board, alerts = wiring.board, wiring.hub.alerts
    return [
        Gauge("cueapi_alerts_raised", "Alerts by type.", ("type",),
                lambda: [((str(one),), alerts[one]) for one in AlertType], only_grows=True),
        Gauge("cueapi_channel_depth", "Items in each channel.", ("channel",),
                lambda: [((channel.name,), channel.depth) for channel in channels]),
        Gauge("cueapi_channel_capacity", "Most items of each channel.", ("channel",),
                lambda: [((channel.name,), channel.capacity) for channel in channels]),
        Gauge("cueapi_retry_wheel_size", "Reminders in the retry wheel.", (), lambda: [((), len(wiring.wheel))]),
        Gauge("cueapi_pool_places", "Slots of the dispatch pool.", ("state",),
                lambda: [(("taken",), capacity.taken), (("free",), capacity.size - capacity.taken)]),
        Gauge("cueapi_sibling_state", "1 for the state that each sibling is in.", ("sibling", "state"),
                lambda: [((name, str(entry.state)), 1) for name, entry in board.snapshot().items()]),
        Gauge("cueapi_sibling_restarts", "Restarts of each sibling.", ("sibling",),
                lambda: [((name,), entry.restarts) for name, entry in board.snapshot().items()], only_grows=True),
        Gauge("cueapi_body_bytes", "Bytes of request bodies that are being read.", (),
                lambda: [((), wiring.bodies.held)]),
        Gauge("cueapi_database_connections", "Connections to PostgreSQL that are open.", ("state",),
                lambda: [(("idle",), sum(pool.idle for pool in pools)),
                         (("in_use",), sum(pool.in_use for pool in pools))]),
        Gauge("cueapi_database_pool_size", "Most connections to PostgreSQL.", (),
                lambda: [((), sum(pool.size for pool in pools))]),
        Gauge("cueapi_database_waiters", "Tasks that wait for a connection.", (),
                lambda: [((), sum(pool.waiters for pool in pools))]),
        Gauge("cueapi_client_connections", "Connections of clients.", (), lambda: [((), len(wiring.connections))]),
        Gauge("cueapi_client_connections_limit", "Most connections of clients.", (),
                lambda: [((), wiring.connections.most)]),
        Gauge("cueapi_waiting_calls", "Calls of workers that wait for work.", (),
                lambda: [((), len(wiring.hub.long_poll))]),
    ]  # fmt: skip

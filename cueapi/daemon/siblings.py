"""The siblings of one daemon, in the order of their start."""

from datetime import timedelta
from functools import partial

from cueapi.api.http.app import make_app
from cueapi.api.http.server import Server
from cueapi.daemon.resources import Resources
from cueapi.daemon.routes import api_resources, notification_senders, request_gate
from cueapi.daemon.wiring import Wiring
from cueapi.delivery.bulk_works import works
from cueapi.delivery.claims import confirm_delivery
from cueapi.delivery.dispatcher import Dispatcher
from cueapi.delivery.janitor import Janitor
from cueapi.delivery.notifier import Notifier
from cueapi.delivery.operations import Operations
from cueapi.delivery.poller import Poller
from cueapi.delivery.pool import DispatchPool
from cueapi.delivery.recorder import Recorder
from cueapi.delivery.rescue import LOOK_INTERVAL, Rescue, RescueTimeouts
from cueapi.delivery.retries import Retries
from cueapi.delivery.sweeper import SWEEP_INTERVAL, Sweeper
from cueapi.delivery.target_watch import TargetWatch
from cueapi.settings import Settings
from cueapi.storage.outbox import AttemptTimes
from cueapi.wakeups.notify import WakeupRelay
from supervisor import OnStop, Periodic, Policy, Sibling

JANITOR_INTERVAL = timedelta(minutes=10).total_seconds()

SOON_BACK = Policy(limit=15, longest_pause=2.0)
"""Short pauses: other daemons declare us dead after 5 s without our lock."""


def siblings(resources: Resources, wiring: Wiring) -> list[Sibling]:
    """Downstream first: nothing is produced before its consumer is up."""
    settings, database, metrics, hub = resources.settings, resources.database, wiring.metrics, wiring.hub
    interval, monthly = settings.poller_interval_seconds, _monthly(settings)
    notifier = Notifier(
        database, hub, resources.identity, notification_senders(resources), wiring.stopping, metrics, wiring.shortages
    )
    relay = WakeupRelay(resources.dsn, resources.engine, resources.identity, hub)
    poller = Poller(
        resources.engine,
        hub,
        wiring.retries,
        resources.clock,
        metrics,
        wiring.last_poll,
        settings.poller_batch_size,
        monthly,
    )
    sweeper = Sweeper(resources.webhook.idle, Periodic(SWEEP_INTERVAL))
    operations = Operations(database, hub, works(monthly), metrics)
    janitor = Janitor(
        database, Periodic(JANITOR_INTERVAL), settings.execution_retention_days, settings.audit_retention_days
    )
    return [
        *([Sibling("postgres", resources.embedded.run, OnStop.LAST)] if resources.embedded else []),
        Sibling("notifier", notifier.run, OnStop.FINISH, silent_after=2 * interval + 30),
        *_recording(resources, wiring),
        Sibling("wakeups", relay.run, OnStop.LAST, SOON_BACK, silent_after=30.0, longest_wait=2.0),
        *_dispatching(resources, wiring),
        Sibling("poller", poller.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("rescue", _rescue(resources, wiring).run, OnStop.CANCEL, silent_after=60.0),
        Sibling("sweeper", sweeper.run, OnStop.LAST, silent_after=30.0),
        Sibling("operations", operations.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("janitor", janitor.run, OnStop.CANCEL, silent_after=2 * JANITOR_INTERVAL),
        Sibling("long_polls", hub.long_poll.run, OnStop.CANCEL),
        Sibling("watchers", hub.watchers.run, OnStop.CANCEL),
        Sibling("key_uses", wiring.key_uses.run, OnStop.CANCEL),
        Sibling("api", _server(resources, wiring).run, OnStop.LAST),
    ]


def _monthly(settings: Settings) -> dict[str, int]:
    """Executions a month, by plan."""
    return {name: plan.monthly_executions for name, plan in settings.plans.items()}


def _recording(resources: Resources, wiring: Wiring) -> list[Sibling]:
    """What sends, and what writes down how it went."""
    engine, capacity = resources.engine, wiring.capacity
    recorder = Recorder(
        engine, wiring.results, wiring.retries, wiring.hub, wiring.metrics, capacity,
        horizon=2 * resources.settings.poller_interval_seconds,
    )  # fmt: skip
    pool = DispatchPool(
        wiring.deliveries, wiring.results, capacity, resources.webhook, partial(confirm_delivery, engine),
        capacity.size, wiring.stopping, wiring.shortages, wiring.breaker.observe, wiring.breaker.holds,
    )  # fmt: skip
    return [Sibling("recorder", recorder.run, OnStop.FINISH), Sibling("pool", pool.run, OnStop.FINISH)]


def _dispatching(resources: Resources, wiring: Wiring) -> list[Sibling]:
    """What claims, and when."""
    settings, database, hub = resources.settings, resources.database, wiring.hub
    times = AttemptTimes(settings.webhook_timeout_seconds, settings.webhook_timeout_max_seconds)
    dispatcher = Dispatcher(
        resources.engine, wiring.deliveries, wiring.capacity, hub, resources.identity, times, resources.vault.decrypt,
        resources.reports.url, wiring.breaker.held,
    )  # fmt: skip
    target_watch = TargetWatch(database, hub, wiring.breaker, wiring.metrics)
    wheel = Retries(wiring.retries, wiring.wheel, hub)
    silent_after = 2 * settings.poller_interval_seconds + 30
    return [
        Sibling("dispatcher", dispatcher.run, OnStop.CANCEL, silent_after=silent_after),
        Sibling("target_watch", target_watch.run, OnStop.CANCEL, silent_after=60.0),
        Sibling("retries", wheel.run, OnStop.CANCEL, silent_after=30.0),
    ]


def _rescue(resources: Resources, wiring: Wiring) -> Rescue:
    settings = resources.settings
    silence = settings.worker_heartbeat_timeout_seconds
    timeouts = RescueTimeouts(silence, settings.worker_unclaimed_timeout_seconds, worker_grace=silence)
    return Rescue(
        resources.database, Periodic(LOOK_INTERVAL), wiring.hub, timeouts, wiring.metrics, resources.clock,
        resources.identity, wiring.capacity.unrecorded,
    )  # fmt: skip


def _server(resources: Resources, wiring: Wiring) -> Server:
    """The API and the dashboard, on the listener."""
    app = make_app(request_gate(resources, wiring), api_resources(resources, wiring), resources.root)
    return Server(app, resources.listener, wiring.connections, wiring.shortages)

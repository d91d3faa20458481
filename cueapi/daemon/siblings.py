"""The siblings of one daemon, in the order of their start."""

from datetime import timedelta

from cueapi.api.http.app import make_app
from cueapi.api.http.server import Server
from cueapi.daemon.resources import Ground
from cueapi.daemon.routes import gate, outlets, resources
from cueapi.daemon.wiring import Joints
from cueapi.delivery.dispatcher import Outbox
from cueapi.delivery.janitor import Janitor
from cueapi.delivery.notifier import Notices
from cueapi.delivery.poller import Poller
from cueapi.delivery.pool import Pool
from cueapi.delivery.recorder import Recorder
from cueapi.delivery.rescue import LOOK_INTERVAL, Patience, Rescue
from cueapi.delivery.retries import Retries
from supervisor import OnStop, Periodic, Policy, Sibling

JANITOR_INTERVAL = timedelta(minutes=10).total_seconds()


SOON_BACK = Policy(limit=15, longest_pause=2.0)
"""As patient as any other, but the others give up a daemon whose lock is free for 5 s."""


def siblings(ground: Ground, joints: Joints) -> list[Sibling]:
    """Downstream first: nothing is produced before its consumer is up."""
    settings, database, metrics = ground.settings, ground.database, joints.metrics
    interval, timeout = settings.poller_interval_seconds, settings.webhook_timeout_seconds
    silence = settings.worker_heartbeat_timeout_seconds
    patience = Patience(silence, settings.worker_unclaimed_timeout_seconds, worker_grace=silence)
    deliveries, results, retries, claims = joints.deliveries, joints.results, joints.retries, joints.claims

    notices = Notices(database, joints.notices, ground.identity, outlets(ground), joints.stopping)
    recorder = Recorder(
        database,
        results,
        retries,
        joints.wakeups.delivery_ready,
        joints.notices,
        metrics,
        joints.places.recorded,
        horizon=2 * interval,
    )
    pool = Pool(deliveries, results, joints.places, ground.webhook, settings.dispatch_concurrency, joints.stopping)
    outbox = Outbox(database, deliveries, joints.places, claims, ground.identity, joints.notices, timeout)
    wheel = Retries(retries, joints.wheel, claims, joints.waiting.poke)
    poller = Poller(
        database, joints.polls, claims, retries, ground.clock, metrics, joints.last_poll,
        joints.wakeups.work_ready, settings.poller_batch_size, joints.notices,
        {name: plan.monthly_executions for name, plan in settings.plans.items()},
    )  # fmt: skip
    rescue = Rescue(
        database, Periodic(LOOK_INTERVAL), claims, joints.notices, joints.wakeups.work_ready, patience, metrics
    )
    janitor = Janitor(database, Periodic(JANITOR_INTERVAL), settings.execution_retention_days)
    server = Server(make_app(gate(ground, joints), resources(ground, joints)), ground.listener)
    return [
        *([Sibling("postgres", ground.embedded.run, OnStop.LAST)] if ground.embedded else []),
        Sibling("notices", notices.run, OnStop.FINISH, silent_after=2 * interval + 30),
        Sibling("recorder", recorder.run, OnStop.FINISH),
        Sibling("pool", pool.run, OnStop.FINISH),
        Sibling("wakeups", joints.wakeups.run, OnStop.LAST, SOON_BACK, silent_after=30.0, longest_wait=2.0),
        Sibling("outbox", outbox.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("retries", wheel.run, OnStop.CANCEL, silent_after=30.0),
        Sibling("poller", poller.run, OnStop.CANCEL, silent_after=2 * interval + 30),
        Sibling("rescue", rescue.run, OnStop.CANCEL, silent_after=60.0),
        Sibling("janitor", janitor.run, OnStop.CANCEL, silent_after=2 * JANITOR_INTERVAL),
        Sibling("waiting", joints.waiting.run, OnStop.CANCEL),
        Sibling("api", server.run, OnStop.LAST),
    ]

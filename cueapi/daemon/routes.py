"""The way in, composed: what every request passes, the nouns of the contract, and what is told of the daemon."""

from urllib.parse import urlsplit

from cueapi.api.accounts import Accounts
from cueapi.api.alerts import Alerts
from cueapi.api.cues import Cues, Pokes
from cueapi.api.devices import Devices, Post
from cueapi.api.echo import Echo
from cueapi.api.executions import Executions
from cueapi.api.health import Health, Polls
from cueapi.api.http.app import Gate, Resource
from cueapi.api.http.openapi import Docs
from cueapi.api.pages import Pages
from cueapi.api.sessions import SessionRoutes
from cueapi.api.usage import Usage
from cueapi.api.workers import Workers
from cueapi.daemon.resources import Ground
from cueapi.daemon.wiring import Joints
from cueapi.delivery.notifier import Outlets
from cueapi.metrics import Reading
from cueapi.storage.worker_claims import Terms


def gate(ground: Ground, joints: Joints) -> Gate:
    """What every request passes."""
    settings = ground.settings
    return Gate(
        joints.keyring,
        joints.windows,
        settings.proxies,
        settings.plans[settings.default_plan].requests_per_minute,
        tuple(origin.strip() for origin in settings.cors_origins.split(",")),
        joints.metrics,
    )


def resources(ground: Ground, joints: Joints) -> list[Resource]:
    """The nouns of the contract."""
    settings, database, webhook, wakeups = ground.settings, ground.database, ground.webhook, joints.wakeups
    terms = Terms(settings.worker_claim_timeout_seconds, settings.worker_outcome_deadline_seconds)
    pokes = Pokes(wakeups.cue_written, wakeups.delivery_ready, wakeups.work_ready)
    executions = Executions(
        database, terms, joints.metrics, wakeups.delivery_ready, wakeups.work_ready, joints.notices.wake, joints.waiting
    )
    last = joints.last_poll
    return [
        *sign_in(ground, joints),
        Cues(
            database, ground.clock, webhook.resolver, webhook.rules, pokes, executions, settings.worker_evidence
        ),
        executions,
        Workers(database, terms, joints.waiting, wakeups.work_ready, joints.notices.wake),
        Alerts(database),
        Usage(database),
        Echo(database, joints.windows),
        Health(
            database, joints.board, joints.stopping, joints.metrics, ground.clock,
            lambda: Polls(last.at, last.cues, last.duration), settings.poller_interval_seconds,
            joints.windows,
        ),
    ]  # fmt: skip


def sign_in(ground: Ground, joints: Joints) -> list[Resource]:
    """Accounts, and the ways to prove that one is theirs."""
    settings, database, webhook = ground.settings, ground.database, ground.webhook
    pages = Pages.at(urlsplit(ground.address).path.rstrip("/"))
    by = Post(settings.mailer is not None, settings.env == "production", joints.notices.wake)
    return [
        Accounts(
            database, ground.vault, webhook.resolver, webhook.rules, settings.default_plan,
            settings.allow_register, joints.wakeups.account_changed, joints.keyring.check,
        ),
        Devices(
            database, ground.vault, joints.windows, pages, by, ground.address, settings.default_plan,
            open=settings.allow_register,
        ),
        SessionRoutes(database, joints.keyring),
        pages,
        *([] if settings.env == "production" else [Docs(pages.root)]),
    ]  # fmt: skip


def outlets(ground: Ground) -> Outlets:
    """How notices leave."""
    return Outlets(ground.webhook, ground.settings.mailer, ground.vault.unlock, ground.address)


def readings(ground: Ground, joints: Joints) -> list[Reading]:
    """What /metrics reads when it is asked."""
    channels, database = (joints.deliveries, joints.results, joints.retries), ground.database.pool
    board = joints.board
    return [
        Reading("cueapi_channel_depth", "Items in each channel.", ("channel",),
                lambda: [((channel.name,), channel.depth) for channel in channels]),
        Reading("cueapi_channel_capacity", "Most items of each channel.", ("channel",),
                lambda: [((channel.name,), channel.capacity) for channel in channels]),
        Reading("cueapi_retry_wheel_size", "Reminders in the retry wheel.", (), lambda: [((), len(joints.wheel))]),
        Reading("cueapi_pool_places", "Places of the dispatch pool.", ("state",),
                lambda: [(("taken",), joints.places.taken), (("all",), joints.places.size)]),
        Reading("cueapi_sibling_state", "1 for the state that each sibling is in.", ("sibling", "state"),
                lambda: [((name, str(entry.state)), 1) for name, entry in board.snapshot().items()]),
        Reading("cueapi_sibling_restarts", "Restarts of each sibling.", ("sibling",),
                lambda: [((name,), entry.restarts) for name, entry in board.snapshot().items()]),
        Reading("cueapi_database_connections", "Connections to PostgreSQL.", ("state",),
                lambda: [(("idle",), database.idle), (("in_use",), database.in_use), (("all",), database.size)]),
        Reading("cueapi_waiting_calls", "Calls of workers that wait for work.", (),
                lambda: [((), len(joints.waiting))]),
        Reading("cueapi_database_waiters", "Tasks that wait for a connection.", (),
                lambda: [((), database.waiters)]),
    ]  # fmt: skip

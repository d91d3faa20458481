"""The API, composed: what every request passes, the resources, the senders of notifications."""

from cueapi.api.accounts import Accounts
from cueapi.api.address_links import AddressLinks
from cueapi.api.alerts import Alerts
from cueapi.api.audit import AuditRoutes
from cueapi.api.budgets import Budgets
from cueapi.api.callback_headers import CallbackHeaders
from cueapi.api.channel_links import ChannelLinks
from cueapi.api.channel_planning import ChannelPlanner
from cueapi.api.channels import Channels
from cueapi.api.claimed_states import ClaimedStates
from cueapi.api.cue_writing import CueWriter
from cueapi.api.cues import Cues
from cueapi.api.dead_letters import DeadLetters
from cueapi.api.devices import Devices
from cueapi.api.echo import Echo
from cueapi.api.events import Events
from cueapi.api.executions import Executions
from cueapi.api.fire_times import Schedules
from cueapi.api.health import Health, Polls
from cueapi.api.holds import Holds
from cueapi.api.http.app import Gate, Resource
from cueapi.api.http.docs import Docs
from cueapi.api.http.hosts import Hosts
from cueapi.api.incidents import Incidents
from cueapi.api.info import Info
from cueapi.api.keys import Keys
from cueapi.api.linked_accounts import LinkedAccounts
from cueapi.api.magic_links import MagicLinks
from cueapi.api.mails import Mails
from cueapi.api.metrics import MetricsRoute
from cueapi.api.mutes import Mutes
from cueapi.api.operations import BulkOperations
from cueapi.api.outcome_writing import OutcomeWriter
from cueapi.api.outcomes import Outcomes
from cueapi.api.pages import Pages
from cueapi.api.reports import Reports
from cueapi.api.sessions import SessionRoutes
from cueapi.api.targets import Targets
from cueapi.api.usage import Usage
from cueapi.api.webhook_secrets import WebhookSecrets
from cueapi.api.workers import Workers
from cueapi.daemon.pages import dashboard
from cueapi.daemon.resources import Resources
from cueapi.daemon.wiring import Wiring
from cueapi.delivery.channels import ChannelSender
from cueapi.delivery.notifier import NotificationSenders
from cueapi.storage.worker_claims import LeaseTerms


def request_gate(resources: Resources, wiring: Wiring) -> Gate:
    """What every request passes."""
    settings = resources.settings
    return Gate(
        wiring.authenticator,
        wiring.windows,
        settings.proxies,
        settings.plans[settings.default_plan].requests_per_minute,
        tuple(filter(None, (origin.strip() for origin in settings.cors_origins.split(",")))),
        wiring.metrics,
        wiring.bodies,
        Hosts(settings.host_names_at(resources.listener.getsockname()[0])),
        wiring.shortages,
        wiring.hub.changed,
        wiring.key_uses.note,
    )


def api_resources(resources: Resources, wiring: Wiring) -> list[Resource]:
    """The nouns of the contract."""
    settings, database, webhook, hub = resources.settings, resources.database, resources.webhook, wiring.hub
    terms = LeaseTerms(settings.worker_claim_timeout_seconds, settings.worker_outcome_deadline_seconds)
    vault, headers, claimed = resources.vault, CallbackHeaders(resources.vault), ClaimedStates()
    recheck, report_url = wiring.authenticator.recheck, resources.reports.url
    executions = Executions(database, vault, terms, hub, claimed, recheck, report_url)
    outcomes = OutcomeWriter(database, wiring.metrics, hub)
    writer = CueWriter(
        database, headers, resources.clock, webhook.resolver, webhook.rules, settings.worker_evidence,
        settings.webhook_timeout_max_seconds,
    )  # fmt: skip
    last = wiring.last_poll
    health = Health(
        database, wiring.board, wiring.stopping, resources.clock,
        lambda: Polls(last.at, last.cues, last.duration), settings.poller_interval_seconds, wiring.windows,
    )  # fmt: skip
    wiring.metrics.read(*health.gauges())
    token = None if settings.metrics_token is None else settings.metrics_token.get_secret_value()
    return [
        *sign_in(resources, wiring),
        Cues(database, vault, headers, resources.clock, writer, hub, executions),
        Schedules(database, resources.clock),
        executions,
        DeadLetters(database),
        BulkOperations(database, vault, resources.clock, hub),
        Outcomes(database, outcomes, claimed),
        Reports(outcomes, resources.reports, wiring.windows, terms, resources.clock),
        Workers(database, terms, hub, wiring.metrics, claimed, recheck, report_url),
        Alerts(database),
        Holds(database, resources.clock, hub),
        AuditRoutes(database),
        Budgets(database, hub),
        Incidents(database, resources.clock, hub),
        Mutes(database, resources.clock),
        *channel_routes(resources, wiring),
        Targets(database, hub),
        Events(wiring.authenticator, hub.watchers),
        Usage(database),
        Echo(database, wiring.windows, vault),
        Info(settings.allow_register, settings.worker_evidence),
        health,
        MetricsRoute(wiring.metrics, health.refresh, token, closed=settings.env == "production"),
    ]


def channel_routes(resources: Resources, wiring: Wiring) -> list[Resource]:
    """Channels, and the links that show whose mail boxes they lead to."""
    webhook, sender = resources.webhook, channel_sender(resources)
    planner = ChannelPlanner(webhook.resolver, webhook.rules, resources.vault)
    links = ChannelLinks(resources.database, Pages.at(resources.root), _mails(resources, wiring), resources.address)
    channels = Channels(resources.database, planner, links, wiring.windows, wiring.hub, sender.target, sender.test)
    return [channels, links]


def _mails(resources: Resources, wiring: Wiring) -> Mails:
    settings = resources.settings
    return Mails(
        settings.mailer is not None, settings.env == "production", wiring.hub.notice_ready, resources.vault,
        wiring.windows,
    )  # fmt: skip


def sign_in(resources: Resources, wiring: Wiring) -> list[Resource]:
    """Accounts, and the ways to prove that one is theirs."""
    settings, database, webhook = resources.settings, resources.database, resources.webhook
    pages = Pages.at(resources.root)
    vault, windows, changed, plan = resources.vault, wiring.windows, wiring.hub.account_changed, settings.default_plan
    mails = _mails(resources, wiring)
    accounts = LinkedAccounts(vault, mails, plan, settings.allow_register)
    links = AddressLinks(database, vault, pages, mails, resources.address, changed)
    return [
        Accounts(
            database, vault, webhook.resolver, webhook.rules, plan, settings.allow_register, windows,
            settings.register_limit_per_hour, mails, links, changed, wiring.authenticator.check_sender,
        ),
        Keys(database, vault, resources.clock, mails, changed, wiring.authenticator.check_sender),
        WebhookSecrets(database, vault, mails),
        links,
        Devices(database, vault, windows, pages, mails, resources.address, settings.allow_register),
        MagicLinks(database, pages, mails, accounts, changed),
        SessionRoutes(database, wiring.authenticator),
        pages,
        *([] if settings.env == "production" else [Docs(resources.address)]),
        *([dashboard(resources, wiring, mails, accounts)] if settings.dashboard else []),
    ]  # fmt: skip


def notification_senders(resources: Resources) -> NotificationSenders:
    """What notifications are sent with."""
    settings, decrypt = resources.settings, resources.vault.decrypt
    return NotificationSenders(
        resources.webhook, settings.mailer, decrypt, resources.address, settings.dashboard, channel_sender(resources)
    )


def channel_sender(resources: Resources) -> ChannelSender:
    """What messages to channels are sent with."""
    settings, decrypt = resources.settings, resources.vault.decrypt
    return ChannelSender(resources.webhook, settings.mailer, decrypt, resources.address, settings.dashboard)

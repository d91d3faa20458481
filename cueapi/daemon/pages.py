"""The dashboard, composed: its pages, and what they reach the rest with."""

from functools import partial

from cueapi.api.fire_times import next_times
from cueapi.api.http.app import CALLER, Resource
from cueapi.api.http.rate_limits import MINUTE
from cueapi.api.linked_accounts import LinkedAccounts
from cueapi.api.mails import Mails
from cueapi.api.sign_in_links import SignInLinks
from cueapi.daemon.figures import figures
from cueapi.daemon.resources import Resources
from cueapi.daemon.wiring import Wiring
from cueapi.dashboard.account import AccountPages
from cueapi.dashboard.alerts import AlertsPage
from cueapi.dashboard.app import Dashboard
from cueapi.dashboard.audit import AuditTrail
from cueapi.dashboard.backfills import BackfillPage
from cueapi.dashboard.brakes import HoldForms
from cueapi.dashboard.budgets import BudgetsPage
from cueapi.dashboard.bulk_cues import BulkCues
from cueapi.dashboard.channels import ChannelPages, MutePages
from cueapi.dashboard.contract import Contract
from cueapi.dashboard.cue_form import CueForm
from cueapi.dashboard.cue_page import CueDetails
from cueapi.dashboard.cues import CueList
from cueapi.dashboard.dead_letters import DeadLettersPage
from cueapi.dashboard.entering import Entering
from cueapi.dashboard.events import PageEvents
from cueapi.dashboard.execution import ExecutionPages
from cueapi.dashboard.executions import ExecutionsPage
from cueapi.dashboard.incidents import IncidentPages
from cueapi.dashboard.keys import KeysPage
from cueapi.dashboard.now import Now
from cueapi.dashboard.operations import OperationsPage
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.sign_in import FailedSignIns, SignIn
from cueapi.dashboard.system import SystemPage
from cueapi.dashboard.targets import TargetsPage
from cueapi.dashboard.workers import WorkersPage
from cueapi.storage.dashboard.reading import PageReader


def dashboard(resources: Resources, wiring: Wiring, mails: Mails, accounts: LinkedAccounts) -> Resource:
    """The pages for people."""
    settings, windows = resources.settings, wiring.windows
    database, changed = resources.database, wiring.hub.account_changed

    async def count_stranger(address: str) -> None:
        limit = settings.plans[settings.default_plan].requests_per_minute
        await windows.check("stranger", address, limit, MINUTE)

    sessions = BrowserSessions(database, settings.plans, resources.address, count_stranger)
    pages, contract, failed = Rendering(sessions.root, sessions.secure), Contract(CALLER), FailedSignIns(windows)
    reader = PageReader(database)
    links = SignInLinks(database, mails, accounts, resources.address)
    return Dashboard(
        pages,
        sessions,
        (
            SignIn(pages, sessions, failed, links, not mails.leave),
            Entering(pages, sessions, failed, links, changed),
            Now(pages, sessions),
            KeysPage(pages, sessions, contract, resources.clock),
            AccountPages(pages, sessions, contract, changed),
            AuditTrail(pages, sessions),
            ExecutionsPage(pages, sessions, contract),
            ExecutionPages(pages, sessions, contract, resources.vault.decrypt, mails.leave),
            WorkersPage(pages, sessions, contract, settings.worker_heartbeat_timeout_seconds),
            AlertsPage(pages, sessions, contract),
            HoldForms(pages, sessions, contract),
            BudgetsPage(pages, sessions, contract, reader),
            IncidentPages(pages, sessions, contract),
            ChannelPages(pages, sessions, contract),
            MutePages(pages, sessions, contract),
            TargetsPage(pages, sessions, contract),
            DeadLettersPage(pages, sessions, contract),
            OperationsPage(pages, sessions, contract),
            BackfillPage(pages, sessions, contract),
            CueList(pages, sessions, contract, reader),
            BulkCues(pages, sessions, contract, reader),
            CueForm(pages, sessions, contract),
            CueDetails(pages, sessions, contract, reader, next_times),
            PageEvents(sessions, wiring.hub.watchers, resources.clock),
            SystemPage(pages, sessions, contract, partial(figures, resources, wiring)),
        ),
    )

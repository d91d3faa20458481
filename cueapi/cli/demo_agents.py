"""Whose account the demo shows: agents, when they work, and how it goes."""

from datetime import timedelta

from attrs import frozen


@frozen
class Mishap:
    """
    A way in which an attempt fails: *told* is what the handler says, or why it was not reached.

    Without a *status* there was no answer; with 200 the handler reports the failure itself.
    """

    told: str
    status: int | None = None


OUT_OF_SERVICE = Mishap("service unavailable", 503)
BAD_GATEWAY = Mishap("bad gateway", 502)
RATE_LIMITED = Mishap("rate limit reached, slow down", 429)
SILENT = Mishap("no answer within 30 s")
UNREACHABLE = Mishap("the connection was refused")


@frozen
class Agent:
    """
    One cue. *host* is where its handler listens; none: *worker* pulls its work.

    *lasts* is its usual time in seconds, *trouble* the share of attempts that fail, *broken* for how long it has failed
    without end, *rests* for how long it has been paused.
    """

    name: str
    cron: str
    zone: str
    group: str
    description: str
    payload: dict[str, object]
    results: tuple[str, ...]
    lasts: float
    host: str = ""
    worker: str = ""
    trouble: float = 0.01
    mishaps: tuple[Mishap, ...] = (OUT_OF_SERVICE, SILENT)
    broken: timedelta = timedelta(0)
    rests: timedelta = timedelta(0)
    at_work: bool = False

    @property
    def is_broken(self) -> bool:
        """Whether it fails now."""
        return self.broken > timedelta(0)


AGENTS = (
    Agent(
        "morning-brief", "0 9 * * MON-FRI", "America/Los_Angeles", "assistants",
        "Reads mail and calendar, and sends the plan of the day.",
        {"task": "daily_brief", "length": "short"},
        ("6 mails, 3 meetings, 1 deadline", "2 mails, 5 meetings", "11 mails, 1 meeting, 2 deadlines"),
        4.2, host="agents.example.com", trouble=0.06,
    ),
    Agent(
        "inbox-triage", "*/15 * * * *", "Europe/Berlin", "assistants", "Sorts new mail into four folders.",
        {"task": "triage", "folders": ["now", "today", "later", "never"]},
        ("14 mails sorted", "3 mails sorted", "nothing new", "22 mails sorted, 2 need you", "1 mail sorted"),
        0.9, host="agents.example.com", trouble=0.012, mishaps=(RATE_LIMITED, OUT_OF_SERVICE, SILENT),
    ),
    Agent(
        "weekly-digest", "0 8 * * MON", "America/New_York", "assistants", "What the team has shipped, for the team.",
        {"task": "digest", "channel": "#product"}, ("31 changes in 4 projects", "18 changes in 3 projects"),
        12.0, host="agents.example.com",
    ),
    Agent(
        "crawl-docs", "10 */2 * * *", "UTC", "research", "Fetches the documentation that answers are drawn from.",
        {"task": "crawl", "sites": ["docs.example.org", "help.example.org"], "depth": 3},
        ("142 pages, 3 changed", "142 pages, none changed", "143 pages, 11 changed"),
        21.0, host="crawler.example.net", trouble=0.05, mishaps=(BAD_GATEWAY, SILENT), at_work=True,
    ),
    Agent(
        "embed-docs", "40 */2 * * *", "UTC", "research",
        "Embeds what the crawl has changed, on the machine with the card.",
        {"task": "embed", "model": "text-small"},
        ("3 documents, 212 chunks", "11 documents, 1,038 chunks", "nothing to embed"),
        74.0, worker="gpu-1", trouble=0.03, mishaps=(Mishap("CUDA out of memory", 200),), at_work=True,
    ),
    Agent(
        "competitor-watch", "0 7,13,19 * * *", "Europe/London", "research",
        "Looks for new prices and pages of four rivals.",
        {"task": "watch", "targets": 4}, ("no change", "1 price changed", "2 new pages"),
        6.5, host="crawler.example.net", trouble=0.05, mishaps=(BAD_GATEWAY,),
    ),
    Agent(
        "invoice-sync", "5 * * * *", "Europe/Berlin", "finance", "Copies paid invoices into the books.",
        {"task": "sync_invoices", "ledger": "2026"},
        ("7 invoices", "12 invoices", "no new invoice", "1 invoice"),
        2.1, host="books.example.com", trouble=0.02,
        mishaps=(Mishap("quota exceeded: 1,000 calls a day", 200),), broken=timedelta(hours=3, minutes=20),
    ),
    Agent(
        "nightly-report", "0 4 * * *", "Europe/Berlin", "finance", "Revenue and costs of the day, as a PDF.",
        {"task": "report", "format": "pdf"}, ("report of 14 pages", "report of 12 pages", "report of 15 pages"),
        9.5, host="reports.example.com", trouble=0.08, mishaps=(OUT_OF_SERVICE,), broken=timedelta(hours=47),
    ),
    Agent(
        "payment-reminders", "30 10 * * MON-FRI", "Europe/Paris", "finance",
        "Friendly first reminders, stern second ones.",
        {"task": "remind", "after_days": [14, 30]}, ("4 reminders", "no reminder was due", "9 reminders"),
        1.8, host="books.example.com", trouble=0.03,
    ),
    Agent(
        "uptime-probe", "*/30 * * * *", "UTC", "operations", "Asks six services how they are.",
        {"task": "probe", "services": 6},
        ("6 of 6 are up", "6 of 6 are up", "6 of 6 are up", "5 of 6 are up: search is slow"),
        0.4, host="status.example.com", trouble=0.008, mishaps=(UNREACHABLE, SILENT),
    ),
    Agent(
        "local-backup", "20 */6 * * *", "UTC", "operations", "Copies the office's files; the machine is not always on.",
        {"task": "backup", "keep_days": 30}, ("18.2 GB in 1,204 files", "0.4 GB in 61 files"),
        41.0, worker="office-mac",
    ),
    Agent(
        "dependency-audit", "0 6 * * TUE,THU", "UTC", "operations", "Looks for published holes in what we depend on.",
        {"task": "audit"}, ("no advisory", "1 advisory: update cryptography"),
        15.0, host="ci.example.com", rests=timedelta(days=9),
    ),
    Agent(
        "social-drafts", "0 16 * * MON-FRI", "America/New_York", "assistants",
        "Drafts for three networks, never sent unseen.",
        {"task": "draft", "networks": 3}, ("3 drafts", "2 drafts"),
        7.0, host="agents.example.com", trouble=0.04,
    ),
)  # fmt: skip

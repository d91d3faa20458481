"""Every page there is: of an account with a month behind it, of an empty one, and for those who are signed out."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from attrs import frozen

from cueapi.api.sign_in_links import new_link
from cueapi.cli.demo_account import EMAIL, inhabited
from cueapi.cli.demo_http import Client
from tests.conftest import Api, RunningDaemon

LISTS = (
    "",
    "cues",
    "executions",
    "workers",
    "alerts",
    "incidents",
    "dead",
    "operations",
    "targets",
    "channels",
    "mutes",
    "account",
    "system",
)


@frozen
class Places:
    """Paths by names; whose they are says the key."""

    base: str
    key: str
    empty_key: str
    of_account: dict[str, str]
    of_empty: dict[str, str]
    signed_out: dict[str, str]

    def __iter__(self) -> Iterator[tuple[str | None, dict[str, str]]]:
        """Pages with the key to sign in with first; None: signed out."""
        yield None, self.signed_out
        yield self.key, self.of_account
        yield self.empty_key, self.of_empty


@asynccontextmanager
async def places(daemon: RunningDaemon, *, days: int = 30) -> AsyncIterator[Places]:
    """The pages of *daemon*, which may call 127.0.0.1, for the length of the block."""
    empty = await daemon.api.register("new@example.com")
    async with inhabited(daemon.resources, Client(daemon.client), days=days) as key:
        link = await new_link(daemon.resources.database, daemon.address, EMAIL)
        yield Places(
            daemon.address,
            key,
            empty.key,
            await _of_account(Api(daemon.client, key)),
            {f"empty-{name or 'now'}": f"/ui/{name}".rstrip("/") for name in LISTS[:-1]}
            | {"empty-audit": "/ui/account/audit", "empty-keys": "/ui/account/keys"},
            {"sign-in": "/ui/sign-in", "enter": link.removeprefix(daemon.address)},
        )


async def _of_account(api: Api) -> dict[str, str]:
    pages = {name or "now": f"/ui/{name}".rstrip("/") for name in LISTS}
    cues = {cue["name"]: f"/ui/cues/{cue['id']}" for cue in (await api.get("/v1/cues"))["cues"]}
    for name in ("nightly-report", "inbox-triage", "embed-docs", "dependency-audit", "launch-announcement"):
        pages[f"cue-{name}"] = cues[name]
    pages |= {"cue-new": "/ui/cues/new", "cue-edit": f"{cues['invoice-sync']}/edit"}
    pages["cues-all"] = "/ui/cues/all?do=delete&status=active"
    pages["cue-backfill"] = f"{cues['invoice-sync']}/backfill"
    for kind, query in KINDS.items():
        found = (await api.get(f"/v1/executions?{query}&limit=1"))["executions"]
        pages |= {f"execution-{kind}": f"/ui/executions/{one['id']}" for one in found}
    for one in (await api.get("/v1/incidents?limit=1"))["incidents"]:
        pages["incident"] = f"/ui/incidents/{one['id']}"
    return pages | {
        "now-30d": "/ui?range=30d",
        "audit": "/ui/account/audit",
        "keys": "/ui/account/keys",
        "executions-failed": "/ui/executions?status=failed",
        "executions-none": "/ui/executions?status=outcome_timeout",
        "missing": "/ui/cues/cue_000000000000",
    }


KINDS = {
    "succeeded": "status=success&cue_name=inbox-triage",
    "failed": "status=failed",
    "missed": "status=missed",
    "running": "status=delivering",
    "waiting": "status=pending",
    "replayed": "triggered_by=replay",
}
"""Executions that a page is shown of, as a list is filtered by."""

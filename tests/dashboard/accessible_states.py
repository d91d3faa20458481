"""Pages in the states that following links does not lead to: refusals, questions, secrets, failures."""

from typing import Any

import httpx

from cueapi.api.sign_in_links import new_link
from cueapi.storage.database import Database
from tests.conftest import RunningDaemon
from tests.dashboard.browsing import SAME_ORIGIN, Browser, browser, path_in

States = dict[str, str]
"""Pages as HTML, by what is seen on them."""


async def first_account(daemon: RunningDaemon, database: Database) -> States:
    """The link of the first start, with an address that is none. There is no account yet."""
    path, person = path_in(await new_link(database, daemon.address, None)), browser(daemon)
    wrong = await person.send("POST", path, {"email": "you at home"}, **SAME_ORIGIN)
    dead = await person.get(path[:-1])
    return {"first account": checked(wrong, 422), "dead link": checked(dead, 400)}


async def signed_out(daemon: RunningDaemon) -> States:
    """Sign-ins that fail, at last for their number."""
    person = browser(daemon)

    async def send(**fields: str) -> httpx.Response:
        return await person.send("POST", "/ui/sign-in", fields, **SAME_ORIGIN)

    states = {
        "wrong key": checked(await send(api_key="cue_sk_wrong"), 401),
        "wrong address": checked(await send(email="you at home"), 422),
        "link sent": checked(await send(email="you@example.com"), 200),
    }
    while (last := await send(api_key="cue_sk_wrong")).status_code == 401:
        pass
    return states | {"too many": checked(last, 429)}


ANSWERS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "account refused": (422, "/ui/account", {"email": "nowhere", "alert_webhook_url": "ftp://x"}),
    "secret shown": (200, "/ui/account/webhook-secret/show", {}),
    "secret replaced": (200, "/ui/account/webhook-secret/replace", {}),
    "key refused": (422, "/ui/account/keys", {"name": "", "groups": "No Group", "days": "7"}),
    "key made": (200, "/ui/account/keys", {"name": "ci", "scopes": ["read", "fire"], "groups": "night"}),
    "budget refused": (422, "/ui/account/budgets", {"scope": "group:x", "per": "day", "max_runs": "many"}),
    "channel refused": (422, "/ui/channels", {"kind": "slack", "name": "", "url": "nowhere", "group": "No"}),
    "channel made": (200, "/ui/channels", {"kind": "webhook", "name": "x", "url": "http://127.0.0.1/", "on": "opened"}),
    "mute refused": (422, "/ui/mutes", {"scope": "group", "subject": "No Group", "until": "soon"}),
    "cue refused": (422, "/ui/cues/new", {"name": "", "kind": "recurring", "cron": "61 * * * *", "timezone": "Mars",
        "transport": "webhook", "url": "nowhere", "payload": "{", "max_attempts": "x", "headers": "no", "do": "save"}),
    "cue as curl": (200, "/ui/cues/new", {"name": "a", "kind": "recurring", "cron": "0 9 * * *", "timezone": "UTC",
        "transport": "worker", "payload": "{}", "do": "curl"}),
    "preview": (200, "/ui/cues/preview", {"name": "a", "kind": "recurring", "cron": "0 9 * * *", "timezone": "UTC"}),
    "form forged": (403, "/ui/account", {"form_token": "0" * 64}),
    "fire refused": (422, "{cue}/fire", {"payload": "[1"}),
    "backfill refused": (422, "{cue}/backfill/look", {"from": "yesterday", "to": "soon"}),
    "backfill looked at": (200, "{cue}/backfill/look", {"from": "2026-01-01T00:00", "to": "2026-01-31T00:00"}),
    "question about cues": (200, "/ui/cues/selected", {"do": "delete", "id": "{cue_id}"}),
    "report refused": (409, "{succeeded}/report", {"success": "no", "text": "said twice"}),
    "dead letters looked at": (200, "/ui/dead/look", {"kind": "dismiss"}),
}  # fmt: skip
"""Forms that are answered with a page: its status, the path, and the fields that are sent."""

PAGES = (
    "/ui/executions?status=odd&since=soon&until=never", "/ui/dead?http_status=many&since=soon&until=x",
    "/ui/account/audit?action=odd&since=soon", "/ui/incidents?status=odd", "/ui/cues?status=odd", "/ui/nothing",
)  # fmt: skip
"""Pages of filters that cannot be read, and one that does not exist."""

CANCELLED = ("/ui", "/ui/executions?cue_id=x", "/ui/dead", "/ui/account/audit")
"""Pages whose statements are cancelled where a table is locked."""


async def answered(person: Browser, places: dict[str, str]) -> States:
    """What forms are answered with, and pages that refuse; *places* are paths by what stands for them."""
    states: States = {}
    for name, (status, path, fields) in ANSWERS.items():
        data = {key: places.get(value, value) if isinstance(value, str) else value for key, value in fields.items()}
        place, _, rest = path.partition("}") if path.startswith("{") else (path, "", "")
        states[name] = checked(await person.post(places.get(place + "}", place) + rest, data), status)
    for path in PAGES:
        states[path] = checked(await person.get(path), 404 if path == "/ui/nothing" else 400)
    return states


async def cancelled(person: Browser, database: Database) -> States:
    """Pages whose statements were cancelled."""
    async with database.transaction() as tx:
        await tx.execute("lock table executions, audit in access exclusive mode")
        return {f"cancelled {path}": checked(await person.get(path), 503) for path in CANCELLED}


async def held(person: Browser) -> States:
    """The banner of an account that is held, and the notice after an action."""
    await person.post("/ui/hold", {"reason": "loops", "back": "/ui/workers"})
    states = {"held, with a notice": checked(await person.get("/ui/workers"), 200)}
    await person.post("/ui/hold/release", {"back": "/ui"})
    return states


def checked(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, f"{answer.request.url} {answer.status_code}"
    return answer.text

"""Handlers, rows and schedules that are beyond help, amid a load: each fails alone, and says why."""

import ssl
from pathlib import Path
from typing import Any

import trio
import trustme

from cueapi.storage.database import Database
from tests.chaos.scene import open_scene
from tests.conftest import Api, cue
from tests.process import HANG
from tests.receiver import Script, open_receiver

ODD: Script = {
    "/huge": ["huge"],
    "/drip": ["drip"],
    "/garbage": ["garbage"],
    "/reset": ["reset"],
    "/damaged": [200],
    "/never": [(503, b"", {"retry-after": "Mon, 1 Jan 99999999999999999999 00:00:00 GMT"})],
}
IMPATIENT = {"/drip": {"delivery": {"timeout_seconds": 1}}}

DAMAGE_CUE = "update cues set callback_url = 'http://[' where id = $1"
DAMAGE_SCHEDULE = "update cues set timezone = 'Mars/Olympus_Mons', next_run = now() where id = $1"


def strange() -> ssl.SSLContext:
    """TLS with the certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def fire(api: Api, made: dict[str, Any]) -> str:
    """Fire a cue; its execution."""
    return str((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])


async def quarantine(api: Api, database: Database) -> dict[str, Any]:
    """A cue whose schedule cannot be computed any more, once the poll has met it."""
    made = await api.post("/v1/cues", cue("http://127.0.0.1:9/"))
    await database.execute(DAMAGE_SCHEDULE, made["id"])
    while (shown := await api.get(f"/v1/cues/{made['id']}"))["status"] == "active":
        await trio.sleep(0.05)
    return shown


async def test_what_is_beyond_help_fails_alone_and_says_why(database_url: str, tmp_path: Path) -> None:
    with trio.fail_after(HANG):
        async with (
            open_receiver(ODD) as odd,
            open_receiver(tls=strange()) as untrusted,
            open_scene(tmp_path, database_url) as scene,
        ):
            api = await scene.daemon.api.register("odd@example.com")
            urls = {path: odd.url(path) for path in ODD} | {"/untrusted": untrusted.url()}
            bodies = {
                path: cue(url, retry={"max_attempts": 1}, **IMPATIENT.get(path, {})) for path, url in urls.items()
            }
            made = {path: await api.post("/v1/cues", body) for path, body in bodies.items()}
            await scene.database.execute(DAMAGE_CUE, made["/damaged"]["id"])
            fired = {path: await fire(api, made[path]) for path in made}
            shown = {path: await api.execution(one) for path, one in fired.items()}
            never = await quarantine(api, scene.database)

    where = f"127.0.0.1 port {odd.port}"
    said = {path: one["error_message"] for path, one in shown.items()}
    assert {path: one["status"] for path, one in shown.items() if one["status"] != "failed"} == {"/huge": "success"}
    assert said.pop("/damaged") == "the URL needs a host, and a port from 1 to 65535 if any"
    assert said.pop("/untrusted").startswith(f"the certificate of 127.0.0.1 port {untrusted.port} is not valid: ")
    assert said == {
        "/huge": "The answer was longer than 64 KiB; no outcome was read.",
        "/drip": "no answer within 1 s",
        "/garbage": f"invalid HTTP answer from {where}",
        "/never": "The handler answered 503.",
        "/reset": f"{where} closed the connection without an answer",
    }
    assert never["status"] == "failed"
    assert "Mars/Olympus_Mons" in never["warning"]
    assert scene.broken == []
    assert not scene.load.ledger.refused
    assert (scene.restarts, scene.code) == (0, 0)

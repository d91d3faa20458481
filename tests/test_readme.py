"""What the README says is true: its receiver runs, its table of settings is the settings, its commands are there."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from cueapi.cli.main import main
from cueapi.domain.signature import standard_signature
from cueapi.settings import Settings
from tests.api.work import claimed, report
from tests.conftest import Api, cue
from tests.ports import free_port
from tests.process import HANG

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


RECEIVER, KEYLESS = "### Checking the signature", "### A handler that needs no key"


def block(language: str, section: str = RECEIVER) -> str:
    """The first block of code in *language* of a section."""
    found = re.search(rf"^```{language}\n(.*?)^```", README[README.index(section) :], re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@contextmanager
def receiver(path: Path, secret: str, port: int, section: str = RECEIVER) -> Iterator[None]:
    """The README's receiver as a process of its own."""
    path.write_text(block("python", section))
    environment = {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    with subprocess.Popen([sys.executable, str(path)], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


async def until_open(port: int) -> None:
    """Return when somebody listens on *port*."""
    while True:
        try:
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        except OSError:
            await trio.sleep(0.05)
        else:
            return


async def test_the_receiver_of_the_readme_verifies_a_real_delivery(api: Api, tmp_path: Path) -> None:
    port = free_port()
    secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
    with trio.fail_after(HANG), receiver(tmp_path / "receiver.py", secret, port):
        await until_open(port)
        made = await api.post("/v1/cues", cue(f"http://127.0.0.1:{port}/", name="brief", payload={"ü": [1.0, 2**70]}))
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        shown = await api.execution(fired["id"])

    assert shown["status"] == "success"
    assert shown["outcome"]["result"] == "brief"


async def test_the_handler_of_the_readme_needs_no_key_and_eight_lines(api: Api, tmp_path: Path) -> None:
    port = free_port()
    with trio.fail_after(HANG), receiver(tmp_path / "handler.py", "", port, KEYLESS):
        await until_open(port)
        made = await api.post("/v1/cues", cue(f"http://127.0.0.1:{port}/"))
        fired = await api.post(f"/v1/cues/{made['id']}/fire")
        while (shown := await api.execution(fired["id"], "success"))["outcome"] is None:
            await trio.sleep(0.02)

    assert (shown["outcome_success"], shown["outcome"]["result"]) == (True, "142 pages")
    assert len([line for line in block("python", KEYLESS).splitlines() if line]) == 8


async def test_the_receiver_of_the_readme_verifies_a_delivery_by_get_and_an_alert(api: Api, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    secret = (await api.get("/v1/auth/webhook-secret"))["webhook_secret"]
    alerts = (await api.get("/v1/auth/alert-webhook-secret"))["alert_webhook_secret"]
    with trio.fail_after(HANG):
        with receiver(tmp_path / "work.py", secret, ports[0]), receiver(tmp_path / "alerts.py", alerts, ports[1]):
            for port in ports:
                await until_open(port)
            await api.patch("/v1/auth/me", {"alert_webhook_url": f"http://127.0.0.1:{ports[1]}/"})
            url = f"http://127.0.0.1:{ports[0]}/"
            made = await api.post("/v1/cues", cue(callback={"url": url, "method": "GET"}, transport="webhook"))
            shown = await api.execution((await api.post(f"/v1/cues/{made['id']}/fire"))["id"])
            await report(api, await claimed(api, retry={"max_attempts": 1}), success=False)
            sent = 'cueapi_notification_attempts_total{as="sent",kind="alert_webhook"} 1.0'
            while sent not in (await api.ask("GET", "/metrics")).text:
                await trio.sleep(0.02)

    assert (shown["status"], shown["outcome_success"]) == ("success", True)


FORGED = {
    "nothing": {},
    "the older signature": {"X-CueAPI-Timestamp": "1", "X-CueAPI-Signature": "v1=00"},
    "another id": {"webhook-id": "other"},
    "another time": {"webhook-timestamp": str(int(time.time()) - 10)},
    "an old time": {"webhook-timestamp": "1"},
    "no time": {"webhook-timestamp": "now"},
    "another signature": {"webhook-signature": "v1,AAAA \u00e9"},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED)
async def test_the_receiver_of_the_readme_refuses_a_forged_request(tmp_path: Path, changes: dict[str, str]) -> None:
    port, secret, now = free_port(), "whsec_" + "ab" * 32, int(time.time())
    genuine = {
        "webhook-id": "one",
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature([secret], "one", now, b""),
    }
    forged = (genuine if any("webhook" in name for name in changes) else {}) | changes
    with trio.fail_after(HANG), receiver(tmp_path / "receiver.py", secret, port):
        await until_open(port)
        async with httpx.AsyncClient(trust_env=False, timeout=HANG) as client:
            url = f"http://127.0.0.1:{port}/"
            statuses = [
                (
                    await client.get(url, headers=[(name, value.encode("latin-1")) for name, value in given.items()])
                ).status_code
                for given in (genuine, forged)
            ]

    assert statuses == [200, 401]


def test_the_table_of_settings_names_every_setting_and_no_other() -> None:
    table = README[README.index("## Settings") : README.index("## How it is built")]
    named = {name for line in table.splitlines() for name in re.findall(r"`([A-Z_]+)`", line.split("|")[1:2].__str__())}

    assert named == {name.upper() for name in Settings.model_fields}


async def shown_metrics(api: Api) -> dict[str, tuple[str, set[str]]]:
    """Each metric that a daemon exports: its type, and its labels."""
    found: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families((await api.ask("GET", "/metrics")).text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = family.type, {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


async def test_the_table_of_metrics_is_what_is_exported_in_the_forms_of_prometheus(api: Api) -> None:
    table = {
        name: (kind.strip(), set(re.findall(r"`(\w+)`", labels)))
        for line in README.splitlines()
        if line.startswith("| `cueapi_")
        for names, kind, labels in [line.split("|")[1:4]]
        for name in re.findall(r"`(\w+)`", names)
    }
    with trio.fail_after(20):
        while "cueapi_last_poll_timestamp_seconds" not in (shown := await shown_metrics(api)):
            await trio.sleep(0.02)

    assert shown == table
    assert all(re.fullmatch(r"cueapi(_[a-z]+)+", name) for name in shown)
    # prometheus.io/docs/practices/naming: base units, and _total for what only grows.
    assert not any(name.endswith(("_ms", "_minutes", "_created", "_count")) for name in shown)
    assert {name for name, (kind, _) in shown.items() if kind == "histogram"} == {
        name for name in shown if name.endswith(("_lag_seconds", "_duration_seconds"))
    }


def test_every_command_that_the_readme_names_exists() -> None:
    listed = re.search(r"\*\*Commands\.\*\*(.*?)Exit codes", README, re.DOTALL)
    assert listed is not None
    help_text = CliRunner().invoke(main, ["--help"]).output
    user_help = CliRunner().invoke(main, ["user", "--help"]).output

    for name in ("serve", "check", "migrate", "dump", "hold", "release", "user"):
        assert name in listed[1]
        assert f"  {name} " in help_text
    for name in ("add", "list", "link", "key", "limits", "revoke"):
        assert name in listed[1]
        assert f"  {name} " in user_help


def test_the_two_commands_stand_in_the_readme_once_each() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)

    assert len(commands) == 2
    assert commands[0].endswith("cueapid")
    assert "pytest" in commands[1]


def test_the_clients_of_the_readme_are_those_that_the_tests_install() -> None:
    section = README[README.index("## Clients") : README.index("## Signing in")]
    installed = (Path(__file__).parent / "clients" / "conftest.py").read_text("utf-8")

    named = set(re.findall(r"pypi\.org/project/([\w-]+)", section))
    assert named == set(re.findall(r'installed\("([\w-]+)==', installed))

"""The sign-in of the published clients: a device code on the screen, a magic link in the mail, a key at the end."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import yaml
from attrs import evolve

from tests.api.work import fired
from tests.clients.client import client_under_way, run_client, says
from tests.clients.command_line import CommandLine, told
from tests.clients.magic_link import follow, newest_link
from tests.clients.worker import worker_process, write_config
from tests.conftest import Api
from tests.ports import free_port
from tests.process import HANG, DaemonProcess, daemon_process

EMAIL = "new@example.com"


@pytest.fixture
async def signing_in(database_url: str, tmp_path: Path) -> AsyncIterator[DaemonProcess]:
    """A daemon without SMTP, in development: it prints its magic links."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    async with daemon_process(tmp_path, port=port, BASE_URL=address, DATABASE_URL=database_url) as daemon:
        yield daemon


async def log_in(command_line: CommandLine, daemon: DaemonProcess, number: int) -> str:
    """What `cueapi login` says while a person opens its page, gives an address and follows the *number*th link."""
    said = command_line.home / f"login-{number}.txt"
    variables = {"CUEAPI_API_BASE": f"http://127.0.0.1:{daemon.port}/v1", "BROWSER": "true"}
    async with client_under_way([command_line.program, "login"], command_line.home, said, **variables):
        url = await says(said, r"visit: (\S+)\n")
        page = await daemon.client.get(url, headers={"Accept": "text/html"})
        code = url.partition("?code=")[2]
        assert (page.status_code, code in page.text) == (200, True)
        await daemon.api.post("/v1/auth/device-code/submit-email", {"device_code": code, "email": EMAIL})
        assert await follow(daemon, await newest_link(daemon, number)) == code
    return said.read_text()


async def test_a_login_makes_an_account_and_a_later_one_gives_the_same_key(
    command_line_programs: Path, signing_in: DaemonProcess, tmp_path: Path
) -> None:
    command_line = CommandLine(command_line_programs / "cueapi", tmp_path)
    with trio.fail_after(HANG):
        first = await log_in(command_line, signing_in, 1)
        kept = json.loads(command_line.credentials.read_text())["default"]
        me = await command_line.says("whoami")
        await command_line.says("logout")
        second = await log_in(command_line, signing_in, 2)

    assert f"Authenticated as {EMAIL}" in first
    assert told(first, "Your API key") == told(second, "Your API key") == kept["api_key"]
    assert kept == {"api_key": kept["api_key"], "email": EMAIL, "api_base": f"http://127.0.0.1:{signing_in.port}/v1"}
    assert told(me, "Email") == EMAIL


async def test_the_worker_s_login_writes_the_key_into_its_file(
    worker_programs: Path, signing_in: DaemonProcess, tmp_path: Path
) -> None:
    program = worker_programs / "cueapi-worker"
    config = write_config(tmp_path / "w1.yaml", signing_in.api, {"job": "true"}, worker_id="w1")
    with trio.fail_after(HANG):
        async with client_under_way([program, "login", "--email", EMAIL, "-c", config], tmp_path, tmp_path / "said"):
            await follow(signing_in, await newest_link(signing_in))
        status = await run_client([program, "status", "-c", config], tmp_path)
        key = yaml.safe_load(config.read_text())["api_key"]
        me = await evolve(signing_in.api, key=key).get("/v1/auth/me")

    assert "Authenticated. Key saved to config." in (tmp_path / "said").read_text()
    assert status.code == 0
    assert me["email"] == EMAIL


async def test_a_worker_that_knows_its_address_gets_over_a_rotated_key_and_goes_on(
    worker_programs: Path, signing_in: DaemonProcess, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        api = await signing_in.api.register(EMAIL)
        async with worker_process(worker_programs, tmp_path, api, {"job": "echo done"}, email=EMAIL) as worker:
            await worker.says('/v1/worker/heartbeat "HTTP/1.1 200')
            rotated = await api.post("/v1/auth/key/regenerate", X_Confirm_Destructive="true")
            await follow(signing_in, await newest_link(signing_in))
            now: Api = evolve(api, key=rotated["api_key"])
            shown = await now.execution(await fired(now, payload={"task": "job"}))

    assert "Key recovered automatically. Resuming worker." in worker.said.read_text()
    assert (shown["status"], shown["claimed_by_worker"]) == ("success", "w1")
    assert yaml.safe_load((tmp_path / "w1.yaml").read_text())["api_key"] == now.key

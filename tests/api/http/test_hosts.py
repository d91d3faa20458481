"""On a loopback address a web page whose name leads there is refused by its Host header; programs are not."""

import httpx
import pytest
import trio

from cueapi.api.http.hosts import Hosts
from cueapi.settings import Settings
from tests.conftest import RunningDaemon, running

PROGRAMS = [
    "localhost", "localhost:8000", "LOCALHOST", "localhost.", "cueapi.localhost:8000", "127.0.0.1", "127.9.8.7:1",
    "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]", "",
]  # fmt: skip

PAGES = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost",
    "0.0.0.0:8000", "0", "[::]", "10.0.0.1", "[::1].evil.example", "localhost@evil.example", "localhost, evil.example",
    "localhost/", "127.1", "2130706433", "localhost:x", "[::1", "x" * 5_000, "l\u00f6calhost",
]  # fmt: skip


@pytest.mark.parametrize("host", PROGRAMS)
def test_a_name_or_address_of_loopback_is_right_on_any_port(host: str) -> None:
    assert Hosts(frozenset()).allow(host)


@pytest.mark.parametrize("host", PAGES)
def test_any_other_name_is_wrong_unless_it_is_given(host: str) -> None:
    assert not Hosts(frozenset({"cueapi.example.com"})).allow(host)
    assert Hosts(None).allow(host)


@pytest.mark.parametrize("host", ["cueapi.example.com", "CueAPI.example.com:443", "cueapi.example.com."])
def test_a_name_that_is_given_is_right_on_any_port(host: str) -> None:
    assert Hosts(frozenset({"cueapi.example.com"})).allow(host)


async def asked(daemon: RunningDaemon, host: str, path: str = "/status", **headers: str) -> httpx.Response:
    return await daemon.client.get(path, headers={"Host": host, **headers})


async def test_a_page_that_passes_for_a_program_of_this_machine_is_refused_on_every_path(daemon: RunningDaemon) -> None:
    paths = ["/status", "/health", "/metrics", "/docs", "/openapi.json", "/v1/usage", "/auth/device", "/nowhere"]
    with trio.fail_after(20):
        refused = [await asked(daemon, "evil.example", path) for path in paths]
        forwarded = await asked(daemon, "evil.example", **{"X-Forwarded-Host": "localhost"})
        program = await asked(daemon, "localhost", **{"X-Forwarded-Host": "evil.example"})

    assert {one.status_code for one in (*refused, forwarded)} == {421}
    assert {one.json()["error"]["code"] for one in (*refused, forwarded)} == {"misdirected_request"}
    assert program.status_code == 200


async def test_base_url_and_allowed_hosts_name_the_server(settings: Settings) -> None:
    changes = {"base_url": "https://cueapi.example.com", "allowed_hosts": "other.example"}
    with trio.fail_after(20):
        async with running(settings.model_copy(update=changes)) as daemon:
            hosts = ["cueapi.example.com", "other.example:8000", "127.0.0.1", "evil.example"]
            statuses = [(await asked(daemon, host)).status_code for host in hosts]

    assert statuses == [200, 200, 200, 421]


async def test_where_others_can_reach_the_server_any_name_is_right_until_names_are_given(settings: Settings) -> None:
    public = settings.model_copy(update={"host": "0.0.0.0"})
    with trio.fail_after(20):
        async with running(public) as daemon:
            anyone = await asked(daemon, "evil.example")
        async with running(public.model_copy(update={"allowed_hosts": "cueapi.example.com"})) as daemon:
            named, other = await asked(daemon, "cueapi.example.com"), await asked(daemon, "evil.example")

    assert [one.status_code for one in (anyone, named, other)] == [200, 200, 421]


@pytest.mark.parametrize("host", ["127.1", "LOCALHOST", "0x7f.1", "2130706433"])
async def test_a_loopback_address_is_one_however_host_spells_it(settings: Settings, host: str) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"host": host})) as daemon:
            page, program = await asked(daemon, "evil.example"), await asked(daemon, "localhost")

    assert [page.status_code, program.status_code] == [421, 200]


async def test_a_base_url_of_other_letters_is_called_by_its_ascii_form(settings: Settings) -> None:
    with trio.fail_after(20):
        async with running(settings.model_copy(update={"base_url": "https://bücher.example"})) as daemon:
            statuses = [(await asked(daemon, host)).status_code for host in ("xn--bcher-kva.example", "other.example")]

    assert statuses == [200, 421]

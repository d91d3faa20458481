"""No form of a person who is signed in holds the event loop, whatever its size and content."""

from urllib.parse import quote_plus, urlencode

import pytest
import trio

from cueapi.dashboard.assertion_lines import read_lines
from tests.api.http.hostile import SHAPES
from tests.api.http.test_hostile_bodies import KIB, ROUNDS, cost, held, steps
from tests.conftest import Api, RunningDaemon, cue
from tests.dashboard.browsing import Browser, signed_in
from tests.dashboard.test_cue_form import GOOD, problems

SIZE = 900 * KIB


def filled(part: str) -> str:
    """*part* as often as fits into a form that was quoted."""
    return part * (SIZE // len(quote_plus(part)))


LONG = {
    "backoff": filled("1 "),
    "assertions": filled("a <b\n"),
    "headers": filled("a:\n"),
    "name": filled("\u202e"),
    "description": filled(" ") + "x",
}
SENT = {"lists": SHAPES["lists deep"](SIZE // 3 - 300).decode(), "brackets without end": filled("[")}


def sent_by(browser: Browser, fields: dict[str, str], raw: str = "") -> bytes:
    """A form of the page that was seen last; *raw* is what stands behind its fields as it is."""
    return (urlencode({"form_token": browser.form_token, **fields}) + raw).encode()


async def post(daemon: RunningDaemon, browser: Browser, path: str, content: bytes) -> bytes:
    """The answer to a form, whole, by few steps: the test runs in the daemon's loop."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(content)}\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\n"
    told = bytearray()
    async with await trio.open_tcp_stream("127.0.0.1", daemon.resources.listener.getsockname()[1]) as stream:
        await stream.send_all(f"{head}\r\n".encode() + content)
        while part := await stream.receive_some():
            told += part
    return bytes(told)


async def test_no_form_of_a_person_holds_the_loop(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(120):
        path = f"/ui/cues/{(await api.post('/v1/cues', cue(payload={'a': [[]] * 100_000})))['id']}/edit"
        browser = await signed_in(daemon, api)
        forms = [("/ui/cues/new", sent_by(browser, {}, "&a=" + "%41" * (SIZE // 3)))]
        forms += [("/ui/cues/new", sent_by(browser, GOOD | {name: text})) for name, text in LONG.items()]
        forms += [("/ui/cues/preview", sent_by(browser, GOOD | {"name": LONG["name"]}))]
        forms += [(path, sent_by(browser, GOOD | {"payload": text, "do": "curl"})) for text in SENT.values()]
        forms += [("/ui/account/keys", sent_by(browser, {"name": "x", "groups": ", " * 9_000}, "&b=" + "%41" * 9_000))]
        for _ in range(ROUNDS):
            with steps() as measured:
                told = [await post(daemon, browser, where, form) for where, form in forms]
                await browser.get(path)
            assert {one[9:12] for one in told} <= {b"200", b"303", b"422"}
            if measured.longest < held():
                return
    pytest.fail(f"{measured.task} held the loop for {measured.longest:.3f} s of the processor's time")


async def test_a_field_that_is_too_long_is_cut_and_named(daemon: RunningDaemon, api: Api) -> None:
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        pages = [
            await browser.post(path, GOOD | {"backoff": "1 " * 600, "headers": "a: b\n" * 4_000})
            for path in ("/ui/cues/new", "/ui/cues/preview")
        ]
        listed = (await api.get("/v1/cues"))["cues"]

    wrong = {
        "backoff": "has 1,200 characters, of which the first 1,000 were kept: no more are taken",
        "headers": "has 20,000 characters, of which the first 16,000 were kept: no more are taken",
    }
    assert [problems(page) for page in pages] == [wrong, wrong]
    assert [page.status_code for page in pages] == [422, 200]
    assert listed == []


async def test_a_form_without_a_payload_has_room_for_a_thousand_rows_and_not_for_more(
    daemon: RunningDaemon, api: Api
) -> None:
    row = "&alert=00000000-0000-7000-8000-000000000000"
    with trio.fail_after(30):
        browser = await signed_in(daemon, api)
        path = "/ui/alerts/acknowledge"
        fits, large = [
            await post(daemon, browser, path, sent_by(browser, {}, row * 990 + "&back=" + "x" * more))
            for more in (0, 64 * KIB)
        ]

    assert fits[9:12] != b"413"
    assert large[9:12] == b"413"


def test_an_assertion_of_many_blanks_costs_what_its_length_costs() -> None:
    half, whole = (b"a" + b" " * size + b"b" for size in (20_000, 40_000))

    def read(line: bytes) -> None:
        with pytest.raises(ValueError, match="needs a field"):
            read_lines(line.decode())

    assert any(cost(read, whole) < 3 * cost(read, half) + 0.002 for _ in range(ROUNDS))

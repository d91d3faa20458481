"""The steps of a sign-in, as a program, a browser and a mail box take them."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.conftest import Api, RunningDaemon

CODE = "ABCD-EFGH"
EMAIL = "new@example.com"
LINK = re.compile(r"^Magic link for (\S+): (\S+)$", re.MULTILINE)


async def begin(api: Api, code: str = CODE) -> str:
    """A sign-in under *code*; the URL that the program shows."""
    return str((await api.post("/v1/auth/device-code", {"device_code": code}))["verification_url"])


async def submit(api: Api, code: str = CODE, email: str = EMAIL) -> None:
    """Who signs in."""
    answer = await api.post("/v1/auth/device-code/submit-email", {"device_code": code, "email": email})
    assert answer == {"status": "email_sent"}


async def poll(api: Api, code: str = CODE) -> dict[str, str]:
    """What the program is told."""
    return await api.post("/v1/auth/device-code/poll", {"device_code": code})


def printed(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """The links that were printed since the last look: address and URL."""
    return LINK.findall(capsys.readouterr().err)


def path_of(link: str) -> str:
    """A link without its host."""
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def token_of(link: str) -> dict[str, str]:
    """What the button of the page behind *link* sends."""
    fields = parse_qs(urlsplit(link).query)
    return {name: fields[name][0] for name in ("token", "device_code")}


async def press(daemon: RunningDaemon, page: httpx.Response) -> httpx.Response:
    """Send the form of *page* as a browser does."""
    inputs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    fields = {name: unescape(value) for name, value in inputs}
    return await daemon.client.post(str(page.url), data=fields, headers={"Accept": "text/html,*/*;q=0.8"})


async def sign_in(
    daemon: RunningDaemon, capsys: pytest.CaptureFixture[str], email: str, code: str = CODE
) -> dict[str, str]:
    """The whole of it; what the program gets."""
    await begin(daemon.api, code)
    await submit(daemon.api, code, email)
    ((_, link),) = printed(capsys)
    await daemon.api.post("/v1/auth/verify", token_of(link))
    return await poll(daemon.api, code)

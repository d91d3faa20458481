"""A browser without scripts: it keeps cookies, follows no redirect by itself, and sends the forms of pages."""

import re
from html import unescape
from urllib.parse import urlsplit

import httpx
from attrs import define, field

from tests.conftest import Api, RunningDaemon

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


@define
class Browser:
    """One browser at a daemon; *form_token* is that of the page it saw last."""

    client: httpx.AsyncClient
    cookies: dict[str, str] = field(factory=dict)
    form_token: str = ""

    async def send(self, method: str, path: str, data: object = None, **headers: str) -> httpx.Response:
        """One request with the cookies; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        content = {} if data is None else {"data": data}
        response = await self.client.request(method, path, headers=named, **content)
        for name, value in response.cookies.items():
            self.cookies[name] = value
        for line in response.headers.get_list("set-cookie"):
            if "Max-Age=0" in line:
                self.cookies.pop(line.partition("=")[0], None)
        self.client.cookies.clear()
        return response

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        response = await self.send("GET", path, Accept="text/html", **headers)
        if (found := FORM_TOKEN.search(response.text)) is not None:
            self.form_token = found[1]
        return response

    async def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        """A form of the page that was seen last, sent from our own origin."""
        data = {"form_token": self.form_token, **(fields or {})}
        return await self.send("POST", path, data, **(SAME_ORIGIN | headers))

    async def sign_in(self, key: str) -> "Browser":
        """Signed in with a key, on the first page."""
        answer = await self.send("POST", "/ui/sign-in", {"api_key": key}, **SAME_ORIGIN)
        assert answer.status_code == 303, answer.text
        assert (await self.get("/ui/account")).status_code == 200
        return self


def browser(daemon: RunningDaemon) -> Browser:
    """A browser that is signed out."""
    return Browser(daemon.client)


async def signed_in(daemon: RunningDaemon, api: Api) -> Browser:
    """A browser of the user of *api*."""
    return await browser(daemon).sign_in(api.key)


def text_of(page: httpx.Response) -> str:
    """What a page says, without its markup and with single blanks."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def target(response: httpx.Response) -> str:
    """Where a redirect leads: path and query, on the same server."""
    assert response.status_code == 303, response.text
    parts = urlsplit(response.headers["Location"])
    assert not parts.netloc
    return parts.path + (f"?{parts.query}" if parts.query else "")


def path_in(link: str) -> str:
    """The path of a link."""
    return urlsplit(link).path

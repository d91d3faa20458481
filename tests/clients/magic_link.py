"""The person of a sign-in: reads the magic link where the daemon prints it, opens it, and presses the button."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import trio
from attrs import define, field

from tests.process import LOOK, UP_PATIENCE, DaemonProcess

LINE = re.compile(r"^Magic link for .*?: (https?://\S+)$", re.MULTILINE)
BROWSER = {"Accept": "text/html"}


@define
class Form(HTMLParser):
    """The form of a page: where it is sent, and with which fields."""

    action: str = ""
    fields: dict[str, str] = field(factory=dict)
    buttons: int = 0

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says of the form."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            assert given.get("method", "").lower() == "post", attrs
            self.action = given.get("action", "")
        elif tag == "input" and "name" in given:
            self.fields[given["name"]] = given.get("value", "")
        self.buttons += tag == "button" or (tag == "input" and given.get("type") == "submit")


async def newest_link(daemon: DaemonProcess, number: int = 1) -> str:
    """The newest link that was printed, as soon as there are *number*."""
    with trio.fail_after(UP_PATIENCE):
        while len(links := LINE.findall(daemon.logged.read_text())) < number:
            await trio.sleep(LOOK)
    return links[-1]


async def follow(daemon: DaemonProcess, link: str) -> str:
    """Open *link* and press its button; the device code that it asked for."""
    (code,) = parse_qs(urlsplit(link).query)["device_code"]
    page = await daemon.client.get(link, headers=BROWSER)
    assert page.status_code == 200, page.text
    assert code in page.text
    form = Form()
    form.feed(page.text)
    assert form.buttons == 1, page.text
    approved = await daemon.client.post(urljoin(link, form.action), data=form.fields, headers=BROWSER)
    assert approved.status_code == 200, approved.text
    return code

"""Channels, and mutes: where a person hears of incidents, and of which not."""

from secrets import token_hex
from typing import Any

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract, ContractAnswer
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.dashboard.states import ShownState
from cueapi.domain.channel import ChannelKind, NoticeEvent
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid
from cueapi.storage import channels, mutes
from cueapi.storage.channels import ChannelRow
from cueapi.storage.dashboard.reading import PageReader

PATH, MUTES = "/ui/channels", "/ui/mutes"

KINDS: dict[str, str] = {
    ChannelKind.WEBHOOK: "webhook",
    ChannelKind.SLACK: "Slack, Mattermost",
    ChannelKind.DISCORD: "Discord",
    ChannelKind.NTFY: "ntfy",
    ChannelKind.EMAIL: "e-mail",
}
EVENTS: dict[str, str] = {
    NoticeEvent.OPENED: "begins",
    NoticeEvent.RESOLVED: "ends",
    NoticeEvent.REMINDER: "reminders",
    NoticeEvent.DIGEST: "digests of many",
}
FIELDS = ("kind", "name", "url", "topic", "address", "token", "min_severity", "group")
EMPTY: dict[str, Any] = dict.fromkeys(FIELDS, "") | {"kind": "slack", "min_severity": "warning", "on": [*EVENTS]}


@frozen
class ChannelPages:
    """`/ui/channels`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("channels", __name__, url_prefix="/channels")
        routes.get("")(self.show)
        routes.post("")(self.create)
        routes.post("/<channel_id>/<verb>")(self.act)
        return routes

    async def show(self) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), 200)

    async def create(self) -> Response:
        """A new channel; what is refused stands beside its field. The secret of a webhook is shown once."""
        session, form = await self.sessions.require_post()
        typed = {name: form.text(name) for name in FIELDS} | {"on": form.all("on")}
        answer = await self.contract.call(session, "POST", "/v1/channels", body_of(typed), once(form))
        if answer.status in {401, 429, 503} and answer.code != "email_not_configured":
            answer.require()
        if not answer.ok:
            return await self._page(session, answer.status, typed, answer)
        if "secret" in answer.body:
            return self.pages.render("channel_secret", session, name=typed["name"], value=answer.body["secret"])
        confirmed = answer.body["confirmed"]
        return self.pages.back(PATH, "Added." if confirmed else f"A link is on its way to {typed['address']}.")

    async def act(self, channel_id: str, verb: str) -> Response:
        """Test, enable, disable or delete it."""
        session, _ = await self.sessions.require_post()
        path = f"/v1/channels/{parse_uuid(channel_id)}"
        match verb:
            case "test":
                answer = await self.contract.call(session, "POST", f"{path}/test", {})
                answer.require()
                return self.pages.back(PATH, _tested(answer))
            case "enable" | "disable":
                answer = await self.contract.call(session, "PATCH", path, {"enabled": verb == "enable"})
            case "delete":
                answer = await self.contract.call(session, "DELETE", path)
            case _:
                raise Refusal("not_found", "There is nothing at this path.")
        answer.require()
        return self.pages.back(PATH, {"enable": "Enabled.", "disable": "Disabled.", "delete": "Deleted."}[verb])

    async def _page(
        self,
        session: BrowserSession,
        status: int,
        typed: dict[str, Any] | None = None,
        refused: ContractAnswer | None = None,
    ) -> Response:
        rows = await channels.every(PageReader(self.sessions.database), session.user)
        problems = {} if refused is None else refused.fields or {"": refused.message}
        # The body lists groups and events; the form has one field for each list.
        wrong = {name.partition(".")[0].replace("groups", "group"): text for name, text in problems.items()}
        return self.pages.render(
            "channels", session, status, channels=rows, kinds=KINDS, events=EVENTS, state_of=state_of,
            typed=EMPTY | (typed or {}), wrong=wrong, nonce=token_hex(16),
        )  # fmt: skip


@frozen
class MutePages:
    """`/ui/mutes`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("mutes", __name__, url_prefix="/mutes")
        routes.get("")(self.show)
        routes.post("")(self.put)
        routes.post("/delete")(self.delete)
        return routes

    async def show(self) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), 200)

    async def put(self) -> Response:
        """Mute something; what is refused stands beside its field, and what was typed is kept."""
        session, form = await self.sessions.require_post()
        extra = {name: form.text(name) for name in ("until", "reason") if form.text(name)}
        answer = await self.contract.call(session, "PUT", "/v1/mutes", subject_of(form) | extra)
        if answer.status in {401, 429, 503}:
            answer.require()
        if not answer.ok:
            return await self._page(session, answer.status, form, answer)
        return self.pages.back(MUTES, "Muted.")

    async def delete(self) -> Response:
        """End a mute."""
        session, form = await self.sessions.require_post()
        answer = await self.contract.call(session, "DELETE", "/v1/mutes", subject_of(form))
        answer.require()
        return self.pages.back(MUTES, "Notices are sent again.")

    async def _page(
        self, session: BrowserSession, status: int, typed: Form | None = None, refused: ContractAnswer | None = None
    ) -> Response:
        rows = await mutes.every(PageReader(self.sessions.database), session.user)
        problems = {} if refused is None else refused.fields or {"subject": refused.message}
        # The body names a cue or a group in a field of its own; the form has one for both.
        wrong = {"subject" if name in {"cue_id", "group"} else name: text for name, text in problems.items()}
        return self.pages.render("mutes", session, status, mutes=rows, typed=typed or Form({}), problems=wrong)


def body_of(typed: dict[str, Any]) -> dict[str, Any]:
    """The body of a new channel; what was left empty is left out."""
    body: dict[str, Any] = {name: typed[name] for name in FIELDS[:-1] if typed[name]}
    body["on"] = typed["on"]
    return body | ({"groups": [typed["group"]]} if typed["group"] else {})


def subject_of(form: Form) -> dict[str, Any]:
    """What a form mutes."""
    scope, subject = form.text("scope"), form.text("subject")
    return {"account": True} if scope == "account" else {"group" if scope == "group" else "cue_id": subject}


def state_of(row: ChannelRow) -> ShownState:
    """What is true of a channel."""
    if row.disabled_at is not None:
        return ShownState("failed", "disabled")
    if not row.confirmed:
        return ShownState("waiting", "to be confirmed")
    return ShownState("missed", "failing") if row.failing_since else ShownState("succeeded", "fine")


def _tested(answer: ContractAnswer) -> str:
    return "The test has arrived." if answer.body["delivered"] else f"The test has not arrived: {answer.body['error']}"

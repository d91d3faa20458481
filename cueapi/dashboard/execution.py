"""The page of one execution: what came of it, why, and what a person may do about it."""

from secrets import token_hex
from uuid import UUID

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract, ContractAnswer
from cueapi.dashboard.forms import Form, once
from cueapi.dashboard.rendering import HEADERS, Rendering
from cueapi.dashboard.sent_requests import SHOWN, SentRequest, contract_command, delivery_command, sent_request
from cueapi.dashboard.sessions import BrowserSession, BrowserSessions
from cueapi.dashboard.texts import readable_json
from cueapi.dashboard.timeline import timeline
from cueapi.dashboard.verdicts import told, verdict
from cueapi.domain.confidential import Decrypt
from cueapi.domain.errors import Refusal
from cueapi.domain.ids import parse_uuid
from cueapi.domain.verification import REJECTABLE, VERIFIABLE
from cueapi.storage.dashboard import execution as read_model
from cueapi.storage.dashboard.execution import ExecutionDetails
from cueapi.storage.dashboard.reading import PageReader


@frozen
class ExecutionPages:
    """`/ui/executions/ID`."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    decrypt: Decrypt
    mails_leave: bool

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("execution", __name__, url_prefix="/executions/<execution_id>")
        routes.get("")(self.show)
        routes.get("/payload")(self.payload)
        routes.post("/replay")(self.replay)
        routes.post("/verify")(self.verify)
        routes.post("/reject")(self.reject)
        routes.post("/report")(self.report)
        return routes

    async def show(self, execution_id: str) -> Response:
        """The page."""
        return await self._page(await self.sessions.require(), _identity(execution_id))

    async def payload(self, execution_id: str) -> Response:
        """The whole payload as text: what the page leaves out of a long one."""
        session = await self.sessions.require()
        reader = PageReader(self.sessions.database)
        text = await read_model.payload(reader, execution=_identity(execution_id), user=session.user)
        if text is None:
            raise _missing()
        return Response(text, 200, HEADERS, content_type="text/plain; charset=utf-8")

    async def replay(self, execution_id: str) -> Response:
        """The same work once more; a second click of the same page does not begin it again."""
        session, form = await self.sessions.require_post()
        identity = _identity(execution_id)
        answer = await self.contract.call(session, "POST", f"/v1/executions/{identity}/replay", {}, once(form))
        if not answer.ok:
            return await self._refused(session, identity, "replay", answer, form)
        return self.pages.back(f"/ui/executions/{answer.body['id']}", "Replayed: this is the new execution.")

    async def verify(self, execution_id: str) -> Response:
        """A person accepts the outcome."""
        return await self._act(execution_id, "verify", "verify", {"valid": True}, "Verified.")

    async def reject(self, execution_id: str) -> Response:
        """A person rejects the outcome, and says why."""
        return await self._act(execution_id, "reject", "verify", {"valid": False}, "Rejected.")

    async def report(self, execution_id: str) -> Response:
        """A person reports what the handler did not."""
        return await self._act(execution_id, "report", "outcome", {}, "The outcome is recorded.")

    async def _act(self, execution_id: str, action: str, route: str, body: dict[str, object], notice: str) -> Response:
        session, form = await self.sessions.require_post()
        identity = _identity(execution_id)
        answer = await self.contract.call(
            session, "POST", f"/v1/executions/{identity}/{route}", body | _typed(action, form)
        )
        if not answer.ok:
            return await self._refused(session, identity, action, answer, form)
        return self.pages.back(f"/ui/executions/{identity}", notice)

    async def _refused(
        self, session: BrowserSession, identity: UUID, action: str, answer: ContractAnswer, form: Form
    ) -> Response:
        """The page again, with the message beside the form that was refused, and what was typed in it."""
        return await self._page(session, identity, answer.status, action, answer.message, form)

    async def _page(
        self,
        session: BrowserSession,
        identity: UUID,
        status: int = 200,
        action: str = "",
        problem: str = "",
        form: Form | None = None,
    ) -> Response:
        details = await read_model.read(PageReader(self.sessions.database), execution=identity, user=session.user)
        if details is None:
            raise _missing()
        execution, typed = details.execution, form or Form({})
        state, sentence = verdict(details)
        sent = sent_request(execution, self.decrypt)
        return self.pages.render(
            "execution", session, status, one=execution, state=state, sentence=sentence,
            told=told(details, mails_leave=self.mails_leave), lanes=timeline(execution, details.attempts),
            related=details.related, sent=sent, payload=shown_json(execution.payload, execution.payload_length),
            shown_json=shown_json, commands=self._commands(details, sent),
            may=_may(details), refused=action, problem=problem, typed=typed, nonce=token_hex(16),
        )  # fmt: skip

    def _commands(self, details: ExecutionDetails, sent: SentRequest | None) -> list[tuple[str, str]]:
        """What a shell can do with this execution."""
        base, path = self.sessions.base_url, f"/v1/executions/{details.execution.id}"
        commands = [
            ("Look at it", contract_command(base, "GET", path)),
            ("Replay it", contract_command(base, "POST", f"{path}/replay")),
        ]
        by_hand = [] if sent is None else [("Send it by hand, without a signature", delivery_command(sent))]
        return [*commands, *by_hand]


def shown_json(text: str, whole: int | None = None) -> str:
    """JSON to be read, of which there may be more; one that is too long to be shown whole is cut as it stands."""
    return readable_json(text) if (whole or len(text)) <= SHOWN else text[:SHOWN]


def _may(details: ExecutionDetails) -> set[str]:
    """What a person may do with it."""
    one = details.execution
    finished = one.status in {"success", "failed", "missed", "outcome_timeout"}
    return {
        *(["replay"] if finished else []),
        *(["verify"] if one.outcome_state in VERIFIABLE else []),
        *(["reject"] if one.outcome_state in REJECTABLE else []),
        *(["report"] if one.attempts and not one.is_reported else []),
    }


def _typed(action: str, form: Form) -> dict[str, object]:
    """The part of a body that was typed."""
    if action == "reject":
        return {"reason": form.text("reason")} if form.text("reason") else {}
    if action == "report":
        done = form.text("success") == "yes"
        text = form.text("text")
        return {"success": done} | ({"result" if done else "error": text} if text else {})
    return {}


def _identity(text: str) -> UUID:
    identity = parse_uuid(text)
    if identity is None:
        raise _missing()
    return identity


def _missing() -> Refusal:
    return Refusal("execution_not_found", "There is no such execution, or its cue was deleted.")

"""Workers: which live, what they can do, and what each holds."""

from collections import defaultdict
from urllib.parse import quote

from attrs import frozen
from quart import Blueprint, Response

from cueapi.dashboard.contract import Contract
from cueapi.dashboard.rendering import Rendering
from cueapi.dashboard.sent_requests import contract_command
from cueapi.dashboard.sessions import BrowserSessions
from cueapi.dashboard.states import ShownState
from cueapi.domain.errors import Refusal
from cueapi.storage.dashboard import workers
from cueapi.storage.dashboard.reading import PageReader
from cueapi.storage.dashboard.workers import WORKERS, HeldExecution

PATH = "/ui/workers"


@frozen
class WorkersPage:
    """`/ui/workers`. A worker that is silent for *silence* seconds is taken for gone."""

    pages: Rendering
    sessions: BrowserSessions
    contract: Contract
    silence: float

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("workers", __name__, url_prefix="/workers")
        routes.get("")(self.show)
        routes.post("/remove")(self.remove)
        return routes

    async def show(self) -> Response:
        """The page."""
        session = await self.sessions.require()
        found = await workers.read(PageReader(self.sessions.database), session.user)
        held: defaultdict[str, list[HeldExecution]] = defaultdict(list)
        for one in found.held[:WORKERS]:
            held[one.worker_id].append(one)
        return self.pages.render(
            "workers", session, workers=found.workers[:WORKERS], has_more=len(found.workers) > WORKERS, held=held,
            state_of=self._state, strays=_strays(found, held),
            command=contract_command(
                self.sessions.base_url, "POST", "/v1/worker/heartbeat", {"worker_id": "worker-1", "claim": 1}
            ),
        )  # fmt: skip

    def _state(self, silent: float) -> ShownState:
        return ShownState("succeeded", "alive") if silent < self.silence else ShownState("missed", "silent")

    async def remove(self) -> Response:
        """Forget a worker; one that lives is listed again at its next heartbeat."""
        session, form = await self.sessions.require_post()
        name = form.whole_text("worker")
        answer = await self.contract.call(session, "DELETE", f"/v1/workers/{quote(name, safe='')}")
        if not answer.ok:
            raise Refusal(answer.code, answer.message)
        return self.pages.back(PATH, f"Removed {name}.")


def _strays(found: workers.WorkerOverview, held: dict[str, list[HeldExecution]]) -> dict[str, list[HeldExecution]]:
    """What is held under names that no worker of the list has."""
    known = {one.worker_id for one in found.workers}
    return {name: executions for name, executions in held.items() if name not in known}

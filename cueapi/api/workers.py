"""Workers: heartbeat, list, forget."""

from attrs import frozen
from quart import Blueprint, Response, g

from cueapi.api import views
from cueapi.api.bodies import HeartbeatBody, read
from cueapi.api.views import answer
from cueapi.domain.errors import Refusal
from cueapi.storage import claims, workers
from cueapi.storage.claims import Terms, Wish
from cueapi.storage.postgres import Database


@frozen
class Workers:
    """`/v1/worker` and `/v1/workers`."""

    database: Database
    terms: Terms

    def routes(self) -> Blueprint:
        """Its paths."""
        routes = Blueprint("workers", __name__, url_prefix="/v1")
        routes.post("/worker/heartbeat")(self.heartbeat)
        routes.get("/workers")(self.list)
        routes.delete("/workers/<path:worker_id>")(self.forget)
        return routes

    async def heartbeat(self) -> Response:
        """A sign of life; with `claim` it also takes work."""
        body = await read(HeartbeatBody)
        worker = body.worker_id or "default"
        now = await workers.heartbeat(self.database, user=g.account.id, worker=worker, handlers=body.handlers)
        answered = {"acknowledged": True, "server_time": now, "worker_id": worker}
        if body.claim is None:
            return answer(answered)
        wish = Wish(g.account.id, worker, body.claim, body.handlers)
        rows = await claims.claim_work(self.database, wish, self.terms)
        lease = int(self.terms.lease)
        return answer({**answered, "executions": [{**views.work(row), "lease_seconds": lease} for row in rows]})

    async def list(self) -> Response:
        """Every worker of the account."""
        rows = await workers.every(self.database, g.account.id)
        return answer({"workers": [views.worker(row) for row in rows]})

    async def forget(self, worker_id: str) -> Response:
        """A worker that is no more."""
        # No worker has a name with U+0000, and PostgreSQL has no word for it.
        if "\x00" in worker_id or not await workers.forget(self.database, user=g.account.id, worker=worker_id):
            raise Refusal("worker_not_found", "There is no such worker.")
        return Response(b"", 204)

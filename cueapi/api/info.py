"""Info: what a client may want to know of this server before it has a key."""

from importlib.metadata import version
from typing import get_args

from attrs import frozen
from quart import Blueprint, Response

from cueapi.api.http.open_routes import BODY_LIMIT
from cueapi.api.http.operations import operation
from cueapi.api.models.rendering import answer
from cueapi.api.models.responses import health as responses
from cueapi.api.models.values import Mode, Transport
from cueapi.domain.cue import PAYLOAD_LIMIT


@frozen
class Info:
    """`/v1/info`."""

    registration_open: bool
    worker_evidence: bool

    def routes(self) -> Blueprint:
        """Its path."""
        routes = Blueprint("info", __name__, url_prefix="/v1/info")
        routes.get("")(self.show)
        return routes

    @operation(responses.Info)
    async def show(self) -> Response:
        """
        Show what this server is, and what it allows.

        It asks for no key.
        """
        return answer(
            {
                "name": "CueAPI",
                "version": version("cueapi-daemon"),
                "api_version": "v1",
                "registration_open": self.registration_open,
                "worker_evidence": self.worker_evidence,
                "transports": get_args(Transport),
                "verification_modes": get_args(Mode),
                "limits": {"body_bytes": BODY_LIMIT, "payload_bytes": PAYLOAD_LIMIT},
            }
        )

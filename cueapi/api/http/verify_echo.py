"""The header by which a client is told what of its body arrived."""

import hashlib
import json
from typing import Any, ClassVar

from attrs import frozen
from quart import request

from cueapi.api.http.body import json_object, read_bytes
from cueapi.api.http.off_loop import off_loop
from cueapi.api.http.parameters import Parameter, Schema
from cueapi.api.models.rendering import stored


@frozen
class VerifyEcho(Parameter):
    """Asks for the body to be told in the answer."""

    where: ClassVar[str] = "header"

    @property
    def schema(self) -> Schema:
        """Its JSON schema."""
        return {"type": "string", "enum": ["true"]}

    async def received(self) -> dict[str, Any]:
        """What the answer tells of the body; nothing where the header does not ask."""
        if request.headers.get(self.name, "").lower() != "true":
            return {}
        data = await read_bytes()
        return {
            "body_received": stored(await off_loop(_said, data)),
            "body_received_sha256": hashlib.sha256(data).hexdigest(),
        }


def _said(body: bytes) -> str:
    # As text: Python's numbers may be larger than the writer of answers takes.
    return json.dumps(json_object(body))


VERIFY_ECHO = VerifyEcho(
    "X-CueAPI-Verify-Echo",
    "With `true` the answer has `body_received`, the body as it was parsed, and `body_received_sha256`, of its bytes.",
)

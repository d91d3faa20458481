"""What an answer tells of the body that it answers, where the request asks for it."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class BodyReceived(BaseModel):
    """The body as it arrived; left out where the header `X-CueAPI-Verify-Echo` is."""

    body_received: dict[str, Any] | None = Field(default=None, description="The body that was received, as parsed.")
    body_received_sha256: Digest | None = Field(default=None, description="SHA-256 of its bytes as they came, in hex.")

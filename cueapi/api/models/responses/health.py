"""Answers about the daemon itself, and of the echo."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from cueapi.api.models.values import Count, Mode, Transport


class Services(BaseModel):
    """What the daemon needs, and what it is made of."""

    postgres: Literal["ok", "down"] = Field(description="Whether PostgreSQL answers.")
    redis: Literal["ok", "down", "none"] = Field(description="Whether Redis answers; `none` where none is configured.")
    poller: str = Field(description="State of the poller; `late` where its last run is too long ago.")
    worker: Literal["ok", "none"] = Field(description="Whether any pull worker is alive.")


class LastPoll(BaseModel):
    """The poller's last run."""

    last_run: datetime | None = Field(description="When it was; null before the first one.")
    seconds_ago: float | None = Field(description="Seconds since then.")
    cues_last_cycle: Count = Field(description="Cues that it fired.")
    cycle_duration_ms: float = Field(description="How long it took, in milliseconds.")


class WorkersCounted(BaseModel):
    """Pull workers of all accounts."""

    active_count: int | None = Field(description="Workers that are alive; null while PostgreSQL is away.")


class Queue(BaseModel):
    """What waits, counted up to 10,000 each; null while PostgreSQL is away."""

    pending_outbox: int | None = Field(description="Deliveries that no daemon has claimed.")
    stale_executions: int | None = Field(description="Deliveries whose claim has run out.")
    pending_retries: int | None = Field(description="Deliveries that are not due yet.")
    pending_worker_claims: int | None = Field(description="Executions that wait for a worker to claim them.")
    oldest_due_seconds: float | None = Field(description="Seconds that the oldest due delivery has waited; 0: none.")


class Sibling(BaseModel):
    """One part of the daemon."""

    state: str = Field(description="Whether it runs.")
    restarts: Count = Field(description="How often it was restarted.")
    since: datetime = Field(description="Since when it is in this state.")


class Health(BaseModel):
    """Liveness with detail."""

    status: Literal["healthy", "degraded"] = Field(
        description="`degraded` where something below is not well, or a due delivery has waited for longer than a poll."
    )
    version: str = Field(description="Version of the daemon.")
    timestamp: datetime = Field(description="The server's time.")
    services: Services = Field(description="What the daemon needs, and what it is made of.")
    poller: LastPoll = Field(description="The poller's last run.")
    workers: WorkersCounted = Field(description="Pull workers of all accounts.")
    queue: Queue = Field(description="What waits.")
    siblings: dict[str, Sibling] = Field(description="The parts of the daemon, by name.")


class Limits(BaseModel):
    """What requests may hold, at most."""

    body_bytes: Count = Field(description="Bytes of a body.")
    payload_bytes: Count = Field(description="Bytes of a payload, in the form in which it is sent.")


class Info(BaseModel):
    """What this server is."""

    name: Literal["CueAPI"] = Field(description="Always `CueAPI`.")
    version: str = Field(description="Version of the daemon.")
    api_version: Literal["v1"] = Field(description="Version of the contract, as in its paths.")
    registration_open: bool = Field(description="Whether anyone may register; else the operator adds accounts.")
    worker_evidence: bool = Field(description="Whether worker cues may ask for evidence.")
    transports: list[Transport] = Field(description="How executions may reach their handlers.")
    verification_modes: list[Mode] = Field(description="What a success report may be asked for.")
    limits: Limits = Field(description="What requests may hold, at most.")


class Readiness(BaseModel):
    """Whether this daemon should be sent requests."""

    status: Literal["healthy", "degraded", "down"] = Field(description="`down`: send requests elsewhere.")
    reason: str | None = Field(default=None, description="Why it is not healthy; left out where it is.")


class Stored(BaseModel):
    """The echo was kept."""

    stored: Literal[True] = Field(description="Always `true`.")


class Echo(BaseModel):
    """The last request to a token."""

    status: Literal["waiting", "delivered"] = Field(description="`waiting` while there was no request.")
    payload: Any = Field(default=None, description="The JSON body of the request.")
    headers: dict[str, str] | None = Field(default=None, description="Its headers, names in lower case.")
    received_at: datetime | None = Field(default=None, description="When it came.")

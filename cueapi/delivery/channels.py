"""Messages to channels: how one is sent, whatever the kind, and what became of it."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

import trio
from attrs import frozen

from cueapi.delivery.claims import ClaimLost
from cueapi.delivery.webhook import Outgoing, Webhook
from cueapi.domain.attempt import Answered, Interrupted, Postponed, retry_after_seconds
from cueapi.domain.channel import ChannelKind, ChannelTarget
from cueapi.domain.channel_message import TEST, Content, mail_for, request_for
from cueapi.domain.confidential import Confidential, Decrypt
from cueapi.net.http_client import send_at_once
from cueapi.net.shortage import OwnShortage
from cueapi.net.smtp import Mail, Mailer, MailFailed

TIMEOUT = 10.0
"""Seconds that a channel has to take a message; a mail server has three times as long."""

GONE = frozenset({404, 410})
"""Statuses of a place that will take no message any more."""

PUT_OFF_LIMIT = 3_600.0
"""Seconds that a channel may put a message off, at most."""


@frozen
class ChannelAnswer:
    """What came of a message: the status where there was one, why it was not taken, and when to come again."""

    status: int | None = None
    error: str | None = None
    retry_after: float = 0.0

    @property
    def is_gone(self) -> bool:
        """Whether the place will take no message any more."""
        return self.status in GONE

    @property
    def is_too_often(self) -> bool:
        """Whether the message was refused only for its time."""
        return self.status == 429


@frozen
class ChannelSender:
    """Sends to channels of every kind, by the rules of callbacks; *dashboard*: links lead to pages for people."""

    webhook: Webhook
    mailer: Mailer | None
    decrypt: Decrypt
    base_url: str
    dashboard: bool

    async def test(self, target: ChannelTarget, channel: UUID) -> ChannelAnswer:
        """Send a message that says that it is a test."""
        moment = int(self.webhook.clock.timestamp())
        try:
            return await self.send(target, TEST, message_id=f"test-{channel}-{moment}")
        except OwnShortage as short:
            return ChannelAnswer(error=str(short))
        except ClaimLost:
            return ChannelAnswer(error="it was interrupted; send another one")

    async def send(
        self,
        target: ChannelTarget,
        content: Content,
        *,
        message_id: str,
        confirm: Callable[[], Awaitable[None]] = send_at_once,
    ) -> ChannelAnswer:
        """Send once. Raises OwnShortage, what *confirm* raises, and KeyError or TypeError for a damaged *content*."""
        shown_at = self.base_url + ("/ui" if self.dashboard else "/v1")
        if target.kind == ChannelKind.EMAIL:
            return await self._mail(target, content, message_id, shown_at, confirm)
        request = request_for(
            target, content, message_id=message_id, timestamp=int(self.webhook.clock.timestamp()), shown_at=shown_at
        )
        result = await self.webhook.post(Outgoing("POST", request.url, request.headers, request.body, TIMEOUT, confirm))
        if isinstance(result, Postponed):
            raise OwnShortage(result.reason)
        if isinstance(result, Interrupted):
            raise ClaimLost("the daemon stood still")
        if not isinstance(result, Answered):
            return ChannelAnswer(error=result.reason)
        if 200 <= result.status < 300:
            return ChannelAnswer(result.status)
        pause = retry_after_seconds(result.retry_after, self.webhook.clock.now())
        return ChannelAnswer(result.status, f"the channel answered {result.status}", min(pause, PUT_OFF_LIMIT))

    async def _mail(
        self,
        target: ChannelTarget,
        content: Content,
        message_id: str,
        shown_at: str,
        confirm: Callable[[], Awaitable[None]],
    ) -> ChannelAnswer:
        if self.mailer is None:
            return ChannelAnswer(error="no mail server is configured")
        subject, text = mail_for(content, shown_at)
        with suppress(trio.TooSlowError):
            with trio.fail_after(3 * TIMEOUT):
                await confirm()
                try:
                    await self.mailer.send(Mail(target.address, subject, text, message_id, self.webhook.clock.now()))
                except MailFailed as failed:
                    return ChannelAnswer(error=str(failed))
                return ChannelAnswer()
        return ChannelAnswer(error=f"no answer within {3 * TIMEOUT:g} s")

    def target(
        self, channel: UUID, kind: str, *, topic: str | None, address: str | None, config: bytes
    ) -> ChannelTarget | None:
        """A channel with what is secret of it; None where that was encrypted under another SESSION_SECRET."""
        if kind == ChannelKind.EMAIL:
            return ChannelTarget(kind, address=address or "")
        text = self.decrypt(config, Confidential.CHANNEL, channel)
        if text is None:
            return None
        secret = json.loads(text)
        return ChannelTarget(kind, topic=topic or "", address=address or "", **secret)

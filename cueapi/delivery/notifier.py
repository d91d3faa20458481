"""The notifier: sends alerts and failures to users, by webhook and mail. No decision waits for it."""

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import structlog
import trio
from attrs import define, field, frozen

from cueapi.delivery.channels import ChannelAnswer, ChannelSender
from cueapi.delivery.claims import ClaimLost, confirm_claim
from cueapi.delivery.mails import mail_of
from cueapi.delivery.webhook import Outgoing, Webhook
from cueapi.domain import notification as domain
from cueapi.domain.attempt import Answered, Interrupted, Postponed
from cueapi.domain.confidential import Confidential, Decrypt
from cueapi.domain.execution import SHORTAGE_PAUSE
from cueapi.metrics import Metrics
from cueapi.net.shortage import OwnShortage, Shortages
from cueapi.net.smtp import Mailer, MailFailed
from cueapi.storage import channels, notifications
from cueapi.storage.clock import Clock, steady
from cueapi.storage.database import Database, StorageUnavailable
from cueapi.storage.notifications import MAX_ATTEMPTS, PAUSES, ClaimedChannel, Notification, NotificationHeadroom
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import beat

TIMEOUT = 10.0
"""Seconds that a receiver has to answer."""

LEASE = 120.0
"""Seconds after which a notification that is not under way any more is claimed again."""

PLACES, PER_USER = 32, 4
"""Notifications at once, and of these for one user: a receiver that hangs delays only its own user's."""

SIGNED_WITH = {"alert_webhook": Confidential.ALERT_SECRET, "failure_webhook": Confidential.WEBHOOK_SECRET}
"""The kinds that are webhooks, and what each is signed with."""

OTHER_SECRET = "what it needs was encrypted under another SESSION_SECRET"

log = structlog.get_logger("cueapi.delivery.notifier")


@frozen
class NotificationSenders:
    """What notifications are sent with. No *mailer*, no mail; *decrypt* reads secrets and links; *dashboard*: is on."""

    webhook: Webhook
    mailer: Mailer | None
    decrypt: Decrypt
    base_url: str
    dashboard: bool
    channels: ChannelSender


@define(eq=False)
class Notifier:
    """
    Drainer of the table of notifications: once *stopping* is set it claims no more, and ends with those under way.

    What it could not finish is claimed again by another daemon, or after a restart.
    """

    database: Database
    hub: WakeupHub
    identity: DaemonId
    notification_senders: NotificationSenders
    stopping: trio.Event
    metrics: Metrics
    shortages: Shortages
    _under_way: dict[UUID, int] = field(init=False, factory=dict)
    """The users of the claims that are under way."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Claim what is ready at each wake-up, and send it."""
        self._under_way.clear()
        self.hub.notifications.wake()
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as claiming:
                nursery.start_soon(self._watch, claiming, name="notifications: watch for the stop")
                task_status.started()
                while True:
                    await self.hub.notifications.wait()
                    await self._claim(nursery)
                    beat()

    async def _watch(self, claiming: trio.CancelScope) -> None:
        await self.stopping.wait()
        claiming.cancel(reason="draining")

    async def _claim(self, nursery: trio.Nursery) -> None:
        await channels.admit(self.database)
        number, places = self.identity.claim_number, PLACES - len(self._under_way)
        if number is None or places <= 0:
            return  # Woken again as soon as we have a number, and with each place that comes free.
        headroom = NotificationHeadroom(places, Counter(self._under_way.values()), PER_USER, self._under_way.keys())
        for notification in await notifications.claim(
            self.database, daemon=number, headroom=headroom, lease=LEASE, claimed_at=steady()
        ):
            self._under_way[notification.claim] = notification.user
            nursery.start_soon(self._send, notification, name=f"notification {notification.id}")
        if (due_in := await notifications.ahead(self.database)) is not None:
            self.hub.notifications.wake_at(trio.current_time() + due_in)

    async def _send(self, notification: Notification) -> None:
        """Make one attempt, and store what came of it."""
        try:
            if self.notification_senders.mailer is None and notification.kind.endswith("_mail"):
                await notifications.remove(self.database, notification)  # Logged once, at the start.
                return
            await self._settle(notification)
        except StorageUnavailable as away:
            # Others under way go on; this one is claimed again when its lease has run out.
            log.warning("notification_unsettled", **_named(notification), reason=str(away))
        except ClaimLost as lost:
            log.info("notification_unsettled", **_named(notification), reason=str(lost))
        finally:
            self._under_way.pop(notification.claim, None)
            self.hub.notifications.wake()

    async def _settle(self, notification: Notification) -> None:
        try:
            if notification.channel is not None:
                await self._tell_channel(notification, notification.channel)
                return
            failure = await self._attempt(notification)
        except OwnShortage as short:
            self.shortages.note(str(short))
            await notifications.release(self.database, notification, SHORTAGE_PAUSE)
        else:
            await self._store(notification, failure)

    async def _tell_channel(self, notification: Notification, channel: ClaimedChannel) -> None:
        """Send a message to a channel, and store what came of it for both."""
        if not channel.is_enabled:
            await notifications.remove(self.database, notification)
            return
        answer = await self._message(notification, channel)
        if answer.is_too_often and not notification.is_old:
            # Services allow a message a second or so: that it came too early is no failed attempt.
            await notifications.release(self.database, notification, max(answer.retry_after, 1.0))
            return
        await self._store(notification, answer.error)
        if answer.error is None:
            if channel.is_failing:
                await channels.recover(self.database, channel.id)
            return
        failed = await channels.fail(
            self.database, channel=channel.id, config=channel.config, error=answer.error, gone=answer.is_gone
        )
        if failed is not None and failed.is_disabled:
            log.warning("channel_disabled", user_id=failed.user_id, channel=str(channel.id), reason=answer.error)
            self.hub.notice_ready()
            self.hub.changed(failed.user_id, "alerts")

    async def _message(self, notification: Notification, channel: ClaimedChannel) -> ChannelAnswer:
        sender = self.notification_senders.channels
        try:
            target = sender.target(
                channel.id, channel.kind, topic=channel.topic, address=channel.address, config=channel.config
            )
            if target is None:
                return ChannelAnswer(error=OTHER_SECRET)
            message_id = domain.channel_message_id(notification.content, channel.id, notification.id)
            confirm = partial(self._confirm, notification)
            return await sender.send(target, notification.content, message_id=message_id, confirm=confirm)
        except (KeyError, TypeError, ValueError) as damaged:
            return ChannelAnswer(error=f"the message cannot be read: {type(damaged).__name__}")

    async def _store(self, notification: Notification, failure: str | None) -> None:
        attempt = notification.attempt
        if failure is None:
            await notifications.remove(self.database, notification)
            self.metrics.notified(notification.kind, "sent")
            log.info("notification_sent", **_named(notification))
        elif attempt < MAX_ATTEMPTS:
            await notifications.put_off(self.database, notification, PAUSES[min(attempt, len(PAUSES)) - 1])
            self.metrics.notified(notification.kind, "put_off")
            log.info("notification_put_off", **_named(notification), reason=failure)
        else:
            await notifications.remove(self.database, notification)
            self.metrics.notified(notification.kind, "dropped")
            log.warning("notification_dropped", **_named(notification), reason=failure)

    async def _attempt(self, notification: Notification) -> str | None:
        """None where it was sent; else why not. Raises OwnShortage where it was not even begun."""
        try:
            if notification.kind in SIGNED_WITH:
                return await self._call(notification)
            return await self._mail(notification)
        except (KeyError, TypeError, ValueError) as damaged:
            return f"the notification cannot be read: {type(damaged).__name__}"

    async def _call(self, notification: Notification) -> str | None:
        if notification.url is None or notification.secret is None:
            return "it has nowhere to go"
        secret = self.notification_senders.decrypt(
            notification.secret, SIGNED_WITH[notification.kind], notification.user
        )
        if secret is None:
            return OTHER_SECRET
        body = domain.webhook_content(notification.content)
        headers = domain.webhook_headers(
            notification.kind, notification.content, number=notification.id, secret=secret,
            timestamp=int(self._clock.timestamp()), body=body,
        )  # fmt: skip
        outgoing = Outgoing("POST", notification.url, headers, body, TIMEOUT, partial(self._confirm, notification))
        result = await self.notification_senders.webhook.post(outgoing)
        if isinstance(result, Postponed):
            raise OwnShortage(result.reason)
        if isinstance(result, Interrupted):
            raise ClaimLost("the daemon stood still")
        if not isinstance(result, Answered):
            return result.reason
        return None if 200 <= result.status < 300 else f"the receiver answered {result.status}"

    async def _mail(self, notification: Notification) -> str | None:
        mailer = self.notification_senders.mailer
        senders = self.notification_senders
        mail = mail_of(notification, senders.decrypt, senders.base_url, self._clock.now(), dashboard=senders.dashboard)
        if mailer is None or mail is None:
            return OTHER_SECRET
        with suppress(trio.TooSlowError):
            with trio.fail_after(LEASE / 2):
                await self._confirm(notification)
                try:
                    await mailer.send(mail)
                except MailFailed as failed:
                    return str(failed)
                return None
        return f"no answer within {LEASE / 2:g} s"

    async def _confirm(self, notification: Notification) -> None:
        """Return when it may be sent. Raises ClaimLost."""
        await confirm_claim(notification.claimed_at, partial(notifications.renew, self.database, notification, LEASE))

    @property
    def _clock(self) -> Clock:
        return self.notification_senders.webhook.clock


def _named(notification: Notification) -> dict[str, Any]:
    """What names a notification in the log."""
    content = notification.content
    subject = {name: content.get(name) for name in ("cue_id", "execution_id", "alert_type")}
    return {"notification": notification.id, "kind": notification.kind, **subject, "attempt": notification.attempt}

"""Notices: tells users of alerts and failures, by webhook and mail. Nothing that is decided waits for it."""

import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from time import time

import structlog
import trio
from attrs import define, field, frozen

from cueapi.delivery.webhook import Outgoing, Webhook
from cueapi.domain import notification as domain
from cueapi.domain.attempt import Answered
from cueapi.net.smtp import Mail, Mailer, MailFailed
from cueapi.storage import notifications
from cueapi.storage.database import Database, StorageUnavailable
from cueapi.storage.notifications import MAX_ATTEMPTS, PAUSES, Notification, NotificationHeadroom
from cueapi.wakeups.hub import WakeupHub
from cueapi.wakeups.identity import DaemonId
from supervisor import beat

TIMEOUT = 10.0
"""Seconds that a receiver of a notice has to answer."""

LEASE = 120.0
"""Seconds after which a notice that nobody settled is taken again; a mail may take several steps of a timeout each."""

PLACES, PER_USER = 32, 4
"""Notices at once, and of these for one user: a receiver that hangs holds up its own user's only."""

log = structlog.get_logger("cueapi.delivery.notifier")


@frozen
class NotificationSenders:
    """How notices leave. No *mailer*, no mail; *unseal* opens links of sign-ins, *base_url* begins those we write."""

    webhook: Webhook
    mailer: Mailer | None
    decrypt: Callable[[bytes], str | None]
    base_url: str


@define(eq=False)
class Notifier:
    """
    Drainer of the table of notices: once *stopping* is set it claims no more, and ends with those under way.

    What it could not finish is taken again by another daemon, or by its next life.
    """

    database: Database
    hub: WakeupHub
    identity: DaemonId
    notification_senders: NotificationSenders
    stopping: trio.Event
    _under_way: Counter[int] = field(init=False, factory=Counter)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Claim what is ready at each wake-up, and try it."""
        self._under_way.clear()
        self.hub.notifications.wake()
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as claiming:
                nursery.start_soon(self._watch, claiming, name="notices: watch for the stop")
                task_status.started()
                while True:
                    await self.hub.notifications.wait()
                    await self._claim(nursery)
                    beat()

    async def _watch(self, claiming: trio.CancelScope) -> None:
        await self.stopping.wait()
        claiming.cancel(reason="draining")

    async def _claim(self, nursery: trio.Nursery) -> None:
        number, places = self.identity.claim_number, PLACES - self._under_way.total()
        if number is None or places <= 0:
            return  # Woken again as soon as we have a number, and with each place that comes free.
        headroom = NotificationHeadroom(places, dict(self._under_way), PER_USER)
        for notice in await notifications.claim(self.database, daemon=number, headroom=headroom, lease=LEASE):
            self._under_way[notice.user] += 1
            nursery.start_soon(self._tell, notice, name=f"notice {notice.id}")
        if (due_in := await notifications.ahead(self.database)) is not None and due_in > 0:
            self.hub.notifications.wake_at(trio.current_time() + due_in)

    async def _tell(self, notice: Notification) -> None:
        """Try once, and settle."""
        try:
            if self.notification_senders.mailer is None and notice.kind.endswith("_mail"):
                await notifications.remove(self.database, notice)  # Said once, at the start.
                return
            failure = await self._try(notice)
            await self._settle(notice, failure)
        except StorageUnavailable as away:
            # The others under way go on; this one is taken again when its lease has run out.
            log.warning("notice_unsettled", notice=notice.id, kind=notice.kind, reason=str(away))
        finally:
            self._under_way -= Counter([notice.user])
            self.hub.notifications.wake()

    async def _settle(self, notice: Notification, failure: str | None) -> None:
        if failure is None:
            await notifications.remove(self.database, notice)
            log.info("notice_sent", notice=notice.id, kind=notice.kind)
        elif notice.attempt < MAX_ATTEMPTS:
            await notifications.put_off(self.database, notice, PAUSES[min(notice.attempt, len(PAUSES)) - 1])
            log.info("notice_put_off", notice=notice.id, kind=notice.kind, attempt=notice.attempt, reason=failure)
        else:
            await notifications.remove(self.database, notice)
            log.warning("notice_dropped", notice=notice.id, kind=notice.kind, attempt=notice.attempt, reason=failure)

    async def _try(self, notice: Notification) -> str | None:
        """None where it was told; else why not."""
        try:
            if notice.kind in {"alert_webhook", "failure_webhook"}:
                return await self._call(notice)
            return await self._mail(notice)
        except (KeyError, TypeError, ValueError) as damaged:
            return f"the notice cannot be read: {type(damaged).__name__}"

    async def _call(self, notice: Notification) -> str | None:
        if notice.url is None or notice.secret is None:
            return "it has nowhere to go"
        body = domain.webhook_content(notice.content)
        headers = domain.webhook_headers(
            notice.kind, notice.content, secret=notice.secret, timestamp=int(time()), body=body
        )
        result = await self.notification_senders.webhook.post(Outgoing("POST", notice.url, headers, body, TIMEOUT))
        if not isinstance(result, Answered):
            return result.reason
        return None if 200 <= result.status < 300 else f"the receiver answered {result.status}"

    async def _mail(self, notice: Notification) -> str | None:
        mailer = self.notification_senders.mailer
        mail = self._written(notice)
        if mailer is None or mail is None:
            return "it cannot be opened with this SESSION_SECRET"
        with suppress(trio.TooSlowError):
            with trio.fail_after(LEASE / 2):
                try:
                    await mailer.send(mail)
                except MailFailed as failed:
                    return str(failed)
                return None
        return f"no answer within {LEASE / 2:g} s"

    def _written(self, notice: Notification) -> Mail | None:
        """The mail; its key is the same on each try."""
        content = notice.content
        if notice.kind == "failure_mail":
            text = domain.failure_text(content, self.notification_senders.base_url)
            key = f"failure-{content['execution_id'] or notice.id}"
            return Mail(str(notice.email), domain.failure_subject(content), text, key)
        ciphertext = str(content["sealed"]).encode()
        link = self.notification_senders.decrypt(ciphertext)
        if link is None:
            return None
        text = domain.sign_in_text(link, content["device_code"])
        key = hashlib.sha256(ciphertext).hexdigest()[:32]
        return Mail(content["to"], domain.SIGN_IN_SUBJECT, text, f"sign-in-{key}")

"""The mails that notifications become."""

import hashlib
from base64 import b64decode
from datetime import datetime

from cueapi.domain import notification as domain
from cueapi.domain.confidential import Confidential, Decrypt
from cueapi.domain.incident import headline, incident_text
from cueapi.net.smtp import Mail
from cueapi.storage.notifications import Notification


def mail_of(
    notification: Notification, decrypt: Decrypt, base_url: str, now: datetime, *, dashboard: bool
) -> Mail | None:
    """
    The mail, of *now*; its key is the same on each attempt. None where its link cannot be read.

    With a *dashboard* its links lead to pages for people.

    Raises KeyError, TypeError or ValueError where the notification is damaged.
    """
    content = notification.content
    match notification.kind:
        case "failure_mail":
            text = domain.failure_text(content, base_url + ("/ui" if dashboard else "/v1"))
            key = f"failure-{content['execution_id'] or notification.id}"
            return Mail(str(notification.email), domain.failure_subject(content), text, key, now)
        case "incident_mail" | "recovery_mail":
            return _of_incident(notification, base_url + ("/ui" if dashboard else "/v1"), now)
        case "account_mail":
            text = domain.notice_text(content, base_url)
            return Mail(content["to"], domain.notice_subject(content), text, f"account-{notification.id}", now)
        case _:
            return _with_link(notification, decrypt, now)


def _of_incident(notification: Notification, shown_at: str, now: datetime) -> Mail:
    incident, event = notification.content["incident"], notification.content["event"].removeprefix("incident.")
    subject, text = f"CueAPI: {headline(event, incident)}", incident_text(event, incident, shown_at)
    return Mail(str(notification.email), subject, text, f"incident-{event}-{incident['id']}", now)


def _with_link(notification: Notification, decrypt: Decrypt, now: datetime) -> Mail | None:
    content = notification.content
    ciphertext = b64decode(content["ciphertext"])
    link = decrypt(ciphertext, Confidential.LINK, content["to"])
    if link is None:
        return None
    key = hashlib.sha256(ciphertext).hexdigest()[:32]
    if notification.kind == "address_mail":
        asked_by = content.get("asked_by")
        text = domain.address_text(link) if asked_by is None else domain.channel_link_text(link, asked_by)
        return Mail(content["to"], domain.ADDRESS_SUBJECT, text, f"address-{key}", now)
    code = content.get("device_code")
    text = domain.browser_link_text(link) if code is None else domain.sign_in_text(link, code)
    return Mail(content["to"], domain.SIGN_IN_SUBJECT, text, f"sign-in-{key}", now)

"""Notifications between daemons."""

from cueapi.storage.database import Executor

CHANNEL = "cueapi"

NOTIFY = "select pg_notify('cueapi', $1)"

LIMIT = 7_900
"""Bytes that a NOTIFY carries; more is cut into several."""


async def notify(db: Executor, text: str) -> None:
    """Notify every daemon, ourselves included; *text* is the sender and its topics, separated by spaces."""
    sender, *topics = text.split(" ")
    part = sender
    for topic in topics:
        if len(part) + 1 + len(topic) > LIMIT:
            await db.execute(NOTIFY, part)
            part = sender
        part += " " + topic
    await db.execute(NOTIFY, part)

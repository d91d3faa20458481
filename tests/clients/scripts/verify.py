"""Verifies a delivery in every form that the client takes, and in forms that it must refuse."""

import json
from functools import partial

from asked import asked, tell

from cueapi import verify_webhook

body: str = asked["body"]
genuine = partial(
    verify_webhook, signature=asked["signature"], secret=asked["secret"], timestamp=asked["timestamp"], tolerance=300
)
old = partial(genuine, signature=asked["old_signature"], timestamp=asked["old_timestamp"])

tell(
    {
        "bytes": genuine(body.encode()),
        "str": genuine(body),
        "dict": genuine(json.loads(body)),
        "changed body": genuine(body.replace("0.1", "0.2").encode()),
        "changed timestamp": genuine(body, timestamp=str(int(asked["timestamp"]) - 1)),
        "other secret": genuine(body, secret=asked["secret"] + "0"),
        "no timestamp": genuine(body, timestamp=""),
        "old": old(body),
        "old but tolerated": old(body, tolerance=3600),
    }
)

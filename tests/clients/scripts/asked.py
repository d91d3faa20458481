"""What the test asks for: the one argument, as JSON. What the script tells it: the one line that it prints."""

import json
import sys
from typing import Any

from cueapi import CueAPI

asked: dict[str, Any] = json.loads(sys.argv[1])


def client() -> CueAPI:
    """The client of the user who asks."""
    return CueAPI(asked["api_key"], base_url=asked["base_url"])


def tell(answer: Any) -> None:
    """Print the answer."""
    print(json.dumps(answer))

"""The SDK: scripts of ours, run by a Python that has it, print as JSON what it gave them."""

import json
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.clients.client import address_of, run_client
from tests.conftest import Api

SCRIPTS = Path(__file__).with_name("scripts")


@frozen
class Sdk:
    """A Python that has the SDK."""

    python: Path
    home: Path

    async def run(self, script: str, api: Api, **asked: Any) -> Any:
        """What *script* prints, run as the user of *api*."""
        asked |= {"base_url": address_of(api), "api_key": api.key}
        ended = await run_client([self.python, SCRIPTS / f"{script}.py", json.dumps(asked)], self.home)
        assert ended.code == 0, ended.told
        return json.loads(ended.said)

    async def call(self, api: Api, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """What each method returned, called one after another; each must return something."""
        answers = await self.run("call", api, calls=calls)
        assert [answer for answer in answers if "refusal" in answer] == []
        return [answer["returned"] for answer in answers]

    async def refusals(self, api: Api, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Which exception each method raised; each must raise one."""
        answers = await self.run("call", api, calls=calls)
        assert [answer for answer in answers if "returned" in answer] == []
        return [answer["refusal"] for answer in answers]

"""The command line `cueapi`, run as a user of a daemon, at a home of its own."""

import json
import re
from pathlib import Path

from attrs import frozen

from tests.clients.client import address_of, run_client
from tests.conftest import Api
from tests.process import Ended

EMAIL = "you@example.com"


@frozen
class CommandLine:
    """The program, and the home in which it keeps its credentials."""

    program: Path
    home: Path

    @property
    def credentials(self) -> Path:
        """The file with what it knows of each profile."""
        return self.home / ".config" / "cueapi" / "credentials.json"

    def sign_in(self, api: Api) -> None:
        """Keep the credentials of *api* as a login does."""
        profile = {"api_key": api.key, "email": EMAIL, "api_base": f"{address_of(api)}/v1"}
        self.credentials.parent.mkdir(parents=True, exist_ok=True)
        self.credentials.write_text(json.dumps({"default": profile}))

    async def run(self, *arguments: str, typed: str = "", **variables: str) -> Ended:
        """How the command ends with *arguments*."""
        return await run_client([self.program, *arguments], self.home, typed, **variables)

    async def says(self, *arguments: str, typed: str = "") -> str:
        """What it prints; it must end well and complain of nothing."""
        ended = await self.run(*arguments, typed=typed)
        assert (ended.code, ended.told) == (0, ""), ended
        return ended.said

    async def fails(self, *arguments: str) -> str:
        """What it complains of; it must end with 1."""
        ended = await self.run(*arguments)
        assert ended.code == 1, ended
        return ended.told.strip()


def told(said: str, label: str) -> str:
    """What stands behind *label* in the output."""
    found = re.search(rf"^{label}: +(.*)$", said, re.MULTILINE)
    assert found is not None, said
    return found[1]


def rows(said: str) -> list[str]:
    """The rows of a table below its headline, without blanks: invisible colours take the room of some."""
    table = said.strip().split("\n\n")[0]
    return ["".join(line.split()) for line in table.splitlines()[1:]]

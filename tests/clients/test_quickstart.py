"""The guided setup of the command line: a cue that calls the server's own echo."""

from pathlib import Path

import trio

from cueapi.settings import Settings
from tests.clients.command_line import CommandLine
from tests.conftest import running
from tests.process import HANG


async def test_the_quickstart_sees_its_first_cue_delivered(
    command_line_programs: Path, settings: Settings, tmp_path: Path
) -> None:
    with trio.fail_after(HANG):
        async with running(settings.model_copy(update={"callback_allow": ""})) as daemon:
            api = await daemon.api.register()
            command_line = CommandLine(command_line_programs / "cueapi", tmp_path)
            command_line.sign_in(api)
            said = await command_line.says("quickstart")
            left = await api.get("/v1/cues")

    assert "Callback delivered!" in said
    assert '"message": "Your first cue! CueAPI is working."' in said
    assert "Deleted." in said
    assert "CueAPI is working!" in said
    assert left["total"] == 0

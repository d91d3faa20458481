"""`python -m tests.screenshots FOLDER`: every page of the dashboard as PNG, light and dark, on phone and desk."""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
import trio

from cueapi import logs
from cueapi.settings import Settings
from tests.api.test_browser import BROWSER, DRIVER, browser
from tests.conftest import SECRET, running
from tests.dashboard.places import Places, places
from tests.dashboard.sights import SIGHTS, Sight, look_as, picture, sign_in
from tests.storage.own_postgres import own_postgres


def take(seen: Places, folder: Path, home: Path, sights: Sequence[Sight] = SIGHTS) -> list[Path]:
    """Write a picture of each page by each sight into *folder*; the browser's own files lie in *home*."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with browser(home, 1100, 800, dark=False, mouse=True) as driver:
        for key, pages in seen:
            if key is not None:
                sign_in(driver, seen.base, key)
            for name, path in pages.items():
                for sight in sights:
                    look_as(driver, sight)
                    driver.get(seen.base + path)
                    taken.append(folder / f"{name}-{sight.name}.png")
                    taken[-1].write_bytes(picture(driver))
    return taken


async def _take_all(dsn: str, folder: Path, home: Path) -> int:
    settings = Settings(
        _env_file=None, database_url=dsn, data_dir=home / "data", port=0, session_secret=SECRET,
        callback_allow="127.0.0.1", log_level="warning",
    )  # fmt: skip
    async with running(settings) as daemon, places(daemon) as seen:
        return len(await trio.to_thread.run_sync(partial(take, seen, folder, home)))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write every page of the dashboard into FOLDER, as pictures of a demo account with a month of history."""
    logs.set_up("console", "error")
    if not (BROWSER and DRIVER):
        raise click.UsageError("there is no chromium with chromedriver here")
    with own_postgres() as server, tempfile.TemporaryDirectory(prefix="cueapi-screenshots-") as home:
        click.echo(f"{trio.run(_take_all, server.dsn, folder, Path(home))} pictures lie in {folder}.")


if __name__ == "__main__":
    sys.exit(main())

"""The commands. Settings are read here and nowhere else; a start that fails says why in one line."""

import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import click
import structlog
import trio

from cueapi.api.http.listening import CannotListen, NoSuchHost
from cueapi.cli import brakes, demo, operator
from cueapi.cli.arguments import utf_8
from cueapi.cli.check import run_check
from cueapi.cli.demo_http import DemoFailed
from cueapi.cli.dump import dump as write_dump
from cueapi.daemon import run
from cueapi.daemon.secret import CannotStart, WrongSetting
from cueapi.domain.hold import HoldMode
from cueapi.embedded_postgres.data_dir import DataDirError
from cueapi.logs import set_up
from cueapi.settings import BadSetting, Settings, ignored_variables, load
from cueapi.storage.database import StorageUnavailable
from cueapi.storage.schema import SchemaIncomplete, SchemaMismatch
from supervisor import RestartsExhausted

log = structlog.get_logger("cueapi.settings")

WRONG_SETTINGS = 2
FAILED = 1

EXPECTED = (
    CannotStart,
    CannotListen,
    DataDirError,
    SchemaMismatch,
    StorageUnavailable,
    RestartsExhausted,
    operator.CommandFailed,
    DemoFailed,
)
"""What a command can fail with and say in one line; anything else is a bug, and shows its traceback."""


UNFIT = (WrongSetting, SchemaIncomplete, NoSuchHost)
"""Of these, what ends as a wrong setting does: no later attempt can go better."""


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cueapi-daemon")
@click.pass_context
def main(context: click.Context) -> None:
    """CueAPI: fires agents and cron jobs on time, and knows whether they did their work."""
    # What is imported stays: at the end of a command the collector would walk through all of it, a third of its time.
    gc.freeze()
    if context.invoked_subcommand is None:
        context.invoke(serve)


@main.command()
def serve() -> None:
    """Migrate, then serve until SIGTERM or Ctrl-C. The default."""
    settings = _settings()
    for variable, advice in ignored_variables(settings).items():
        log.warning("variable_ignored", variable=variable, advice=advice)
    # A signal during the start is a stop like any other.
    # The link that makes the first account is for who has started the daemon; what no one watches prints none.
    invite = sys.stdout.isatty() or settings.env == "development"
    _run(partial(run.run, settings, on_ready=partial(_greet, settings), invite=invite), interrupted=0)


@main.command("demo")
@click.option("--keep", is_flag=True, help="Serve an account with a month of history, until Ctrl-C.")
def show_demo(*, keep: bool) -> None:
    """Show the whole story in a few seconds, on a temporary database that is gone afterwards."""
    set_up("console", "error")
    _run(partial(demo.keep if keep else demo.run, operator.say))


@main.command()
def migrate() -> None:
    """Bring the database's schema to this version, and nothing else."""
    _run(partial(operator.migrate_only, _settings()))


@main.command()
def check() -> None:
    """Say line by line whether settings, PostgreSQL, migrations, Redis, SMTP and clock are fine."""
    settings = _settings()
    _run(partial(run_check, settings, ignored_variables(settings)))


@main.command("accept-secret")
def accept_secret() -> None:
    """Go on with another SESSION_SECRET: where the one that the database was used with is lost."""
    _run(partial(operator.accept_secret, _settings()))


@main.command()
def dump() -> None:
    """Write the embedded database to standard output, as SQL."""
    _run(partial(write_dump, _settings()))


@main.command()
@click.argument("email", callback=utf_8, required=False)
@click.option("--all", "every", is_flag=True, help="Every account.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in HoldMode]),
    help="What is stopped: fires, or everything. Otherwise fires, or what the account is held by already.",
)
@click.option("--reason", callback=utf_8, help="Why, for people.")
@click.option("--until", callback=utf_8, help="When it ends by itself, ISO 8601; otherwise when it is released.")
def hold(email: str | None, *, every: bool, mode: str | None, reason: str | None, until: str | None) -> None:
    """Stop an account, or every one: nothing fires until it is released."""
    _run(partial(brakes.hold, _settings(), email, every=every, mode=mode, reason=reason, until=until))


@main.command()
@click.argument("email", callback=utf_8, required=False)
@click.option("--all", "every", is_flag=True, help="Every account that is held.")
def release(email: str | None, *, every: bool) -> None:
    """Release an account that is held, or every one."""
    _run(partial(brakes.release, _settings(), email, every=every))


@main.group()
def user() -> None:
    """Accounts, without open registration."""


@user.command("add")
@click.argument("email", callback=utf_8)
def user_add(email: str) -> None:
    """Add an account and print its key, once."""
    _run(partial(operator.add_user, _settings(), email))


@user.command("list")
def user_list() -> None:
    """List every account."""
    _run(partial(operator.list_users, _settings()))


@user.command("key")
@click.argument("email", callback=utf_8)
def user_key(email: str) -> None:
    """Make a new key and print it, once; the old one is dead. Admits who was revoked."""
    _run(partial(operator.new_key, _settings(), email))


@user.command("verify")
@click.argument("email", callback=utf_8)
def user_verify(email: str) -> None:
    """Count an account's address as verified, without a link: its owner is known."""
    _run(partial(operator.verify, _settings(), email))


@user.command("link")
@click.argument("email", callback=utf_8)
def user_link(email: str) -> None:
    """Print a link to the dashboard that signs in as an account: for 15 minutes, once."""
    _run(partial(operator.link, _settings(), email))


@user.command("limits")
@click.argument("email", callback=utf_8)
@click.option("--cues", type=click.IntRange(0, 2_000_000_000), help="Active and paused cues.")
@click.option("--executions", type=click.IntRange(0, 10**15), help="Executions a month.")
@click.option("--rate", type=click.IntRange(1, 100_000_000), help="Requests in 60 seconds.")
def user_limits(email: str, cues: int | None, executions: int | None, rate: int | None) -> None:
    """Give an account numbers of its own."""
    _run(partial(operator.set_limits, _settings(), email, cues=cues, executions=executions, rate=rate))


@user.command("revoke")
@click.argument("email", callback=utf_8)
def user_revoke(email: str) -> None:
    """End an account's key and sessions, and pause its cues."""
    _run(partial(operator.revoke, _settings(), email))


def _settings() -> Settings:
    try:
        settings = load()
    except BadSetting as error:
        click.echo(f"cueapid: {error}", err=True)
        sys.exit(WRONG_SETTINGS)
    set_up(settings.log_format, settings.log_level)
    return settings


def _run(command: Callable[[], Awaitable[object]], *, interrupted: int = FAILED) -> None:
    lines, code = list[str](), FAILED
    # A script's shell has what it starts in the background ignore Ctrl-C. Until the daemon is up, that would go for
    # SIGTERM, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What ends a process otherwise would leave PostgreSQL, and what else a command has begun, behind.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is signal.SIG_DFL:
            signal.signal(ending, _interrupt)
    try:
        trio.run(command)
    except* EXPECTED as group:
        leaves = _leaves(group)
        lines = [str(error) for error in leaves]
        code = WRONG_SETTINGS if isinstance(leaves[0], UNFIT) else FAILED
    except* KeyboardInterrupt:
        lines, code = ["interrupted"], interrupted
    if lines:
        click.echo(f"cueapid: {lines[0]}", err=True)
        sys.exit(code)


def _interrupt(_signal: int, _frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _greet(settings: Settings, ready: run.Ready) -> None:
    """
    On a terminal: where the server is, where data lies, and how to begin.

    Elsewhere only the link to begin with, on standard error, where there is one.
    """
    with suppress(OSError):  # Where nothing can be written, the daemon serves all the same.
        _tell(settings, ready)


def _tell(settings: Settings, ready: run.Ready) -> None:
    begin = f"Begin here, within 15 minutes: {ready.first_link}"
    if not sys.stdout.isatty():
        if ready.first_link is not None:
            click.echo(begin, err=True)
        return
    place = "the database of DATABASE_URL" if settings.database_url else settings.data_dir
    click.echo(f"CueAPI serves at {ready.address}; its data lies in {place}.")
    click.echo(_invitation(settings, ready) if ready.first_link is None else begin)


def _invitation(settings: Settings, ready: run.Ready) -> str:
    if settings.dashboard:
        return f"Look at {ready.address}/ui. Signed out? cueapid user link you@example.com"
    register = f"{ready.address}/v1/auth/register -H 'Content-Type: application/json'"
    return f"""Make an account:\n  curl -X POST {register} -d '{{"email": "you@example.com"}}'"""

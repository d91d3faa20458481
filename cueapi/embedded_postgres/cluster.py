"""
The embedded cluster on disk: who owns it, which programs run it, how it is made.

    postgres/password      of the owner's role, and of the superuser `postgres`
    postgres/server.log    what PostgreSQL has to say; the older half is server.log.1
    postgres/socket/       only its owner may enter
    postgres/data/         the cluster

As root the last two belong to the account that runs PostgreSQL, everything else to root: an intruder in
the server must not make root write to unintended places. `postgres/programs-18.4/` appears where that
account cannot reach the wheel's programs.
"""

import secrets
import shutil
import tempfile
from pathlib import Path

import structlog
import trio
from attrs import define, field

from cueapi.embedded_postgres.binaries import SystemAccount, find_account, reachable_tree, run, version
from cueapi.embedded_postgres.data_dir import sync, write_once
from cueapi.embedded_postgres.errors import NoAccount, OtherMajorVersion, Owner, ServerCannotStart

INITDB = (
    "--username=postgres",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    # It may be started by other means one day.
    "--set=listen_addresses=",
)

log = structlog.get_logger("cueapi.embedded_postgres.cluster")


@define
class Cluster:
    """The cluster in *data_dir*, run with the installation of PostgreSQL in *tree*; it belongs to *owner*."""

    data_dir: Path
    tree: Path
    owner: Owner
    account: SystemAccount = field(factory=SystemAccount)

    @property
    def home(self) -> Path:
        """All that concerns PostgreSQL."""
        return self.data_dir / "postgres"

    @property
    def data(self) -> Path:
        """What PostgreSQL calls PGDATA."""
        return self.home / "data"

    @property
    def socket(self) -> Path:
        """The folder of the socket, unless its path is too long for one."""
        return self.home / "socket"

    def password(self) -> str:
        """Of the owner's role and of `postgres`."""
        return (self.home / "password").read_text().strip()

    def program(self, name: str) -> str:
        """The path of a program of this cluster's version."""
        return str(self.tree / "bin" / name)

    async def prepare(self) -> None:
        """Make or check whatever a postmaster needs: an account, programs that it can run, a cluster."""
        release = await version(self.tree)
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.account = await find_account(self.data, self.owner.system_user)
        if self.account.uid is not None and self.home.stat().st_uid == 0:
            self.home.chmod(0o711)
        closed = await self.account.first_closed(self.home)
        if closed is not None:
            raise NoAccount(
                f"the user {self.account.name} cannot enter {closed}",
                f"choose a DATA_DIR that every user can reach, such as /var/lib/{self.owner.name}",
            )
        self.tree = await reachable_tree(self.tree, self.home / f"programs-{release}", self.account)
        for left_over in self.home.glob("initdb-*"):
            await trio.to_thread.run_sync(_remove, left_over)
        if self.data.exists():
            self._refuse_other_versions(release.split(".")[0])
        else:
            await self._create()

    def _refuse_other_versions(self, ours: str) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise ServerCannotStart(f"{self.data} holds no data of PostgreSQL", ["PG_VERSION is missing"]) from None
        if found != ours:
            raise OtherMajorVersion(self.data, found, ours, self.tree / "bin", self.account.name, self.owner)

    async def _create(self) -> None:
        """Make the cluster aside; it appears under its name when it is whole, role and database included."""
        began = trio.current_time()
        draft = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.home))
        write_once(self.home / "password", secrets.token_hex(24))
        (draft / "password").write_text(self.password())
        for path in (draft / "password", draft):
            self.account.own(path)
        data = draft / "data"
        await run(self.account, self.program("initdb"), f"-D{data}", f"--pwfile={draft}/password", *INITDB)
        await self._create_database(data)
        data.rename(self.data)
        sync(self.home)
        await trio.to_thread.run_sync(_remove, draft)
        log.info("database_created", seconds=round(trio.current_time() - began, 2))

    async def _create_database(self, data: Path) -> None:
        # Not a superuser: an SQL injection shall not run programs. In single-user mode a line is a statement,
        # and one that fails must not be quoted, for the password is in it.
        name = self.owner.name
        statements = (
            f"create role {name} login createdb password '{self.password()}'\ncreate database {name} owner {name}\n"
        )
        options = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic")
        single_user = (self.program("postgres"), "--single", "-D", str(data), *options, "postgres")
        await run(self.account, *single_user, stdin=statements.encode())


def _remove(draft: Path) -> None:
    # An initdb whose daemon was killed may still be writing there; then the rest goes the next time.
    shutil.rmtree(draft, ignore_errors=True)

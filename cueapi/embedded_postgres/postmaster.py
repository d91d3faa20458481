"""The embedded cluster's postmaster: started or adopted, waited for, stopped; its socket and its log."""

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import structlog
import trio
from attrs import define, frozen

from cueapi.embedded_postgres.binaries import run
from cueapi.embedded_postgres.cluster import Cluster
from cueapi.embedded_postgres.errors import ServerCannotStart

LOG_LIMIT = 10 * 1024 * 1024
"""Bytes that the server's log takes at most, both halves together."""

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 100
"""Bytes; the path of a socket may have 103 of them on macOS, 107 on Linux."""

POLL = 0.02
"""Seconds between two looks at a postmaster that starts or stops."""

STOPS = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
"""Fast, at once, by force; and the seconds that each is given."""

STRAGGLERS_PATIENCE = 30.0
"""Seconds in which the backends of a killed postmaster let go of its shared memory."""

# For a small server. What is committed survives a power cut; no value of a row gets into the log (terse).
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "jit": "off",
    # A container has little /dev/shm, and no query here is so large that it would want helpers.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",
}

log = structlog.get_logger("cueapi.embedded_postgres.postmaster")


@frozen
class PidFile:
    """What a postmaster says of itself in postmaster.pid."""

    pid: int
    socket: Path
    ready: bool

    @classmethod
    def read(cls, data: Path) -> "PidFile | None":
        """None where there is none, or none that is finished."""
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            return cls(pid=int(lines[0]), socket=Path(lines[4]), ready=lines[7:8] == ["ready   "])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    @property
    def reachable(self) -> bool:
        """It takes connections, and its socket has not been cleaned away."""
        return self.ready and (self.socket / SOCKET_NAME).exists()


def running(data: Path) -> PidFile | None:
    """The live postmaster over *data*, also one that another process has started."""
    found = PidFile.read(data)
    return found if found is not None and _serves(found.pid, data) else None


def dsn(cluster: Cluster, socket: Path) -> str:
    """Where and as whom to connect. It names the port, else PGPORT would have a say."""
    name = cluster.owner.name
    return f"postgresql://{name}:{cluster.password()}@/{name}?host={quote(str(socket))}&port=5432"


@define
class Postmaster:
    """At most one process over *cluster*, reached through the folder *socket* from the first start on."""

    cluster: Cluster
    log_limit: int = LOG_LIMIT
    socket: Path | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """Where the server writes."""
        return self.cluster.home / "server.log"

    def dsn(self) -> str:
        """Where to connect; the same after every restart."""
        assert self.socket is not None, "not started yet"
        return dsn(self.cluster, self.socket)

    def reachable(self) -> bool:
        """It lives and takes connections where we said. Raises OSError where that cannot be found out."""
        pid = self._pid()
        found = PidFile.read(self.cluster.data)
        return found is not None and found.pid == pid and found.reachable and found.socket == self.socket

    async def start(self) -> None:
        """
        Adopt the postmaster that runs over our cluster, else start one; return once it takes connections.

        Crash recovery gets the time it needs: this waits for as long as the process lives.
        """
        if not await self._adopt():
            await self.stop()
            await self.cluster.prepare()
            await self._disown_stranger()
            self._open_socket_folder()
            await self._launch()

    async def stop(self) -> None:
        """End it, also one that another process has started. No cancellation cuts this short; its own patience does."""
        for sign, patience in STOPS:
            pid = self._pid()
            if pid is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
            with trio.move_on_after(patience, shield=True):
                while self._lives(pid):  # noqa: ASYNC110 - no event is sent when another process's child ends
                    await trio.sleep(POLL)
                log.info("database_stopped", pid=pid, signal=sign.name)
        self._process = None

    def sweep(self) -> None:
        """Remove the socket's folder, where it lies outside of DATA_DIR."""
        if self.socket not in {None, self.cluster.socket}:
            with suppress(OSError):
                os.rmdir(self.socket)

    def trim_log(self) -> None:
        """Keep the log within its limit: once its half is full, that becomes the older half."""
        half = self.log_limit // 3  # the last third is for what comes between two looks
        if not self.log_file.exists() or self.log_file.stat().st_size <= half:
            return
        with self.log_file.open("rb+") as full, open(f"{self.log_file}.1", "wb", opener=_private) as older:
            full.seek(-half, os.SEEK_END)
            older.write(full.read(half))
            full.truncate(0)  # the server appends (O_APPEND), so it goes on at the new end

    async def _adopt(self) -> bool:
        pid = self._pid()
        if pid is None or not await self._ready(pid):
            return False
        found = running(self.cluster.data)
        if found is None or not found.reachable or self.socket not in {None, found.socket}:
            return False
        self.socket = found.socket
        log.info("database_adopted", pid=found.pid)
        return True

    async def _disown_stranger(self) -> None:
        """
        Make a stale postmaster.pid look stale to PostgreSQL as well.

        In a container the pids begin anew, and soon the dead postmaster's is that of a live process; or it
        stays a zombie. PostgreSQL would refuse to start for ever. Its own parent, however, it takes for no
        postmaster. The rest of the file stays: by it PostgreSQL finds the backends that may have been left.
        """
        path = self.cluster.data / "postmaster.pid"
        if path.exists():
            # Under its own account, for the folder is the account's: as root we neither read nor write there.
            script = 'rest=$(tail -n +2 "$1") && printf "%s\\n" "$2" "$rest" > "$1"'
            await run(self.cluster.account, "/bin/sh", "-c", script, "sh", str(path), str(os.getpid()))

    def _open_socket_folder(self) -> None:
        """Make or check the folder that only the account may enter; below /tmp if DATA_DIR lies too deep."""
        if self.socket is None:
            near = self.cluster.socket
            fits = len(os.fsencode(near / SOCKET_NAME)) <= SOCKET_PATH_LIMIT and "," not in str(near)
            self.socket = near if fits else Path(tempfile.mkdtemp(prefix=f"{self.cluster.owner.name}-", dir="/tmp"))
        self.socket.mkdir(mode=0o700, exist_ok=True)
        found = self.socket.lstat()
        if found.st_uid == os.geteuid():
            self.cluster.account.own(self.socket)
        elif found.st_uid != self.cluster.account.uid:
            raise ServerCannotStart("the socket's folder was taken by another user", [str(self.socket)])
        for stale in self.socket.glob(f"{SOCKET_NAME}*"):
            stale.unlink()  # the socket's own lock file names the same dead postmaster

    async def _launch(self) -> None:
        began = trio.current_time()
        while True:
            self.trim_log()
            seen = self.log_file.stat().st_size if self.log_file.exists() else 0
            process = self._process = self._spawn()
            if await self._ready(process.pid):
                log.info("database_started", pid=process.pid, seconds=round(trio.current_time() - began, 2))
                return
            words = self._words_after(seen)
            stragglers = any("pre-existing shared memory block" in line for line in words)
            if not stragglers or trio.current_time() > began + STRAGGLERS_PATIENCE:
                raise ServerCannotStart("the embedded PostgreSQL does not start", words[-5:])
            await trio.sleep(0.2)

    def _spawn(self) -> subprocess.Popen[bytes]:
        """In a session of its own: no Ctrl-C reaches it, and it outlives us if we are killed."""
        folder = str(self.socket).replace('"', '""')
        settings = SETTINGS | {"unix_socket_directories": f'"{folder}"'}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [self.cluster.program("postgres"), "-D", str(self.cluster.data), *options]
        with open(self.log_file, "ab", opener=_private) as words:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
                **self.cluster.account.spawn_options(),
            )

    async def _ready(self, pid: int) -> bool:
        """Wait until the postmaster *pid* takes connections (True) or has ended (False)."""
        news = trio.current_time() + 10
        while self._lives(pid):
            found = PidFile.read(self.cluster.data)
            if found is not None and found.pid == pid and found.ready:
                return True
            if trio.current_time() > news:
                log.info("database_recovering", pid=pid, last_words=self._words_after(0)[-1:])
                news += 10
            await trio.sleep(POLL)
        return False

    def _pid(self) -> int | None:
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        found = running(self.cluster.data)
        return None if found is None else found.pid

    def _lives(self, pid: int) -> bool:
        # Asked by `poll`, our own child is also reaped; it would stay a zombie otherwise.
        if self._process is not None and self._process.pid == pid:
            return self._process.poll() is None
        return _serves(pid, self.cluster.data)

    def _words_after(self, seen: int) -> list[str]:
        """What the server has written since its log had *seen* bytes; the end of it, if that is much."""
        with self.log_file.open("rb") as file:
            file.seek(max(seen, self.log_file.stat().st_size - 10_000))
            return file.read().decode(errors="replace").splitlines()


def _serves(pid: int, data: Path) -> bool:
    """Is the process *pid* a postmaster over *data*, and no stranger that was given its number? Raises OSError."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        if Path("/proc/self/cmdline").exists():
            return False
        # macOS has no /proc.
        ps = ("ps", "-ww", "-o", "command=", "-p", str(pid))
        command = subprocess.run(ps, capture_output=True, check=False).stdout
    return b" -D " + os.fsencode(data) + b" -c " in command


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)

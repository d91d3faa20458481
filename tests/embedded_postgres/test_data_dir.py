"""DATA_DIR: one holder at a time, one secret for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cueapi.daemon.secret import session_secret
from cueapi.embedded_postgres.data_dir import DataDirInUse, DataDirUnusable, Purpose, hold

HOLDER = """
import sys, time
from pathlib import Path
from cueapi.embedded_postgres.data_dir import Purpose, hold

with hold(Path(sys.argv[1]), Purpose.SERVE):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_data_dir_has_one_holder_at_a_time(tmp_path: Path) -> None:
    with hold(tmp_path, Purpose.SERVE):
        with pytest.raises(DataDirInUse, match=f"in use by process {os.getpid()}; several daemons share"):
            with hold(tmp_path, Purpose.SERVE):
                pass

    with hold(tmp_path, Purpose.COMMAND):
        pass


def test_who_asks_is_told_what_the_holder_is_doing(tmp_path: Path) -> None:
    with hold(tmp_path, Purpose.COMMAND):
        with pytest.raises(DataDirInUse) as refused:
            with hold(tmp_path, Purpose.SERVE):
                pass

    assert refused.value.purpose is Purpose.COMMAND


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirInUse):
            with hold(tmp_path, Purpose.SERVE):
                pass
        holder.send_signal(signal.SIGKILL)

    with hold(tmp_path, Purpose.SERVE):
        pass


def test_the_secret_is_made_once_and_only_we_can_read_it(tmp_path: Path) -> None:
    secret = session_secret(tmp_path / "data")

    assert len(secret) >= 32
    assert session_secret(tmp_path / "data") == secret
    assert (tmp_path / "data" / "session-secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["session-secret"]


def test_processes_that_race_for_the_first_secret_get_the_same_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        secrets = pool.map(session_secret, [tmp_path / f"data-{turn // 4}" for turn in range(80)], chunksize=1)

    assert [len(set(secrets[turn : turn + 4])) for turn in range(0, 80, 4)] == [1] * 20


def test_a_secret_that_was_emptied_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session-secret").touch()

    with pytest.raises(DataDirUnusable, match="too short to be a secret"):
        session_secret(tmp_path)


def test_a_directory_that_was_there_before_keeps_its_modes(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with hold(tmp_path, Purpose.SERVE):
        pass

    assert tmp_path.stat().st_mode & 0o777 == 0o750


def test_a_lock_that_somebody_made_a_link_of_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "precious")

    with pytest.raises(DataDirUnusable):
        with hold(tmp_path, Purpose.SERVE):
            pass
    assert not (tmp_path / "precious").exists()

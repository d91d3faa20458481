"""Time on the processor, in seconds: of a daemon, of PostgreSQL, and of programs that have ended."""

import resource
from contextlib import suppress

import psutil

from tests.storage.own_postgres import OwnPostgres


def of_process(pid: int) -> float:
    """What a process has used."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def of_postgres(server: OwnPostgres) -> float:
    """What a server's processes have used: those that live, and those that have ended."""
    postmaster = psutil.Process(server.pid)
    ended = postmaster.cpu_times()
    total = ended.children_user + ended.children_system
    for child in postmaster.children():
        with suppress(psutil.NoSuchProcess):
            total += of_process(child.pid)
    return total


def of_programs() -> float:
    """What the programs have used that were run here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

"""What `-m "not slow"` leaves out, so that the fast loop stays fast, and what it does not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLOW = ("benchmarks", "chaos", "clients", "machine")


def test_slow_are_what_starts_daemons_or_walks_over_years_and_nothing_else() -> None:
    folders = [f"tests/{name}" for name in (*SLOW, "domain", "supervisor")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-m", "slow", *folders]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)

    modules = {line.split("::")[0] for line in done.stdout.splitlines() if "::" in line}
    whole = {path.relative_to(ROOT).as_posix() for name in SLOW for path in ROOT.glob(f"tests/{name}/test_*.py")}
    assert modules == whole | {"tests/domain/test_schedule_properties.py"}

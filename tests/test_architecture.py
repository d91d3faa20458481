"""The law of the house, as failing tests: who may import whom, and what is written nowhere."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = sorted([*ROOT.glob("cueapi/**/*.py"), *ROOT.glob("supervisor/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))


def name_of(path: Path) -> str:
    """The path below the root, as it is written in messages."""
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever it does so."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                yield "a relative import"


def broad_handlers(path: Path) -> Iterator[tuple[str, bool]]:
    """Each `except` of the broad kinds, by name, and whether it ends in raising again."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = "" if node.type is None else ast.unparse(node.type)
        if caught == "" or re.search(r"\b(Exception|BaseException)\b", caught):
            last = node.body[-1]
            yield caught, isinstance(last, ast.Raise) and last.exc is None


def test_the_import_law_holds() -> None:
    linter = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


FOREIGN = {
    "supervisor": {"trio", "attrs", "structlog"},
    "cueapi/domain": {"attrs", "croniter", "email_validator", "idna"},
    "cueapi/trio_asyncpg": {"asyncpg", "attrs", "trio"},
    "cueapi/embedded_postgres": {"attrs", "structlog", "trio"},
    "cueapi/security": {"attrs", "cryptography", "jwt"},
}


@pytest.mark.parametrize(("package", "allowed"), FOREIGN.items(), ids=FOREIGN.keys())
def test_the_innermost_packages_know_few_libraries(package: str, allowed: set[str]) -> None:
    known = allowed | sys.stdlib_module_names | {package.replace("/", ".")}

    strange = {
        (name_of(path), module)
        for path in PRODUCT
        if name_of(path).startswith(f"{package}/")
        for module in imports(path)
        if module.split(".")[0] not in known and not module.startswith(package.replace("/", "."))
    }

    assert strange == set()


ADAPTERS = {
    "asyncpg": r"cueapi/(trio_asyncpg/\w+|storage/database)\.py",
    "redis": r"cueapi/net/redis\.py",
    "h11": r"cueapi/api/http/(server|strict_http)\.py",
    "httpx": r"cueapi/(net/http_(client|connection)|delivery/webhook|cli/demo_http)\.py",
    "httptools": r"cueapi/net/http_wire\.py",
    "hypercorn": r"cueapi/api/http/(server|idle_timer)\.py",
    "quart": r"cueapi/(dashboard/\w+|api/(\w+|http/\w+|models/rendering|pages/__init__))\.py",
    "quart_trio": r"cueapi/api/http/(server|quart_app|app)\.py",
    "werkzeug": r"cueapi/api/http/\w+\.py|cueapi/dashboard/app\.py",
    "pydantic": r"cueapi/(api/(models|http)/[\w/]+|settings/__init__|cli/demo)\.py",
    "pydantic_settings": r"cueapi/settings/__init__\.py",
    "prometheus_client": r"cueapi/metrics\.py",
    "cryptography": r"cueapi/security/\w+\.py",
    "jwt": r"cueapi/security/sessions\.py",
    "jinja2": r"cueapi/(api/pages/__init__|dashboard/rendering)\.py",
    "markupsafe": r"cueapi/dashboard/\w+\.py",
    "smtplib": r"cueapi/net/smtp\.py",
    "croniter": r"cueapi/domain/cron\.py",
    "email_validator": r"cueapi/domain/account\.py",
    "orjson": r"cueapi/(api/models/rendering|logs)\.py",
    "click": r"cueapi/cli/\w+\.py",
}


@pytest.mark.parametrize(("library", "where"), ADAPTERS.items(), ids=ADAPTERS.keys())
def test_a_foreign_library_is_met_only_where_it_is_adapted(library: str, where: str) -> None:
    met = {name_of(path) for path in PRODUCT if library in {module.split(".")[0] for module in imports(path)}}

    assert {name for name in met if not re.fullmatch(where, name)} == set()


def test_asyncio_is_imported_by_nothing_of_ours() -> None:
    banned = {"asyncio", "trio_asyncio", "sniffio", "anyio"}

    met = {name_of(path) for path in PRODUCT if banned & {module.split(".")[0] for module in imports(path)}}

    assert met == set()


def test_the_tests_mock_nothing() -> None:
    met = {
        name_of(path)
        for path in TESTS
        for module in imports(path)
        if {"mock", "pytest_mock", "unittest"} & set(module.split("."))
    }

    assert met == set()


# Each has its reason beside it: the keeper is where a sibling's fall ends, the server where a connection's does.
CATCHES_EXCEPTION = {"supervisor/keeper.py", "cueapi/api/http/server.py", "cueapi/delivery/pool.py"}


def test_what_is_caught_broadly_is_raised_again_or_ends_at_the_keeper() -> None:
    found = {(name_of(path), caught) for path in PRODUCT for caught, raised in broad_handlers(path) if not raised}

    assert found == {(name, "Exception") for name in CATCHES_EXCEPTION}


WALL_CLOCK = {
    "cueapi/storage/clock.py": "the clock that everything else goes by",
    "cueapi/domain/ids.py": "the first digits of a UUIDv7: they keep new rows of an index together and mean no moment",
    "supervisor/health.py": "the kernel's default; the daemon's board goes by the clock",
}
"""The files that read the machine's wall clock, each with its reason."""

_READS_WALL_CLOCK = re.compile(
    r"(datetime|dt)\.(now|utcnow|today)|date\.today|time\.(time|time_ns|localtime|gmtime|ctime|strftime|clock_gettime)"
    r"|(utils\.)?(formatdate|localtime)"
)


def wall_clock_readings(path: Path) -> Iterator[str]:
    """What a file reads the machine's wall clock with: names of functions, called or passed on, and imports of them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Attribute() | ast.Name() if _READS_WALL_CLOCK.fullmatch(ast.unparse(node)):
                yield ast.unparse(node)
            case ast.ImportFrom(module="time" | "email.utils" as module, names=names):
                found = (f"{module}.{alias.name}".removeprefix("email.") for alias in names)
                yield from filter(_READS_WALL_CLOCK.fullmatch, found)


def test_wall_time_is_read_in_the_clock_only() -> None:
    met = {name_of(path) for path in PRODUCT if any(wall_clock_readings(path))}

    assert met == set(WALL_CLOCK)


def test_nothing_suppresses_broadly() -> None:
    pattern = re.compile(r"suppress\([^)]*\b(Exception|BaseException|Cancelled)\b")

    assert {name_of(path) for path in PRODUCT if pattern.search(path.read_text("utf-8"))} == set()


@pytest.mark.parametrize("path", PRODUCT, ids=map(name_of, PRODUCT))
def test_a_module_begins_by_saying_what_it_is(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text("utf-8")))

    assert said, f"{name_of(path)} has no docstring"


def test_sql_is_spoken_in_storage_only() -> None:
    """But for what the driver itself asks PostgreSQL about types."""
    spoken = re.compile(r'"\s*(select [^"]+ from|insert into|update \w+ set|delete from)\b', re.DOTALL)

    met = {name_of(path) for path in PRODUCT if spoken.search(path.read_text("utf-8"))}

    assert {name for name in met if not name.startswith("cueapi/storage/")} == {"cueapi/trio_asyncpg/connection.py"}


def test_no_name_begins_where_another_module_s_privacy_ends() -> None:
    met = {
        (name_of(path), module)
        for path in PRODUCT
        for module in imports(path)
        if module.startswith(("cueapi", "supervisor")) and re.search(r"\._[a-z]", module)
    }

    assert met == set()

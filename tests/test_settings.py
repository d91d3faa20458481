"""The settings: names, defaults, bounds, and the one line that names what is wrong."""

import os
import re
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
import pytest

from cueapi.api.http.rate_limits import is_trusted
from cueapi.domain.plan import Limits
from cueapi.settings import BadSetting, Settings, ignored_variables, load, postgres_url

DEFAULTS = {
    "DATABASE_URL": None,
    "DATABASE_POOL_SIZE": 10,
    "REDIS_URL": None,
    "HOST": "127.0.0.1",
    "PORT": 8000,
    "MAX_CONNECTIONS": None,
    "MAX_CONNECTIONS_PER_ADDRESS": None,
    "BASE_URL": None,
    "ENV": "development",
    "SESSION_SECRET": None,
    "DASHBOARD": True,
    "ALLOW_REGISTER": True,
    "REGISTER_LIMIT_PER_HOUR": 60,
    "CORS_ORIGINS": "",
    "ALLOWED_HOSTS": "",
    "TRUSTED_PROXIES": "",
    "CALLBACK_ALLOW": "",
    "POLLER_INTERVAL_SECONDS": 30,
    "POLLER_BATCH_SIZE": 500,
    "DISPATCH_CONCURRENCY": 256,
    "HOST_CONCURRENCY": 64,
    "BREAKER": True,
    "WEBHOOK_TIMEOUT_SECONDS": 30,
    "WEBHOOK_TIMEOUT_MAX_SECONDS": 900,
    "SHUTDOWN_GRACE_SECONDS": 30,
    "WORKER_HEARTBEAT_TIMEOUT_SECONDS": 180,
    "WORKER_CLAIM_TIMEOUT_SECONDS": 900,
    "WORKER_UNCLAIMED_TIMEOUT_SECONDS": 900,
    "WORKER_OUTCOME_DEADLINE_SECONDS": 14_400,
    "WORKER_EVIDENCE": False,
    "DEFAULT_PLAN": "self_hosted",
    "ACTIVE_CUE_LIMIT": None,
    "MONTHLY_EXECUTION_LIMIT": None,
    "RATE_LIMIT_PER_MINUTE": None,
    "EXECUTION_RETENTION_DAYS": 90,
    "AUDIT_RETENTION_DAYS": 400,
    "SMTP_URL": None,
    "EMAIL_FROM": None,
    "METRICS_TOKEN": None,
    "LOG_FORMAT": None,
    "LOG_LEVEL": "info",
}

EXAMPLE = (Path(__file__).parent.parent / ".env.example").read_text("utf-8")
PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that sets nothing, in a folder without a `.env`."""
    for name in [*DEFAULTS, "DATA_DIR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


SECRETS = {
    "DATABASE_URL": "postgresql://me:secret@db/cueapi",
    "REDIS_URL": "redis://:secret@redis:6379/0",
    "SESSION_SECRET": "s" * 32,
    "SMTP_URL": "smtp://me:secret@mail:587",
    "METRICS_TOKEN": "m" * 16,
}


@pytest.mark.parametrize(("name", "value"), SECRETS.items(), ids=SECRETS)
def test_a_secret_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str) -> None:
    (tmp_path / "secret").write_text(f"{value}\n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("EMAIL_FROM", "cueapi@example.com")

    assert getattr(load(), name.lower()).get_secret_value() == value


def test_a_secret_may_lie_in_a_file_that_dotenv_names(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 40)
    (tmp_path / ".env").write_text("SESSION_SECRET_FILE=secret\n")

    secret = load().session_secret

    assert secret is not None
    assert secret.get_secret_value() == "s" * 40


@pytest.mark.parametrize("name", SECRETS)
def test_an_empty_file_is_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(" \n")
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))

    with pytest.raises(BadSetting, match=rf"^{name}_FILE: .*/secret is empty$"):
        load()


@pytest.mark.parametrize("both", [True, False], ids=["and in the variable", "that is not there"])
def test_a_file_that_cannot_serve_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, both: bool) -> None:
    monkeypatch.setenv("SESSION_SECRET_FILE", str(tmp_path / "secret"))
    if both:
        (tmp_path / "secret").write_text(PASSWORD * 2)
        monkeypatch.setenv("SESSION_SECRET", PASSWORD * 2)

    with pytest.raises(BadSetting, match=r"^SESSION_SECRET_FILE: ") as refused:
        load()

    assert PASSWORD not in str(refused.value)


def test_a_bad_value_in_a_file_is_told_without_its_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"mysql://me:{PASSWORD}@db/cueapi")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "secret"))

    with pytest.raises(BadSetting, match=r"^DATABASE_URL: ") as refused:
        load()

    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items(), ids=DEFAULTS)
def test_what_is_not_set_has_the_documented_default(name: str, default: object) -> None:
    assert getattr(load(), name.lower()) == default


def test_the_example_names_every_setting_once_and_no_other() -> None:
    named = re.findall(r"^#([A-Z_]+)=", EXAMPLE, re.MULTILINE)

    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_the_example_sets_nothing_and_shows_every_default(tmp_path: Path) -> None:
    defaults = load()

    (tmp_path / ".env").write_text(EXAMPLE, "utf-8")
    untouched = load()
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z_]+=)", "", EXAMPLE, flags=re.MULTILINE), "utf-8")
    uncommented = load()

    assert untouched == defaults
    assert uncommented == defaults


def test_every_setting_is_documented() -> None:
    assert {name.upper() for name in Settings.model_fields} == {*DEFAULTS, "DATA_DIR"}


def test_data_lies_in_the_users_data_directory_or_where_root_keeps_it() -> None:
    own = Path(platformdirs.user_data_dir("cueapi", appauthor=False))

    assert load().data_dir == (Path("/var/lib/cueapi") if os.geteuid() == 0 else own)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("DATABASE_POOL_SIZE", 2, 500),
        ("PORT", 0, 65_535),
        ("MAX_CONNECTIONS", 1, 1_000_000),
        ("MAX_CONNECTIONS_PER_ADDRESS", 1, 1_000_000),
        ("POLLER_INTERVAL_SECONDS", 0.1, 3_600),
        ("POLLER_BATCH_SIZE", 1, 10_000),
        ("DISPATCH_CONCURRENCY", 1, 10_000),
        ("HOST_CONCURRENCY", 1, 10_000),
        ("WEBHOOK_TIMEOUT_SECONDS", 1, 900),
        ("SHUTDOWN_GRACE_SECONDS", 0, 3_600),
        ("WORKER_HEARTBEAT_TIMEOUT_SECONDS", 0.5, 604_800),
        ("WORKER_CLAIM_TIMEOUT_SECONDS", 0.5, 604_800),
        ("WORKER_UNCLAIMED_TIMEOUT_SECONDS", 0.5, 604_800),
        ("WORKER_OUTCOME_DEADLINE_SECONDS", 0.5, 604_800),
        ("ACTIVE_CUE_LIMIT", 0, 2_000_000_000),
        ("MONTHLY_EXECUTION_LIMIT", 0, 10**15),
        ("REGISTER_LIMIT_PER_HOUR", 1, 1_000_000),
        ("RATE_LIMIT_PER_MINUTE", 1, 100_000_000),
        ("EXECUTION_RETENTION_DAYS", 0, 36_500),
        ("AUDIT_RETENTION_DAYS", 0, 36_500),
    ],
)
def test_a_number_may_be_within_its_bounds_only(
    monkeypatch: pytest.MonkeyPatch, name: str, least: float, most: float
) -> None:
    for value in (least, most):
        monkeypatch.setenv(name, str(value))
        assert getattr(load(), name.lower()) == value
    for text in (str(least - 1), str(most + 1), "nan", "inf", "-inf", "many", "1,5", "0x10"):
        monkeypatch.setenv(name, text)
        with pytest.raises(BadSetting, match=f"^{name}: .+$"):
            load()


@pytest.mark.parametrize(
    ("usual", "most", "refused"),
    [(1, 1, None), (3600, 3600, None), (30, 29, "WEBHOOK_TIMEOUT_SECONDS"), (30, 3601, "WEBHOOK_TIMEOUT_MAX_SECONDS")],
)
def test_the_usual_timeout_is_at_most_the_longest_and_that_at_most_an_hour(
    monkeypatch: pytest.MonkeyPatch, usual: int, most: int, refused: str | None
) -> None:
    monkeypatch.setenv("WEBHOOK_TIMEOUT_SECONDS", str(usual))
    monkeypatch.setenv("WEBHOOK_TIMEOUT_MAX_SECONDS", str(most))

    if refused is None:
        assert (load().webhook_timeout_seconds, load().webhook_timeout_max_seconds) == (usual, most)
    else:
        with pytest.raises(BadSetting, match=f"^{refused}: .+$"):
            load()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("LOG_LEVEL", "WARNING", "warning"),
        ("LOG_FORMAT", "JSON", "json"),
        ("ENV", "Development", "development"),
        ("CORS_ORIGINS", "https://a.example, http://localhost:5173", "https://a.example, http://localhost:5173"),
    ],
)
def test_a_word_may_be_written_in_any_case_and_origins_stand_in_a_list(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: str
) -> None:
    monkeypatch.setenv(name, text)

    assert getattr(load(), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ENV", "staging"),
        ("ENV", "Production "),
        ("DEFAULT_PLAN", "enterprise"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "verbose"),
        ("ALLOW_REGISTER", "perhaps"),
        ("WORKER_EVIDENCE", "2"),
        ("HOST", "x" * 256),
        ("BASE_URL", "cueapi.example.com"),
        ("BASE_URL", "ftp://cueapi.example.com"),
        ("BASE_URL", "https://cueapi.example.com/?a=b"),
        ("BASE_URL", "https://me:you@cueapi.example.com"),
        ("BASE_URL", "https://cueapi.example.com:99999"),
        ("BASE_URL", "https://cueapi.example.com:abc"),
        ("BASE_URL", "https://-x_"),
        ("BASE_URL", "https://cueapi.example.com?"),
        ("BASE_URL", "https://cueapi example.com"),
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "https://App.example.com"),
        ("CORS_ORIGINS", "https://app.example.com, https://app.example.com/"),
        ("ALLOWED_HOSTS", "https://cueapi.example.com"),
        ("ALLOWED_HOSTS", "cueapi.example.com:8000"),
        ("ALLOWED_HOSTS", "cueapi.example.com, *"),
        ("ALLOWED_HOSTS", "Cueapi.example.com"),
        ("METRICS_TOKEN", "correct, too short"[:15]),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("CALLBACK_ALLOW", "http://intranet/"),
        ("CALLBACK_ALLOW", "10.0.0.1/8"),
        ("CALLBACK_ALLOW", "::1:9000"),
        ("CALLBACK_ALLOW", "10.0.0.0/8, fd00::5:80"),
        ("CORS_ORIGINS", "\udcff.example"),
        ("ALLOWED_HOSTS", "\udcff.example"),
        ("SESSION_SECRET", "too short"),
        ("SESSION_SECRET", "x" * 32 + "\udcff"),
        ("METRICS_TOKEN", "x" * 32 + "\udcff"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}\udcff@host/database"),
        ("DATABASE_URL", f"mysql://me:{PASSWORD}@host/database"),
        ("DATABASE_URL", f"{PASSWORD}"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}@host:many/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}#1@host/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}/1@host/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}@[host/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}[1@host/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}]1@host/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}[1]@host/database"),
        ("DATABASE_URL", f"postgresql://me:{PASSWORD}@host:99999/database"),
        ("REDIS_URL", f"http://:{PASSWORD}@host"),
        ("REDIS_URL", f"redis://:{PASSWORD}/1@host"),
        ("REDIS_URL", f"redis://:{PASSWORD}@host:0"),
        ("SMTP_URL", f"http://me:{PASSWORD}@host"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@[::1"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@host:many"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}#1@host:many"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@host:99999"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@host?starttls=True"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@host?starttls=1"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@host?tls=true"),
        ("SMTP_URL", f"smtps://me:{PASSWORD}@host?starttls=true"),
        ("SMTP_URL", f"smtp://me:{PASSWORD}@host?starttls=true&starttls=false"),
    ],
)
def test_a_value_that_cannot_be_stops_the_start_with_a_line_that_names_it_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)

    with pytest.raises(BadSetting) as refused:
        load()

    assert str(refused.value).startswith(f"{name}: ")
    assert "\n" not in str(refused.value)
    assert "correct" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("postgresql://me:pw@host:5432/cueapi", "postgresql://me:pw@host:5432/cueapi"),
        ("postgresql+asyncpg://me:pw@host/cueapi", "postgresql://me:pw@host/cueapi"),
        ("postgres://me:pw@host/cueapi?sslmode=require", "postgresql://me:pw@host/cueapi?sslmode=require"),
        ("postgresql:///cueapi?host=/run/postgresql", "postgresql:///cueapi?host=/run/postgresql"),
        ("postgresql://me:pw@one:5432,two:5433,three/cueapi", "postgresql://me:pw@one:5432,two:5433,three/cueapi"),
        ("postgresql://me:pw@/cueapi?host=one,::1&port=1,2", "postgresql://me:pw@/cueapi?host=one,::1&port=1,2"),
        ("postgresql://me:p%23w@%2Frun%2Fpostgresql/cueapi", "postgresql://me:p%23w@%2Frun%2Fpostgresql/cueapi"),
    ],
)
def test_the_urls_of_libpq_and_of_sqlalchemy_are_understood(
    monkeypatch: pytest.MonkeyPatch, given: str, understood: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", given)

    assert postgres_url(load()) == understood


def test_an_ipv6_address_among_several_hosts_is_taken_where_python_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:pw@one:5432,[::1]:5433,three/cueapi"
    monkeypatch.setenv("DATABASE_URL", url)
    try:
        urlsplit(url)
    except ValueError:
        with pytest.raises(BadSetting, match="name them by"):
            load()
    else:
        assert postgres_url(load()) == url


def test_production_needs_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV", "production")

    with pytest.raises(BadSetting, match=r"^SESSION_SECRET: .*32 characters"):
        load()

    monkeypatch.setenv("SESSION_SECRET", "s" * 32)
    assert load().env == "production"


def test_secrets_do_not_show_in_a_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_SECRET", PASSWORD * 2)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{PASSWORD}@host/cueapi")
    monkeypatch.setenv("REDIS_URL", f"redis://:{PASSWORD}@host")
    monkeypatch.setenv("SMTP_URL", f"smtp://me:{PASSWORD}@host")
    monkeypatch.setenv("EMAIL_FROM", "CueAPI <cueapi@example.com>")

    assert PASSWORD not in repr(load().mailer)
    assert PASSWORD not in repr(load()) + str(load()) + load().model_dump_json()


def test_a_mail_server_may_be_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_FROM", "cueapi@example.com")
    for url in ("smtp://[::1]:25", "smtp://me:pw@[fe80::1]", "smtp://10.0.0.1:25?starttls=true"):
        monkeypatch.setenv("SMTP_URL", url)
        assert load().mailer is not None


def test_whoever_sends_mail_says_in_whose_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://host")
    with pytest.raises(BadSetting, match="EMAIL_FROM: must be set"):
        load()
    unreadable = ("CueAPI <a@b!c>", "=?a?=@example.com", "CueAPI <=?a?=@example.com>", "a@exa mple.com!")
    for wrong in ("nobody", "Name <>", "a@b@c", "a@example.com\x01", *unreadable):
        monkeypatch.setenv("EMAIL_FROM", wrong)
        with pytest.raises(BadSetting, match="EMAIL_FROM: must look like"):
            load()


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DEFAULTS:
        monkeypatch.setenv(name, "")

    assert load() == Settings(_env_file=None)


def test_the_env_file_is_read_and_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8001\nPOLLER_BATCH_SIZE=7\nPOSTGRES_PASSWORD=of-the-compose-file\n")
    monkeypatch.setenv("PORT", "8002")

    assert (load().port, load().poller_batch_size) == (8002, 7)


ADVICE = {
    "RESEND_API_KEY": "SMTP_URL",
    "RESEND_FROM_EMAIL": "SMTP_URL",
    "SENDGRID_API_KEY": "SMTP_URL",
    "SMTP_HOST": "SMTP_URL",
    "MAIL_PASSWORD": "SMTP_URL",
    "SMTP_URI": "SMTP_URL",
    "JWT_SECRET": "SESSION_SECRET",
    "SECRET_KEY": "SESSION_SECRET",
    "STRIPE_SECRET_KEY": "ACTIVE_CUE_LIMIT",
    "ALLOW_REGISTR": "ALLOW_REGISTER",
    "CALLBACK_ALLOWLIST": "CALLBACK_ALLOW",
    "SESSION_SECRET_FILES": "SESSION_SECRET_FILE",
}


@pytest.mark.parametrize("in_file", [True, False], ids=["in .env", "in the environment"])
@pytest.mark.parametrize(("name", "meant"), ADVICE.items(), ids=ADVICE)
def test_a_variable_that_looks_like_a_setting_and_is_none_is_named_with_the_setting_that_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, meant: str, in_file: bool
) -> None:
    if in_file:
        (tmp_path / ".env").write_text(f"{name}=of-another-server\n")
    else:
        monkeypatch.setenv(name, "of-another-server")

    told = ignored_variables(load())[name]

    assert meant in told
    assert "of-another-server" not in told


def test_settings_their_files_and_what_other_programs_read_are_not_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s" * 40)
    given = {name: str(value) for name, value in DEFAULTS.items() if value is not None}
    given |= {"SMTP_URL": "smtp://mail:25", "EMAIL_FROM": "a@example.com", "SESSION_SECRET_FILE": "secret"}
    given |= {
        "POSTGRES_PASSWORD": "p",
        "REDIS_PASSWORD": "p",
        "PUBLISH": "8000",
        "RESEND_API_KEY": "mail leaves",
        "HOSTNAME": "h",
    }
    before = set(ignored_variables(load()))
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    monkeypatch.setenv("SENDGRID_API_KEY", "")

    assert set(ignored_variables(load())) - before == set()


def test_an_env_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("EMAIL_FROM=Bücher <a@example.com>\n".encode("latin-1"))

    with pytest.raises(BadSetting, match=r"^\.env: is not UTF-8$"):
        load()


def test_a_wrong_value_in_the_env_file_is_named_like_one_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=loud\n")

    with pytest.raises(BadSetting, match=r"^LOG_LEVEL: "):
        load()


def test_the_operators_numbers_replace_those_of_the_default_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_PLAN", "free")
    monkeypatch.setenv("ACTIVE_CUE_LIMIT", "3")
    monkeypatch.setenv("RATE_LIMIT_PER_MINUTE", "5")

    assert load().plans["free"] == Limits(3, 300, 5)
    assert load().plans["self_hosted"] == Limits(1_000_000, 1_000_000_000, 6_000)


def test_the_address_in_links_follows_the_port_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().url_at(8123) == "http://localhost:8123"

    monkeypatch.setenv("BASE_URL", "https://cueapi.example.com/")
    assert load().url_at(8123) == "https://cueapi.example.com"


def test_networks_that_are_mapped_into_ipv6_are_those_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "::ffff:10.0.0.0/104, ::ffff:192.0.2.7, fd00::/8")
    monkeypatch.setenv("CALLBACK_ALLOW", "::ffff:10.0.0.0/104, [::ffff:192.0.2.7]:9000, [fd00::5:80]")

    opened = load().rules_at(8000).allow

    assert [str(one) for one in load().proxies] == ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    assert is_trusted("10.1.2.3", load().proxies)
    assert is_trusted("::ffff:10.1.2.3", load().proxies)
    assert [str(network) for network, _ in opened.networks] == ["10.0.0.0/8", "192.0.2.7/32", "fd00::5:80/128"]
    assert opened.covers(IPv4Address("10.1.2.3"), 80)
    assert opened.covers(IPv4Address("192.0.2.7"), 9000)


@pytest.mark.parametrize(
    ("given", "bound", "names"),
    [
        ({}, "127.0.0.1", frozenset()),
        ({}, "::1", frozenset()),
        ({"BASE_URL": "https://CueAPI.example.com/sub"}, "127.0.0.1", frozenset({"cueapi.example.com"})),
        ({"BASE_URL": "http://[2001:db8::1]:8000"}, "127.0.0.1", frozenset({"[2001:db8::1]"})),
        ({"BASE_URL": "https://bücher.example"}, "127.0.0.1", frozenset({"xn--bcher-kva.example"})),
        ({"ALLOWED_HOSTS": "a.example, [2001:db8::2]"}, "127.0.0.1", frozenset({"a.example", "[2001:db8::2]"})),
        ({}, "0.0.0.0", None),
        ({"BASE_URL": "https://a.example"}, "0.0.0.0", None),
        (
            {"ALLOWED_HOSTS": "b.example", "BASE_URL": "https://a.example"},
            "::",
            frozenset({"a.example", "b.example"}),
        ),
    ],
)
def test_host_is_checked_on_loopback_and_where_names_are_given(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], bound: str, names: frozenset[str] | None
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert load().host_names_at(bound) == names

"""Every setting: its default, its unit and its reason. Read once, in cli/main.py, from the environment and `.env`."""

import os
from collections.abc import Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cueapi.domain.address import is_loopback, read_network
from cueapi.domain.plan import PLANS, Limits
from cueapi.domain.target import Rules
from cueapi.domain.url import split_url
from cueapi.net.smtp import Mailer
from cueapi.settings import values


class BadSetting(Exception):
    """A variable has a value that cannot be; the message is one line that names it."""


def _data_dir() -> Path:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/cueapi")
    return Path(platformdirs.user_data_dir("cueapi", appauthor=False))


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_Optional = BeforeValidator(_empty_is_none)
_AnyCase = BeforeValidator(_lower)
Seconds = Annotated[float, Field(gt=0, le=86_400 * 7)]


SECRETS = ("database_url", "redis_url", "session_secret", "smtp_url", "metrics_token")
"""Settings that may also be given as the path of a file that holds them, in NAME_FILE."""


class SecretFiles(PydanticBaseSettingsSource):
    """Reads the secrets whose NAME_FILE is set, as container platforms mount them. Raises BadSetting."""

    def __init__(self, settings_cls: type[BaseSettings], given: Mapping[str, object]) -> None:
        super().__init__(settings_cls)
        self.given = given

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """The content of the file that NAME_FILE names; None where it is not set."""
        name = f"{field_name}_file".upper()
        if not (path := self.given.get(name.lower())):
            return None, field_name, False
        if self.given.get(field_name):
            raise BadSetting(f"{name}: set it or {field_name.upper()}, not both")
        try:
            secret = Path(str(path)).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise BadSetting(f"{name}: {path} cannot be read ({type(error).__name__})") from None
        if not secret:
            raise BadSetting(f"{name}: {path} is empty")
        return secret, field_name, False

    def __call__(self) -> dict[str, object]:
        """What the files hold, by the name of the setting."""
        read = {name: self.get_field_value(self.settings_cls.model_fields[name], name)[0] for name in SECRETS}
        return {name: value for name, value in read.items() if value}


class Settings(BaseSettings):
    """One value a variable; the names are the variables' in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", frozen=True, extra="ignore", env_ignore_empty=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before `.env`, and both before the files that they name."""
        given: dict[str, object] = {}
        for source in (dotenv_settings, env_settings):
            if isinstance(source, EnvSettingsSource):
                given |= {name.lower(): value for name, value in source.env_vars.items()}
        return init_settings, env_settings, dotenv_settings, SecretFiles(settings_cls, given)

    # PostgreSQL; none: the embedded one.
    database_url: Annotated[SecretStr | None, _Optional] = None
    # Connections for requests and all else; three more fire, claim and record, one listens.
    database_pool_size: Annotated[int, Field(ge=2, le=500)] = 10
    # Where the rate limits' windows lie; none: in the process.
    redis_url: Annotated[SecretStr | None, _Optional] = None
    # The embedded database and the session secret.
    data_dir: Path = Field(default_factory=_data_dir)
    # Where the API listens.
    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    # Clients connected at once; none: as many as open files allow, 10,000 at most.
    max_connections: Annotated[int | None, Field(ge=1, le=1_000_000), _Optional] = None
    # Of these, from one address (trusted proxies are not bounded); none: half.
    max_connections_per_address: Annotated[int | None, Field(ge=1, le=1_000_000), _Optional] = None
    # How the server is reached from outside, in links; none: http://localhost:PORT.
    base_url: Annotated[str | None, AfterValidator(lambda text: text and values.base_url(text)), _Optional] = None
    # production: https callbacks only, no /docs, needs SESSION_SECRET.
    env: Annotated[Literal["development", "production"], _AnyCase] = "development"
    # Signs sessions and encrypts keys, webhook secrets and callback headers; none: made at the first start.
    session_secret: Annotated[SecretStr | None, _Optional] = None
    # Pages for people at /ui; without them: 404.
    dashboard: bool = True
    # Whether POST /v1/auth/register is open.
    allow_register: bool = True
    # How many accounts an address may register in an hour.
    register_limit_per_hour: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    # Origins of browsers that may call, separated by commas; none: no web page may.
    cors_origins: Annotated[str, AfterValidator(values.origins)] = ""
    # Names that Host may have, beside BASE_URL's and those of loopback; none: any where HOST is not a loopback address.
    allowed_hosts: Annotated[str, AfterValidator(values.hosts)] = ""
    # CIDRs whose X-Forwarded-For counts.
    trusted_proxies: Annotated[str, AfterValidator(values.networks)] = ""
    # Names and CIDRs that callbacks may reach although they are private.
    callback_allow: Annotated[str, AfterValidator(values.allow)] = ""
    # A poll at least this often (seconds): bounds the harm when every hint is lost.
    poller_interval_seconds: Annotated[float, Field(ge=0.1, le=3_600)] = 30.0
    # Due cues that are fired by one statement.
    poller_batch_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    # Deliveries at once: each costs memory, not a thread. A quarter is kept for accounts that hold none.
    dispatch_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 256
    # Of these, to one host and port.
    host_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 64
    # Whether a host that cannot serve is left alone until a probe of it succeeds.
    breaker: bool = True
    # Deadline of a delivery, from look-up to the last byte (seconds).
    webhook_timeout_seconds: Annotated[float, Field(ge=1, le=3_600)] = 30.0
    # The most that a cue may give its handler (seconds): a request that hangs holds a slot of the pool for so long.
    webhook_timeout_max_seconds: Annotated[float, Field(ge=1, le=3_600)] = 900.0
    # How long a drain may take (seconds).
    shutdown_grace_seconds: Annotated[float, Field(ge=0, le=3_600)] = 30.0
    # A worker silent for so long loses the leases that have ended (seconds).
    worker_heartbeat_timeout_seconds: Seconds = 180.0
    # A worker's lease, from the claim or the last heartbeat of the execution (seconds).
    worker_claim_timeout_seconds: Seconds = 900.0
    # An execution that no worker claims for so long is missed (seconds).
    worker_unclaimed_timeout_seconds: Seconds = 900.0
    # A worker's outcome must be there after so long (seconds).
    worker_outcome_deadline_seconds: Seconds = 14_400.0
    # Whether worker cues may ask for evidence.
    worker_evidence: bool = False
    # The plan of new accounts; the three numbers below replace the plan's.
    default_plan: Literal["self_hosted", "free"] = "self_hosted"
    active_cue_limit: Annotated[int | None, Field(ge=0, le=2_000_000_000), _Optional] = None
    monthly_execution_limit: Annotated[int | None, Field(ge=0, le=10**15), _Optional] = None
    rate_limit_per_minute: Annotated[int | None, Field(ge=1, le=100_000_000), _Optional] = None
    # Finished executions and alerts go after so many days; 0: never.
    execution_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    # What the audit tells of changes goes after so many days; 0: never.
    audit_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 400
    # Where mail leaves; none: it does not.
    smtp_url: Annotated[SecretStr | None, _Optional] = None
    # Whose name it bears: an address, or Name <address>.
    email_from: Annotated[str | None, AfterValidator(lambda text: text and values.sender(text)), _Optional] = None
    # Opens /metrics, as a bearer token; none: anyone may read it in development, and no one in production.
    metrics_token: Annotated[SecretStr | None, _Optional] = None
    # console on a terminal, else json.
    log_format: Annotated[Literal["console", "json"] | None, _Optional, _AnyCase] = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _AnyCase] = "info"

    def rules_at(self, port: int) -> Rules:
        """Which callbacks are allowed, for a server that listens on *port*."""
        allow = Rules.parse_allow(self.callback_allow)
        return Rules(self.env == "production", allow, self.url_at(port), port)

    def url_at(self, port: int) -> str:
        """How the server that listens on *port* is reached."""
        return self.base_url or f"http://localhost:{port}"

    @property
    def mailer(self) -> Mailer | None:
        """How mail leaves; None where it does not."""
        if self.smtp_url is None or self.email_from is None:
            return None
        return Mailer(self.smtp_url.get_secret_value(), self.email_from)

    @cached_property
    def plans(self) -> dict[str, Limits]:
        """Every plan's limits; the default plan's may be the operator's own."""
        own = PLANS[self.default_plan].overridden(
            self.active_cue_limit, self.monthly_execution_limit, self.rate_limit_per_minute
        )
        return {**PLANS, self.default_plan: own}

    def host_names_at(self, bound: str) -> frozenset[str] | None:
        """The names that Host may have on the address *bound*, beside those of loopback; in ASCII. None: any."""
        names = {name for part in self.allowed_hosts.split(",") if (name := part.strip())}
        if not names and not is_loopback(bound):
            return None
        base = split_url(self.base_url).host if self.base_url else ""
        return frozenset(names | ({f"[{base}]" if ":" in base else base} if base else set()))

    @cached_property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose X-Forwarded-For counts."""
        entries = filter(None, (part.strip() for part in self.trusted_proxies.split(",")))
        return tuple(read_network(entry, strict=False) for entry in entries)


def load() -> Settings:
    """Read the environment and `.env`. Raises BadSetting with one line that names the first wrong variable."""
    try:
        settings = Settings()
    except UnicodeDecodeError:
        raise BadSetting(".env: is not UTF-8") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise BadSetting(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None
    return _consistent(settings)


def ignored_variables(settings: Settings) -> dict[str, str]:
    """The variables of the environment and of `.env` that look like settings and are none, each with what to do."""
    given = {name for source in (EnvSettingsSource, DotEnvSettingsSource) for name in source(Settings).env_vars}
    known = {name.upper() for name in Settings.model_fields} | {f"{name}_file".upper() for name in SECRETS}
    advice = {name.upper(): values.advice_on(name.upper(), known) for name in sorted(given)}
    return {name: told for name, told in advice.items() if told and not (told == values.MAIL and settings.mailer)}


def _consistent(settings: Settings) -> Settings:
    _check_secrets(settings)
    if settings.env == "production":
        _refuse_default_passwords(settings)
    if settings.webhook_timeout_seconds > settings.webhook_timeout_max_seconds:
        raise BadSetting("WEBHOOK_TIMEOUT_SECONDS: may not be more than WEBHOOK_TIMEOUT_MAX_SECONDS")
    if settings.smtp_url is not None and settings.email_from is None:
        raise BadSetting("EMAIL_FROM: must be set when SMTP_URL is, for example cueapi@example.com")
    if settings.session_secret is None:
        if settings.env == "production":
            raise BadSetting("SESSION_SECRET: must be set when ENV=production (32 characters or more)")
    elif len(settings.session_secret.get_secret_value()) < 32:
        raise BadSetting("SESSION_SECRET: must have 32 characters or more")
    if settings.metrics_token is not None and len(settings.metrics_token.get_secret_value()) < 16:
        raise BadSetting("METRICS_TOKEN: must have 16 characters or more")
    return settings


def _check_secrets(settings: Settings) -> None:
    """Here and not by pydantic, whose messages quote what they refuse."""
    checks = {
        "database_url": values.checked_postgres_url,
        "redis_url": values.redis_url,
        "smtp_url": values.smtp_url,
    }
    for name in SECRETS:
        if (value := getattr(settings, name)) is not None:
            try:
                checks.get(name, values.utf_8)(values.utf_8(value.get_secret_value()))
            except ValueError as error:
                raise BadSetting(f"{name.upper()}: {error}") from None


DEFAULT_PASSWORD = "cueapi"
"""What docker-compose.yml gives to a first trial."""


def _refuse_default_passwords(settings: Settings) -> None:
    variables = {
        "DATABASE_URL": (settings.database_url, "POSTGRES_PASSWORD"),
        "REDIS_URL": (settings.redis_url, "REDIS_PASSWORD"),
    }
    for name, (url, variable) in variables.items():
        if url is not None and urlsplit(url.get_secret_value()).password == DEFAULT_PASSWORD:
            raise BadSetting(f"{name}: has the default password, which ENV=production refuses; set {variable}")


def postgres_url(settings: Settings) -> str | None:
    """DATABASE_URL as the driver understands it; None: the embedded database."""
    url = settings.database_url
    return None if url is None else values.checked_postgres_url(url.get_secret_value())

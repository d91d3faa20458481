"""What a setting may hold: each function gives its text back, or raises ValueError with what it must look like."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import urlsplit

from cueapi.domain.address import read_network
from cueapi.domain.target import Rules
from cueapi.domain.url import split_url
from cueapi.net.smtp import read_sender


def utf_8(text: str) -> str:
    """A text whose bytes are UTF-8; others arrive as lone surrogates."""
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("is not UTF-8")
    return text


def checked_postgres_url(text: str) -> str:
    """A PostgreSQL URL as the driver understands it."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
        raise ValueError("must look like postgresql://user:password@host:5432/database")
    # A password with one of these signs ends the URL's authority too early, or is taken for an address.
    user, _, hosts = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    if not all(map(_is_host, hosts.split(","))) or re.search(r"[\[\]]", user):
        raise ValueError(f"has no host and port that can be read; {_ESCAPED}")
    if not _can_be_split(f"postgresql://{rest}"):
        raise ValueError(
            "has [ ] among several hosts, which this Python cannot read: name them by ?host=one,::1&port=1,2"
        )
    return f"postgresql://{rest}"


_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^\s:\[\]]*)(:(?P<port>[0-9]{1,5}))?")
_ESCAPED = "in a password write / ? # @ [ ] as %2F %3F %23 %40 %5B %5D"


def _is_host(text: str) -> bool:
    """Whether it is a host, and a port if any."""
    found = _HOST.fullmatch(text)
    return found is not None and int(found["port"] or 0) <= 65_535


def redis_url(text: str) -> str:
    """The URL of a Redis."""
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must look like redis://host:6379/0")
    if not _has_port(text):
        raise ValueError(f"has no port that can be read; {_ESCAPED}")
    return text


_MAIL_SERVER = re.compile(
    r"smtps?://([^/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]+)(:[0-9]{1,5})?/?(\?(?P<options>[^#]*))?"
)


def smtp_url(text: str) -> str:
    """The URL of a mail server."""
    found = _MAIL_SERVER.fullmatch(text)
    if found is None or not _has_port(text):
        raise ValueError("must look like smtp://user:pass@host:587?starttls=true")
    # Reject unknown options: a misspelt `starttls` would silently send the password unencrypted.
    if (found["options"] or "starttls=false") not in {"starttls=true", "starttls=false"}:
        raise ValueError("may end in ?starttls=true or ?starttls=false, and in nothing else")
    if text.startswith("smtps:") and found["options"] == "starttls=true":
        raise ValueError("speaks TLS from the first byte on with smtps://; leave ?starttls=true out")
    return text


def _can_be_split(url: str) -> bool:
    """Whether Python's reader takes it, which the driver goes by: some releases take brackets at the ends alone."""
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def _has_port(url: str) -> bool:
    """Whether its port, if any, is one: clients take 0 for none."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def sender(text: str) -> str:
    """An address, or Name <address>, as mails are sent from it."""
    try:
        readable = text.isprintable() and read_sender(text).username
    except ValueError:
        readable = ""
    if not readable:
        raise ValueError("must look like cueapi@example.com or CueAPI <cueapi@example.com>")
    return text


def base_url(text: str) -> str:
    """How the server is reached, with its scheme in lower case and without a slash at its end."""
    try:
        scheme = split_url(text).scheme
    except ValueError as error:
        raise ValueError(f"must look like https://cueapi.example.com: {error}") from None
    if "?" in text or "#" in text:
        raise ValueError("must look like https://cueapi.example.com, without a query")
    return scheme + text[len(scheme) :].rstrip("/")


def origins(text: str) -> str:
    """Origins of web pages, separated by commas."""
    for entry in filter(None, (part.strip() for part in text.split(","))):
        if entry != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@*A-Z]+", entry):
            raise ValueError(f"{entry!r} is no origin: must look like https://app.example.com, in lower case, or be *")
    return text


def hosts(text: str) -> str:
    """Names and addresses that Host may have, separated by commas."""
    for entry in filter(None, (part.strip() for part in text.split(","))):
        if not re.fullmatch(r"\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", entry):
            raise ValueError(f"{entry!r} is no host: must look like cueapi.example.com, in lower case, without a port")
    return text


def networks(text: str) -> str:
    """CIDRs, separated by commas."""
    for entry in filter(None, (part.strip() for part in text.split(","))):
        read_network(entry, strict=False)
    return text


def allow(text: str) -> str:
    """Names and CIDRs, separated by commas."""
    Rules.parse_allow(text)
    return text


MAIL = "has no effect: mail leaves by SMTP_URL, in the name of EMAIL_FROM"

# What servers of this kind, and the hosted one, are configured by elsewhere.
_ELSEWHERE = {
    r"(RESEND|SENDGRID|MAILGUN|POSTMARK|MAILJET|BREVO)_\w+": MAIL,
    r"(SMTP|MAIL|EMAIL)_(HOST|PORT|SERVER|USER|USERNAME|PASS|PASSWORD)": MAIL,
    r"(SECRET|JWT_SECRET|ENCRYPTION)(_KEY)?": "has no effect: the one secret is SESSION_SECRET",
    r"STRIPE_\w+": "has no effect: there is no billing; ACTIVE_CUE_LIMIT and its neighbours set the plan",
}


def advice_on(variable: str, known: Collection[str]) -> str | None:
    """What to say of a *variable* that looks like one of the *known* settings and is none; None of any other."""
    if variable in known:
        return None
    for pattern, advice in _ELSEWHERE.items():
        if re.fullmatch(pattern, variable):
            return advice
    nearest = get_close_matches(variable, known, 1, 0.85) if len(variable) > 6 else []
    return f"is no setting: is {nearest[0]} meant?" if nearest else None

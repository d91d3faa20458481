"""What `cueapid check` warns of: settings that work, and that an installation others can reach should not have."""

import resource
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from cueapi.daemon.open_files import connection_limit
from cueapi.domain.address import is_loopback
from cueapi.domain.target import METADATA_NAMES, Rules, opens_metadata
from cueapi.domain.url import read_host, split_url
from cueapi.settings import Settings

WIDEST = {4: 8, 6: 16}
"""Prefix lengths: a network with a shorter one is more than an organisation's own."""

FEW_FILES = 4_096
"""Open files below which a daemon may run short of connections."""


def warnings(settings: Settings) -> list[str]:
    """One sentence for each line of the README's hardening list that *settings* can be seen not to follow."""
    public = _is_public(settings)
    origins = {origin.strip() for origin in settings.cors_origins.split(",")}
    found = {
        "ENV: should be production where others can reach the server": public and settings.env != "production",
        "ALLOW_REGISTER: is true, and others can reach the server: anyone can make an account": public
        and settings.allow_register,
        "CORS_ORIGINS: is *: every web page may call this server with a key that it knows": "*" in origins,
        "BASE_URL: is http://; put TLS in front, and begin it with https://": settings.env == "production"
        and urlsplit(settings.base_url or "http:").scheme != "https",
        "METRICS_TOKEN: is not set, so that ENV=production shows /metrics to no one": settings.env == "production"
        and settings.metrics_token is None,
    }
    return [sentence for sentence, holds in found.items() if holds] + _wide_networks(settings) + _few_files(settings)


def _is_public(settings: Settings) -> bool:
    """Whether others can reach the server: at HOST, or by a proxy at the name in BASE_URL."""
    host = settings.host
    try:
        bound = read_host(f"[{host}]" if ":" in host else host)
    except ValueError:
        bound = host
    reached = split_url(settings.base_url).host if settings.base_url else bound
    return not (is_loopback(bound) and is_loopback(reached))


def _wide_networks(settings: Settings) -> list[str]:
    allow = Rules.parse_allow(settings.callback_allow)
    opened = [network for network, _ in allow.networks if _wide(network)]
    named = sorted(name for name, _ in allow.names if name in METADATA_NAMES)
    named += [str(network) for network, _ in allow.networks if not _wide(network) and opens_metadata(network)]
    trusted = [network for network in settings.proxies if _wide(network)]
    return [
        *(f"CALLBACK_ALLOW: {network} is wide open; name the hosts that callbacks need" for network in opened),
        *(f"CALLBACK_ALLOW: {one} opens a service that hands out this machine's credentials" for one in named),
        *(f"TRUSTED_PROXIES: {network} lets its clients choose the address they count by" for network in trusted),
    ]


def _few_files(settings: Settings) -> list[str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = connection_limit(settings, None if hard == resource.RLIM_INFINITY else hard)
    if fitting < (settings.max_connections or 0):
        return [f"MAX_CONNECTIONS: open files (at most {hard}) leave room for {fitting}; raise their limit (ulimit -n)"]
    if hard == resource.RLIM_INFINITY or hard >= FEW_FILES:
        return []
    return [f"open files: at most {hard} (now {soft}); raise the limit (ulimit -n, LimitNOFILE=) for many connections"]


def _wide(network: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen < WIDEST[network.version]

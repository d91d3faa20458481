"""What `check` warns of: each line of the README's hardening list, and nothing where it is followed."""

import pytest

from cueapi.cli.hardening import warnings
from cueapi.settings import Settings

HARD = {
    "host": "10.0.0.5",
    "env": "production",
    "allow_register": False,
    "cors_origins": "https://app.example.com",
    "base_url": "https://cueapi.example.com",
    "callback_allow": "10.1.0.0/16,agent.internal",
    "trusted_proxies": "10.0.0.1/32",
    "metrics_token": "a token of the tests",
}

SOFT = {
    "development in public": ({"env": "development", "host": "0.0.0.0"}, "ENV: "),
    "development in public, by IPv6": ({"env": "development", "host": "::"}, "ENV: "),
    "development in public, by name": ({"env": "development", "host": "cueapi.internal"}, "ENV: "),
    "open registration": ({"allow_register": True}, "ALLOW_REGISTER: "),
    "every origin": ({"cors_origins": "https://app.example.com,*"}, "CORS_ORIGINS: "),
    "every origin, behind a blank": ({"cors_origins": "https://app.example.com, *"}, "CORS_ORIGINS: "),
    "open registration behind a proxy": ({"host": "127.0.0.1", "allow_register": True}, "ALLOW_REGISTER: "),
    "development behind a proxy": ({"host": "127.0.0.1", "env": "development"}, "ENV: "),
    "a metadata service": ({"callback_allow": "169.254.169.254"}, "CALLBACK_ALLOW: 169.254.169.254/32 "),
    "a metadata service's port": ({"callback_allow": "169.254.169.254:80"}, "CALLBACK_ALLOW: 169.254.169.254/32 "),
    "a metadata service's network": ({"callback_allow": "100.64.0.0/10"}, "CALLBACK_ALLOW: 100.64.0.0/10 "),
    "a metadata service by IPv6": ({"callback_allow": "fd00:ec2::254"}, "CALLBACK_ALLOW: fd00:ec2::254/128 "),
    "a metadata service by NAT64": (
        {"callback_allow": "64:ff9b::a9fe:a9fe"},
        "CALLBACK_ALLOW: 64:ff9b::a9fe:a9fe/128 ",
    ),
    "a metadata service by name": ({"callback_allow": "metadata.internal"}, "CALLBACK_ALLOW: metadata.internal "),
    "no TLS": ({"base_url": "http://cueapi.example.com"}, "BASE_URL: "),
    "no address": ({"base_url": None}, "BASE_URL: "),
    "no token for metrics": ({"metrics_token": None}, "METRICS_TOKEN: "),
    "callbacks anywhere": ({"callback_allow": "0.0.0.0/0"}, "CALLBACK_ALLOW: 0.0.0.0/0 "),
    "callbacks anywhere, by IPv6": ({"callback_allow": "::/0"}, "CALLBACK_ALLOW: ::/0 "),
    "callbacks to half of the world": ({"callback_allow": "128.0.0.0/1"}, "CALLBACK_ALLOW: 128.0.0.0/1 "),
    "every proxy": ({"trusted_proxies": "0.0.0.0/0"}, "TRUSTED_PROXIES: 0.0.0.0/0 "),
}


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, session_secret="s" * 32, **{**HARD, **changes})


def of_settings(found: list[str]) -> list[str]:
    """Without what is said of the machine that runs the tests."""
    return [sentence for sentence in found if not sentence.startswith("open files")]


def test_nothing_is_said_of_hard_settings() -> None:
    assert of_settings(warnings(settings())) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "::1", "LOCALHOST", "localhost."])
@pytest.mark.parametrize("base_url", [None, "http://localhost:8000"])
def test_a_newcomer_on_loopback_is_not_warned(host: str, base_url: str | None) -> None:
    newcomer = settings(host=host, env="development", allow_register=True, base_url=base_url)

    assert of_settings(warnings(newcomer)) == []


@pytest.mark.parametrize(("changes", "begin"), SOFT.values(), ids=SOFT.keys())
def test_each_line_of_the_hardening_list_is_one_warning(changes: dict[str, object], begin: str) -> None:
    found = of_settings(warnings(settings(**changes)))

    assert len(found) == 1
    assert found[0].startswith(begin)
